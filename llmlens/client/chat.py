"""One chat call: what is sent (`ChatCall`), and the streams that read its answer, in threads and in asyncio."""

import asyncio
import http.client
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

from llmlens.catalog.providers import Provider, resolve_model
from llmlens.client import cell
from llmlens.client.answer import Answer, Reading
from llmlens.client.door import Exchange
from llmlens.client.gateway import Gateway
from llmlens.client.session import Session
from llmlens.errors import LensError, ModelUnknown
from llmlens.records import CacheMode
from llmlens.settings import Settings, secret_of
from llmlens.wire import headers as names
from llmlens.wire.json_text import dumps

if TYPE_CHECKING:
    import httpx2

DEFAULT_MODEL: Final = "sim/small"
PATH: Final = "/v1/chat/completions"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

Prompt: TypeAlias = str | Sequence[Mapping[str, Any]]
_BROKEN: Final = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One call, ready to be sent: its body, and the headers that do not hold our key."""

    session: Session
    model: str
    body: bytes
    headers: Mapping[str, str]
    in_cell: bool

    @classmethod
    def of(
        cls,
        session: Session,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        fields: Mapping[str, Any],
        *,
        cache: CacheMode | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> "ChatCall":
        """The call belongs to the cell that makes it. `fields` of the body that are None are left out.

        Raises:
            WireError: something in it cannot be JSON.
        """
        body = {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True},
                **{name: value for name, value in fields.items() if value is not None}}  # fmt: skip
        where = cell.headers()
        headers = {"content-type": "application/json", "accept": "text/event-stream", names.RECEIPT: "1",
                   "user-agent": f"llmlens/{version('llmlens')}", **where}  # fmt: skip
        if cache is not None:
            headers[names.CACHE] = cache
        if tags:
            headers[names.TAGS] = json.dumps(tags)
        if credential := _credential(model, session.settings):
            headers["authorization"] = f"Bearer {credential}"
            headers[names.KEY_OF] = resolve_model(model, session.settings.providers)[0]
        return cls(session, model, dumps(body), headers, bool(where))

    def __repr__(self) -> str:
        return f"<ChatCall {self.model}>"

    def sample(self, group: str, k: int, n: int) -> "ChatCall":
        """The k-th (from 0) of `n` identical calls that are sent at once. Inside a cell the gateway counts by itself;
        the group's name lets it keep their order."""
        told = {names.GROUP: f"{group}; k={k}; n={n}"} if self.in_cell else {names.SAMPLE: str(k)}
        return replace(self, headers={**self.headers, **told})


def limit_field(model: str, settings: Settings) -> str:
    """The name of the field that limits the answer's tokens. OpenAI's newer models refuse `max_tokens`; many
    look-alikes know nothing else."""
    provider = _provider(model, settings)
    new = provider is not None and "max_completion_tokens" in provider.quirks
    return "max_completion_tokens" if new else "max_tokens"


def _provider(model: str, settings: Settings) -> Provider | None:
    with suppress(ModelUnknown):  # the gateway says so, and better
        return settings.providers[resolve_model(model, settings.providers)[0]]
    return None


