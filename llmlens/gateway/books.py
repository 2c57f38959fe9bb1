"""What a call touches (`House`), and what must be put straight when it ends (`Books`)."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from llmlens.gateway.admit import Gate, Ticket
from llmlens.gateway.cache import Cache, Flight, Stored
from llmlens.gateway.call import Call
from llmlens.gateway.log import Log, Pending
from llmlens.gateway.record import Record
from llmlens.gateway.route import Leg, Router
from llmlens.gateway.rows import RowMaker
from llmlens.records import LoggedCall, Outcome
from llmlens.wire import headers as names


@dataclass(frozen=True, slots=True)
class House:
    """Everything a call touches."""

    log: Log
    gate: Gate
    cache: Cache
    router: Router
    rows: RowMaker
    max_answer_bytes: int
    default_ttl_s: float | None = None


class Books:
    """The row, the reservation and the cache's place of one call. `close` settles all three, once."""

    __slots__ = ("_closed", "call", "flight", "house", "record", "ticket")

    def __init__(self, call: Call, house: House) -> None:
        self.call = call
        self.record = Record(call)
        self.house = house
        self.ticket: Ticket | None = None
        self.flight: Flight | None = None
        self._closed = False

    @property
    def sample(self) -> int:
        """Which of several identical calls this is, from 0."""
        return self.flight.sample if self.flight else self.call.sample or 0

    def going_to(self, leg: Leg) -> None:
        """The target is chosen."""
        record = self.record
        record.provider, record.model_sent = leg.target.provider, leg.target.model or None
        record.dropped = leg.dropped
        if leg.estimated:
            record.hints = {names.ESTIMATED: "1"}
        record.upstream_dialect = leg.dialect if leg.dialect is not self.call.dialect else None
        record.secrets = tuple(s for s in (leg.secret, self.call.caller_credential) if s)

    def close(self, outcome: Outcome, stored: Stored | None = None) -> None:
        """The call has ended. `stored` is an answer worth keeping. The first call counts, later ones do nothing."""
        if self._closed:
            return
        self._closed = True
        entry = None
        if self.flight is not None:
            if self.record.cache == "miss":
                ttl_s = self.call.ttl_s if self.call.ttl_s is not None else self.house.default_ttl_s
                entry = self.flight.land(stored, ttl_s=ttl_s, now=datetime.now(UTC))
            elif outcome != "complete":
                self.house.cache.give_back(self.flight)
        finished = self.record.finish(
            outcome, stored=entry is not None, expires_at=entry.expires_at if entry else None
        )  # fmt: skip
        self.house.log.write(Pending(finished, self.record.secrets, self.record.reply))
        if self.ticket is not None:
            self.ticket.settle(self.record.reply.usage if self.record.reply else None, None)

    async def receipt(self, outcome: Outcome) -> LoggedCall:
        """The row as it will be. Made in a thread, since tokens may have to be counted."""
        finished = self.record.finish(outcome)
        return (await asyncio.to_thread(self.house.rows.rows, finished, self.record.reply)).call
