"""An HTTP/1.1 client for one job: a request whose body is in memory, an answer that is read as it comes.

The parser is llhttp (`httptools`), the loop's own transports do sockets and TLS. It takes a third of the time of a
general client per call, which is why it is here. Connections are kept and used again. Nothing is retried here but an
idempotent request on a kept connection that was closed in the meantime (RFC 9112, 9.3.1; Go and aiohttp do the same):
whether a POST may be sent twice only its sender knows.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from llmlens.gateway.place import BrokenAnswer, Place, head_of, place_of, proxy_at, tunnel

KEEP_IDLE_S = 55.0  # most servers and load balancers close after 60
MAX_IDLE = 256  # connections kept per place
MAX_HEAD_BYTES = 256 * 1024
MAX_BUFFERED_BYTES = 1 << 20  # then the provider has to wait for the caller
BYTES_OBJECT_BYTES = 48  # what each piece takes beside its data
PROBE_AFTER_S = 60  # routers forget a connection that is silent for minutes, as one is while a model thinks
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2


class Silent(TimeoutError):
    """Nothing came for too long."""


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
        self._held += len(data) + BYTES_OBJECT_BYTES
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
        "_bodiless", "_deadline", "_ends_with_connection", "_heard", "_now", "_parser", "_paused", "_pool",
        "_silence_s", "_timer", "_unsent", "closed", "idle_since", "place", "response", "transport", "unused_bytes",
    )  # fmt: skip

    def __init__(self, pool: "Pool", place: Place) -> None:
        self._pool = pool
        self.place = place
        self.transport: asyncio.Transport | None = None
        self.response: Response | None = None
        self.closed = False
        self.idle_since = 0.0
        self._parser = HttpResponseParser(self)
        self._now = asyncio.get_running_loop().time
        self._timer: asyncio.TimerHandle | None = None
        self._heard = self._deadline = self._silence_s = 0.0
        self.unused_bytes = self._unsent = 0
        self._bodiless = self._ends_with_connection = self._paused = False

    async def exchange(self, head: bytes, body: bytes, silence_s: float, total_s: float) -> Response:
        """Send a request; give the answer once its head has come."""
        if self.closed:
            raise BrokenAnswer("it hung up without an answer")
        response = self.response = Response(self)
        loop = asyncio.get_running_loop()
        self.unused_bytes = self._unsent = 0
        self._bodiless = head.startswith(b"HEAD ")
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
            while not response.status:
                await response.wait()
        except BaseException:
            self.abort()
            raise
        return response

    @property
    def usable(self) -> bool:
        """Still open, as far as is known here."""
        return not self.closed and not cast("asyncio.Transport", self.transport).is_closing()

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            cast("asyncio.Transport", self.transport).pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused, self._heard = False, self._now()
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
        self._heard = self._now()
        self.unused_bytes += len(data)
        try:
            if self.unused_bytes > MAX_HEAD_BYTES:
                room = MAX_HEAD_BYTES - self.unused_bytes + len(data)
                self._parser.feed_data(data[:room])
                if self.unused_bytes > MAX_HEAD_BYTES:
                    self._fail(BrokenAnswer(f"its headers have more than {MAX_HEAD_BYTES} bytes"))
                    return
                data = data[room:]
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(BrokenAnswer(f"what came is not HTTP/1.1 ({error})"))

    def eof_received(self) -> None:
        self._end(None)
        self.abort()  # what is still to be sent, nobody waits for

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._pool.forget(self)

    # ── what the parser calls ─────────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        if self.response is None:  # there is more than the answer: who knows whose the next one would be
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self.response
        if response is not None and not response.status:  # else a trailer
            response.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        response = self.response
        if response is None:
            return
        status = self._parser.get_status_code()
        if status < 200 or status > 599:
            response.headers.clear()
            if status < 100 or status == 101 or status > 599:
                self._fail(BrokenAnswer(f"nobody asked for a status {status}"))
            return  # 100 Continue, 103 Early Hints: the answer is still to come
        framed = False
        for name, value in response.headers:
            if name == b"content-length":
                framed = True
            elif name == b"transfer-encoding":
                framed = True
                if value.strip().lower() != b"chunked":
                    self._fail(BrokenAnswer("nobody asked for a transfer-encoding other than chunked"))
                    return
        self._ends_with_connection = not framed
        self.unused_bytes = 0
        response.status = status
        if self._bodiless:  # the parser waits for a body
            self._complete(response)
        else:
            response.wake()

    def on_body(self, data: bytes) -> None:
        self.unused_bytes = 0
        if self.response is not None:
            self.response.chunk(data)

    def on_message_complete(self) -> None:
        if self.response is not None and self.response.status:
            self._complete(self.response)

    def _complete(self, response: Response) -> None:
        self.response = None
        self._stop_clock()
        transport = cast("asyncio.Transport", self.transport)
        # An answer may come before the request is sent: the rest of it would be taken for the next one.
        if self._parser.should_keep_alive() and not (
            self._bodiless or self.closed or transport.get_write_buffer_size()
        ):
            self.resume()
            self._pool.keep(self)
        else:
            self.abort()
        response.finish()

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_at_the_clock(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer per answer, set anew only when it fires: the bytes that come in between cost nothing. A provider
        that still takes the request, or waits for us to read, is not silent."""
        now, unsent = loop.time(), cast("asyncio.Transport", self.transport).get_write_buffer_size()
        if self._paused or unsent != self._unsent:
            self._heard, self._unsent = now, unsent
        due = min(self._heard + self._silence_s, self._deadline)
        if now < due:
            self._timer = loop.call_at(due, self._look_at_the_clock, loop)
            return
        silent = now >= self._heard + self._silence_s
        self._fail(Silent(f"{self._silence_s:g} s without a byte" if silent else "the whole took too long"))

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self.closed = True
        self._stop_clock()
        response, self.response = self.response, None
        if response is None:
            return
        if exc is None and response.status and self._ends_with_connection:
            response.finish()
        else:
            nothing = "" if response.status else "it hung up without an answer"
            response.finish(BrokenAnswer(str(exc) if exc else nothing))

    def _fail(self, error: Exception) -> None:
        response, self.response = self.response, None
        if response is not None:
            response.finish(error)
        self.abort()


