"""DataFrames ↔ Parquet bytes, by DuckDB (no pyarrow), and which frames a query names. DuckDB is imported when used."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from llmlens.errors import QueryError

if TYPE_CHECKING:
    import duckdb
    import pandas

VIEWS: Final = frozenset({"calls", "attempts", "prompts", "trials", "scores", "usage_daily"})
"""What the gateway has. A DataFrame of the caller's that has the same name travels only when it is given by keyword."""

NAME: Final = re.compile(r"\w+|(?<=\")[^\"]+(?=\")")


def named_frames(query: str, namespace: Mapping[str, Any]) -> "dict[str, pandas.DataFrame]":
    """The DataFrames of `namespace` that `query` names as tables; none for SQL that cannot be parsed.

    DuckDB finds the names, but gives up where it must know the columns (USING): then it is any name in the query.
    """
    kind = _frame_type()
    if kind is None or not any(isinstance(value, kind) for value in namespace.values()):
        return {}
    import duckdb

    with _database() as database:
        try:
            tables = database.get_table_names(query)
        except duckdb.ParserException:
            return {}  # the gateway will say what is wrong with it
        except duckdb.Error:
            tables = set(NAME.findall(query))
    return {name: namespace[name] for name in tables - VIEWS if isinstance(namespace.get(name), kind)}


def _frame_type() -> "type[pandas.DataFrame] | None":
    """The class, if anybody has imported pandas: else there can be no frame."""
    module = sys.modules.get("pandas")
    return getattr(module, "DataFrame", None)


def to_parquet(name: str, frame: "pandas.DataFrame") -> bytes:
    """`frame` as a Parquet file; its index does not travel.

    Raises:
        QueryError: a column holds what a table cannot.
    """
    import duckdb

    with _database() as database, _folder() as folder:
        file = folder / "frame.parquet"
        try:
            database.register("frame", frame)
            database.execute(f"COPY frame TO '{_quoted(file)}' (FORMAT parquet)")
        except duckdb.Error as error:
            raise QueryError(f"the DataFrame {name!r} cannot travel to the gateway: {error}") from error
        return file.read_bytes()


def from_parquet(data: bytes) -> "pandas.DataFrame":
    """The table in `data`. TIMESTAMPTZ columns become datetime64[us, UTC], TIMESTAMP ones stay without a zone."""
    import pandas

    with _database() as database, _folder() as folder:
        file = folder / "answer.parquet"
        file.write_bytes(data)
        columns = database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)]).fetchall()
        zoned = [name for name, kind, *_ in columns if kind == "TIMESTAMP WITH TIME ZONE"]
        # DuckDB's own way to hand over TIMESTAMPTZ makes pandas 3 warn: hand over microseconds instead.
        listed = ", ".join(f"epoch_us({_name(n)}) AS {_name(n)}" if n in zoned else _name(n) for n, *_ in columns)
        frame: pandas.DataFrame = database.execute(f"SELECT {listed} FROM read_parquet(?)", [str(file)]).df()  # noqa: S608
    for name, kind, *_ in columns:
        if kind == "VARCHAR" and frame[name].dtype == "object":  # a column without any value
            frame[name] = frame[name].astype("str")
    for name in zoned:
        frame[name] = pandas.to_datetime(frame[name], unit="us", utc=True).astype("datetime64[us, UTC]")
    return frame


@contextmanager
def _database() -> "Iterator[duckdb.DuckDBPyConnection]":
    import duckdb

    database = duckdb.connect(":memory:", config={"threads": 2, "autoinstall_known_extensions": False})
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _folder() -> Iterator[Path]:
    """A private folder (mode 0700) that goes away."""
    with TemporaryDirectory(prefix="llmlens-") as folder:
        yield Path(folder)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
