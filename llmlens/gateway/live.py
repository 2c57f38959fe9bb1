"""The live feed: every finished call, as it is committed, to whoever listens on `/lens/live`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec

from llmlens.records import LoggedCall
from llmlens.store import Rows

MAX_WAITING = 1_000  # events a slow listener may be behind, before the oldest are dropped
BEAT_S = 15.0
FIELDS = (
    "call_id", "started_at", "outcome", "operation", "provider", "model_asked", "model_served", "notebook", "cell_id",
    "http_status", "cache", "input_tokens", "output_tokens", "cost_usd", "saved_usd", "latency_s", "first_token_s",
    "simulated", "error_type",
)  # fmt: skip


@dataclass(slots=True)
class Live:
    """`publish` may be called from any thread; `listen` runs on `loop`."""

    loop: asyncio.AbstractEventLoop | None = None
    _listeners: set[asyncio.Queue[bytes]] = field(default_factory=set)

    def publish(self, rows: Sequence[Rows]) -> None:
        """Calls that were just committed."""
        if self._listeners and self.loop is not None and not self.loop.is_closed():
            events = [b"event: call\ndata: " + summary(row.call) + b"\n\n" for row in rows]
            self.loop.call_soon_threadsafe(self._deliver, events)

    async def listen(self) -> AsyncIterator[bytes]:
        """Server-sent events: `call` with a JSON summary; a comment every 15 s keeps the line open."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield b": llmlens live\n\n"
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), BEAT_S)
                except TimeoutError:
                    yield b": beat\n\n"
        finally:
            self._listeners.discard(queue)

    def _deliver(self, events: list[bytes]) -> None:
        for queue in self._listeners:
            for event in events:
                if queue.qsize() >= MAX_WAITING:
                    queue.get_nowait()
                queue.put_nowait(event)


def summary(call: LoggedCall) -> bytes:
    """The fields that a monitor shows, as JSON; money as decimal strings, no content."""
    return msgspec.json.encode({name: getattr(call, name) for name in FIELDS})
