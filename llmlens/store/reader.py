"""Read-only SQL of a user over the views, closed off from files, settings and other people's rows.

Each query has a cursor of its own, whose temp views are the only tables it can name, and a random directory of its
own, which no SQL that passes the guard can name at all.
"""

import re
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import duckdb

from llmlens.errors import QueryError
from llmlens.store import guard, pivot
from llmlens.store.database import Database
from llmlens.store.schema import identifier, quoted
from llmlens.store.views import STANDARD_VIEWS, View

Format = Literal["parquet", "json", "csv"]
_COPY_OPTIONS: Mapping[str, str] = {
    "parquet": "FORMAT parquet, COMPRESSION snappy",
    "json": "FORMAT json, ARRAY true, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%fZ'",
    "csv": "FORMAT csv, HEADER true",
}
_STRING_OR_NOT_JSON = re.compile(rb'("(?:[^"\\]|\\.)*")|-?Infinity|-?NaN')
_KIND = re.compile(r"^[A-Za-z ]+ Error: ")


class Reader:
    """Answers SQL. Thread-safe; each query runs on a cursor and in a temp directory of its own."""

    def __init__(self, database: Database, views: Sequence[View] = STANDARD_VIEWS) -> None:
        """`views` are the names that queries may use, beside the frames they bring along."""
        self._database = database
        self._views = tuple(views)

    def query(
        self,
        sql: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        frames: Mapping[str, bytes] | None = None,
        *,
        key_ids: Collection[str] | None = None,
        max_rows: int = 1_000_000,
        max_bytes: int = 256 * 1024 * 1024,
        timeout_s: float = 30.0,
        format: Format = "parquet",  # noqa: A002 - the word users know
    ) -> bytes:
        """Run one SELECT (or SHOW TABLES, DESCRIBE, SUMMARIZE) and return its rows as Parquet, JSON or CSV bytes.

        `frames` are the caller's DataFrames as Parquet bytes, by the name the SQL uses. `key_ids` limits every view to
        rows of these keys; None shows all. JSON is an array of objects, times ISO 8601 in UTC, decimals as numbers,
        NaN as null, blobs with `\\xNN` for bytes that are no ASCII. Blocking: run it in a thread, after `Writer.flush`.

        Raises:
            QueryError: wrong SQL, not read-only, out of bounds, over `max_rows`, `max_bytes` or `timeout_s`.
            StoreError: the store is closed.
        """
        if format not in _COPY_OPTIONS:
            raise QueryError(f"no format {format!r}; known: {', '.join(_COPY_OPTIONS)}")
        frames = frames or {}
        tables = self._tables(frames)
        cursor = self._database.cursor()
        folder = Path(tempfile.mkdtemp(dir=self._database.temp_directory))
        try:
            with _deadline(cursor, timeout_s), _readable_errors(self._database.temp_directory):
                checked = _checked(cursor, sql, tables, params, lambda: self._bind(cursor, folder, frames, key_ids))
                # The newline keeps a comment at the end of the query from swallowing the bracket. Checked once more,
                # as it will run: nothing that this text means may hang on how we cut the user's.
                whole = f"SELECT * FROM ({checked}\n) LIMIT {int(max_rows) + 1}"  # noqa: S608
                guard.check(cursor, whole, tables)
                rows, file = _copy(cursor, whole, params, folder, format)
            if rows > max_rows:
                raise QueryError(f"the result has more than {max_rows:,} rows; add LIMIT, or aggregate")
            return _read(file, max_bytes, format)
        finally:
            cursor.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _tables(self, frames: Mapping[str, bytes]) -> tuple[str, ...]:
        own = {guard.folded(view.name) for view in self._views}
        for name in frames:
            if guard.folded(name) in own or not name:
                raise QueryError(f"a DataFrame cannot be called {name!r}: that is a view of the log; rename it")
        return (*(view.name for view in self._views), *frames)

    def _bind(
        self,
        cursor: duckdb.DuckDBPyConnection,
        folder: Path,
        frames: Mapping[str, bytes],
        key_ids: Collection[str] | None,
    ) -> None:
        """Make the tables of the query: temp views, which hide those of the same name and which only `cursor` sees."""
        catalog = cursor.execute("SELECT current_database()").fetchone()
        source = f"{identifier(str(catalog[0] if catalog else ''))}.main"
        for view in self._views:
            if key_ids is not None and view.owner_column is not None:
                keys = ", ".join(map(quoted, key_ids)) or "NULL"
                cursor.execute(
                    f"CREATE TEMP VIEW {identifier(view.name)} AS SELECT * FROM {source}.{identifier(view.name)} "  # noqa: S608
                    f"WHERE {identifier(view.owner_column)} IN ({keys})"
                )
        for number, (name, data) in enumerate(frames.items()):
            file = folder / f"frame{number}.parquet"
            file.write_bytes(data)
            try:
                cursor.execute(
                    f"CREATE TEMP VIEW {identifier(name)} AS SELECT * FROM read_parquet({quoted(str(file))})"  # noqa: S608
                )
            except duckdb.Error as error:
                raise QueryError(f"DataFrame {name!r} did not arrive as Parquet: {_message(error)}") from error


