"""The road end to end: the real SDKs in real IPython kernels, a real gateway process, a real llama.cpp behind it."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

RUN_CELLS = Path(__file__).parents[1] / "run_cells.py"
ENDPOINTS = """
[gateway]
idle_stop_s = 120
[providers.openai]
base_url = "{url}/v1"
[providers.anthropic]
base_url = "{url}/v1"
"""

LOAD = "%load_ext llmlens"
SDKS = """
import json, openai, anthropic
seen = []
ask = dict(model="tiny-random", messages=[{"role": "user", "content": "the duck and the lake"}], max_tokens=12)

def openai_said(kind, text, usage):
    seen.append(dict(kind=kind, text=text, input=usage.prompt_tokens, output=usage.completion_tokens,
                     cached=usage.prompt_tokens_details.cached_tokens))

def anthropic_said(kind, message):
    u = message.usage
    seen.append(dict(kind=kind, text=message.content[0].text, output=u.output_tokens,
                     input=u.input_tokens + (u.cache_read_input_tokens or 0), cached=u.cache_read_input_tokens))

def of_stream(chunks):
    chunks = list(chunks)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    return text, [c for c in chunks if c.usage][-1].usage
"""
PLAIN = """
client = openai.OpenAI(api_key="sk-not-a-real-key")
answer = client.chat.completions.create(**ask)
openai_said("openai", answer.choices[0].message.content, answer.usage)
stream = client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
openai_said("openai stream", *of_stream(stream))
"""
ASYNC = """
ask = dict(ask, messages=[{"role": "user", "content": "the goose and the river"}])
aclient = openai.AsyncOpenAI(api_key="sk-not-a-real-key")
answer = await aclient.chat.completions.create(**ask)
openai_said("openai async", answer.choices[0].message.content, answer.usage)
stream = await aclient.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
openai_said("openai async stream", *of_stream([c async for c in stream]))
"""
ANTHROPIC = """
claude = anthropic.Anthropic(api_key="sk-ant-not-a-real-key")
anthropic_said("anthropic", claude.messages.create(**ask))
with claude.messages.stream(**ask) as stream:
    anthropic_said("anthropic stream", stream.get_final_message())
aclaude = anthropic.AsyncAnthropic(api_key="sk-ant-not-a-real-key")
anthropic_said("anthropic async", await aclaude.messages.create(**ask))
async with aclaude.messages.stream(**ask) as stream:
    anthropic_said("anthropic async stream", await stream.get_final_message())
counted = claude.messages.count_tokens(model="tiny-random", messages=ask["messages"]).input_tokens
"""
SHOW = "print(json.dumps(seen))"


class Project:
    """A folder with its own store; `run` executes cells in a new kernel of it."""

    def __init__(self, folder: Path, toml: str, python: str = sys.executable) -> None:
        self.folder, self.python = folder, python
        (folder / "llmlens.toml").write_text(toml)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LLMLENS_")}

    def run(self, *cells: str) -> list[str]:
        """The text that every cell printed; an error in a cell is an error of the test."""
        done = subprocess.run(
            [self.python, str(RUN_CELLS)], input=json.dumps(cells), cwd=self.folder, env=self.env,
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def cli(self, *arguments: str) -> str:
        """What `llmlens …` prints."""
        done = subprocess.run(
            [self.python, "-m", "llmlens", *arguments],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return json.loads(self.cli("sql", sql, "--format", "json"))

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.folder / "data" / "llmlens.duckdb.gateway.json").read_text())


@pytest.fixture
def project(tmp_path: Path, llama: str) -> Iterator[Project]:
    made = Project(tmp_path, ENDPOINTS.format(url=llama))
    yield made
    subprocess.run([sys.executable, "-m", "llmlens", "stop"], cwd=tmp_path, env=made.env, check=False, timeout=60)


def tokens_served(llama: str) -> tuple[float, ...]:
    """What llama.cpp itself counts: prompt tokens and predicted tokens since it started."""
    metrics = httpx2.get(llama + "/metrics", trust_env=False).text
    names = ("prompt_tokens_total", "tokens_predicted_total")
    return tuple(float(re.search(rf"^llamacpp:{name} (\S+)$", metrics, re.M)[1]) for name in names)


def test_rows_agree_with_what_the_sdks_saw_and_a_second_run_asks_nobody(project, llama):
    *_, printed = project.run(LOAD, SDKS, PLAIN, ASYNC, ANTHROPIC, SHOW)
    seen = json.loads(printed)
    assert len(seen) == 8
    rows = project.rows("SELECT * FROM calls WHERE operation = 'chat' ORDER BY started_at")
    assert [
        {"text": r["text"], "input": r["input_tokens"], "output": r["output_tokens"], "cached": r["cache_read_tokens"]}
        for r in rows
    ] == [{k: s[k] for k in ("text", "input", "output", "cached")} for s in seen]
    assert {r["outcome"] for r in rows} == {"complete"}
    assert {r["usage_source"] for r in rows} == {"provider"}
    assert [r["provider"] for r in rows] == ["openai"] * 4 + ["anthropic"] * 4
    assert [r["stream"] for r in rows] == [False, True] * 4
    assert [r["execution_count"] for r in rows] == [3, 3, 4, 4, 5, 5, 5, 5]
    assert all(r["cell_sha"] and r["run_id"] for r in rows)
    counted = project.rows("SELECT input_tokens FROM calls WHERE operation = 'count_tokens'")
    assert len(counted) == 1

    before = tokens_served(llama)
    *_, again = project.run(LOAD, SDKS, PLAIN, ASYNC, ANTHROPIC, SHOW)
    assert json.loads(again) == seen, "the same outputs"
    assert tokens_served(llama) == before, "no request reached the server"
    caches = project.rows("SELECT cache, count(*) AS n FROM calls GROUP BY ALL ORDER BY cache")
    assert caches == [{"cache": "hit", "n": 9}, {"cache": "miss", "n": 9}]


TWENTY = """
client = openai.OpenAI(api_key="sk-not-a-real-key")
texts = [client.chat.completions.create(**ask).choices[0].message.content for _ in range(20)]
print(json.dumps(texts))
"""


def test_twenty_identical_calls_are_twenty_samples_and_the_same_twenty_again(project, llama):
    *_, first = project.run(LOAD, SDKS, TWENTY)
    before = tokens_served(llama)
    *_, second = project.run(LOAD, SDKS, TWENTY)
    texts = json.loads(first)
    assert len(set(texts)) > 10, "a model at temperature 0.8 does not repeat itself 20 times"
    assert json.loads(second) == texts
    assert tokens_served(llama) == before


def test_two_kernels_and_a_plain_client_share_one_gateway(project):
    cell = """
