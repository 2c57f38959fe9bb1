"""Fixtures that are real: a gateway on a socket, a provider that does what a test says, a llama.cpp server."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from llmlens import settings as configuration
from llmlens.gateway.serve import Gateway, in_thread
from tests import tiny_llama
from tests.scripted_upstream import Script, ScriptedUpstream, scripted

KEY = "llk-test-0123456789abcdef"

# A shared machine may be slow; a law that holds only on a fast one is none.
hypothesis_settings.register_profile(
    "llmlens", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
hypothesis_settings.register_profile("soak", hypothesis_settings.get_profile("llmlens"), max_examples=3_000)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "llmlens"))


@dataclass
class Running:
    """A gateway under test."""

    url: str
    gateway: Gateway
    http: httpx2.Client
    stop: Callable[[], None]

    def chat(self, model: str, text: str = "hello", *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """POST one chat call; gives the response."""
        payload = {"model": model, "messages": [{"role": "user", "content": text}], **body}
        return self.http.post("/v1/chat/completions", json=payload, headers=headers)

    def rows(self, sql: str = "SELECT * FROM calls ORDER BY started_at") -> list[dict[str, Any]]:
        """The log, through the gateway's own query door."""
        answer = self.http.post("/lens/query", json={"sql": sql}, headers={"accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def row(self) -> dict[str, Any]:
        """The only row there is."""
        rows = self.rows()
        assert len(rows) == 1, [r["outcome"] for r in rows]
        return rows[0]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """start(toml="", store=…) → a running gateway with KEY as the owner's key; stopped when the test ends."""
    with ExitStack() as running:

        def go(toml: str = "", *, store: Path | None = None, key: str = KEY) -> Running:
            config = tmp_path / "llmlens.toml"
            config.write_text(toml)
            stack = running.enter_context(ExitStack())
            found = configuration.load(config, store or tmp_path / "store.duckdb", environ=dict(os.environ))
            url, gateway = stack.enter_context(in_thread(found, key=key))
            http = stack.enter_context(
                httpx2.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60, trust_env=False)
            )
            return Running(url, gateway, http, stack.close)

        yield go


@pytest.fixture
def upstream() -> Iterator[Callable[[Script], ScriptedUpstream]]:
    """upstream(script) → a provider on loopback that answers as `script` says."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(scripted(script))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a llama.cpp server with a tiny random model."""
    pytest.importorskip("xllamacpp")
    with tiny_llama.serving(tmp_path_factory.mktemp("llama")) as url:
        yield url


def lab(url: str, dialect: str = "openai", name: str = "lab") -> str:
    """The llmlens.toml row of a provider at `url`."""
    return f'[providers.{name}]\nbase_url = "{url}/v1"\ndialect = "{dialect}"\n'