def _checked(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    tables: Collection[str],
    params: Sequence[Any] | Mapping[str, Any] | None,
    bind: Any,
) -> str:
    """The text that may stand in a subquery, with the tables bound."""
    if not pivot.is_dynamic(sql):
        checked = guard.check(cursor, sql, tables)
        bind()
        return checked
    bind()

    def values(query: str) -> list[str]:
        rows = cursor.execute(guard.check(cursor, query, tables), params or []).fetchall()
        return [value for (value,) in rows]

    return guard.check(cursor, pivot.spelled_out(sql, values), tables)


def _copy(
    cursor: duckdb.DuckDBPyConnection,
    whole: str,
    params: Sequence[Any] | Mapping[str, Any] | None,
    folder: Path,
    wanted: Format,
) -> tuple[int, Path]:
    """Write the result to a file; gives its row count and the file."""
    file = folder / f"answer.{wanted}"
    row = cursor.execute(
        f"COPY ({whole}) TO {quoted(str(file))} ({_COPY_OPTIONS[wanted]})",
        params or [],
    ).fetchone()
    return int(row[0]) if row else 0, file


def _read(file: Path, max_bytes: int, wanted: Format) -> bytes:
    size = file.stat().st_size
    if size > max_bytes:
        raise QueryError(f"the result is larger than {max_bytes:,} bytes; name fewer columns, or add LIMIT")
    data = file.read_bytes()
    if wanted == "json" and (b"NaN" in data or b"Infinity" in data):  # DuckDB writes them bare, which is no JSON
        return _STRING_OR_NOT_JSON.sub(lambda found: found[1] or b"null", data)
    return data


@contextmanager
def _deadline(cursor: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    """Interrupt whatever `cursor` does after `timeout_s`, again and again until it gives up."""
    done, late = threading.Event(), threading.Event()

    def watch() -> None:
        wait_s = timeout_s
        while not done.wait(wait_s):
            late.set()
            cursor.interrupt()
            wait_s = 0.05

    watcher = threading.Thread(target=watch, name="llmlens-query-deadline", daemon=True)
    watcher.start()
    try:
        yield
    except (duckdb.Error, QueryError) as error:
        if late.is_set():
            raise QueryError(f"the query took longer than {timeout_s:g} s and was stopped") from error
        raise
    finally:
        done.set()
        watcher.join()


@contextmanager
def _readable_errors(temp: Path) -> Iterator[None]:
    """DuckDB's errors as QueryError, without our own paths and the text around the user's query."""
    try:
        yield
    except duckdb.InterruptException:
        raise
    except duckdb.OutOfMemoryException as error:
        raise QueryError("the query needs more memory than the gateway gives it; aggregate or filter first") from error
    except duckdb.Error as error:
        raise QueryError(_message(error).replace(str(temp), "…")) from error
    except (UnicodeEncodeError, RuntimeError, TypeError) as error:
        raise QueryError(f"the query or its parameters cannot be read: {error}") from error


def _message(error: duckdb.Error) -> str:
    text = str(error).split("\nLINE ", 1)[0].strip()
    return _KIND.sub("", text)
