"""Tokens that the gateway counts itself: for `/lens/tokens`, and in place of a provider that has no counter.

It runs in a thread: loading an encoding takes half a second, and so may a large request. No network.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final, cast

from llmlens.catalog.models import limits_of
from llmlens.catalog.providers import Provider
from llmlens.catalog.token_count import TokenCount, count_request, count_text
from llmlens.errors import BadRequest, WireError
from llmlens.gateway.upstream import Incoming, Outgoing
from llmlens.records import Target
from llmlens.wire.any_chat import read_chat
from llmlens.wire.dialect import CountDialect
from llmlens.wire.dialects import DIALECTS
from llmlens.wire.json_text import dumps, loads

ORIGIN: Final = "estimate:"
REQUESTS: Final = ("messages", "contents", "input")


async def tokens(body: bytes, providers: Mapping[str, Provider]) -> dict[str, Any]:
    """How many input tokens the text or the chat request in `body` is, and what its model takes.

    Raises:
        BadRequest: it is neither, or names no model.
    """
    return await asyncio.to_thread(_tokens, body, providers)


def _tokens(body: bytes, providers: Mapping[str, Provider]) -> dict[str, Any]:
    try:
        asked = loads(body)
        counted = _counted(asked)
    except WireError as error:
        raise BadRequest(str(error)) from error
    found = limits_of(asked["model"], providers)
    return {
        **asdict(counted),
        "context_tokens": found.context_tokens,
        "max_output_tokens": found.max_output_tokens,
    }


def _counted(asked: Any) -> TokenCount:
    if not isinstance(asked, dict):
        raise BadRequest(f"the body must be a JSON object, not {type(asked).__name__}")
    model, text = asked.get("model"), asked.get("text")
    if not isinstance(model, str) or not model:
        raise BadRequest('the request names no model; set "model", e.g. "openai/gpt-5.1"', param="model")
    is_chat = any(name in asked for name in REQUESTS)
    if isinstance(text, str) and not is_chat:
        return count_text(text, model)
    if is_chat and not isinstance(text, str):  # in a Responses request it is an object
        return count_request(replace(read_chat(asked), model=model))
    raise BadRequest('give either "text", or a chat request with "messages", "contents" or "input"', param="text")


# ── in place of a provider ────────────────────────────────────────────────────────────────────────────────────────


class CountingUpstream:
    """Answers requests to count tokens, in the dialect they came in."""

    async def send(self, request: Outgoing) -> Incoming:
        """Raises BadRequest where the request cannot be read, or its count not be known."""
        return Ready(await asyncio.to_thread(_count_answer, request))

    async def close(self) -> None:
        return None


class Ready:
    """An answer in JSON that is there already."""

    __slots__ = ("_body", "headers", "status")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 200
        self.headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        return None


def counting_request(dialect: CountDialect, target: Target, body: bytes) -> Outgoing:
    """What `CountingUpstream` is sent."""
    return Outgoing("POST", f"{ORIGIN}/{dialect.name}/{target.model}", {}, body)


def _count_answer(request: Outgoing) -> bytes:
    name, _, model = request.url.removeprefix(f"{ORIGIN}/").partition("/")
    dialect = cast("CountDialect", DIALECTS[name])
    try:
        counted = count_request(replace(dialect.parse_request(loads(request.body)), model=model))
    except WireError as error:
        raise BadRequest(str(error)) from error
    if counted.input_tokens is None:
        raise BadRequest(
            f"the tokens of this request cannot be counted, at least {counted.at_least} are known: {counted.how}"
        )
    return dumps(dialect.build_count(counted.input_tokens))
