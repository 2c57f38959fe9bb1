"""Opening a store: who may, which versions, and what it closes off."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from llmlens.errors import StoreError, StoreLocked
from llmlens.store import Database, Journal, schema

FIXTURES = Path(__file__).parent / "fixtures"
DUCKDB_1 = os.environ.get("DUCKDB_1_PYTHON")  # the Python of an environment with duckdb==1.5.5, where there is one


def tables(cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, ...]]:
    return cursor.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'log' ORDER BY ALL"
    ).fetchall()


def old_store(path: Path) -> None:
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.5.0"}) as connection:
        connection.execute((FIXTURES / "version1.sql").read_text())


def test_a_store_of_version_1_is_brought_up_to_date_with_its_rows(tmp_path):
    old_store(tmp_path / "old.duckdb")
    with Database.open(tmp_path / "new.duckdb") as new, new.cursor() as cursor:
        today = tables(cursor)
    with Database.open(tmp_path / "old.duckdb") as old, old.cursor() as cursor:
        assert tables(cursor) == today
        assert cursor.execute("SELECT text, cost_usd::DOUBLE FROM calls").fetchall() == [("old", 0.25)]
        assert cursor.execute("SELECT count(*) FROM log.cache_entry").fetchall() == [(1,)]


def test_steps_are_applied_once_in_order_and_whole(tmp_path):
    path = tmp_path / "old.duckdb"
    old_store(path)
    newest = schema.migrations()[-1].version
    two = schema.Migration(
        newest + 1, "ALTER TABLE log.call ADD COLUMN mood VARCHAR; UPDATE log.call SET mood = 'fine'"
    )
    broken = schema.Migration(newest + 2, "CREATE TABLE log.half (a INTEGER); SELECT no_such_thing")
    with duckdb.connect(str(path)) as connection:
        with pytest.raises(StoreError, match="the store is unchanged"):
            schema.bring_up_to_date(connection, path, (*schema.migrations(), two, broken))
        schema.bring_up_to_date(connection, path, (*schema.migrations(), two))
        assert connection.execute("SELECT mood FROM log.call").fetchall() == [("fine",)]
        assert connection.execute("SELECT value FROM log.meta WHERE name = 'version'").fetchall() == [
            (str(newest + 1),)
        ]
        assert "half" not in {table for table, _, _ in tables(connection)}
    with pytest.raises(StoreError, match=f"version {newest + 1}, this llmlens knows up to {newest}; upgrade"):
        Database.open(path)


def test_views_follow_the_code(tmp_path):
    path = tmp_path / "s.duckdb"
    with duckdb.connect(str(path)) as connection:
        schema.bring_up_to_date(connection, path, views="CREATE OR REPLACE VIEW main.calls AS SELECT 1 AS old")
    with Database.open(path) as database, database.cursor() as cursor:
        assert cursor.execute("SELECT call_id FROM calls").fetchall() == []


def test_a_renamed_store_still_works(tmp_path):
    Database.open(tmp_path / "a.duckdb").close()
    (tmp_path / "a.duckdb").rename(tmp_path / "b.duckdb")
    with Database.open(tmp_path / "b.duckdb") as database, database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM calls, attempts, usage_daily").fetchall() == [(0,)]


HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_process_that_holds_the_store_is_named(tmp_path):
    path = tmp_path / "s.duckdb"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    holder.stdout.readline()
    with pytest.raises(StoreLocked, match=rf"PID {holder.pid}\)"):
        Database.open(path)
    holder.communicate("")
    Database.open(path).close()


def test_one_process_cannot_open_it_twice(tmp_path):
    with Database.open(tmp_path / "s.duckdb"), pytest.raises(StoreLocked, match="already open in this process"):
        Database.open(tmp_path / "s.duckdb")


def test_files_that_are_no_store(tmp_path):
    (tmp_path / "text").write_text("hello" * 5000)
    with pytest.raises(StoreError, match="not a DuckDB file"):
        Database.open(tmp_path / "text")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    with pytest.raises(StoreError, match="not of llmlens"):
        Database.open(tmp_path / "other.duckdb")
    with pytest.raises(StoreError, match="cannot be opened"):
        Database.open(tmp_path / "text" / "below.duckdb")


def test_a_read_only_file_system(mount):
    folder = mount("ro,size=1m")
    with pytest.raises(StoreError, match=r"Read-only file system.*LLMLENS_STORE"):
        Database.open(folder / "s.duckdb")
    with pytest.raises(StoreError, match=r"Read-only file system.*LLMLENS_STORE"):
        Journal(folder / "j")


def test_private_and_clean(tmp_path):
    database = Database.open(tmp_path / "s.duckdb")
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.temp_directory.stat().st_mode) == 0o700
    database.close()
    database.close()
    assert not database.temp_directory.exists()
    with pytest.raises(StoreError, match="is closed"):
        database.cursor()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "FROM glob('/*')",
        "COPY log.call TO '{tmp}/out.csv'",
        "ATTACH '{tmp}/x.duckdb'",
        "LOAD httpfs",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET threads = 8",
        "RESET lock_configuration",
        "FROM here",
    ],
)
def test_the_second_fence_holds_even_past_the_guard(tmp_path, sql):
    here = [{"a": 1}]  # a variable of our own frame, which SQL must not see
    with Database.open(tmp_path / "s.duckdb") as database, database.cursor() as cursor, pytest.raises(duckdb.Error):
        cursor.execute(sql.format(tmp=tmp_path)).fetchall()
    assert here


@pytest.mark.skipif(not DUCKDB_1, reason="DUCKDB_1_PYTHON is not set")
def test_duckdb_1_5_reads_and_writes_the_store(new_store, calls):
    store = new_store()
    store.add(calls(0))
    store.close()
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); assert duckdb.__version__ == '1.5.5';"
        "print(c.execute('SELECT text, cost_usd FROM calls').fetchall());"
        "print(*(len(c.execute(f'FROM {v}').fetchall()) for v in ('usage_daily', 'attempts')));"
        "c.execute('INSERT INTO log.call SELECT * REPLACE (?::VARCHAR AS call_id) FROM log.call', ['ffff'])"
    )
    done = subprocess.run([DUCKDB_1, "-c", code, str(store.path)], capture_output=True, text=True, check=False)
    assert done.stdout == "[('answer 0', Decimal('0.0000012345'))]\n1 1\n", done.stderr
    assert new_store().all("SELECT count(*) FROM calls") == [(2,)]


@pytest.mark.parametrize("name", ["log.duckdb", "main.db", "TEMP.duckdb"])
def test_a_name_that_means_something_else_inside_is_refused(tmp_path, name):
    with pytest.raises(StoreError, match="choose another name"):
        Database.open(tmp_path / name)
