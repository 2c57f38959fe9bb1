"""The main job in one command: run the quickstart against a fresh store, then show what was logged.

make demo        or        python notebooks/demo.py [notebook.ipynb]
"""

import os
import shutil
import socket
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "demo"


def main(notebook: Path) -> None:
    """Execute `notebook` (simulated models, no key needed), write it as HTML, print the log as a table."""
    store = BUILD / "llmlens.duckdb"
    os.environ["LLMLENS_STORE"] = str(store)

    from llmlens import settings
    from llmlens.client.gateway import stop

    found = settings.load()
    stop(found)
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    began = time.monotonic()
    try:
        html = execute(notebook)
        print(f"Executed {notebook.name} in {time.monotonic() - began:.0f} s.\n")
        show_log()
    finally:
        stop(found)
    print(f"\nThe executed notebook: {html}\nThe log:               {store}\n")
    print(other_models())


def execute(notebook: Path) -> Path:
    """Run every cell in a real kernel; gives the HTML file."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    document = nbformat.read(notebook, as_version=4)
    NotebookClient(document, timeout=300, resources={"metadata": {"path": str(HERE)}}).execute()
    page, _ = HTMLExporter().from_notebook_node(document)
    html = BUILD / f"{notebook.stem}.html"
    html.write_text(page, "utf-8")
    return html


def show_log() -> None:
    """The logged calls by model with totals, and the last ones."""
    import llmlens as lens

    totals = lens.sql("""
        SELECT coalesce(provider || '/' || model_sent, 'TOTAL') AS model, count(*) AS calls,
               count(*) FILTER (outcome <> 'complete') AS failed, count(*) FILTER (cache = 'hit') AS hits,
               sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
               round(sum(cost_usd)::DOUBLE, 6) AS cost_usd, round(sum(saved_usd)::DOUBLE, 6) AS saved_usd,
               round(median(latency_s), 3) AS median_latency_s
        FROM calls GROUP BY ROLLUP (provider || '/' || model_sent)
        ORDER BY grouping(provider || '/' || model_sent), model
    """)
    last = lens.sql("""
        SELECT strftime(started_at, '%H:%M:%S') AS at, provider || '/' || model_sent AS model, outcome, cache,
               output_tokens AS tokens, round(latency_s, 3) AS latency_s, left(replace(text, chr(10), ' '), 48) AS text
        FROM calls ORDER BY started_at DESC LIMIT 8
    """)
    print("Logged calls (models of sim/… are simulated, and so are their costs):\n")
    print(totals.to_string(index=False, na_rep="-"))
    print("\nThe last of them:\n")
    print(last.to_string(index=False, na_rep="-"))


def other_models() -> str:
    """What else can be called from here, and how."""
    lines = []
    for variable, model in (
        ("OPENAI_API_KEY", "openai/gpt-5-mini"),
        ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
    ):
        if os.environ.get(variable):
            lines.append(f"{variable} is set: try `%%llm {model} sim/small` in a notebook (make lab).")
    if ollama():
        lines.append("Ollama is running: try `%%llm ollama/<model>`; `ollama list` shows the names.")
    if not lines:
        lines.append(
            "No provider key found, so everything above is simulated. With OPENAI_API_KEY or ANTHROPIC_API_KEY set,"
        )
        lines.append(
            "or Ollama running, the same cells take real models: `%%llm openai/gpt-5-mini sim/small` (make lab)."
        )
    return "\n".join(lines)


def ollama() -> bool:
    """Whether an Ollama server listens at its usual place."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", 11434)) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "01_quickstart.ipynb")
