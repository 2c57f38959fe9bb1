"""User SQL: what must work, what must not, and what each principal sees."""

import csv
import io
import json
import threading
from contextlib import suppress

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import QueryError
from llmlens.store import guard, pivot

VIEWS = ("calls", "attempts", "usage_daily")
WORKS = """
SELECT * FROM calls
select count(*) from CALLS
FROM calls
FROM "Calls" SELECT call_id
SELECT c.call_id FROM calls AS c JOIN attempts a USING (call_id)
SELECT * FROM calls LEFT JOIN df ON df.n = calls.input_tokens
SELECT * FROM calls, LATERAL (SELECT calls.text || '!' AS loud)
SELECT * FROM calls c WHERE EXISTS (SELECT 1 FROM attempts a WHERE a.call_id = c.call_id)
WITH x AS (FROM calls), y AS (FROM x) SELECT * FROM y
WITH calls AS (SELECT 1 AS one) SELECT one FROM calls
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t
SELECT row_number() OVER (PARTITION BY provider ORDER BY text), lag(text) OVER w FROM calls WINDOW w AS (ORDER BY text)
SELECT provider, sum(cost_usd) FROM calls GROUP BY ROLLUP (provider) HAVING count(*) > 0 ORDER BY ALL
SELECT quantile_cont(latency_s, 0.5), arg_max(text, started_at), count(DISTINCT model) FILTER (stream) FROM calls
SELECT DISTINCT ON (provider) provider, text FROM calls
SELECT text FROM calls QUALIFY row_number() OVER () = 1
SELECT unnest([1, 2, 3]) AS x, generate_series(1, 3)
FROM range(1000000) SELECT count(*)
FROM generate_series(1, 3) AS t(i), unnest([i, i]) AS u(j)
FROM unnest(range(3)) WITH ORDINALITY
VALUES (1, 'a'), (2, 'b')
SELECT * FROM (VALUES (1)) AS v(n) NATURAL JOIN df
SELECT request->>'$.q', json_extract(request, '$.q'), json_keys(request::JSON) FROM calls
FROM json_each('{"a": 1}')
SELECT list_transform([1, 2], lambda x: x + 1), [x * 2 FOR x IN [1, 2] IF x > 1], {'a': 1}.a, MAP {'k': 1}['k']
SELECT CASE WHEN stream THEN 1 END, text LIKE 'a%', try_cast(text AS INTEGER) FROM calls
SELECT x'ff'::BLOB, DATE '2026-01-01' + INTERVAL 1 DAY
SELECT strftime(started_at, '%Y'), date_trunc('day', started_at), extract(hour FROM started_at) FROM calls
SELECT now() > started_at FROM calls
SELECT COLUMNS('.*_usd') FROM calls
SELECT * EXCLUDE (text) REPLACE (1 AS n_choices) FROM calls
SELECT text.upper(), text[1:3], regexp_extract(text, '\\d+'), levenshtein(text, 'x'), md5(text) FROM calls
SELECT * FROM calls USING SAMPLE 1 ROWS
SELECT * FROM calls TABLESAMPLE 10%
SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3 INTERSECT SELECT 4
FROM calls UNION BY NAME FROM attempts
FROM calls ASOF JOIN df ON calls.input_tokens >= df.n
FROM calls SEMI JOIN attempts USING (call_id)
FROM calls POSITIONAL JOIN df
PIVOT calls ON provider USING count(*)
PIVOT calls ON provider USING count(*) GROUP BY model
PIVOT (FROM calls WHERE true) ON provider, cache USING sum(cost_usd), count(*) ORDER BY ALL;
WITH x AS (FROM calls) PIVOT x ON provider USING count(*)
PIVOT calls ON provider IN ('openai') USING count(*)
SELECT * FROM calls PIVOT (count(*) FOR provider IN ('openai', 'groq'))
UNPIVOT df ON n INTO NAME k VALUE v
SHOW TABLES
SHOW calls
DESCRIBE calls
DESCRIBE SELECT 1
SUMMARIZE calls
SUMMARIZE df
SELECT * FROM (DESCRIBE calls)
TABLE calls
SELECT 1 AS a, 2 AS a
SELECT 1; -- done
/* before */ SELECT ';' AS semi, $$;$$, e'\\';' /* ; */ ; /* after ; */
-- first\\nSELECT 1 -- last
SELECT lpad('a', 10, ' '), format('{:>5} {}', 'a', 1), printf('%05d', 3)
SELECT 'attach ''x'' copy to' AS innocent, "text" AS "drop table" FROM calls
""".strip().splitlines()

