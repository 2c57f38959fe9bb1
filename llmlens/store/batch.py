"""One batch of calls, one transaction; and what to do when DuckDB refuses a value or cannot write at all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import duckdb

from llmlens.store.append import TROUBLE, Append, appender
from llmlens.store.database import Database
from llmlens.store.journal import Position
from llmlens.store.rows import ATTEMPT_COLUMNS, CACHE_COLUMNS, CALL_COLUMNS, Rows, RowValues, sanitised

T = TypeVar("T")


class Entry(NamedTuple):
    """One finished call on its way into DuckDB."""

    rows: Rows
    values: RowValues
    position: Position
    size_bytes: int


class Stored(NamedTuple):
    """What became of some entries: committed, or (always a single one) refused because of `error`."""

    entries: Sequence[Entry]
    error: Exception | None


class Batches:
    """The writing connection. For one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connect()

    def store(self, entries: Sequence[Entry]) -> Iterator[Stored]:
        """Commit `entries` and tell, in order, what became of them; nothing is asked of DuckDB before the first is
        taken. A value that DuckDB refuses costs only its own row, and that only if no harmless form of it exists.

        Raises:
            append.TROUBLE: DuckDB cannot write now; what was not told is not committed (or it is: see `unknown`).
        """
        try:
            self._commit(entries)
        except TROUBLE:
            raise
        except Exception:  # noqa: BLE001 - conversions fail in many ways: UnicodeEncodeError, RuntimeError, DataError …
            yield from self._rescue([entry._replace(values=sanitised(entry.values)) for entry in entries])
        else:
            yield Stored(entries, None)

    def unknown(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those whose call is not in the log yet."""
        ids = [entry.rows.call.call_id for entry in entries]
        found = self._connection.execute(
            "SELECT call_id FROM log.call WHERE call_id IN (SELECT unnest(?::VARCHAR[]))", [ids]
        ).fetchall()
        known = {call_id for (call_id,) in found}
        return [entry for entry in entries if entry.rows.call.call_id not in known]

    def transaction(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do `work` whole or not at all."""
        self._connection.begin()
        try:
            result = work(self._connection)
            self._connection.commit()
        except BaseException:
            self._rollback()
            raise
        return result

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file. Raises duckdb.Error, harmlessly, while someone else writes."""
        self._connection.execute("CHECKPOINT")

    def renew(self, error: Exception) -> None:
        """Open the file anew when `error` made DuckDB give it up. Raises StoreError when that fails."""
        if isinstance(error, duckdb.FatalException | duckdb.InternalException) or "invalidated" in str(error):
            self._database.reopen()
            self._connect()

    def close(self) -> None:
        """The connection, not the database."""
        self._appenders: dict[str, Append] = {}
        self._connection.close()

    def _connect(self) -> None:
        self._connection = self._database.cursor()
        tables = (("log.call", CALL_COLUMNS), ("log.attempt", ATTEMPT_COLUMNS), ("log.cache_entry", CACHE_COLUMNS))
        self._appenders = {
            table: appender(self._connection, table, columns, self._database.temp_directory)
            for table, columns in tables
        }

    def _rescue(self, entries: Sequence[Entry]) -> Iterator[Stored]:
        try:
            self._commit(entries)
        except TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - as in `store`
            if len(entries) == 1:
                yield Stored(entries, error)
                return
            middle = len(entries) // 2
            yield from self._rescue(entries[:middle])
            yield from self._rescue(entries[middle:])
        else:
            yield Stored(entries, None)

    def _commit(self, entries: Sequence[Entry]) -> None:
        def work(_: duckdb.DuckDBPyConnection) -> None:
            self._appenders["log.call"]([entry.values.call for entry in entries])
            if attempts := [values for entry in entries for values in entry.values.attempts]:
                self._appenders["log.attempt"](attempts)
            if cached := [entry.values.cache_entry for entry in entries if entry.values.cache_entry]:
                self._appenders["log.cache_entry"](cached)

        if entries:
            self.transaction(work)

    def _rollback(self) -> None:
        with suppress(duckdb.Error):  # the transaction is gone already, together with whatever it held
            self._connection.rollback()
