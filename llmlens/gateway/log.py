"""Where finished calls go: journal first, then the writer's queue. Runs on the event loop and never waits.

When the journal cannot be written (disk full, read-only), rows stay in memory and are tried again; meanwhile
`check` refuses new calls, so that none is sent that cannot be logged. With `on_log_failure = "answer"` calls go on;
rows over the memory bound are then counted as `lost`, and health says so.
"""

import logging
from collections import deque
from dataclasses import dataclass, field

from llmlens.errors import LogUnavailable, StoreError
from llmlens.gateway.record import Finished, encode, strike_out
from llmlens.gateway.rows import RowMaker
from llmlens.records import Reply
from llmlens.store import Journal, Position, Rows, Writer

logger = logging.getLogger("llmlens.gateway")


@dataclass(slots=True)
class Pending:
    """What the writer's thread gets: the facts, and what is known of them already. `secrets` are struck out."""

    finished: Finished
    secrets: tuple[str, ...] = ()
    reply: Reply | None = None

    def made(self, maker: RowMaker) -> Rows:
        """The rows of this call."""
        return maker.rows(self.finished, self.reply)


@dataclass(slots=True)
class Log:
    journal: Journal
    writer: Writer[Pending]
    secrets: tuple[str, ...]  # of the gateway itself, struck out of every call
    refuse_when_failing: bool
    max_unwritten_bytes: int
    failing: str | None = None
    lost: int = 0
    _unwritten: deque[tuple[bytes, Pending]] = field(default_factory=deque)
    _unwritten_bytes: int = 0

    def check(self) -> None:
        """Raises LogUnavailable when a call that came in now could not be logged."""
        if self._unwritten:
            self._write_again()
        if not self.refuse_when_failing:
            return
        if self._unwritten:
            raise LogUnavailable(
                f"the call was not sent, because it could not be logged: {self.failing}", retry_after_s=5
            )
        try:
            self.writer.check()
        except StoreError as error:
            raise LogUnavailable(
                f"the call was not sent, because the log is behind: {error}", retry_after_s=5
            ) from error

    def write(self, pending: Pending) -> None:
        """One call has ended. After this it survives `kill -9`, unless `failing` says otherwise."""
        if strike_out(pending.finished, (*self.secrets, *pending.secrets)):
            pending.reply = None
        payload = encode(pending.finished)
        if self._unwritten:
            self._write_again()
        if self._unwritten or not self._written(payload, pending):
            self._keep(payload, pending)

    def _written(self, payload: bytes, pending: Pending) -> bool:
        try:
            position = self.journal.append(payload)
        except StoreError as error:
            if self.failing is None:
                logger.error("the journal cannot be written: %s", error)  # noqa: TRY400  # no traceback for a full disk
            self.failing = str(error)
            return False
        if self.failing is not None:
            logger.warning("the journal can be written again")
            self.failing = None
        self._submit(pending, position, len(payload))
        return True

    def _submit(self, pending: Pending, position: Position, size_bytes: int) -> None:
        try:
            self.writer.submit(pending, position, size_bytes)
        except StoreError as error:
            logger.warning("a call waits in the journal for the next start: %s", error)

    def _keep(self, payload: bytes, pending: Pending) -> None:
        if self._unwritten_bytes + len(payload) > self.max_unwritten_bytes:
            self.lost += 1
            logger.error("call %s is lost: %s", pending.finished.call_id, self.failing)
            return
        self._unwritten.append((payload, pending))
        self._unwritten_bytes += len(payload)

    def _write_again(self) -> None:
        while self._unwritten and self._written(*self._unwritten[0]):
            payload, _ = self._unwritten.popleft()
            self._unwritten_bytes -= len(payload)

    def close(self) -> None:
        """A last try. What cannot be written now is lost, and said."""
        self._write_again()
        if self._unwritten:
            logger.error("%d answered calls could not be logged: %s", len(self._unwritten), self.failing)
