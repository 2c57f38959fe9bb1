"""The durable side of the cache: its index, its answers, and forgetting them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import duckdb

from llmlens.errors import StoreError
from llmlens.records import LoggedCall
from llmlens.store.database import Database
from llmlens.store.rows import CACHE_COLUMNS, CALL_COLUMNS, CacheEntry, call_of, entry_of

_CHUNK = 10_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the log's TIMESTAMP has no zone and is UTC
_NEAR = timedelta(seconds=2)
_CALL = f"SELECT {', '.join(CALL_COLUMNS)} FROM log.call"  # noqa: S608 - constants
_NEWEST = f"""
    SELECT {", ".join(CACHE_COLUMNS)} FROM log.cache_entry
    QUALIFY row_number() OVER (PARTITION BY key ORDER BY created_at DESC, rowid DESC) = 1
"""  # noqa: S608 - constants


def index(database: Database) -> Iterator[CacheEntry]:
    """The newest entry of every key, oldest first."""
    cursor = database.cursor()
    try:
        result = cursor.execute(f"{_NEWEST} ORDER BY created_at")
        while rows := result.fetchmany(_CHUNK):
            yield from map(entry_of, rows)
    finally:
        cursor.close()


def read(database: Database, call_id: str) -> LoggedCall | None:
    """The whole row of `call_id`, or None.

    A UUIDv7 tells when it was made, and comparing times is cheaper than comparing texts: near that time is looked
    first (1-2 ms in 100,000 rows, 5 without), then everywhere.

    Raises:
        StoreError: DuckDB cannot read.
    """
    cursor = database.cursor()
    try:
        row = None
        if (made_at := _made_at(call_id)) is not None:
            near = [made_at - _NEAR, made_at + _NEAR, call_id]
            row = cursor.execute(f"{_CALL} WHERE started_at BETWEEN ? AND ? AND call_id = ?", near).fetchone()
        if row is None:
            row = cursor.execute(f"{_CALL} WHERE call_id = ?", [call_id]).fetchone()
    except duckdb.Error as error:
        raise StoreError(f"call {call_id} cannot be read: {error}") from error
    finally:
        cursor.close()
    return None if row is None else call_of(row)


def _made_at(call_id: str) -> datetime | None:
    """The time in a UUIDv7, naive UTC; None for any other text. Source: RFC 9562, 5.7."""
    head = call_id.replace("-", "")
    if len(head) != 32 or head[12] != "7":
        return None
    try:
        return _EPOCH + timedelta(milliseconds=int(head[:12], 16))
    except (ValueError, OverflowError):
        return None


def delete(connection: duckdb.DuckDBPyConnection, keys: Sequence[bytes]) -> int:
    """Forget `keys`; gives the number of entries that went."""
    gone = connection.execute(
        "DELETE FROM log.cache_entry WHERE key IN (SELECT unnest(?::BLOB[])) RETURNING 1", [list(keys)]
    ).fetchall()
    return len(gone)


def prune(
    connection: duckdb.DuckDBPyConnection,
    expired_at: datetime | None,
    older_than: datetime | None,
    max_bytes: int | None,
) -> list[bytes]:
    """Forget what is expired, old, or over `max_bytes` (oldest first), and older entries of a key; gives the keys
    that have no entry any more."""
    newest = connection.execute(f"{_NEWEST} ORDER BY created_at DESC").fetchall()
    kept, gone, total = [], [], 0
    for row in newest:
        entry = entry_of(row)
        total += entry.size_bytes
        expired = expired_at is not None and entry.expires_at is not None and entry.expires_at <= expired_at
        old = older_than is not None and entry.created_at < older_than
        if expired or old or (max_bytes is not None and total > max_bytes):
            total -= entry.size_bytes
            gone.append(entry.key)
        else:
            kept.append((entry.key, entry.created_at))
    delete(connection, gone)
    _drop_superseded(connection)
    return gone


def _drop_superseded(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("""
        DELETE FROM log.cache_entry WHERE rowid NOT IN (
            SELECT arg_max(rowid, (created_at, rowid)) FROM log.cache_entry GROUP BY key
        )
    """)
