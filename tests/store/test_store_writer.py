"""The writer: every journalled call is in DuckDB exactly once, whatever happens in between."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from llmlens.errors import StoreError
from llmlens.records import Attempt, LoggedCall
from llmlens.store import CacheEntry, Database, Journal, Rows, Writer, journal_directory
from llmlens.store.rows import CALL_COLUMNS

HERE = Path(__file__).parent
FULL = {
    "str": "ünï\U0001f600 'quoted' \"two\" \\ back\nline\ttab\x00nul",
    "int": 2**53 + 1,
    "float": 0.1 + 0.2,
    "bool": True,
    "bytes": bytes(range(256)),
    "Decimal": Decimal("12345678.0123456789"),
}


def a_full_call(call: LoggedCall) -> LoggedCall:
    """Every optional column filled with something awkward of its type."""
    changes = {}
    for column in fields(LoggedCall)[4:]:
        for kind, value in FULL.items():
            if kind in str(column.type):
                changes[column.name] = value
    return replace(
        call, **{**changes, "tags": '{"a": [1, null]}', "dropped": '["top_k"]', "tool_calls": "[]", "cache": "hit"}
    )


def test_columns_are_the_fields_of_the_record_in_order(store):
    rows = store.all("SELECT column_name FROM duckdb_columns() WHERE schema_name = 'log' AND table_name = 'call'")
    assert tuple(name for (name,) in rows) == CALL_COLUMNS == tuple(f.name for f in fields(LoggedCall))


@pytest.mark.parametrize("kind", ["plain", "full", "empty", "huge"])
def test_every_column_comes_back_as_it_went_in(store, calls, kind):
    call = {
        "plain": calls(),
        "full": a_full_call(calls()),
        "empty": LoggedCall(calls().call_id, calls().started_at, "denied", "raw"),
        "huge": calls(text="x" * 5_000_000, response_body=bytes(5_000_000)),
    }[kind]
    store.add(call)
    store.writer.flush()
    assert store.writer.read_answer(call.call_id) == call
    assert store.writer.rejected == 0


def test_times_of_any_zone_are_stored_in_utc(store, calls):
    call = calls(started_at=datetime(2026, 1, 1, 3, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30))))
    store.add(call)
    assert store.all("SELECT started_at FROM log.call") == [(datetime(2025, 12, 31, 21, 30, 0, 123456),)]  # noqa: DTZ001
    assert store.writer.read_answer(call.call_id) == replace(call, started_at=call.started_at.astimezone(UTC))


def test_a_text_no_database_takes_costs_nobody_their_row(store, calls):
    store.add(calls(0))
    store.add(calls(1, text="lone \ud800 surrogate", tags="{not json", cost_usd=Decimal("NaN"), input_tokens=2**70))
    store.add(calls(2, cost_usd=Decimal("1e30"), tags='{"raw": "\x00"}'))
    store.add(calls(3))
    rows = store.all("SELECT text, cost_usd, input_tokens FROM log.call ORDER BY call_id")
    assert [text for text, _, _ in rows] == ["answer 0", "lone \\ud800 surrogate", "answer 2", "answer 3"]
    assert rows[1][1:] == (None, None)
    assert [
        json.loads(t) for (t,) in store.all("SELECT tags FROM log.call WHERE tags IS NOT NULL ORDER BY call_id")
    ] == [
        "{not json",
        '{"raw": "\x00"}',
    ]
    assert store.writer.rejected == 0


def test_a_record_that_cannot_be_logged_is_set_aside_and_counted(store, calls):
    store.add(calls(0))
    position = store.journal.append(b"broken")
    store.writer.submit(None, position, 6)  # None has no rows: `rows_of` gives it back as it is
    store.add(calls(1, started_at="yesterday"))
    store.add(calls(2))
    assert len(store.all("SELECT 1 FROM log.call")) == 2
    assert store.writer.rejected == 2
    assert store.writer.pending == store.writer.pending_bytes == 0
    rejected = store.journal.directory / "rejected"
    assert sorted(file.read_bytes() for file in rejected.glob("*.bin")) == [b"broken", b'{"n": 1}']
    store.close()
    assert list(store.journal.directory.glob("*.seg")) == []


def test_attempts_are_stored_only_where_the_call_does_not_tell(store, calls):
    failed = Attempt("openai", "gpt", 503, "overloaded", 0.0, 0.2)
    store.add(calls(0, latency_s=1.0, overhead_s=0.25))
    store.add(calls(1, attempts=2), failed, Attempt("groq", "llama", 200, None, 0.3, 0.4))
    store.add(calls(2, attempts=1, outcome="error"), replace(failed, http_status=None))
    store.add(calls(3, attempts=0, cache="hit"), Attempt("x", None, 200, None, 0, 0))
    assert store.all("SELECT count(*) FROM log.attempt") == [(3,)]
    rows = store.all("SELECT n, provider, http_status, error, started_s, latency_s FROM attempts ORDER BY call_id, n")
    assert rows == [
        (1, "openai", 200, None, None, 0.75),
        (1, "openai", 503, "overloaded", 0.0, 0.2),
        (2, "groq", 200, None, 0.3, 0.4),
        (1, "openai", None, "overloaded", 0.0, 0.2),
    ]


def test_a_hit_shows_the_answer_it_replayed(store, calls):
    store.add(calls(0))
    store.add(calls(1, cache="hit", cached_from=calls(0).call_id, response_body=None, response_type=None, attempts=0))
    rows = store.all("SELECT call_id, request, response, response_type FROM calls ORDER BY call_id")
    assert rows[1] == (calls(1).call_id, '{"q": 1}', '{"a": 1}', "application/json")


def test_a_body_that_is_no_text_is_null_as_text(store, calls):
    store.add(calls(0, response_body=b"\xff\xfe"))
    assert store.all("SELECT response, response_body FROM calls") == [(None, b"\xff\xfe")]


def test_usage_keeps_unknown_apart_from_zero(store, calls):
    store.add(calls(0, cost_usd=None, input_tokens=None))
    assert store.all("SELECT calls, cost_usd, input_tokens, unpriced_calls FROM usage_daily") == [(1, None, None, 1)]
    store.add(calls(1, cost_usd=Decimal("0.5"), input_tokens=7))
    store.add(calls(2, cache="hit", attempts=0, cost_usd=Decimal(0), saved_usd=Decimal("0.5"), input_tokens=7))
    store.add(calls(3, outcome="error", cost_usd=None))
    rows = store.all("SELECT calls, errors, hits, input_tokens, cost_usd, saved_usd, unpriced_calls FROM usage_daily")
    assert rows == [(4, 1, 1, 7, Decimal("0.5"), Decimal("0.5"), 2)]


def test_the_live_feed_gets_every_row_in_order_and_may_fail(new_store, calls):
    store = new_store(batch_wait_s=0.001)
    for number in range(50):
        store.add(calls(number))
    store.writer.flush()
    assert [rows.call.call_id for rows in store.committed] == [calls(n).call_id for n in range(50)]
    store.writer.on_committed = lambda rows: 1 / 0
    store.add(calls(50))
    store.writer.flush()
    assert store.writer.failing is None


def test_cache_index_newest_entry_wins_and_pruning_forgets(store, calls):
    day = timedelta(days=1)
    now = calls().started_at
    keys = [bytes([n]) * 32 for n in range(4)]
    entries = [
        CacheEntry(keys[0], calls(0).call_id, now - 3 * day, None, 100),
        CacheEntry(keys[1], calls(1).call_id, now - 2 * day, now - day, 100),
        CacheEntry(keys[2], calls(2).call_id, now - day, now + day, 100),
        CacheEntry(keys[0], calls(3).call_id, now, None, 100),
        CacheEntry(keys[3], calls(4).call_id, now - day / 2, None, 100),
    ]
    for number, entry in enumerate(entries):
        store.add(calls(number), entry=entry)
    store.writer.flush()
    assert list(store.writer.load_cache_index()) == [entries[1], entries[2], entries[4], entries[3]]
    assert store.writer.prune_cache(expired_at=now).result() == [keys[1]]
    assert store.all("SELECT count(*) FROM log.cache_entry") == [(3,)]
    assert store.writer.prune_cache(max_bytes=250).result() == [keys[2]]
    assert store.writer.delete_cache([keys[3], b"unknown"]).result() == 1
    assert store.writer.prune_cache(older_than=now + day).result() == [keys[0]]
    assert list(store.writer.load_cache_index()) == []


def test_work_is_done_after_what_was_submitted_before_it_and_whole_or_not_at_all(store, calls):
    store.add(calls(0))
    assert store.writer.run(lambda c: c.execute("SELECT count(*) FROM log.call").fetchone()).result() == (1,)

    def half(connection):
        connection.execute("DELETE FROM log.call")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.writer.run(half).result()
    assert store.all("SELECT count(*) FROM log.call") == [(1,)]


def test_memory_is_bounded_and_nothing_is_lost(new_store, calls):
    store = new_store(max_pending_bytes=20, batch_wait_s=0.001)
    gate = threading.Event()
    blocked = store.writer.run(lambda _: gate.wait(10))
    for number in range(10):
        store.add(calls(number))
    assert store.writer.pending_bytes <= 20
    store.add(calls(10))
    store.writer.max_pending_bytes = store.writer.pending_bytes
    with pytest.raises(StoreError, match="behind by 11 calls"):
        store.writer.check()
    with pytest.raises(StoreError, match=r"11 calls not written after 0\.01 s"):
        store.writer.flush(0.01)
    gate.set()
    blocked.result()
    assert store.all("SELECT count(DISTINCT call_id), count(*) FROM log.call") == [(11, 11)]
    store.writer.check()


def test_closing_twice_and_working_afterwards(store, calls):
    store.add(calls(0))
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.writer.run(lambda c: None)
    with pytest.raises(StoreError, match="writer has ended"):
        store.writer.check()


def test_replay_writes_only_what_is_missing(new_store, calls, tmp_path):
    store = new_store()
    store.add(calls(0))
    store.close()
    journal = Journal(journal_directory(store.path))
    for number in (0, 1, 2):
        journal.append(json.dumps({"n": number}).encode())
    journal.append(b"broken")
    again = new_store()
    assert again.recovered == 2
    assert again.writer.rejected == 1
    assert again.all("SELECT call_id FROM log.call ORDER BY 1") == [(calls(n).call_id,) for n in range(3)]
    assert list(again.journal.directory.glob("*.seg")) == []


def test_a_full_disk_is_waited_out(mount, calls):
    disk = mount("size=24m")
    path = disk / "lens.duckdb"
    database = Database.open(path)
    ballast = disk / "ballast"
    journal = Journal(disk.parent / "journal")
    writer = Writer(database, journal, rows_of=lambda rows: rows, rows_of_payload=None, batch_wait_s=0.001)
    writer.start()
    free = os.statvfs(disk)
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 1_000_000))
    body = random.Random(1).randbytes(100_000)
    for number in range(40):
        writer.submit(Rows(calls(number, response_body=body)), journal.append(b"%d" % number), 100_000)
    with pytest.raises(StoreError, match="calls not written after"):
        writer.flush(2)
    assert "space" in (writer.failing or "")
    ballast.unlink()
    writer.flush(10)
    assert writer.failing is None
    writer.close()
    database.close()
    with Database.open(path) as database, database.cursor() as cursor:
        assert cursor.execute("SELECT count(DISTINCT call_id), count(*) FROM log.call").fetchone() == (40, 40)
    assert list(journal.directory.glob("*.seg")) == []


CHILD = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from conftest import Store, a_call
store = Store(Path(sys.argv[1])).open(batch_wait_s=0.002)
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 100_000):
    store.add(a_call(number))
    sys.stdout.write(f"{{number}}\\n")
    sys.stdout.flush()
"""


def test_kill_9_loses_no_answered_call_and_doubles_none(new_store, calls, tmp_path):
    answered, dice, path = [], random.Random(7), tmp_path / "killed.duckdb"
    for round_ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(here=str(HERE)), str(path), str(round_ * 100_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        answered.extend(int(child.stdout.readline()) for _ in range(dice.randrange(1, 1500)))
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        answered.extend(int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n"))
    store = new_store("killed.duckdb")
    mine = store.database.temp_directory
    assert list(mine.parent.glob(mine.name[:-8] + "*")) == [mine]  # what the killed left behind is gone
    logged = [call_id for (call_id,) in store.all("SELECT call_id FROM log.call")]
    assert len(logged) == len(set(logged))
    assert {calls(number).call_id for number in answered} <= set(logged)
    assert len(logged) - len(answered) <= 4  # a call whose number was not printed yet