@dataclass(slots=True)
class Pool:
    """Connections by place, of one event loop. `silence_s` bounds the time without a byte, `total_s` a whole answer,
    `max_idle` what is kept per place."""

    connect_s: float
    silence_s: float
    total_s: float
    max_idle: int = MAX_IDLE
    clock: Callable[[], float] = monotonic
    _idle: dict[Place, list[Connection]] = field(default_factory=dict, init=False)
    _sweep: asyncio.TimerHandle | None = field(default=None, init=False)
    _tls: asyncio.Future[ssl.SSLContext] | None = field(default=None, init=False)

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, proxy: str | None = None
    ) -> Response:
        """Send; give the answer once its head has come. `headers` as `head_of` wants them.

        Raises:
            ValueError: a URL or a header that cannot be sent.
            Silent, TimeoutError: no connection, or no answer, in time.
            OSError: no connection (ssl.SSLError among them). BrokenAnswer: no HTTP answer.
        """
        place, netloc, target = place_of(url, proxy)
        head = head_of(method, target, netloc, headers, body, place)
        if kept := self._take(place):
            try:
                return await kept.exchange(head, body, self.silence_s, self.total_s)
            except BrokenAnswer:
                if kept.unused_bytes or method not in IDEMPOTENT:
                    raise
        fresh = await self._connect(place)
        return await fresh.exchange(head, body, self.silence_s, self.total_s)

    def keep(self, connection: Connection) -> None:
        """It can be used again."""
        idle = self._idle.setdefault(connection.place, [])
        if len(idle) >= self.max_idle:
            connection.abort()
            return
        connection.idle_since = self.clock()
        idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(KEEP_IDLE_S, self.sweep)

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        idle = self._idle.get(connection.place)
        if idle and connection in idle:
            idle.remove(connection)

    def sweep(self) -> None:
        """Close what was idle for too long, and look again while something is left."""
        self._sweep = None
        too_old = self.clock() - KEEP_IDLE_S
        for place, idle in list(self._idle.items()):
            for connection in idle:
                if connection.idle_since <= too_old:
                    connection.abort()
            self._idle[place] = [connection for connection in idle if not connection.closed]
            if not self._idle[place]:
                del self._idle[place]
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(KEEP_IDLE_S, self.sweep)

    def close(self) -> None:
        """Close what is idle, and keep no more."""
        self.max_idle = 0
        for idle in self._idle.values():
            for connection in list(idle):
                connection.abort()
        self._idle.clear()
        if self._sweep is not None:
            self._sweep.cancel()

    def _take(self, place: Place) -> Connection | None:
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if connection.usable and self.clock() - connection.idle_since < KEEP_IDLE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self, place: Place) -> Connection:
        connection = Connection(self, place)
        try:
            async with asyncio.timeout(self.connect_s):
                await self._open(connection)
        except TimeoutError as error:
            connection.abort()
            raise Silent(str(error) or f"no connection within {self.connect_s:g} s") from error
        except BaseException:
            connection.abort()
            raise
        sock = cast("asyncio.Transport", connection.transport).get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):  # Linux, Windows
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER_S)
        return connection

    async def _open(self, connection: Connection) -> None:
        loop, place = asyncio.get_running_loop(), connection.place
        context = await self._context() if place.tls else None
        if place.proxy is not None and context is not None:
            connection.connection_made(await tunnel(place, connection, context))
            return
        host, port = (place.host, place.port) if place.proxy is None else proxy_at(place.proxy)[:2]
        await loop.create_connection(lambda: connection, host, port, ssl=context)

    async def _context(self) -> ssl.SSLContext:
        """Made once, in a thread: reading the certificates takes tens of milliseconds."""
        if self._tls is None:
            self._tls = asyncio.ensure_future(asyncio.to_thread(_trusting_context))
        return await asyncio.shield(self._tls)


def _trusting_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