REFUSED = """
SELECT * FROM log.call
SELECT * FROM log."call"
SELECT * FROM main.calls
SELECT * FROM lens.main.calls
SELECT * FROM temp.calls
SELECT * FROM call
SELECT * FROM "log.call"
SELECT * FROM ㏒.call
SELECT * FROM log . /* x */ call
WITH x AS (FROM log.call) FROM x
SELECT (SELECT count(*) FROM log.call)
SELECT * FROM calls WHERE call_id IN (SELECT call_id FROM log.call)
SELECT * FROM calls ORDER BY (SELECT max(value) FROM log.meta)
SELECT list_transform([1], lambda x: (SELECT count(*) FROM log.meta))
SELECT 1 LIMIT (SELECT count(*) FROM log.meta)
FROM range((SELECT count(*) FROM log.meta))
PIVOT log.call ON provider USING count(*)
PIVOT calls ON (SELECT value FROM log.meta) USING count(*)
PIVOT (FROM duckdb_tables()) ON table_name USING count(*)
DESCRIBE log.call
SUMMARIZE log.call
SUMMARIZE FROM duckdb_settings()
SELECT * FROM information_schema.tables
SELECT * FROM duckdb_tables
SELECT * FROM sqlite_master
SELECT * FROM pg_catalog.pg_class
SELECT * FROM pg_tables
WITH duckdb_tables AS (FROM duckdb_tables) FROM duckdb_tables
WITH RECURSIVE duckdb_tables AS (FROM duckdb_tables) FROM duckdb_tables
WITH a AS (FROM sqlite_master), sqlite_master AS (SELECT 1) FROM a
FROM (WITH duckdb_tables AS (SELECT 1) FROM duckdb_tables) AS a, duckdb_tables
(WITH duckdb_views AS (SELECT 1) FROM duckdb_views) UNION ALL FROM duckdb_views
FROM duckdb_settings()
FROM duckdb_secrets()
FROM DUCKDB_FUNCTIONS()
FROM pragma_table_info('log.call')
FROM pragma_storage_info('calls')
FROM 'file.csv'
FROM 'file.parquet'
FROM "/etc/passwd"
FROM 'https://example.com/x.parquet'
FROM read_csv('/etc/passwd')
FROM read_csv_auto('x')
FROM READ_PARQUET('x')
FROM "read_text"('/etc/passwd')
FROM read_blob('x')
FROM read_json('x')
FROM read_ndjson_objects('x')
FROM parquet_scan('x')
FROM parquet_metadata('x')
FROM sniff_csv('x')
FROM glob('*')
FROM query('SELECT * FROM log.call')
FROM query_table('log.call')
FROM seq_scan('x')
FROM arrow_scan(1, 2, 3)
FROM pandas_scan(1)
FROM python_map_function(1)
FROM json_execute_serialized_sql('x')
FROM checkpoint()
FROM which_secret('x', 'y')
FROM test_all_types()
FROM histogram_values('log.call', 'text')
SELECT getvariable('x')
SELECT current_setting('temp_directory')
SELECT getenv('HOME')
SELECT json_serialize_plan('SELECT * FROM log.call')
SELECT json_serialize_sql('SELECT 1')
SELECT nextval('s')
SELECT pg_sleep(10)
SELECT sleep_ms(1000)
SELECT write_log('x')
SELECT current_query()
SELECT pg_catalog.current_setting('x')
SELECT 'x'.getvariable()
SELECT repeat('a', 2000000000)
SELECT lpad('a', 2000000000, 'b')
SELECT rpad('a', CAST(text AS INTEGER), 'b') FROM calls
SELECT range(1000000000)
SELECT len(generate_series(1, 1000000000))
SELECT format('{:>2000000000}', 1)
SELECT format(text, 1) FROM calls
SELECT printf('%*d', 2000000000, 1)
SELECT list_resize([1], 2000000000)
SELECT no_such_function(1)
INSERT INTO log.call VALUES (1)
INSERT INTO calls VALUES (1)
UPDATE log.call SET text = ''
DELETE FROM log.call
MERGE INTO log.call USING calls ON true WHEN MATCHED THEN DELETE
WITH x AS (INSERT INTO log.meta VALUES ('a', 'b') RETURNING *) FROM x
WITH x AS (DELETE FROM log.call RETURNING *) FROM x
WITH x AS (UPDATE log.meta SET value = '9' RETURNING *) SELECT 1
CREATE TABLE t (a INTEGER)
CREATE VIEW calls AS SELECT 1
CREATE MACRO f() AS 1
CREATE TEMP TABLE t AS SELECT 1
CREATE SECRET (TYPE s3)
DROP VIEW calls
ALTER TABLE log.call RENAME TO x
TRUNCATE log.call
VACUUM
ANALYZE
CHECKPOINT
COPY calls TO 'x.csv'
COPY (SELECT 1) TO '/tmp/x'
COPY log.call FROM 'x.csv'
EXPORT DATABASE 'x'
IMPORT DATABASE 'x'
ATTACH 'x.duckdb'
DETACH lens
USE memory
PRAGMA version
PRAGMA database_list
SET threads = 4
SET VARIABLE x = 1
RESET threads
CALL pragma_version()
LOAD httpfs
INSTALL httpfs
BEGIN
COMMIT
PREPARE x AS SELECT 1
EXECUTE x
EXPLAIN SELECT 1
EXPLAIN ANALYZE SELECT 1
SHOW ALL TABLES FROM x
SHOW DATABASES
SHOW threads
FROM (SHOW TABLES)
SELECT 1; SELECT 2
SELECT 1; DROP TABLE log.call
SELECT 1 /* ; */ ; /* x */ DELETE FROM log.call; --
; ;
-- only a comment
SELECT 1) TO '/tmp/x'; --
SELECT 1) UNION ALL (SELECT 2
SELECT 'open
SELECT 1 /* open
SELECT * FROM calls AT (VERSION => 1)
WITH RECURSIVE x USING KEY (a) AS (SELECT 1 AS a UNION SELECT a FROM recurring.y) FROM x
""".strip().splitlines()

