"""The log under violence: kill -9 in the middle of things, a full disk, a folder that cannot be written."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import httpx2
import pytest

from tests.conftest import KEY, lab
from tests.gateway.test_answer import BODY
from tests.scripted_upstream import Asked, Line


def serve(tmp_path: Path, toml: str, store: Path) -> tuple[subprocess.Popen[bytes], str]:
    """`llmlens serve` as a process of its own; gives it and its address."""
    config = tmp_path / "llmlens.toml"
    config.write_text(toml)
    command = [sys.executable, "-m", "llmlens", "serve", "--config", str(config), "--store", str(store),
               "--port", "0", "--key", KEY]  # fmt: skip
    said = tmp_path / "stderr"
    state = store.with_name(store.name + ".gateway.json")
    with said.open("w") as file:
        process = subprocess.Popen(command, stderr=file)
    while process.poll() is None:
        if state.exists() and (found := json.loads(state.read_text()))["pid"] == process.pid:
            return process, f"http://127.0.0.1:{found['port']}"
        time.sleep(0.02)
    raise AssertionError(said.read_text())


def client(url: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False)


def logged_ids(store: Path) -> list[str]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return [row[0] for row in connection.execute("SELECT call_id FROM calls WHERE outcome = 'complete'").fetchall()]


async def answers(asked: Asked, line: Line) -> None:
    await line.answer(200, BODY)


@pytest.mark.parametrize("kill_after", [1, 60, 199])
def test_kill_9_loses_no_answered_call_and_doubles_none(upstream, tmp_path, kill_after):
    provider = upstream(answers)
    store = tmp_path / "s.duckdb"
    process, url = serve(tmp_path, lab(provider.url), store)
    answered: list[str] = []
    enough = threading.Event()

    def call(number: int) -> None:
        body = {"model": "lab/m", "messages": [{"role": "user", "content": f"{number}"}]}
        try:
            with client(url) as http:
                answer = http.post("/v1/chat/completions", json=body)
        except httpx2.HTTPError:
            return  # the gateway was dead: this call was not answered
        assert answer.status_code == 200
        answered.append(answer.headers["x-llmlens-call-id"])
        if len(answered) >= kill_after:
            enough.set()

    with ThreadPoolExecutor(16) as pool:
        done = [pool.submit(call, n) for n in range(200)]
        assert enough.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        for future in done:
            future.result()
    process.wait()
    assert len(answered) >= kill_after
    process, url = serve(tmp_path, lab(provider.url), store)  # replays the journal
    with client(url) as http:
        http.post("/lens/stop")
    process.wait(30)
    ids = logged_ids(store)
    assert len(ids) == len(set(ids)), "a call is in the log twice"
    assert set(answered) <= set(ids), "an answered call is missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("policy", ["refuse", "answer"])
def test_a_full_disk(upstream, tmp_path, policy):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        full_disk(upstream, tmp_path, disk, policy)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def full_disk(upstream, tmp_path: Path, disk: Path, policy: str) -> None:
    provider = upstream(answers)
    store = disk / "s.duckdb"
    toml = f'[gateway]\non_log_failure = "{policy}"\n' + lab(provider.url)
    process, url = serve(tmp_path, toml, store)
    outcomes: dict[str, list[int]] = {}

    def calls(phase: str, count: int) -> None:
        with client(url) as http:
            for n in range(count):
                body = {"model": "lab/m", "messages": [{"role": "user", "content": f"{phase} {n} " + "x" * 2000}]}
                answer = http.post("/v1/chat/completions", json=body)
                outcomes.setdefault(phase, []).append(answer.status_code)
                if answer.status_code == 503:
                    error = answer.json()["error"]
                    assert error["code"] == "log_unavailable"
                    assert "No space left" in error["message"]
                    assert int(answer.headers["retry-after"]) >= 1

    calls("before", 5)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1 << 8, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    calls("full", 20)
    with client(url) as http:
        assert http.get("/lens/health").json()["status"] == "failing"
    ballast.unlink()
    calls("after", 5)
    with client(url) as http:
        assert http.get("/lens/health").json()["status"] == "ok"
        http.post("/lens/stop")
    process.wait(60)
    assert set(outcomes["before"]) == set(outcomes["after"]) == {200}
    if policy == "refuse":
        assert outcomes["full"].count(503) >= 15
        assert len(provider.asked) == sum(s == 200 for found in outcomes.values() for s in found)
    else:
        assert set(outcomes["full"]) == {200}
    assert len(logged_ids(store)) == len(provider.asked), "every call that was sent is in the log"


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path):
    store = Path("/proc/llmlens/s.duckdb")
    command = [sys.executable, "-m", "llmlens", "serve", "--store", str(store), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert ended.returncode == 1
    assert "/proc/llmlens" in ended.stderr
    assert "LLMLENS_STORE" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_gateway_on_the_same_store_names_the_first(upstream, tmp_path):
    store = tmp_path / "s.duckdb"
    process, url = serve(tmp_path, "", store)
    command = [sys.executable, "-m", "llmlens", "serve", "--store", str(store), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert ended.returncode == 1
    assert str(process.pid) in ended.stderr
    assert "Traceback" not in ended.stderr
    with client(url) as http:
        assert http.get("/lens/health").json()["pid"] == process.pid
        http.post("/lens/stop")
    process.wait(30)


def test_json_of_the_query_door_is_json(start):
    gateway = start()
    gateway.chat("sim/echo", "hello")
    row = gateway.row()
    assert json.dumps(row)
    assert row["simulated"] is True
