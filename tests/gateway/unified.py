"""A gateway whose unified doors lead to a provider of every family, all of them one scripted upstream."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmlens.records import ChatRequest
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import DIALECTS
from tests.conftest import Running
from tests.gateway.sdk_callers import ASK, Seen, clients
from tests.scripted_upstream import Asked, Line, Script, ScriptedUpstream
from tests.wire.test_recorded import Row, body_of

# Dialect of a provider → its row, but for the address. The names of providers are those of dialects, without dots.
PROVIDERS: Mapping[str, str] = {
    "openai.chat": 'dialect = "openai"\nwithout = ["openai.responses"]',
    "openai.responses": 'dialect = "openai"\nwithout = ["openai.chat"]',
    "anthropic.messages": 'dialect = "anthropic"',
    "gemini.generate": 'dialect = "gemini"',
    "cohere.chat_v2": 'dialect = "cohere"',
    "ollama.chat": 'dialect = "ollama"',
    "bedrock.converse": 'dialect = "bedrock"\napi_key = "env:UNIFIED_TEST_KEY"',
}
PASSED_ON = ("retry-after", "x-amzn-errortype")


def chat_dialect(name: str) -> ChatDialect:
    dialect = DIALECTS[name]
    assert isinstance(dialect, ChatDialect)
    return dialect


def model_at(outbound: str, model: str = "m") -> str:
    """The name of `model` at the provider that speaks `outbound`."""
    return f"{outbound.replace('.', '-')}/{model}"


def config(url: str) -> str:
    rows = [f'[providers.{name.replace(".", "-")}]\nbase_url = "{url}/base"\n{row}' for name, row in PROVIDERS.items()]
    return "\n".join(["[gateway]\nmax_attempts = 1", *rows])


@dataclass
class Unified:
    """`answers` are given in turn, the last one for ever."""

    gateway: Running
    upstream: ScriptedUpstream
    answers: list[Row] = field(default_factory=list)
    clients: Mapping[str, Any] = field(default_factory=dict)

    def ask(self, inbound: str, outbound: str, *, stream: bool = False, model: str = "m", **more: Any) -> Seen:
        return ASK[inbound](self.clients[inbound], model_at(outbound, model), stream=stream, **more)

    def arrived(self, outbound: str) -> ChatRequest:
        """The last request that the provider got, as its own dialect reads it; model and stream from the path."""
        asked, dialect = self.upstream.asked[-1], chat_dialect(outbound)
        body = json.loads(asked.body)
        if dialect.read_path is not None and (named := dialect.read_path(asked.target.partition("?")[0]))[0]:
            body = {**body, "model": named[0]}
        return dialect.parse_request(body)


def given(dialect: str, body: bytes | Mapping[str, Any], status: int = 200, **headers: str) -> Row:
    """An answer that was not recorded, in the form of one that was."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    stream = data[:1] != b"{"
    kind = "text/event-stream" if stream else "application/json"
    answer = {"status": status, "body_base64": base64.b64encode(data).decode()}
    return {"dialect": dialect, "stream": stream, "response": {**answer, "headers": {"content-type": kind, **headers}}}


CALL = {"name": "weather", "args": {"city": "Bern"}}


def gemini(*parts: Any) -> dict[str, Any]:
    """An answer of Gemini that says `parts`."""
    counts = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    content = {"role": "model", "parts": [*parts]}
    return {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": counts}


@pytest.fixture
def unified(
    start: Callable[..., Running],
    upstream: Callable[[Script], ScriptedUpstream],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Unified]:
    """A gateway, its providers, and an SDK of each inbound dialect."""
    monkeypatch.setenv("UNIFIED_TEST_KEY", "key-of-the-provider")
    answers: list[Row] = []

    async def script(_asked: Asked, line: Line) -> None:
        row = answers.pop(0) if len(answers) > 1 else answers[0]
        answer = row["response"]
        kind = answer["headers"].get("content-type") or "application/json"
        if row["stream"] and "content-type" not in answer["headers"]:
            kind = next(iter(DIALECTS[row["dialect"]].stream_types))
        passed = [f"{name}: {answer['headers'][name]}" for name in PASSED_ON if name in answer["headers"]]
        await line.answer(answer["status"], body_of(row), *passed, content_type=kind)

    provider = upstream(script)
    gateway = start(config(provider.url))
    of_each = clients(gateway.url)
    yield Unified(gateway, provider, answers, of_each)
    for client in of_each.values():
        client.close()
