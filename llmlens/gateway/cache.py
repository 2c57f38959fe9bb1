"""The answer cache. The index of keys lives in memory, answers in a bounded part of it; DuckDB holds the durable copy.

A miss never touches the database. Identical calls in flight are one: the first is sent, the others wait for it.

Sample faithful: the k-th identical call inside one execution of a cell is sample k, so 20 calls at temperature 1 stay
20 answers, and running the cell again replays the same 20. A sample is counted when the call comes in and given back
when it fails, so that a retry takes its place.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import NamedTuple

from llmlens.errors import CacheMiss, StoreError
from llmlens.gateway.call import Call
from llmlens.wire.canonical import cache_base, with_sample

MAX_EXECUTIONS = 500  # cell executions whose samples are still being counted
MAX_COUNTED = 100_000  # calls whose samples are, over all executions

Execution = tuple[str | None, str | None, int | None]


class Stored(NamedTuple):
    """A whole answer of status 200. `dialect` names the wire format of `body`, which may differ from the caller's."""

    call_id: str
    content_type: str
    dialect: str
    body: bytes
    stream: bool


class Entry(NamedTuple):
    """What the index knows of a key. `expires_at` None: never."""

    call_id: str
    created_at: datetime
    expires_at: datetime | None
    size_bytes: int


@dataclass(slots=True)
class _Samples:
    """Hands out 0, 1, 2 …; a number that is given back is handed out again first. A group gets its numbers at once,
    so that its calls keep their order however they overtake each other."""

    next: int = 0
    returned: list[int] = field(default_factory=list)
    groups: dict[str, list[int]] = field(default_factory=dict)

    def take(self, group: tuple[str, int, int] | None) -> int:
        if group is None:
            return self._one()
        name, k, n = group
        numbers = self.groups.get(name)
        if numbers is None:
            numbers = self.groups[name] = [self._one() for _ in range(n)]
        return numbers[k] if k < len(numbers) else self._one()

    def give_back(self, sample: int) -> None:
        heappush(self.returned, sample)

    def _one(self) -> int:
        if self.returned:
            return heappop(self.returned)
        self.next += 1
        return self.next - 1


@dataclass(slots=True)
class Flight:
    """A call's place in the cache while it is being answered. `land` must be called exactly once."""

    cache: "Cache"
    base: bytes
    key: bytes
    sample: int
    execution: Execution | None
    landed: asyncio.Future[bool]

    def land(self, stored: Stored | None, *, ttl_s: float | None, now: datetime) -> Entry | None:
        """The call has ended: with an answer worth keeping, or without. Wakes whoever waits for the same."""
        cache = self.cache
        if cache.flights.get(self.key) is self:
            del cache.flights[self.key]
        if not self.landed.done():
            self.landed.set_result(stored is not None)
        if stored is None:
            cache.give_back(self)
            return None
        entry = Entry(stored.call_id, now, now + timedelta(seconds=ttl_s) if ttl_s is not None else None,
                      len(stored.body))  # fmt: skip
        cache.put(self.key, entry, stored)
        return entry


