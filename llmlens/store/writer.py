"""The one thread that writes DuckDB: batches of finished calls, each in one transaction.

A record is in the journal before it is submitted, so what this thread has not committed is never lost: after a crash
`start` replays it. Exactly once: a replayed or retried call whose id is in the log already is not written again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

import duckdb

from llmlens.errors import StoreError
from llmlens.records import LoggedCall
from llmlens.store import answers
from llmlens.store.append import TROUBLE
from llmlens.store.batch import Batches, Entry, Stored
from llmlens.store.database import Database
from llmlens.store.journal import Journal, Position
from llmlens.store.rows import CacheEntry, Rows, values_of

Record = TypeVar("Record")
T = TypeVar("T")
logger = logging.getLogger(__name__)

BATCH_BYTES = 16 * 1024 * 1024
REPLAY_ROWS = 500
LONGEST_RETRY_S = 5.0


class _Submitted(NamedTuple, Generic[Record]):
    record: Record | None  # None: memory is short, read it back from the journal
    position: Position
    size_bytes: int


class _Work(NamedTuple):
    run: Callable[[], None]


class Writer(Generic[Record]):
    """Owns every write. `rows_of(record)` and `rows_of_payload(journal payload)` run in the writer's thread and build
    the rows of one call; what they raise sets that one record aside (`rejected`) and harms no other.

    `on_committed(rows)` is called in the writer's thread after each commit, in the order of submission. `submit` is
    for one thread (the event loop); all else is for any.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        rows_of: Callable[[Record], Rows],
        rows_of_payload: Callable[[bytes], Rows],
        on_committed: Callable[[Sequence[Rows]], None] | None = None,
        max_pending_bytes: int = 64 * 1024 * 1024,
        batch_rows: int = 1_000,
        batch_wait_s: float = 0.1,
        idle_s: float = 2.0,
        checkpoint_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        """`idle_s` without a call, or `checkpoint_bytes` of payload, lead to a checkpoint."""
        self.database = database
        self.journal = journal
        self.rows_of = rows_of
        self.rows_of_payload = rows_of_payload
        self.on_committed = on_committed
        self.max_pending_bytes = max_pending_bytes
        self.batch_rows = batch_rows
        self.batch_wait_s = batch_wait_s
        self.idle_s = idle_s
        self.checkpoint_bytes = checkpoint_bytes
        self.failing: str | None = None
        self.rejected = 0
        self._queue: deque[_Submitted[Record] | _Work] = deque()
        self._batches = Batches(database)
        self._awake, self._hurry, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._progress = threading.Condition()
        # Each counter has one writing thread, so none needs a lock.
        self._submitted = self._submitted_bytes = 0
        self._finished = self._finished_bytes = 0
        self._uncheckpointed_bytes = 0
        self._thread = threading.Thread(target=self._live, name="llmlens-writer", daemon=True)

    @property
    def pending(self) -> int:
        """Records submitted and not yet committed."""
        return self._submitted - self._finished

    @property
    def pending_bytes(self) -> int:
        """Payload bytes of the records that wait in memory."""
        return self._submitted_bytes - self._finished_bytes

    def start(self) -> int:
        """Replay the journal (blocking; calls already in the log are not written twice), start the thread, return how
        many calls were recovered.

        Raises:
            StoreError: the journal cannot be read, or DuckDB cannot take what it holds.
        """
        recovered = 0
        entries: list[Entry] = []
        for position, payload in self.journal.replay():
            if entry := self._converted(self.rows_of_payload, payload, position, 0):
                entries.append(entry)
            if len(entries) >= REPLAY_ROWS:
                recovered += self._recover(entries)
                entries = []
        recovered += self._recover(entries)
        self._thread.start()
        return recovered

    def submit(self, record: Record, position: Position, size_bytes: int) -> None:
        """Queue a record already appended to the journal at `position`. O(1), never blocks, for the event loop.

        Over `max_pending_bytes` only the position is kept and the record is read back from the journal when its turn
        comes: memory stays bounded and nothing is lost. `check` says so, so that no further call is let in.
        """
        if self.pending_bytes + size_bytes > self.max_pending_bytes:
            item = _Submitted[Record](None, position, 0)
        else:
            item = _Submitted(record, position, size_bytes)
        self._submitted += 1
        self._submitted_bytes += item.size_bytes
        self._enqueue(item)

    def check(self) -> None:
        """For the gate, before a call is sent.

        Raises:
            StoreError: more than `max_pending_bytes` wait to be written, or the thread is gone.
        """
        if self.pending_bytes < self.max_pending_bytes and (self._thread.is_alive() or self._thread.ident is None):
            return
        why = self.failing or ("the writer has ended" if self._closing.is_set() else "the disk is too slow")
        raise StoreError(
            f"the log is behind by {self.pending} calls ({self.pending_bytes} bytes): {why}; "
            "they are safe in the journal and no new call is taken until they are written"
        )

    def flush(self, timeout_s: float = 10.0) -> None:
        """Block until everything submitted before now is committed. StoreError on timeout, saying why."""
        target = self._submitted
        self._hurry.set()
        with self._progress:
            done = self._progress.wait_for(lambda: self._finished >= target, timeout_s)
        if not done:
            why = self.failing or "the disk is too slow"
            raise StoreError(f"{target - self._finished} calls not written after {timeout_s:g} s: {why}")

    def run(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> "Future[T]":
        """Do `work` in the writer's thread, in a transaction of its own, after what was submitted before it."""
        future: Future[T] = Future()

        def act() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(self._batches.transaction(work))
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever waits
                future.set_exception(error)

        if self._closing.is_set():
            raise StoreError("the log is closed")
        self._enqueue(_Work(act))
        self._hurry.set()
        return future

    def delete_cache(self, keys: Sequence[bytes]) -> "Future[int]":
        """Forget these cache keys; gives the number of entries that went. The calls stay in the log."""
        return self.run(lambda connection: answers.delete(connection, keys))

    def prune_cache(
        self, *, expired_at: datetime | None = None, older_than: datetime | None = None, max_bytes: int | None = None
    ) -> "Future[list[bytes]]":
        """Forget entries that are expired at `expired_at` or were made before `older_than`, then the oldest until
        `max_bytes` are left; gives the keys that went. Times are aware."""
        return self.run(lambda connection: answers.prune(connection, expired_at, older_than, max_bytes))

    def load_cache_index(self) -> Iterator[CacheEntry]:
        """The newest entry of every key, oldest first. Blocking; for the start."""
        return answers.index(self.database)

    def read_answer(self, call_id: str) -> LoggedCall | None:
        """The whole row of `call_id`, for a hit whose answer left memory. Blocking: run it in a thread."""
        return answers.read(self.database, call_id)

    def close(self, timeout_s: float = 30.0) -> None:
        """Commit what is pending, checkpoint, end the thread, close the journal. What cannot be committed in time
        stays in the journal. Harmless when done twice."""
        self._closing.set()
        self._awake.set()
        self._hurry.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self.journal.close()

    # ── in the writer's thread ────────────────────────────────────────────────────────────────────────────────────

    def _enqueue(self, item: "_Submitted[Record] | _Work") -> None:
        self._queue.append(item)
        if not self._awake.is_set():
            self._awake.set()
        if len(self._queue) >= self.batch_rows:
            self._hurry.set()

    def _live(self) -> None:
        while True:
            if not self._awake.wait(self.idle_s):
                self._rest()
                continue
            self._hurry.wait(self.batch_wait_s)
            self._hurry.clear()
            self._awake.clear()
            # What comes in meanwhile waits for the next round, so that batches stay large while calls keep coming.
            left = len(self._queue)
            while left > 0 or (self._closing.is_set() and self._queue):
                left -= self._turn()
            if self._queue:
                self._awake.set()
            elif self._closing.is_set():
                break
        self._checkpoint()
        self._batches.close()

    def _turn(self) -> int:
        """The next piece of work, or the next batch of records up to it; gives how many items were taken."""
        batch: list[Entry] = []
        rows = size = 0
        while self._queue and rows < self.batch_rows and size < BATCH_BYTES:
            item = self._queue.popleft()
            if isinstance(item, _Work):
                self._store(batch)
                item.run()
                return rows + 1
            if entry := self._converted(self._rows, item, item.position, item.size_bytes):
                batch.append(entry)
            else:
                self._finish(1, item.size_bytes)
            rows, size = rows + 1, size + item.size_bytes
        self._store(batch)
        if self._uncheckpointed_bytes > self.checkpoint_bytes:
            self._checkpoint()
        return max(1, rows)

    def _rows(self, item: _Submitted[Record]) -> Rows:
        if item.record is None:
            return self.rows_of_payload(self.journal.read(item.position))
        return self.rows_of(item.record)

    def _converted(self, convert: Callable[[T], Rows], source: T, position: Position, size_bytes: int) -> Entry | None:
        """The record as rows; None, and the record set aside, when it cannot be made into any."""
        try:
            rows = convert(source)
            return Entry(rows, values_of(rows), position, size_bytes)
        except Exception as error:  # noqa: BLE001 - one bad record must not stop the log; it is kept, with the reason
            self._reject(position, error)
            return None

    def _recover(self, entries: list[Entry]) -> int:
        """Commit what the log lacks of `entries`; gives how many calls that were."""
        committed = 0
        try:
            new = self._batches.unknown(entries)
            for stored in self._batches.store(new):
                if stored.error is None:
                    committed += len(stored.entries)
                    self.journal.committed([entry.position for entry in stored.entries])
                else:
                    self._reject(stored.entries[0].position, stored.error)
        except TROUBLE as error:
            raise StoreError(f"the journal {self.journal.directory} cannot be replayed: {error}") from error
        fresh = {entry.position for entry in new}
        self.journal.committed([entry.position for entry in entries if entry.position not in fresh])
        return committed

    def _store(self, batch: list[Entry]) -> None:
        """Commit the batch, however long it takes; give up only when the writer is closing."""
        delay_s = 0.05
        while batch:
            try:
                if self.failing:  # the commit that failed may have reached the disk all the same
                    batch = self._without_known(batch)
                for stored in self._batches.store(batch):
                    self._settle(stored)
                    batch = batch[len(stored.entries) :]
                self.failing = None
            except Exception as error:  # noqa: BLE001 - the log must go on; `failing` and `check` tell
                self.failing = f"{type(error).__name__}: {error}"
                logger.warning("the log cannot be written, %d calls wait: %s", self.pending, self.failing)
                if self._closing.wait(delay_s):
                    return
                delay_s = min(2 * delay_s, LONGEST_RETRY_S)
                self._renew(error)

    def _without_known(self, batch: list[Entry]) -> list[Entry]:
        new = self._batches.unknown(batch)
        fresh = {entry.position for entry in new}
        if known := [entry for entry in batch if entry.position not in fresh]:
            self._settle(Stored(known, None))
        return new

    def _settle(self, stored: Stored) -> None:
        """Tell the journal, the waiting and the live feed what became of these entries."""
        size = sum(entry.size_bytes for entry in stored.entries)
        if stored.error is not None:
            self._reject(stored.entries[0].position, stored.error)
            self._finish(1, size)
            return
        self._forget([entry.position for entry in stored.entries])
        self._uncheckpointed_bytes += size
        self._finish(len(stored.entries), size)
        if self.on_committed is not None:
            try:
                self.on_committed([entry.rows for entry in stored.entries])
            except Exception:
                logger.exception("the live feed failed")  # the rows are in the log all the same

    def _finish(self, count: int, size_bytes: int) -> None:
        self._finished_bytes += size_bytes
        with self._progress:
            self._finished += count
            self._progress.notify_all()

    def _forget(self, positions: Sequence[Position]) -> None:
        try:
            self.journal.committed(positions)
        except StoreError as error:  # the segment stays; the next start sees that the log has its calls
            logger.warning("%s", error)

    def _reject(self, position: Position, error: Exception) -> None:
        self.rejected += 1
        try:
            self.journal.set_aside(position, f"{type(error).__name__}: {error}")
        except StoreError as failure:  # the record stays in the journal, for the next start
            logger.warning("%s", failure)
        else:
            logger.warning("a call cannot be logged and was set aside: %s", error)
            self._forget([position])

    def _renew(self, error: Exception) -> None:
        try:
            self._batches.renew(error)
        except StoreError as failure:
            self.failing = str(failure)

    def _rest(self) -> None:
        """Nothing has happened for a while."""
        if self._uncheckpointed_bytes:
            self._checkpoint()
        try:
            self.journal.trim()
        except StoreError as error:
            logger.warning("%s", error)

    def _checkpoint(self) -> None:
        try:
            self._batches.checkpoint()
            self._uncheckpointed_bytes = 0
        except duckdb.Error as error:  # a reader of old rows, or no space: the write-ahead log has everything
            logger.info("no checkpoint now: %s", error)
