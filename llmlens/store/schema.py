"""The schema of the store: migrations, each applied once and whole, and the views, which follow the code."""

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import duckdb

from llmlens.errors import StoreError

_NUMBERED = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Migration(NamedTuple):
    """`sql` leads from store version `version - 1` to `version`."""

    version: int
    sql: str


def migrations() -> tuple[Migration, ...]:
    """All of `migrations/`, in order."""
    files = resources.files("llmlens.store").joinpath("migrations").iterdir()
    found = [(match, file) for file in files if (match := _NUMBERED.fullmatch(file.name))]
    return tuple(sorted(Migration(int(match[1]), file.read_text("utf-8")) for match, file in found))


def views_sql() -> str:
    """The text of `views.sql`."""
    return resources.files("llmlens.store").joinpath("views.sql").read_text("utf-8")


def bring_up_to_date(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    steps: Sequence[Migration] | None = None,
    views: str | None = None,
) -> None:
    """Apply the `steps` (default: all) that the store at `path` lacks, each in a transaction, then replace its views.

    Raises:
        StoreError: the store is newer than this code, is no llmlens store, or a step fails (nothing of it remains).
    """
    steps = migrations() if steps is None else steps
    views = views_sql() if views is None else views
    version = _version(connection, path)
    newest = steps[-1].version
    if version > newest:
        raise StoreError(
            f"store {path} has version {version}, this llmlens knows up to {newest}; upgrade: pip install -U llmlens"
        )
    for step in steps:
        if step.version > version:
            _apply(connection, path, step.sql, {"version": str(step.version)})
    digest = hashlib.sha256(views.encode()).hexdigest()
    if _meta(connection, "views") != digest:
        _apply(connection, path, views, {"views": digest})


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """0 for an empty file."""
    tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
    if not tables:
        return 0
    if ("log", "meta") not in tables:
        raise StoreError(f"{path} is a DuckDB file, but not of llmlens; choose another store")
    return int(_meta(connection, "version") or 0)


def _meta(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM log.meta WHERE name = ?", [name]).fetchone()
    return None if row is None else str(row[0])


def _apply(connection: duckdb.DuckDBPyConnection, path: Path, sql: str, meta: dict[str, str]) -> None:
    connection.begin()
    try:
        connection.execute(sql)
        for name, value in meta.items():
            connection.execute("DELETE FROM log.meta WHERE name = ?", [name])
            connection.execute("INSERT INTO log.meta VALUES (?, ?)", [name, value])
        connection.commit()
    except duckdb.Error as error:
        connection.rollback()
        raise StoreError(f"store {path} cannot be brought to {meta}: {error}; the store is unchanged") from error