@dataclass(slots=True)
class Cache:
    """`load` fetches the answer of a call id from the log, for a hit whose answer has left memory."""

    load: Callable[[str], Awaitable[Stored | None]]
    max_memory_bytes: int
    max_entries: int
    index: OrderedDict[bytes, Entry] = field(default_factory=OrderedDict)
    flights: dict[bytes, Flight] = field(default_factory=dict)
    memory: OrderedDict[bytes, Stored] = field(default_factory=OrderedDict)
    memory_bytes: int = 0
    _taken: OrderedDict[Execution, dict[bytes, _Samples]] = field(default_factory=OrderedDict)

    async def enter(
        self, call: Call, *, origin: str, path: str, query: str, body: bytes
    ) -> tuple[Stored | None, Flight]:
        """Look the call up; `origin`, `path`, `query` and `body` are those that would be sent.

        Gives the stored answer, or None and a Flight to land. On a hit the Flight only holds the sample.

        Raises:
            CacheMiss: the caller wants stored answers only, and there is none.
        """
        flight = self._board(call, origin, path, query, body)
        alone = False
        while True:
            if call.cache_mode not in ("refresh", "off") and (stored := await self._find(flight.key)):
                return stored, flight
            if call.cache_mode == "only":
                self.give_back(flight)
                raise CacheMiss(
                    f"no stored answer for this call (sample {flight.sample}) and x-llmlens-cache is 'only': "
                    "run it once with the cache 'on'"
                )
            other = self.flights.get(flight.key)
            if other is None or alone or call.cache_mode in ("refresh", "off"):
                if call.cache_mode != "off":
                    self.flights.setdefault(flight.key, flight)
                return None, flight
            try:
                alone = not await asyncio.shield(other.landed)  # it failed: those who waited go at once, not in a row
            except BaseException:
                self.give_back(flight)
                raise

    def put(self, key: bytes, entry: Entry, stored: Stored) -> None:
        """Keep an answer: the index always, the answer itself while memory lasts."""
        self.index[key] = entry
        self.index.move_to_end(key)
        while len(self.index) > self.max_entries:
            old, _ = self.index.popitem(last=False)
            self._drop(old)
        self._remember(key, stored)

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take `keys` out of the index and out of memory."""
        for key in keys:
            self.index.pop(key, None)
            self._drop(key)

    def give_back(self, flight: Flight) -> None:
        """The sample was not used: the next identical call of the same execution gets it."""
        bases = self._taken.get(flight.execution) if flight.execution else None
        if bases and (samples := bases.get(flight.base)):
            samples.give_back(flight.sample)

    def warm(self, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Fill the index from the log; oldest first."""
        self.index.update(entries)
        while len(self.index) > self.max_entries:
            self.index.popitem(last=False)

    @property
    def size_bytes(self) -> int:
        """Bytes of all answers the index points to."""
        return sum(entry.size_bytes for entry in self.index.values())

    def _board(self, call: Call, origin: str, path: str, query: str, body: bytes) -> Flight:
        base = cache_base(dialect=call.dialect.name, origin=origin, path=path, query=query, body=body,
                          headers=call.headers, scope=call.principal.scope)  # fmt: skip
        where = call.where
        execution = None
        sample = call.sample
        if sample is None:
            sample = 0
            if where.execution_count is not None or where.cell_id is not None:
                execution = (where.run_id, where.cell_id, where.execution_count)
                sample = self._next_sample(execution, base, call.group)
        return Flight(
            self, base, with_sample(base, sample), sample, execution, asyncio.get_running_loop().create_future()
        )

    def _next_sample(self, execution: Execution, base: bytes, group: tuple[str, int, int] | None) -> int:
        bases = self._taken.get(execution)
        if bases is None:
            bases = self._taken[execution] = {}
            while len(self._taken) > MAX_EXECUTIONS or sum(map(len, self._taken.values())) > MAX_COUNTED:
                if len(self._taken) == 1:
                    break
                self._taken.popitem(last=False)
        samples = bases.get(base)
        if samples is None:
            samples = bases[base] = _Samples()
        return samples.take(group)

    async def _find(self, key: bytes) -> Stored | None:
        entry = self.index.get(key)
        if entry is None:
            return None
        if entry.expires_at is not None and entry.expires_at <= datetime.now(UTC):
            self.forget([key])
            return None
        if stored := self.memory.get(key):
            self.memory.move_to_end(key)
            return stored
        try:
            stored = await self.load(entry.call_id)
        except StoreError:
            return None  # the log cannot be read now: a miss
        if stored is None:
            self.forget([key])
            return None
        self._remember(key, stored)
        return stored

    def _remember(self, key: bytes, stored: Stored) -> None:
        self._drop(key)
        self.memory[key] = stored
        self.memory_bytes += len(stored.body)
        while self.memory_bytes > self.max_memory_bytes:
            _, old = self.memory.popitem(last=False)
            self.memory_bytes -= len(old.body)

    def _drop(self, key: bytes) -> None:
        if old := self.memory.pop(key, None):
            self.memory_bytes -= len(old.body)


def replay_parts(body: bytes) -> list[bytes]:
    """A stored stream in the pieces it is replayed in: one event each, every byte kept."""
    ends = [match.end() for match in _EVENT_END.finditer(body)]
    if not ends or ends[-1] < len(body):
        ends.append(len(body))
    return [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]


_EVENT_END = re.compile(rb"\r?\n\r?\n")