def _credential(model: str, settings: Settings) -> str | None:
    """The key that this environment has for the provider of `model`: the gateway may have been started without it."""
    provider = _provider(model, settings)
    if provider is None or provider.own_key:
        return None
    if settings.url:
        parts = urlsplit(settings.url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            return None  # it would cross a network in the clear
    secret = secret_of(provider.key_env)
    return secret.reveal() if secret else None


class AnswerStream:
    """The text of one answer as it comes: an iterator of str. Then `answer`. The call is sent when it is made.

    `close()` breaks off, from any thread; so does an interrupt, and leaving a `with` block early. The gateway then
    cancels the call at the provider and logs what had come.
    """

    def __init__(self, call: ChatCall, *, raises: bool = True) -> None:
        self._call, self._raises = call, raises
        self._began = monotonic()
        self._reading = Reading(call.model)
        self._ready: deque[str] = deque()
        self._answer: Answer | None = None
        self._begun = False
        self._busy = threading.Lock()
        self._exchange: Exchange | None = None
        try:
            self._exchange = call.session.send("POST", PATH, call.headers, call.body)
        except OSError as error:
            self._end(_broken(error))
        self._chunks = self._exchange.chunks() if self._exchange else iter(())

    def __repr__(self) -> str:
        return f"<AnswerStream {self._call.model}>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while not self._ready:
            if self._answer is not None:
                raised, self._raises = self._raises, False  # said once
                if raised:
                    self._answer.raise_for_error()
                raise StopIteration
            self._advance()
        return self._ready.popleft()

    @property
    def answer(self) -> Answer:
        """The whole answer; waits for the rest of it. A failed call has `.error`; this raises nothing."""
        while self._answer is None:
            self._advance()
        return self._answer

    def close(self) -> None:
        """Break off, from any thread. `answer` then holds what had come."""
        if self._answer is None and self._exchange is not None:
            self._exchange.abort()
            if self._busy.acquire(blocking=False):  # else the thread that reads finds the end
                self._busy.release()
                while self._answer is None:
                    self._advance()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_exchange", None) is not None:
            self.close()

    def _advance(self) -> None:
        """Wait for the next bytes, or the end."""
        with self._busy:
            if self._answer is not None or self._exchange is None:
                return
            try:
                self._step(self._exchange)
            except _BROKEN as error:
                self._end(None if self._exchange.aborted else _broken(error))
            except BaseException:  # an interrupt: the provider shall stop writing now, not when we are collected
                self._exchange.abort()
                self._end(None)
                raise

    def _step(self, exchange: Exchange) -> None:
        if not self._begun:
            self._begun = True
            self._reading.begin(*exchange.begin())
        elif chunk := next(self._chunks, b""):
            self._ready.extend(self._reading.feed(chunk, monotonic() - self._began))
        else:
            self._end(None)

    def _end(self, broken: str | None) -> None:
        cancelled = False
        if self._exchange is not None:
            cancelled = self._exchange.aborted
            self._exchange.close()
        self._answer = self._reading.end(monotonic() - self._began, broken=broken, cancelled=cancelled)


class AsyncAnswerStream:
    """The text of one answer as it comes: an async iterator of str. Then `await stream.answer()`.

    The call is sent when the first piece is asked for. `aclose()` and cancellation break it off.
    """

    def __init__(self, call: ChatCall, *, raises: bool = True) -> None:
        self._call, self._raises = call, raises
        self._began = monotonic()
        self._reading = Reading(call.model)
        self._ready: deque[str] = deque()
        self._answer: Answer | None = None
        self._response: httpx2.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    def __repr__(self) -> str:
        return f"<AsyncAnswerStream {self._call.model}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._ready:
            if self._answer is not None:
                raised, self._raises = self._raises, False
                if raised:
                    self._answer.raise_for_error()
                raise StopAsyncIteration
            await self._advance()
        return self._ready.popleft()

    async def answer(self) -> Answer:
        """The whole answer; waits for the rest of it. A failed call has `.error`; this raises only GatewayError."""
        while self._answer is None:
            await self._advance()
        return self._answer

    async def aclose(self) -> None:
        """Break off. `answer()` then holds what had come."""
        if self._answer is None:
            await self._end(None, cancelled=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _advance(self) -> None:
        import httpx2

        try:
            if self._chunks is None:
                self._chunks = await self._open()
            elif (chunk := await anext(self._chunks, None)) is not None:
                self._ready.extend(self._reading.feed(chunk, monotonic() - self._began))
            else:
                await self._end(None)
        except (httpx2.HTTPError, OSError) as error:
            await self._end(_broken(error))
        except LensError:
            raise
        except BaseException:
            await self.aclose()
            raise

    async def _open(self) -> AsyncIterator[bytes]:
        """Send; a gateway that is gone is found or started again, once."""
        import httpx2

        session = self._call.session
        gateway = await asyncio.to_thread(lambda: session.gateway)
        try:
            response = await self._send(gateway)
        except httpx2.ConnectError:
            response = await self._send(await asyncio.to_thread(session.reconnected, gateway))
        self._response = response
        self._reading.begin(response.status_code, response.headers)
        return response.aiter_raw()

    async def _send(self, gateway: Gateway) -> "httpx2.Response":
        client = self._call.session.async_client()
        headers = {**self._call.headers, **gateway.headers}
        request = client.build_request("POST", gateway.url + PATH, content=self._call.body, headers=headers)
        return await client.send(request, stream=True)

    async def _end(self, broken: str | None, *, cancelled: bool = False) -> None:
        self._answer = self._reading.end(monotonic() - self._began, broken=broken, cancelled=cancelled)
        if self._response is not None:
            await self._response.aclose()


def _broken(error: BaseException) -> str:
    return f"the gateway broke off: {type(error).__name__} {error}".rstrip()
