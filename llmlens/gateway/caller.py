"""The caller's side of one HTTP exchange, over ASGI: begin, write, end; and whether anybody still listens."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from llmlens.errors import BadRequest, TooLarge

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

WATCH_AFTER_S = 0.02
"""A call shorter than this is not watched for a caller that hangs up: it would be over before anything is saved."""


class Caller:
    """Writes one answer. While a call runs, a caller that hangs up cancels the task that serves it (`gone`)."""

    __slots__ = ("_receive", "_send", "_watch", "begun", "gone")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._watch: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self.begun = False
        self.gone = False

    async def body(self, max_bytes: int, announced: int | None) -> bytes:
        """The whole request body.

        Raises:
            TooLarge: it is longer than `max_bytes`, or says that it will be.
            BadRequest: the caller hung up half way.
        """
        too_large = f"the body has more than {max_bytes} bytes (gateway.max_body_bytes in llmlens.toml)"
        if announced is not None and announced > max_bytes:
            raise TooLarge(too_large)
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise BadRequest("the caller hung up before the request was complete")
            part = message.get("body", b"")
            size += len(part)
            if size > max_bytes:
                raise TooLarge(too_large)
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def watch(self) -> None:
        """From now on (a little later, see WATCH_AFTER_S) cancel the current task when the caller hangs up."""
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(WATCH_AFTER_S, self._start_watch, loop, asyncio.current_task(loop))

    def unwatch(self) -> None:
        """The call has ended; nothing is cancelled any more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the status line and the headers."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last piece."""
        self.unwatch()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def _start_watch(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> None:
        self._watch = loop.create_task(self._until_gone(task))

    async def _until_gone(self, task: asyncio.Task[Any] | None) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if task is not None:
            task.cancel()