PIECES = [
    "SELECT",
    "1",
    "FROM",
    "calls",
    "(",
    ")",
    "'",
    '"',
    ";",
    "--",
    "\n",
    "/*",
    "*/",
    "$$",
    "PIVOT",
    "ON",
    "x",
    ",",
]


@pytest.fixture
def some_calls(store, calls):
    for number in range(3):
        store.add(calls(number, provider=("openai", "groq")[number % 2], input_tokens=number))
    return store


@pytest.fixture
def frames(parquet):
    return {"df": parquet("SELECT range AS n FROM range(3)")}


def test_all_of_these_work(some_calls, frames):
    failed = {}
    for sql in WORKS:
        try:
            some_calls.json(sql.replace("\\n", "\n"), frames=frames)
        except QueryError as error:
            failed[sql] = str(error)
    assert failed == {}


def test_none_of_these_works(some_calls, frames, tmp_path):
    before = sorted(tmp_path.iterdir())
    for sql in REFUSED:
        with pytest.raises(QueryError) as refusal:
            some_calls.json(sql, frames=frames)
        assert str(some_calls.database.temp_directory) not in str(refusal.value)
        assert "LINE" not in str(refusal.value)
    assert sorted(tmp_path.iterdir()) == before
    assert some_calls.all("SELECT count(*) FROM log.call") == [(3,)]


def test_most_are_stopped_by_the_guard_already():
    """The second fence is not what stops them: the guard, alone with a bare DuckDB, refuses each one."""
    only_by_duckdb = {"CALL", "SELECT 1) TO", "SELECT 'open"}
    with duckdb.connect() as connection:
        for sql in REFUSED:
            if not any(sql.startswith(start) for start in only_by_duckdb):
                with pytest.raises(QueryError):
                    guard.check(connection, pivot.spelled_out(sql, lambda q: guard.check(connection, q, VIEWS))
                                if pivot.is_dynamic(sql) else sql, VIEWS)  # fmt: skip


@pytest.fixture(scope="module")
def bare():
    with duckdb.connect() as connection:
        yield connection


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join))
def test_no_text_crashes_the_guard(bare, text):
    try:
        checked = guard.check(bare, text, VIEWS)
    except QueryError:
        return
    guard.check(bare, f"SELECT * FROM ({checked}\n) LIMIT 5", VIEWS)


@pytest.mark.parametrize("name", sorted(guard.allowed_functions()))
def test_no_allowed_function_reads_or_runs(name):
    words = ("read_", "write", "setting", "env", "secret", "variable", "sql", "query", "sleep", "glob", "log_message")
    assert not any(word in name for word in words)


def test_a_member_sees_only_their_own_rows(store, calls):
    for number, key in enumerate(["ann", "bob", "bob", "it's"]):
        store.add(calls(number, key_id=key, outcome="error"))
    for keys, count in ([["bob"], 2], [["ann", "it's"], 2], [[], 0], [["x' OR '1'='1"], 0], [None, 4]):
        for sql in (
            "SELECT count(*) AS n FROM calls",
            "SELECT count(*) AS n FROM attempts",
            "SELECT coalesce(sum(calls), 0) AS n FROM usage_daily",
            "WITH x AS (FROM calls) SELECT (SELECT count(*) FROM x) AS n",
        ):
            assert store.json(sql, key_ids=keys) == [{"n": count}]
        with pytest.raises(QueryError):
            store.json("FROM main.calls", key_ids=keys)


