"""A gateway under fire: `make soak`."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.conftest import KEY, lab
from tests.gateway.test_answer import BODY, SSE
from tests.scripted_upstream import Asked, Line

N_CALLS, N_THREADS = 20_000, 32
MAX_GROWTH_KB = 40_000  # between the middle and the end


async def unreliable(asked: Asked, line: Line) -> None:
    """Most calls are answered; some are refused, cut off, or come as a stream."""
    draw = random.Random(asked.body).random()
    if draw < 0.02:
        await line.answer(429, b'{"error": {"message": "slow down"}}', "retry-after: 0")
    elif draw < 0.04:
        line.cut()
    elif json.loads(asked.body).get("stream"):
        await line.begin_stream()
        for at in range(0, len(SSE), 61):
            await line.chunk(SSE[at : at + 61])
        await line.end_stream()
    else:
        await line.answer(200, BODY)


def resident_kb() -> int:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


@pytest.mark.soak
def test_every_call_has_its_row_and_memory_stays(start, upstream):
    gateway = start("[gateway]\nmax_attempts = 1\n" + lab(upstream(unreliable).url))

    def calls(part: int) -> list[int]:
        statuses = []
        with httpx2.Client(base_url=gateway.url, headers={"authorization": f"Bearer {KEY}"}, trust_env=False) as http:
            for number in range(N_CALLS // 2 // N_THREADS):
                body = {"model": "lab/m", "stream": number % 3 == 0,
                        "messages": [{"role": "user", "content": f"{part} {number}"}]}  # fmt: skip
                statuses.append(http.post("/v1/chat/completions", json=body, timeout=60).status_code)
        return statuses

    sizes = []
    for half in (0, 1):
        with ThreadPoolExecutor(N_THREADS) as threads:
            answered = [s for part in threads.map(calls, range(half * 100, half * 100 + N_THREADS)) for s in part]
        assert {*answered} <= {200, 429, 502}
        sizes.append(resident_kb())
    [found] = gateway.rows("SELECT count(*) AS n, count(DISTINCT call_id) AS ids FROM calls")
    assert found == {"n": len(answered) * 2, "ids": len(answered) * 2}
    assert sizes[1] - sizes[0] < MAX_GROWTH_KB
