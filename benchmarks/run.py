"""Gateways side by side in one run: `make bench`. Needs Linux, gcc and two cores.

The gateway under test has one core, the upstream (a fake provider in C, > 100,000 requests/s) and the load generator
share the other. Every request has a body of its own, so every one is a miss, is logged and is cached. LiteLLM's proxy
is measured too where it can be installed (into benchmarks/.venv), with opentelemetry-sdk, which is its best case.
The floor is a byte relay in C on the gateway's core; "added" is the p50 over that floor.
"""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
GATEWAY_CORE, LOAD_CORE = "0", "1"
KEY = "llk-benchmark-0123456789"
UPSTREAM = 9000


@dataclass
class Contender:
    """What is measured: where it listens, what it needs in a request, and what came out."""

    name: str
    port: int
    model: str = "mock"
    key: str | None = None
    requests: int = 20_000  # of the c=64 run
    figures: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    """Measure everything that can run here, print the table, keep the figures in benchmarks/build/results.json."""
    build()
    with upstream(), tempfile.TemporaryDirectory() as folder:
        results = [measured(Contender("no gateway", UPSTREAM)), measured_relay(), measured_llmlens(Path(folder))]
        if litellm := measured_litellm(Path(folder)):
            results.append(litellm)
    print(table(results))
    (BUILD / "results.json").write_text(json.dumps({c.name: c.figures for c in results}, indent=1))


def build() -> None:
    """Compile the upstream, the load generator and the relay."""
    BUILD.mkdir(exist_ok=True)
    for name in ("mock_upstream", "load", "relay"):
        subprocess.run(["gcc", "-O2", "-w", "-o", BUILD / name, HERE / f"{name}.c"], check=True)


