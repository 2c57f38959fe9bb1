"""A provider on loopback that answers byte for byte as a test tells it to, and counts what it was asked."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """One request as it arrived. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Line:
    """The open connection of one request. Write what you like; closing it is up to the script."""

    def __init__(self, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        self._writer = writer
        self.gone = gone

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int, body: bytes, *headers: str, content_type: str = "application/json") -> None:
        head = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}", *headers]
        await self.raw("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    async def begin_stream(self, *headers: str, content_type: str = "text/event-stream") -> None:
        head = ["HTTP/1.1 200 OK", f"content-type: {content_type}", "transfer-encoding: chunked", *headers]
        await self.raw("\r\n".join(head).encode() + b"\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close the connection, whatever was promised."""
        self._writer.close()


Script = Callable[[Asked, Line], Awaitable[None]]


@dataclass
class ScriptedUpstream:
    """`script` answers every request; replace it at any time. `hung_up` counts callers that left before the end."""

    script: Script
    asked: list[Asked] = field(default_factory=list)
    hung_up: int = 0
    url: str = ""
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    left: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Incoming(reader)
        try:
            while asked := await line.request():
                self.asked.append(asked)
                self.arrived.release()
                gone = asyncio.Event()
                answering = asyncio.create_task(self.script(asked, Line(writer, gone)))
                leaving = asyncio.create_task(line.fill())
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done() and not answering.done():
                    self.hung_up += 1
                    self.left.release()
                    gone.set()
                await asyncio.gather(answering, return_exceptions=True)
                leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()


class _Incoming:
    """A reader that can watch for the end of the line without losing what comes instead."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._data = bytearray()

    async def fill(self) -> bool:
        """Wait for more bytes; False at the end of the line."""
        try:
            data = await self._reader.read(65_536)
        except ConnectionError:
            return False
        self._data += data
        return bool(data)

    async def request(self) -> Asked | None:
        """The next request; None at the end of the line."""
        head = await self._until(b"\r\n\r\n")
        if head is None:
            return None
        first, *rest = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (h.partition(":") for h in rest)}
        return Asked(method, target, headers, await self._body(headers))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self._exactly(int(headers.get("content-length", 0)))
        parts = []
        while size := int(await self._until(b"\r\n") or b"0", 16):
            parts.append(await self._exactly(size))
            await self._exactly(2)
        await self._exactly(2)
        return b"".join(parts)

    async def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._data:
            if not await self.fill():
                return None
        end = self._data.index(mark) + len(mark)
        return await self._exactly(end)

    async def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            if not await self.fill():
                return b""
        data = bytes(self._data[:size])
        del self._data[:size]
        return data


@contextmanager
def scripted(script: Script) -> Iterator[ScriptedUpstream]:
    """Run a ScriptedUpstream in a thread."""
    upstream = ScriptedUpstream(script)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=1 << 20)
        upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
