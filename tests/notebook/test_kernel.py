"""A real kernel, driven as a front end drives it; its gateway is a process of its own."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from llmlens import settings as configuration
from llmlens.client import gateway

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PATIENCE_S = 60
pytestmark = pytest.mark.filterwarnings("ignore:Kernel is running over TCP without encryption")


@dataclass
class Ran:
    """What the front end got to see of one cell. `html` holds every state its display was in."""

    reply: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    html: list[str] = field(default_factory=list)
    bundles: list[dict[str, str]] = field(default_factory=list)
    value: str | None = None


@dataclass
class Kernel:
    client: BlockingKernelClient
    manager: KernelManager

    def run(self, source: str, *, cell_id: str | None = None, on_html: Callable[[str], None] = lambda _: None) -> Ran:
        message = self.client.session.msg("execute_request", {"code": source, "silent": False, "store_history": True,
                                          "user_expressions": {}, "allow_stdin": False, "stop_on_error": False},
                                          metadata={"cellId": cell_id} if cell_id else None)  # fmt: skip
        self.client.shell_channel.send(message)
        ran, asked = Ran(), message["header"]["msg_id"]
        while True:
            seen = self.client.get_iopub_msg(timeout=PATIENCE_S)
            if seen["parent_header"].get("msg_id") != asked:
                continue
            kind, content = seen["msg_type"], seen["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind == "stream":
                ran.text += content["text"]
            elif kind == "error":
                ran.text += "\n".join(content["traceback"])
            elif kind == "execute_result":
                ran.value = content["data"]["text/plain"]
            elif kind in ("display_data", "update_display_data"):
                ran.bundles.append(content["data"])
                ran.html.append(content["data"].get("text/html", ""))
                on_html(ran.html[-1])
        while ran.reply.get("parent") != asked:
            reply = self.client.get_shell_msg(timeout=PATIENCE_S)
            ran.reply = {**reply["content"], "parent": reply["parent_header"]["msg_id"]}
        return ran

    def value(self, expression: str) -> str:
        value = self.run(expression).value
        assert value is not None
        return value


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the gateways of this file log; stopped in the end."""
    path = tmp_path_factory.mktemp("kernel") / "store.duckdb"
    yield path
    gateway.stop(configuration.load(store=path, environ={}))


@pytest.fixture(scope="module")
def kernel(store: Path) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "LLMLENS_STORE": str(store), "JPY_SESSION_NAME": "/home/ada/study.ipynb"})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE_S)
        one = Kernel(client, manager)
        assert (
            one.run("%load_ext llmlens\nimport llmlens as lens\nlens.ask('hello', 'sim/echo')", cell_id="first").text
            == ""
        )
        yield one
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_the_cell_that_loads_is_a_cell_too(kernel):
    assert kernel.value("lens.calls(cell='first').execution_count.tolist()") == "[1]"
    assert kernel.value("lens.calls(cell='first').notebook.tolist()") == "['/home/ada/study.ipynb']"


def test_answers_stream_into_one_display(kernel):
    ran = kernel.run(
        "%%llm sim/large sim/small -o a\nA shop has 12 boxes. Each holds 14 pens. How many pens?", cell_id="c2"
    )
    assert len(ran.bundles) > 2
    assert "running" in ran.html[0]
    final = ran.bundles[-1]
    assert set(final) == {"text/html", "text/plain"}
    for word in ("sim/large", "sim/small", "simulated", "cache miss", "latency", "first token", "cost (simulated)"):
        assert word in final["text/html"]
        assert word in final["text/plain"]
    assert "<script" not in final["text/html"]
    assert kernel.value(f"[x.text in {final['text/plain']!r} for x in a]") == "[True, True]"
    assert kernel.value("lens.calls(cell='c2').cell_id.tolist()") == "['c2', 'c2']"


def test_what_models_write_is_escaped(kernel):
    ran = kernel.run("%%llm sim/echo\n<img src=x onerror=alert(1)> </div></table> \x1b[31m &amp; <script>")
    final = ran.bundles[-1]["text/html"]
    assert "&lt;img src=x onerror=alert(1)&gt;" in final
    assert "&amp;amp;" in final
    assert "<img" not in final
    assert "<script" not in final
    assert "\x1b" not in ran.bundles[-1]["text/plain"]


def test_a_line_is_drawn_once(kernel):
    ran = kernel.run("%llm sim/echo hello")
    assert ran.value is None
    assert "hello" in ran.bundles[-1]["text/plain"]
    assert "── sim/echo (simulated) ──" in kernel.value("_")


def test_an_interrupt_shows_what_had_come_and_logs_the_cancellation(kernel):
    sent = []

    def interrupt(html: str) -> None:
        if "Answer" not in html and '<div class="lens-text">' in html and not sent:
            sent.append(html)
            kernel.manager.interrupt_kernel()

    ran = kernel.run("%%llm sim/slow -n 2 --cache off -o a\nTom has 3 apples and buys 4. How many?", cell_id="slow",
                     on_html=interrupt)  # fmt: skip
    assert sent
    assert ran.reply["status"] == "error"
    assert ran.reply["ename"] == "Interrupted"
    assert "Traceback" not in ran.text
    assert len(ran.text.splitlines()) == 1
    assert "interrupted" in ran.html[-1]
    assert "running" not in ran.html[-1]
    assert kernel.value("[x.outcome for x in a]") == "['cancelled', 'cancelled']"
    assert kernel.value("lens.calls(cell='slow').outcome.tolist()") == "['cancelled', 'cancelled']"
    assert kernel.run("%llm sim/echo still here").reply["status"] == "ok"


def test_threads_and_tasks_keep_their_cell(kernel):
    source = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
thread = threading.Thread(target=lens.ask, args=("thread", "sim/echo")); thread.start(); thread.join()
with ThreadPoolExecutor() as pool:
    pool.submit(lens.ask, "pool", "sim/echo").result()
_ = await asyncio.gather(asyncio.create_task(lens.aask("task", "sim/echo")))
"""
    assert kernel.run(source, cell_id="many").text == ""
    assert kernel.value("sorted(lens.calls(cell='many').text.tolist())").count("simulated") >= 0
    assert kernel.value("len(lens.calls(cell='many'))") == "3"


def test_the_front_end_gets_completions(kernel):
    asked = kernel.client.complete("%%llm sim/lar")
    reply = kernel.client.get_shell_msg(timeout=PATIENCE_S)
    while reply["parent_header"]["msg_id"] != asked:
        reply = kernel.client.get_shell_msg(timeout=PATIENCE_S)
    assert reply["content"]["matches"] == ["sim/large"]


def test_unloading_leaves_a_clean_kernel(kernel):
    assert kernel.run("%unload_ext llmlens").text == ""
    assert "not found" in kernel.run("%lens status").text
    assert kernel.run("%load_ext llmlens").text == ""


def test_the_quickstart_runs_and_says_what_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLENS_STORE", str(tmp_path / "quickstart.duckdb"))
    notebook = nbformat.read(NOTEBOOKS / "01_quickstart.ipynb", as_version=4)
    committed = [c for c in notebook.cells if c.cell_type == "code" and c.execution_count is None]
    assert not committed, "the notebook is committed executed"
    try:
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    finally:
        gateway.stop(configuration.load(store=tmp_path / "quickstart.duckdb", environ={}))
    boards = [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith("%%llm")
        for output in cell.outputs
    ]
    assert len(boards) >= 4
    assert all("simulated" in board["text/html"] and "simulated" in board["text/plain"] for board in boards)
