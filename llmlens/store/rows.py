"""What one finished call leaves in the log, and how it becomes DuckDB values. No I/O."""

import math
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from llmlens.records import Attempt, LoggedCall

CALL_COLUMNS = tuple(field.name for field in fields(LoggedCall))
ATTEMPT_COLUMNS = ("call_id", "n", *(field.name for field in fields(Attempt)))
CACHE_COLUMNS = ("key", "call_id", "created_at", "expires_at", "size_bytes")
JSON_COLUMNS = frozenset({"tags", "dropped", "tool_calls"})
call_values = attrgetter(*CALL_COLUMNS)  # C speed: a row has 64 values and a batch 1,000 rows
attempt_values = attrgetter(*(field.name for field in fields(Attempt)))

Values = Sequence[Any]
_MAX_INT = 2**63 - 1
_MAX_USD = Decimal(10**8)


class CacheEntry(NamedTuple):
    """The answer of `call_id` may be replayed for `key` (SHA-256, 32 bytes). Of several entries of one key the newest
    counts. Times are aware UTC; `expires_at` None means never; `size_bytes` is what the answer takes in memory."""

    key: bytes
    call_id: str
    created_at: datetime
    expires_at: datetime | None
    size_bytes: int


class Rows(NamedTuple):
    """Everything one call writes. `attempts` holds every try; the writer stores those the call row does not tell."""

    call: LoggedCall
    attempts: tuple[Attempt, ...] = ()
    cache_entry: CacheEntry | None = None


class RowValues(NamedTuple):
    """The same as DuckDB takes it: one tuple a row, in the order of the columns above."""

    call: Values
    attempts: Sequence[Values]
    cache_entry: Values | None


def values_of(rows: Rows) -> RowValues:
    """Rows as tuples. A single attempt that succeeded is left out: view `attempts` reads it off the call."""
    call = rows.call
    tries = rows.attempts
    if len(tries) == 1 and _succeeded(tries[0]):
        tries = ()
    stored = [(call.call_id, n, *attempt_values(attempt)) for n, attempt in enumerate(tries, 1)]
    return RowValues(call_values(call), stored, rows.cache_entry)


def sanitised(row: RowValues) -> RowValues:
    """The same row in values that every DuckDB accepts; for a batch that was refused.

    Lone surrogates become their escapes, JSON columns that are no JSON become a JSON string, and numbers that do not
    fit (a NaN price, 2**70 tokens) become NULL.
    """
    call = [
        _safe_json(_safe(v)) if n in JSON_COLUMNS else _safe(v) for n, v in zip(CALL_COLUMNS, row.call, strict=True)
    ]
    attempts = [tuple(_safe(v) for v in values) for values in row.attempts]
    entry = None if row.cache_entry is None else tuple(_safe(v) for v in row.cache_entry)
    return RowValues(tuple(call), attempts, entry)


def call_of(values: Values) -> LoggedCall:
    """A row of `log.call`, as DuckDB gives it, back as the record."""
    row = dict(zip(CALL_COLUMNS, values, strict=True))
    row["started_at"] = row["started_at"].replace(tzinfo=UTC)
    return LoggedCall(**row)


def entry_of(values: Values) -> CacheEntry:
    """A row of `log.cache_entry` back as the record."""
    key, call_id, created_at, expires_at, size_bytes = values
    expires = None if expires_at is None else expires_at.replace(tzinfo=UTC)
    return CacheEntry(key, call_id, created_at.replace(tzinfo=UTC), expires, size_bytes)


def _succeeded(attempt: Attempt) -> bool:
    return attempt.error is None and attempt.http_status is not None and attempt.http_status < 400


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Decimal):
        return value if value.is_finite() and abs(value) < _MAX_USD else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if -_MAX_INT <= value <= _MAX_INT else None
    return value


def _safe_json(value: Any) -> Any:
    """JSON text as it is; any other text as a JSON string."""
    if value is None:
        return None
    try:
        msgspec.json.decode(value)
    except msgspec.DecodeError:
        return msgspec.json.encode(value).decode()
    return value