def test_messages_help(some_calls):
    for sql, message in {
        "SELECT modl FROM calls": r'"modl" not found.*\n?.*"model"',
        "SELECT * FROM cals": "did you mean 'calls'",
        "SELECT lenght(text) FROM calls": "near: length",
        "SELEC 1": r"near \"SELEC\" \(line 1, column 1\)",
        "SELECT 1,\n  FORM calls x y": r"line 2, column",
        "FROM 'x.csv'": "Files cannot be read",
        "FROM log.call": "without a schema",
        "COPY calls TO 'x'": "read-only",
        "SELECT 1; SELECT 2": "one statement at a time",
        "SELECT ?": "parameter",
        "SELECT 'a'::INTEGER": "Could not convert",
        "SELECT \ud800": "cannot be parsed",
        "SELECT '" + "x" * 300_000 + "'": "longer than",
        "FROM (PIVOT calls ON provider USING count(*))": "needs its columns",
    }.items():
        with pytest.raises(QueryError, match=message):
            some_calls.json(sql)


@pytest.mark.parametrize("deep", ["(" * 5000 + "1" + ")" * 5000, "[" * 5000 + "]" * 5000, "(-" * 900 + "1" + ")" * 900])
def test_a_deeply_nested_query_crashes_nothing(some_calls, deep):
    with suppress(QueryError):  # DuckDB 1.5 answers some of these, 2.0 gives up
        some_calls.json(f"SELECT {deep}")
    assert some_calls.json("SELECT 1 AS a") == [{"a": 1}]


def test_bounds(some_calls):
    with pytest.raises(QueryError, match="more than 2 rows; add LIMIT"):
        some_calls.json("FROM calls", max_rows=2)
    assert len(some_calls.json("FROM calls", max_rows=3)) == 3
    with pytest.raises(QueryError, match="larger than 100 bytes"):
        some_calls.json("FROM calls", max_bytes=100)
    with pytest.raises(QueryError, match=r"longer than 0\.05 s"):
        some_calls.json("SELECT count(*) FROM range(100000000000)", timeout_s=0.05)
    with pytest.raises(QueryError, match="more memory"):
        some_calls.json("SELECT len(list(range)) FROM range(1000000000)")
    with pytest.raises(QueryError, match="no format 'xml'"):
        some_calls.reader.query("SELECT 1", format="xml")


def test_formats(some_calls, tmp_path):
    sql = """SELECT TIMESTAMP '2026-01-02 03:04:05.5' AS at, 1.50::DECIMAL(18,10) AS usd, NULL AS nothing, 'a"b' AS s,
             'NaN'::DOUBLE AS nan, '-inf'::DOUBLE AS inf, ':NaN,' AS text, [1] AS l, '{"k": 1}'::JSON AS j"""
    assert some_calls.json(sql) == [
        {"at": "2026-01-02T03:04:05.500000Z", "usd": 1.5, "nothing": None, "s": 'a"b', "nan": None, "inf": None,
         "text": ":NaN,", "l": [1], "j": {"k": 1}}
    ]  # fmt: skip
    assert some_calls.json("FROM calls LIMIT 0") == []
    rows = list(
        csv.DictReader(io.StringIO(some_calls.reader.query("SELECT 1 AS a, 'x,y' AS b", format="csv").decode()))
    )
    assert rows == [{"a": "1", "b": "x,y"}]
    (tmp_path / "answer.parquet").write_bytes(some_calls.reader.query("FROM calls ORDER BY call_id DESC"))
    with duckdb.connect() as connection:
        numbers = connection.execute(f"SELECT input_tokens FROM '{tmp_path}/answer.parquet'").fetchall()
    assert numbers == [(2,), (1,), (0,)]


def test_parameters(some_calls):
    assert some_calls.json("SELECT ?::INTEGER AS a, ? AS b", params=[1, "x"]) == [{"a": 1, "b": "x"}]
    assert some_calls.json("SELECT $n AS a FROM calls WHERE provider = $p", params={"n": 7, "p": "groq"}) == [{"a": 7}]


def test_frames_are_seen_by_their_query_only(some_calls, parquet):
    mine = {"My frame": parquet("SELECT 1 AS mine")}
    assert some_calls.json('FROM "my FRAME"', frames=mine) == [{"mine": 1}]
    with pytest.raises(QueryError, match="no table"):
        some_calls.json('FROM "My frame"')
    with pytest.raises(QueryError, match="rename it"):
        some_calls.json("FROM calls", frames={"CALLS": mine["My frame"]})
    with pytest.raises(QueryError, match="did not arrive as Parquet"):
        some_calls.json("FROM x", frames={"x": b"no parquet"})
    assert list(some_calls.database.temp_directory.iterdir()) == []


def test_queries_of_many_threads_keep_apart(some_calls, parquet):
    answers: dict[int, object] = {}

    def ask(number: int) -> None:
        frame = {"df": parquets[number]}
        answers[number] = json.loads(some_calls.reader.query("SELECT n FROM df", frames=frame, format="json"))

    parquets = [parquet(f"SELECT {n} AS n") for n in range(8)]
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: [{"n": n}] for n in range(8)}
