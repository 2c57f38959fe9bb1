"""Scenarios on asyncio's own loop and on uvloop."""

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.gateway.loopback import Run
from tests.gateway.loopback_tls import AUTHORITY

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """run(scenario) → its result. Nothing may go wrong unseen meanwhile."""
    wrong: list[dict[str, Any]] = []

    async def watched(scenario: Coroutine[Any, Any, Any]) -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        return await asyncio.wait_for(scenario, 30)

    def go(scenario: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            result = runner.run(watched(scenario))
            gc.collect()  # exceptions that nobody fetched are reported by the collector
        assert not wrong, wrong
        return result

    return go


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "authority.pem").write_text(AUTHORITY)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
