"""The ASGI application: Host and Origin checked, then the control API (`/lens/…`) or a call.

No framework on the hot path.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp

from llmlens.catalog.providers import Provider
from llmlens.errors import Denied, Forbidden
from llmlens.gateway.answer import answer
from llmlens.gateway.books import Books, House
from llmlens.gateway.call import Door, door_of, fallback_door, new_call_id, read_call, unread_call
from llmlens.gateway.caller import Caller, Receive, Send
from llmlens.gateway.models import Models
from llmlens.gateway.relay import refuse
from llmlens.records import CacheMode, Fault
from llmlens.wire.dialects import RAW_OPENAI

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
CONTROL_PATHS = ("/lens/", "/metrics")


@dataclass(slots=True)
class App:
    """`allowed_hosts` are names besides loopback by which it may be addressed (a guard against DNS rebinding)."""

    house: House
    providers: Mapping[str, Provider]
    models: Models
    control: ASGIApp
    default_cache: CacheMode = "on"
    allowed_hosts: frozenset[str] = frozenset()
    calls: int = field(default=0, init=False)  # since the start
    running: int = field(default=0, init=False)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope["headers"])
        caller = Caller(receive, send)
        try:
            self._check_place(headers)
        except Denied as denial:
            await _plain_refusal(denial, caller)
            return
        if scope["path"].startswith(CONTROL_PATHS) or scope["path"] == "/":
            await self.control(scope, receive, send)
            return
        self.calls += 1
        self.running += 1
        try:
            await self._serve(scope, headers, caller)
        except asyncio.CancelledError:
            if not caller.gone:
                raise
        finally:
            self.running -= 1

    async def _serve(self, scope: dict[str, Any], headers: dict[str, str], caller: Caller) -> None:
        call_id = new_call_id()
        path = _path(scope)
        door = fallback_door(path)
        principal = credential = None
        body = b""
        query = _without_key(scope["query_string"].decode("latin-1"), headers)
        try:
            principal, credential = self.house.gate.who(headers)
            door = door_of(scope["method"], path, headers, self.providers)
            body = await caller.body(self.house.gate.max_body_bytes, _length(headers))
            if door.dialect.operation == "models" and door.provider is None:
                await _send(caller, 200, await self.models.answer(path))
                return
            call = read_call(
                call_id=call_id, method=scope["method"], door=door, query=query,
                headers=headers, body=body, principal=principal, credential=credential,
                default_cache=self.default_cache,
            )  # fmt: skip
        except Denied as denial:
            if caller.gone:
                return
            if principal is None:  # nobody we know: an answer, but no row that a stranger could fill the log with
                await _plain_refusal(denial, caller, door)
                return
            books = Books(unread_call(call_id, scope["method"], door, headers, body, principal), self.house)
            await refuse(denial, caller, books)
            return
        await answer(call, caller, self.house)

    def _check_place(self, headers: Mapping[str, str]) -> None:
        """A page of another site must not reach the gateway through its user's browser."""
        host = _host_name(headers.get("host", ""))
        if host not in LOOPBACK and host not in self.allowed_hosts:
            raise Forbidden(f"Host {host!r} is not allowed; add it to gateway.allowed_hosts in llmlens.toml")
        origin = headers.get("origin")
        if origin is not None and _host_name(urlsplit(origin).netloc) not in LOOPBACK | self.allowed_hosts:
            raise Forbidden(f"Origin {origin!r} is not allowed; add its host to gateway.allowed_hosts in llmlens.toml")


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name; a header that is repeated is one list (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _path(scope: dict[str, Any]) -> str:
    """The path as it was sent, percent-encoding and all: the provider must see what the SDK wrote."""
    raw = scope.get("raw_path")
    return raw.decode("latin-1").partition("?")[0] if raw else cast("str", scope["path"])


def _without_key(query: str, headers: dict[str, str]) -> str:
    """Google's `?key=…` moves into the header that its SDKs use: a query is logged and shown, a key is not."""
    if "key=" not in query:
        return query
    pairs = query.split("&")
    for key in (pair[4:] for pair in pairs if pair.startswith("key=")):
        headers.setdefault("x-goog-api-key", unquote(key))
    return "&".join(pair for pair in pairs if not pair.startswith("key="))


def _length(headers: Mapping[str, str]) -> int | None:
    given = headers.get("content-length", "")
    return int(given) if given.isascii() and given.isdigit() else None


def _host_name(netloc: str) -> str:
    """`host:port` without its port, in lower case."""
    if netloc.startswith("["):
        return netloc.partition("]")[0].lower() + "]"
    return netloc.partition(":")[0].lower()


async def _plain_refusal(denial: Denied, caller: Caller, door: Door | None = None) -> None:
    fault = Fault(str(denial), denial.type, denial.code, denial.param, denial.status)
    dialect = door.dialect if door else RAW_OPENAI
    await _send(caller, denial.status, dialect.fault_body(fault))


async def _send(caller: Caller, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await caller.begin(status, headers)
    await caller.end(body)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
