"""An HTTP/1.1 client for one job: a request whose body is in memory, an answer that is read as it comes.

The parser is llhttp (`httptools`), the loop's own transports do sockets and TLS. It takes a third of the time of a
general client per call, which is why it is here. Connections are kept and used again; nothing is retried here.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from time import monotonic
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

from httptools import HttpParserError, HttpResponseParser

KEEP_IDLE_S = 55.0  # most servers and load balancers close after 60
MAX_IDLE = 256  # connections kept per place
MAX_HEAD_BYTES = 256 * 1024
MAX_BUFFERED_BYTES = 1 << 20  # then the provider has to wait for the caller


class BrokenAnswer(OSError):
    """The other side hung up, or what came is not HTTP."""


class Silent(TimeoutError):
    """Nothing came for too long."""


class Place(NamedTuple):
    """Where a connection leads. `proxy` is the proxy's URL."""

    tls: bool
    host: str
    port: int
    proxy: str | None


@lru_cache(maxsize=4096)
def place_of(url: str, proxy: str | None) -> tuple[Place, str, str]:
    """(place, Host header, request target) of `url`.

    Raises:
        ValueError: no http(s) URL with a host, or one with a port that is no number.
    """
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise ValueError("not an http(s) URL with a host")
    tls = split.scheme == "https"
    host = split.hostname if split.hostname.isascii() else split.hostname.encode("idna").decode()
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if split.port is None else f"{shown}:{split.port}"
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    if proxy is not None and not tls:
        target = f"http://{netloc}{target}"
    return Place(tls, host, split.port or (443 if tls else 80), proxy), netloc, target


