"""Servers on loopback whose every byte a test decides, and what the client asks them. All in the test's own loop."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from llmlens.gateway.http1 import Pool, Response

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Script = Callable[["Wire"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\n"
HI = OK + b"content-length: 2\r\n\r\nhi"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@dataclass
class Wire:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> tuple[str, bytes]:
        """(head, body) of the next request; ConnectionError where none comes."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            return head, await self.reader.readexactly(int(length[0].partition(":")[2])) if length else b""
        except asyncio.IncompleteReadError:
            raise ConnectionError from None

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Until the client has closed."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        """RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


@dataclass
class Server:
    """A server on loopback. `opened` counts its connections; `open` holds those that the client has not left."""

    url: str = ""
    port: int = 0
    opened: int = 0
    open: set[Wire] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int) -> None:
        """Until `count` connections are open."""
        while len(self.open) != count:
            self.changed.clear()
            await self.changed.wait()


Wire.__hash__ = object.__hash__  # type: ignore[method-assign]


@asynccontextmanager
async def served(script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    """`script` has each connection to itself; it is closed after it."""
    server = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        server.opened += 1
        server.open.add(wire)
        server.changed.set()
        try:
            await script(wire)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            server.open.discard(wire)
            server.changed.set()
            writer.close()

    listening = await asyncio.start_server(serve, host, 0, ssl=tls, limit=1 << 20)
    server.port = listening.sockets[0].getsockname()[1]
    server.url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{server.port}"
    try:
        yield server
    finally:
        listening.close()
        for wire in server.open:
            wire.writer.transport.abort()
        await server.until(0)


@asynccontextmanager
async def pooled(
    connect_s: float = 20, silence_s: float = 20, total_s: float = 20, **options: Any
) -> AsyncIterator[Pool]:
    pool = Pool(connect_s, silence_s, total_s, **options)
    try:
        yield pool
    finally:
        pool.close()
        for _ in range(5):  # goodbyes
            await asyncio.sleep(0)


Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


async def body_of(response: Response) -> bytes:
    parts = []
    while part := await response.read():
        parts.append(part)
    return b"".join(parts)


async def ask(
    pool: Pool, url: str, body: bytes = b"{}", method: str = "POST", proxy: str | None = None, **headers: str
) -> Answer:
    response = await pool.request(method, url, headers, body, proxy)
    return response.status, response.headers, await body_of(response)


def answering(raw: bytes, *, hang_up: bool = False) -> Script:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(raw)
            if hang_up:
                return

    return script


async def echo(wire: Wire) -> None:
    while True:
        _, body = await wire.request()
        await wire.send(OK + b"content-length: %d\r\n\r\n%b" % (len(body), body))


async def silent(wire: Wire) -> None:
    await wire.gone()
