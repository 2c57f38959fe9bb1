"""The SDK door end to end: real SDKs, unmodified, in a kernel with `%load_ext llmlens`; recordings stand in for providers.

All SDKs make their calls twice in one kernel: with llmlens, to their own default addresses; and after `%unload_ext`,
straight to another playback server. The answers must be the same, each call captured once. litellm wants an older
openai, so it has an environment of its own, made once with uv and kept in pytest's cache.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmlens.checkup import BASE_URLS, PROXIES
from tests.e2e.sdk_calls import SDKS
from tests.e2e.test_kernel import LOAD, Project
from tests.gateway.test_recorded_traffic import check, config_for, playing
from tests.wire.test_recorded import ROWS

pytestmark = pytest.mark.skipif(not ROWS, reason="no recordings beside this checkout")

UNLOAD = "%unload_ext llmlens"
ROOT = Path(__file__).parents[2]
LITELLM = "litellm==1.106.2"
WITHOUT_LITELLM = [name for name in SDKS if name != "litellm"]
RECORDED = {record["id"]: record for record in ROWS}
# The HTTP libraries that the calls of an SDK leave through.
THROUGH: dict[str, set[str]] = {
    "openai": {"httpx2"}, "openai on Azure": {"httpx2"}, "langchain-openai": {"httpx2"}, "mistralai": {"httpx2"},
    "anthropic": {"httpx2"}, "anthropic on Bedrock": {"httpx2"}, "anthropic on Vertex": {"httpx2"},
    "google-genai": {"httpx2", "aiohttp"}, "google-genai on Vertex": {"httpx2", "aiohttp"},
    "google-genai without aiohttp": {"httpx2"}, "cohere": {"httpx"}, "groq": {"httpx"}, "ollama": {"httpx"},
    "botocore": {"urllib3"}, "litellm": {"httpx"},
}  # fmt: skip


@dataclass
class Notebook:
    """What the cells of one run told, by SDK, and the rows they left in the log, by SDK."""

    through: dict[str, Any]
    direct: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]]


def run(folder: Path, names: list[str], python: str = sys.executable) -> Notebook:
    with ExitStack() as stack:
        behind, straight = (stack.enter_context(playing()) for _ in range(2))
        project = Project(folder, config_for(behind), python)
        unwanted = {*BASE_URLS, *PROXIES}  # the SDKs are to take their own addresses
        project.env = {k: v for k, v in project.env.items() if k not in unwanted} | {"PYTHONPATH": str(ROOT)}
        stack.callback(project.cli, "stop")
        with_llmlens, without = cells(names, behind, directly=False), cells(names, straight, directly=True)
        printed = project.run(LOAD, *with_llmlens, UNLOAD, *without)
        told = [json.loads(text) if text else None for text in printed]
        rows = project.rows("SELECT * FROM calls ORDER BY started_at")
    by_cell = {name: [row for row in rows if row["execution_count"] == n] for n, name in enumerate(names, 2)}
    assert sum(map(len, by_cell.values())) == len(rows)
    through, direct = told[1 : len(names) + 1], told[len(names) + 2 :]
    return Notebook(dict(zip(names, through, strict=True)), dict(zip(names, direct, strict=True)), by_cell)


def cells(names: list[str], playback: str, *, directly: bool) -> list[str]:
    """A cell per SDK."""
    report = "from tests.e2e import sdk_report\nawait sdk_report.report({!r}, {!r}, directly={})"
    return [report.format(name, playback, directly) for name in names]


def check_sdk(notebook: Notebook, name: str) -> None:
    direct, through, rows = notebook.direct[name], notebook.through[name], notebook.rows[name]
    assert direct["error"] is None, f"{name} without llmlens: {direct['error']}"
    assert through["error"] is None, f"{name}: {through['error']}"
    for alone, captured in zip(direct["answers"], through["answers"], strict=True):
        assert captured == alone, f"{name}, {alone['kind']}: not the answer as without llmlens"
    asked = [answer["recording"] for answer in through["answers"]]
    assert through["served"] == direct["served"] == Counter(asked), f"{name}: not once each at the provider"
    assert len(rows) == len(asked), f"{name}: not one row a call"
    assert sum(through["captured"].values()) == len(asked), f"{name}: {through['captured']}"
    assert set(through["captured"]) == THROUGH[name]
    assert direct["captured"] == {}
    for row, recording in zip(rows, asked, strict=True):
        check(row, RECORDED[recording])
        assert row["stream"] == RECORDED[recording]["stream"], f"{name}: {recording}"
        assert row["cache"] == "miss"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    return run(tmp_path_factory.mktemp("sdks"), WITHOUT_LITELLM)


@pytest.mark.parametrize("name", WITHOUT_LITELLM)
def test_an_sdk_is_captured_once_a_call_and_answers_as_without_llmlens(notebook: Notebook, name: str) -> None:
    check_sdk(notebook, name)


@pytest.fixture(scope="module")
def litellm_python(pytestconfig: pytest.Config) -> str:
    """The interpreter of an environment with llmlens (this checkout) and litellm."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("no uv to make an environment for litellm with")
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("litellm") / LITELLM.replace("==", "-")
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = folder / "ready"
    if not ready.exists():
        wanted = ["--editable", str(ROOT), LITELLM, "ipykernel", "nbclient", "nbformat"]
        for command in (
            ["venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "--quiet", "--python", str(python), *wanted],
        ):
            done = subprocess.run([uv, *command], capture_output=True, text=True, check=False, timeout=600)
            if done.returncode != 0:
                pytest.skip(f"litellm cannot be installed: {done.stderr[-500:]}")
        ready.touch()
    return str(python)


def test_litellm_is_captured_once_a_call_and_answers_as_without_llmlens(tmp_path: Path, litellm_python: str) -> None:
    check_sdk(run(tmp_path, ["litellm"], litellm_python), "litellm")