@contextmanager
def running(command: list[str], port: int, core: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """A process on `core`, ready when `port` accepts; gives its pid."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SystemExit(f"port {port} is taken: what listens there would be measured instead")
    with open(BUILD / f"{port}.log", "wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command], stdout=log, stderr=log, env={**os.environ, **(env or {})}
        )
        try:
            wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes], patience_s: float = 180) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}; see {BUILD}/{port}.log")


@contextmanager
def upstream() -> Iterator[None]:
    with running([str(BUILD / "mock_upstream"), "-p", str(UPSTREAM)], UPSTREAM, LOAD_CORE):
        yield


def measured_relay() -> Contender:
    relay = Contender("C relay (the floor)", 9001)
    with running([str(BUILD / "relay"), "9001", str(UPSTREAM)], 9001, GATEWAY_CORE):
        return measured(relay)


def measured_llmlens(folder: Path) -> Contender:
    config = folder / "llmlens.toml"
    config.write_text(
        f'[providers.lab]\nbase_url = "http://127.0.0.1:{UPSTREAM}/v1"\n'
        '[prices."lab/*"]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2\n'
    )
    command = [sys.executable, "-m", "llmlens", "serve", "--config", str(config), "--store", str(folder / "bench.duckdb"),
               "--port", "9002", "--key", KEY]  # fmt: skip
    contender = Contender(f"llmlens {version('llmlens')}, log and cache on", 9002, "lab/mock", KEY)
    with running(command, 9002, GATEWAY_CORE) as pid:
        measured(contender, pid)
        contender.figures["hit"] = load(contender, 1, 5_000, unique=False)
        contender.figures["rss_again_mb"] = rss_after(contender, pid, 20_000)
    return contender


def measured_litellm(folder: Path) -> Contender | None:
    """None where it cannot be installed."""
    python = HERE / ".venv" / "bin" / "python"
    if not (python.parent / "litellm").exists():
        uv = shutil.which("uv") or str(HERE.parent / ".venv" / "bin" / "uv")
        requirements = str(HERE / "requirements-litellm.txt")
        made = subprocess.run([uv, "venv", "-q", str(HERE / ".venv")], check=False).returncode == 0
        if not made or subprocess.run([uv, "pip", "install", "-q", "-p", str(python), "-r", requirements],
                                      check=False).returncode:  # fmt: skip
            print("LiteLLM cannot be installed here: left out", file=sys.stderr)
            return None
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: mock\n    litellm_params:\n      model: openai/mock\n"
        f"      api_base: http://127.0.0.1:{UPSTREAM}/v1\n      api_key: x\n"
        "litellm_settings:\n  num_retries: 0\n  request_timeout: 60\n"
    )
    command = [str(python.parent / "litellm"), "--config", str(config), "--port", "9003", "--host", "127.0.0.1",
               "--num_workers", "1"]  # fmt: skip
    env = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_PROXY": "127.0.0.1",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    name = subprocess.run([str(python), "-c", "import importlib.metadata as m; print(m.version('litellm'))"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    contender = Contender(f"LiteLLM {name} + opentelemetry-sdk", 9003, requests=500)
    with running(command, 9003, GATEWAY_CORE, env) as pid:
        return measured(contender, pid)


def measured(contender: Contender, pid: int | None = None) -> Contender:
    """p50 at one connection, throughput at 64, streams of 32 chunks at 8, memory afterwards."""
    few = min(contender.requests, 5_000)
    time.sleep(5)  # all of them load price tables and the like after they began to listen
    load(contender, 8, few)  # a warm-up, for everyone
    contender.figures["c1"] = load(contender, 1, few // 5)
    contender.figures["c64"] = load(contender, 64, contender.requests)
    contender.figures["streams"] = load(contender, 8, few, stream=True)
    if pid is not None:
        contender.figures["rss_mb"] = rss_mb(pid)
    return contender


def load(contender: Contender, connections: int, requests: int, *, stream: bool = False, unique: bool = True) -> Any:
    """One run of the load generator; microseconds and requests per second."""
    body = (HERE / ("body_stream.json" if stream else "body.json")).read_text()
    body = body.replace('"model":"mock"', f'"model":"{contender.model}"')
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(body if unique else body.replace("{{N}}", "7"))
        file.flush()
        command = ["taskset", "-c", LOAD_CORE, str(BUILD / "load"), "-c", str(connections), "-n", str(requests),
                   "-w", str(max(50, requests // 10)), "-f", file.name, "-E", "-s", str(time.time_ns() // 1000 % 10**12)]  # fmt: skip
        if contender.key:
            command += ["-H", f"authorization: Bearer {contender.key}"]
        command.append(f"http://127.0.0.1:{contender.port}/v1/chat/completions")
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    if result["bad"]:
        raise SystemExit(f"{contender.name}: {result['bad']} bad answers: {done.stderr[:500]}")
    return result


def rss_after(contender: Contender, pid: int, requests: int) -> float:
    load(contender, 64, requests)
    return rss_mb(pid)


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    pids = [
        pid,
        *map(
            int, subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
        ),
    ]
    total = 0
    for one in pids:
        status = Path(f"/proc/{one}/status").read_text()
        total += int(status.split("VmRSS:")[1].split()[0])
    return round(total / 1024, 1)


def table(results: list[Contender]) -> str:
    """The figures as Markdown."""
    floor = next(c for c in results if "relay" in c.name).figures["c1"]["p50"]
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    lines = [
        f"{datetime.now(UTC).date().isoformat()}, {cpu}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "",
        "| | p50 at c=1, ms | added p50, ms | c=64, req/s (p50 / p99, ms) | streams/s at c=8 | resident, MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for c in results:
        f = c.figures
        added = "" if c.figures["c1"]["p50"] <= floor else f"{(f['c1']['p50'] - floor) / 1000:.2f}"
        many = f"{f['c64']['rps']:,.0f} ({f['c64']['p50'] / 1000:.1f} / {f['c64']['p99'] / 1000:.1f})"
        rss = f"{f['rss_mb']:.0f}" if "rss_mb" in f else ""
        lines.append(
            f"| {c.name} | {f['c1']['p50'] / 1000:.2f} | {added} | {many} | {f['streams']['rps']:,.0f} | {rss} |"
        )
        if "hit" in f:
            lines.append(
                f"| … a cache hit | {f['hit']['p50'] / 1000:.2f} | | | | {f['rss_again_mb']:.0f} (20,000 calls later) |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
