"""A store in a temp directory, and calls to put in it. The journal's payload is msgpack of what `rows_of` needs."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from llmlens.records import Attempt, LoggedCall
from llmlens.store import CacheEntry, Database, Journal, Reader, Rows, Writer, journal_directory

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def call_id(number: int) -> str:
    """A UUIDv7 whose time is that of call `number`."""
    head = f"{(START + timedelta(seconds=number) - EPOCH) // timedelta(milliseconds=1):012x}"
    return f"{head[:8]}-{head[8:]}-7000-8000-{number:012x}"


def a_call(number: int = 0, **changes: object) -> LoggedCall:
    """Call `number`, a plain chat."""
    values: dict[str, object] = {
        "call_id": call_id(number),
        "started_at": START + timedelta(seconds=number),
        "outcome": "complete",
        "operation": "chat",
        "key_id": "owner",
        "provider": "openai",
        "model_asked": "gpt",
        "model_sent": "gpt",
        "attempts": 1,
        "http_status": 200,
        "text": f"answer {number}",
        "request_body": b'{"q": 1}',
        "response_body": b'{"a": 1}',
        "response_type": "application/json",
        "cache": "miss",
        "cost_usd": Decimal("0.0000012345"),
    }
    return LoggedCall(**{**values, **changes})  # type: ignore[arg-type]


GOOD = Attempt("openai", "gpt", 200, None, 0.001, 0.5)


def rows_of_payload(payload: bytes) -> Rows:
    """`{"n": number}` is call `number`; anything else is an error, as from a broken record."""
    number = json.loads(payload)["n"]
    return Rows(a_call(number), (GOOD,))


@dataclass
class Store:
    """Everything of one store, opened and closed by hand."""

    path: Path
    database: Database = field(init=False)
    journal: Journal = field(init=False)
    writer: "Writer[Rows]" = field(init=False)
    reader: Reader = field(init=False)
    committed: list[Rows] = field(default_factory=list)
    recovered: int = 0

    def open(self, **options: object) -> "Store":
        self.database = Database.open(self.path)
        self.journal = Journal(journal_directory(self.path))
        self.writer = Writer(
            self.database,
            self.journal,
            rows_of=lambda rows: rows,
            rows_of_payload=rows_of_payload,
            on_committed=self.committed.extend,
            **options,  # type: ignore[arg-type]
        )
        self.recovered = self.writer.start()
        self.reader = Reader(self.database)
        return self

    def add(self, call: LoggedCall, *attempts: Attempt, entry: CacheEntry | None = None) -> None:
        """Journal and submit one call."""
        payload = json.dumps({"n": int(call.call_id[-12:], 16)}).encode()
        position = self.journal.append(payload)
        self.writer.submit(Rows(call, attempts or (GOOD,), entry), position, len(payload))

    def all(self, sql: str) -> list[tuple[object, ...]]:
        """Straight from DuckDB, past the guard."""
        self.writer.flush()
        cursor = self.database.cursor()
        try:
            return cursor.execute(sql).fetchall()
        finally:
            cursor.close()

    def json(self, sql: str, **options: object) -> list[dict[str, object]]:
        """Through the reader."""
        self.writer.flush()
        return json.loads(self.reader.query(sql, format="json", **options))  # type: ignore[arg-type]

    def close(self) -> None:
        self.writer.close()
        self.database.close()


@pytest.fixture
def new_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Opens stores; closes them at the end."""
    stores: list[Store] = []

    def build(name: str = "lens.duckdb", **options: object) -> Store:
        stores.append(Store(tmp_path / name).open(**options))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


@pytest.fixture
def store(new_store: Callable[..., Store]) -> Store:
    return new_store(batch_wait_s=0.001)


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[[str], bytes]:
    """The Parquet bytes of a query, as a client would send a DataFrame."""

    def make(sql: str) -> bytes:
        file = tmp_path / "frame.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({sql}) TO '{file}' (FORMAT parquet)")
        return file.read_bytes()

    return make


@pytest.fixture(scope="session")
def calls() -> Callable[..., LoggedCall]:
    """`a_call`, for modules that cannot import a conftest."""
    return a_call


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with options; skips where that is not permitted."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / f"mount{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting a tmpfs is not permitted here")
        mounted.append(folder)
        return folder

    try:
        yield make
    finally:
        for folder in mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def full_disk(mount: Callable[[str], Path]) -> Path:
    """A real file system of 1 MB, half of it in the file `ballast`."""
    folder = mount("size=1m")
    (folder / "ballast").write_bytes(bytes(500_000))
    return folder