class Response:
    """An answer whose head has come. Its body is read once, by `read`; `close` cancels what is not read."""

    __slots__ = ("_chunks", "_connection", "_held", "_waiter", "complete", "error", "headers", "status")

    def __init__(self, connection: "Connection") -> None:
        self._connection: Connection | None = connection
        self._chunks: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0  # until the head is complete
        self.headers: list[tuple[bytes, bytes]] = []  # lower-case names
        self.complete = False
        self.error: Exception | None = None

    async def read(self) -> bytes:
        """What has come since; waits where nothing has. Empty at the end.

        Raises:
            BrokenAnswer: it broke off.
            Silent: nothing came for too long.
        """
        while True:
            if chunks := self._chunks:
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                self._chunks = []
                if self._held > MAX_BUFFERED_BYTES and self._connection is not None:
                    self._connection.resume()
                self._held = 0
                return data
            if self.complete:
                return b""
            await self.wait()

    async def wait(self) -> None:
        """Until something happened. Raises what `read` raises."""
        if self.error is not None:
            raise self.error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Harmless at any time."""
        if self._connection is not None:
            self._connection.abort()

    def chunk(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)
        if self._held > MAX_BUFFERED_BYTES and self._connection is not None:
            self._connection.pause()
        self.wake()

    def finish(self, error: Exception | None = None) -> None:
        if error is None:
            self.complete = True
        else:
            self.error = error
        self._connection = None
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection, one answer at a time. The parser calls the `on_…` methods."""

    __slots__ = (
        "_body_ends_with_connection", "_deadline", "_head_bytes", "_heard", "_parser", "_pool", "_silence_s", "_timer",
        "closed", "idle_since", "place", "response", "transport",
    )  # fmt: skip

    def __init__(self, pool: "Pool", place: Place) -> None:
        self._pool = pool
        self.place = place
        self.transport: asyncio.Transport | None = None
        self.response: Response | None = None
        self.closed = False
        self.idle_since = 0.0
        self._parser = HttpResponseParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._heard = self._deadline = self._silence_s = 0.0
        self._head_bytes = 0
        self._body_ends_with_connection = False

    async def exchange(self, head: bytes, body: bytes, silence_s: float, total_s: float) -> Response:
        """Send a request; give the answer once its head has come."""
        response = self.response = Response(self)
        loop = asyncio.get_running_loop()
        self._head_bytes = 0
        self._heard, self._silence_s = loop.time(), silence_s
        self._deadline = self._heard + total_s
        self._timer = loop.call_at(self._heard + min(silence_s, total_s), self._look_at_the_clock, loop)
        transport = cast("asyncio.Transport", self.transport)
        if len(body) < 65_536:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        try:
            while not response.status or response.status < 200:
                await response.wait()
        except BaseException:
            self.abort()
            raise
        return response

    def pause(self) -> None:
        cast("asyncio.Transport", self.transport).pause_reading()

    def resume(self) -> None:
        cast("asyncio.Transport", self.transport).resume_reading()

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        self._stop_clock()
        if self.transport is not None:
            self.transport.abort()
        if self.response is not None:
            self.response.finish(BrokenAnswer("closed"))
            self.response = None

    # ── what the transport calls ──────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        response = self.response
        if response is None:  # nobody asked
            self.abort()
            return
        self._heard = asyncio.get_running_loop().time()
        if not response.status:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail(BrokenAnswer(f"its headers have more than {MAX_HEAD_BYTES} bytes"))
                return
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(BrokenAnswer(f"what came is not HTTP/1.1 ({error})"))

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._stop_clock()
        self._pool.forget(self)
        response, self.response = self.response, None
        if response is None:
            return
        if exc is None and response.status >= 200 and self._body_ends_with_connection:
            response.finish()
        elif response.status < 200:
            response.finish(BrokenAnswer(str(exc) if exc else "it hung up without an answer"))
        else:
            response.finish(BrokenAnswer(str(exc) if exc else ""))

    # ── what the parser calls ─────────────────────────────────────────────────────────────────────────────────────

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.response is not None:
            self.response.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        response = self.response
        if response is None:
            return
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come
            response.headers.clear()
            return
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in response.headers)
        self._body_ends_with_connection = not framed
        response.status = status
        response.wake()

    def on_body(self, data: bytes) -> None:
        if self.response is not None:
            self.response.chunk(data)

    def on_message_complete(self) -> None:
        response = self.response
        if response is None or not response.status:
            return
        self.response = None
        self._stop_clock()
        if self._parser.should_keep_alive() and not self.closed:
            self._pool.keep(self)
        elif self.transport is not None:
            self.closed = True
            self.transport.close()
        response.finish()

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_at_the_clock(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer per answer, set anew only when it fires: the bytes that come in between cost nothing."""
        now, due = loop.time(), min(self._heard + self._silence_s, self._deadline)
        if now < due:
            self._timer = loop.call_at(due, self._look_at_the_clock, loop)
            return
        silent = now >= self._heard + self._silence_s
        self._fail(Silent(f"{self._silence_s:g} s without a byte" if silent else "the whole took too long"))

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, error: Exception) -> None:
        response, self.response = self.response, None
        if response is not None:
            response.finish(error)
        self.abort()


@dataclass(slots=True)
class Pool:
    """Connections by place. `silence_s` bounds the time without a byte, `total_s` a whole answer."""

    connect_s: float
    silence_s: float
    total_s: float
    _idle: dict[Place, list[Connection]] = field(default_factory=dict)

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, proxy: str | None = None
    ) -> Response:
        """Send; give the answer once its head has come.

        Raises:
            ValueError: a URL or a header that cannot be sent.
            Silent, TimeoutError: no connection, or no answer, in time.
            OSError: no connection (ssl.SSLError among them). BrokenAnswer: no HTTP answer.
        """
        place, netloc, target = place_of(url, proxy)
        head = _head(method, target, netloc, headers, body, place)
        connection = self._take(place) or await self._connect(place)
        return await connection.exchange(head, body, self.silence_s, self.total_s)

    def keep(self, connection: Connection) -> None:
        """It can be used again."""
        idle = self._idle.setdefault(connection.place, [])
        if len(idle) >= MAX_IDLE:
            connection.abort()
            return
        connection.idle_since = monotonic()
        idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        idle = self._idle.get(connection.place)
        if idle and connection in idle:
            idle.remove(connection)

    def close(self) -> None:
        """Close what is idle."""
        for idle in self._idle.values():
            for connection in list(idle):
                connection.abort()
        self._idle.clear()

    def _take(self, place: Place) -> Connection | None:
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if not connection.closed and monotonic() - connection.idle_since < KEEP_IDLE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self, place: Place) -> Connection:
        connection = Connection(self, place)
        loop = asyncio.get_running_loop()
        context = _tls() if place.tls else None
        async with asyncio.timeout(self.connect_s):
            if place.proxy is None:
                await loop.create_connection(lambda: connection, place.host, place.port, ssl=context)
            elif context is None:
                host, port, _ = _proxy(place.proxy)
                await loop.create_connection(lambda: connection, host, port)
            else:
                await _tunnel(connection, context)
        sock = cast("asyncio.Transport", connection.transport).get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _head(method: str, target: str, netloc: str, headers: Mapping[str, str], body: bytes, place: Place) -> bytes:
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {netloc}", *[f"{name}: {value}" for name, value in headers.items()]]
    if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        lines.append(f"content-length: {len(body)}")
    if place.proxy is not None and not place.tls and (credentials := _proxy(place.proxy)[2]):
        lines.append(f"proxy-authorization: {credentials}")
    if method == "HEAD":
        lines.append("connection: close")  # the parser cannot know that no body comes
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) or head.count("\r") != len(lines) or "\0" in head:
        raise ValueError("a header or the URL holds a line break")
    return (head + "\r\n\r\n").encode("latin-1")


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=64)
def _proxy(url: str) -> tuple[str, int, str | None]:
    """(host, port, Proxy-Authorization) of a proxy's URL. Raises ValueError."""
    split = urlsplit(url if "://" in url else f"http://{url}")
    if split.scheme != "http" or not split.hostname:
        raise ValueError(f"only http:// proxies can be used, not {split.scheme}://")
    credentials = None
    if split.username:
        pair = f"{unquote(split.username)}:{unquote(split.password or '')}"
        credentials = "Basic " + base64.b64encode(pair.encode()).decode()
    return split.hostname, split.port or 80, credentials


async def _tunnel(connection: Connection, context: ssl.SSLContext) -> None:
    """Through a proxy by CONNECT (RFC 9110, 9.3.6), then TLS with the place itself."""
    place = connection.place
    host, port, credentials = _proxy(cast("str", place.proxy))
    reader, writer = await asyncio.open_connection(host, port)
    try:
        there = f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}"
        who = f"proxy-authorization: {credentials}\r\n" if credentials else ""
        writer.write(f"CONNECT {there} HTTP/1.1\r\nhost: {there}\r\n{who}\r\n".encode("latin-1"))
        _check_tunnel(await reader.readuntil(b"\r\n\r\n"))
        await writer.start_tls(context, server_hostname=place.host)
        transport = writer.transport
        transport.set_protocol(connection)
        connection.connection_made(transport)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.transport.abort()
        raise BrokenAnswer("the proxy gave no HTTP answer") from error
    except BaseException:
        writer.transport.abort()
        raise


def _check_tunnel(answer: bytes) -> None:
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise BrokenAnswer(f"the proxy refused the connection: {status}")