import llmlens as lens, os
texts = [str(lens.ask(f"count {i}", model="sim/echo")) for i in range(10)]
print(os.getpid())
"""
    pids: list[str] = []
    kernels = [threading.Thread(target=lambda: pids.append(project.run(LOAD, cell)[1].strip())) for _ in range(2)]
    for kernel in kernels:
        kernel.start()
    state_file = project.folder / "data" / "llmlens.duckdb.gateway.json"
    while not state_file.exists():
        kernels[0].join(0.05)
    answer = httpx2.post(
        f"http://127.0.0.1:{project.state['port']}/v1/chat/completions",
        json={"model": "sim/echo", "messages": [{"role": "user", "content": "from curl"}]},
        headers={"authorization": f"Bearer {project.state['key']}"},
        trust_env=False,
    )
    assert answer.status_code == 200
    for kernel in kernels:
        kernel.join(120)
    assert len(set(pids)) == 2, "two kernels"
    found = project.rows("SELECT count(*) AS n, count(DISTINCT run_id) AS runs FROM calls")
    assert found == [{"n": 21, "runs": 2}]


INTERRUPTED = """
import _thread, threading
def interrupt():
    _thread.interrupt_main()
started = threading.Event()
client = openai.OpenAI(api_key="x", base_url=lens_url + "/v1", max_retries=0)
try:
    for chunk in client.chat.completions.create(
        model="sim/slow", messages=[{"role": "user", "content": "a long story about ducks " * 20}], stream=True
    ):
        if not started.is_set():
            started.set()
            threading.Timer(0.2, interrupt).start()
    print("finished")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_kernel_interrupt_cancels_the_call_and_the_row_says_so(project):
    url = "import llmlens as lens, openai\nlens_url = lens.base_url().removesuffix('/v1')"
    *_, printed = project.run(LOAD, url, INTERRUPTED)
    assert printed.strip() == "interrupted"
    rows = project.rows("SELECT outcome, text, usage_source FROM calls")
    assert rows[0]["outcome"] == "cancelled"
    assert rows[0]["usage_source"] == "estimated"


CARRIED = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
import llmlens as lens

def ask(name):
    lens.ask(name, model="sim/echo")

thread = threading.Thread(target=ask, args=("thread",))
thread.start(); thread.join()
with ThreadPoolExecutor(1) as pool:
    pool.submit(ask, "pool").result()
async def task(name):
    await lens.aask(name, model="sim/echo")
await asyncio.gather(asyncio.create_task(task("task")), asyncio.to_thread(ask, "to_thread"))
"""


def test_threads_and_tasks_keep_the_cell_they_were_started_in(project):
    project.run(LOAD, "x = 1", CARRIED)
    rows = project.rows("SELECT text, execution_count FROM calls ORDER BY text")
    assert rows == [{"text": t, "execution_count": 3} for t in ("pool", "task", "thread", "to_thread")]


def test_importing_llmlens_stays_thin():
    heavy = ("duckdb", "pandas", "altair", "scipy", "starlette", "aiohttp", "openai", "anthropic", "httpx2", "httpx",
             "requests", "numpy", "IPython", "tiktoken", "genai_prices", "uvicorn", "msgspec")  # fmt: skip
    code = f"import sys, llmlens; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
