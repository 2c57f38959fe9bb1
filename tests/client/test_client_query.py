import warnings
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from llmlens import settings as configuration
from llmlens.client import cell
from llmlens.client.ask import ask
from llmlens.client.filters import placed, since_time
from llmlens.client.gateway import Gateway
from llmlens.client.query import COLUMNS, calls, sql, usage
from llmlens.client.session import Session, use
from llmlens.errors import QueryError
from llmlens.gateway.serve import in_thread
from llmlens.records import Provenance, Secret
from tests.conftest import KEY

GLOBAL_FRAME = pd.DataFrame({"g": [1, 2, 3]})


@contextmanager
def real_gateway(folder):
    found = configuration.load(store=folder / "llmlens.duckdb", environ={}, cwd=folder)
    with in_thread(found, key=KEY) as (url, _):
        given = replace(found, url=url, key=Secret(KEY))
        former = use(Session(given, Gateway(url, Secret(KEY), None, "99", None)))
        yield
        use(former)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with real_gateway(tmp_path_factory.mktemp("log")):
        yield


@pytest.fixture(scope="module")
def logged(gateway):
    """Three calls, the second in a cell."""
    ask("one", "sim/small", tags={"step": 1, "who": "a"})
    token = cell.entered(Provenance(notebook="n.ipynb", cell_id="c", execution_count=7))
    ask("two", "sim/large", tags={"step": 2})
    cell.left(token)
    ask("three", "sim/nope", raises=False)


def dtypes(frame) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def test_calls_come_newest_last_in_stable_columns(logged):
    frame = calls()
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame["model_asked"]) == ["sim/small", "sim/large", "sim/nope"]
    assert frame["started_at"].is_monotonic_increasing
    assert abs(frame["started_at"].iloc[-1] - datetime.now(UTC)) < timedelta(minutes=5)
    assert frame["input_tokens"].iloc[0] > 0
    assert pd.isna(frame["input_tokens"].iloc[2])
    assert '"one"' in frame["request"].iloc[0]


def test_an_empty_log_has_the_same_columns_and_dtypes(tmp_path):
    with real_gateway(tmp_path):
        empty = calls()
        nothing = usage()
        ask("one", "sim/small")
        full, something = calls(), usage()
    assert len(empty) == len(nothing) == 0
    assert dtypes(nothing) == dtypes(something)
    expected = {name: {"time": "datetime64[us, UTC]"}.get(kind, kind) for name, kind in COLUMNS.items()}
    assert dtypes(empty) == dtypes(full) == expected


def test_columns_are_those_of_the_view_without_the_raw_bytes(gateway):
    view = list(sql("SELECT * FROM calls").columns)
    assert [c for c in view if c not in ("request_body", "response_body", "chunk_timeline")] == list(COLUMNS)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"model": "sim/large"}, ["sim/large"]),
        ({"model": "large"}, ["sim/large"]),
        ({"model": ["sim/large", "sim/nope"]}, ["sim/large", "sim/nope"]),
        ({"model": []}, []),
        ({"provider": "sim", "limit": 2}, ["sim/large", "sim/nope"]),
        ({"cell": "c"}, ["sim/large"]),
        ({"cell": 7}, ["sim/large"]),
        ({"notebook": "n.ipynb"}, ["sim/large"]),
        ({"run": "x"}, []),
        ({"outcome": "complete"}, ["sim/small", "sim/large"]),
        ({"tag": "who"}, ["sim/small"]),
        ({"tag": "step=2"}, ["sim/large"]),
        ({"tag": {"step": 1, "who": "a"}}, ["sim/small"]),
        ({"tag": 'it\'s "odd"; DROP TABLE calls'}, []),
        ({"limit": 2}, ["sim/large", "sim/nope"]),
        ({"since": "1 h"}, ["sim/small", "sim/large", "sim/nope"]),
        ({"since": timedelta(hours=-1)}, []),
        ({"where": "cost_usd > 0 -- dear ones"}, ["sim/small", "sim/large"]),
        ({"where": "false OR model_asked = 'sim/small'", "provider": "sim"}, ["sim/small"]),
    ],
)
def test_calls_narrow_down(logged, wanted, expected):
    assert list(calls(columns=["model_asked"], **wanted)["model_asked"]) == expected


def test_what_is_wrong_is_said(gateway):
    with pytest.raises(QueryError, match="no column 'nope'"):
        calls(columns=["nope"])
    with pytest.raises(QueryError, match="nope"):
        calls(where="nope = 1")
    with pytest.raises(QueryError, match="cannot group by"):
        usage(by="text; DROP TABLE calls")
    with pytest.raises(QueryError):
        sql("SELEC 1")
    with pytest.raises(QueryError):
        sql("DROP VIEW calls")


def test_usage_groups(logged):
    frame = usage(by="model_asked").set_index("model_asked")
    assert frame.loc["sim/small", ["calls", "errors", "hits"]].tolist() == [1, 0, 0]
    assert frame.loc["sim/nope", "errors"] == 1
    assert frame.loc["sim/small", "cost_usd"] > 0
    assert frame.loc["sim/small", "latency_median_s"] > 0
    assert pd.isna(frame.loc["sim/nope", "input_tokens"])
    assert usage(by=["day", "provider"], since="7 d")["calls"].sum() == 3


def test_frames_of_the_caller_travel(gateway):
    local = pd.DataFrame({"x": [1, 2], "y": ["a", None]}, index=[5, 6])
    assert sql("SELECT x, y FROM local ORDER BY x").equals(local.reset_index(drop=True))
    assert sql("SELECT sum(g) AS s FROM GLOBAL_FRAME")["s"].iloc[0] == 6
    assert sql("SELECT x FROM given JOIN local USING (x)", given=pd.DataFrame({"x": [2]}))["x"].tolist() == [2]
    assert sql("SELECT x FROM mine", namespace={"mine": local, "other": 1})["x"].tolist() == [1, 2]
    with pytest.raises(QueryError, match="local"):
        sql("SELECT * FROM local", namespace={})


def test_a_view_is_not_hidden_by_a_variable(gateway):
    calls = pd.DataFrame({"x": [1]})  # noqa: F841  the query must not see it
    assert "call_id" in sql("SELECT * FROM calls").columns


def test_a_frame_that_is_no_table_is_an_error(gateway):
    odd = pd.DataFrame({"x": [1 + 2j]})
    with pytest.raises(QueryError, match="'odd'"):
        sql("SELECT * FROM odd", odd=odd)


def test_parameters_are_bound(gateway):
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    row = sql("SELECT ? AS text, CAST(? AS TIMESTAMP) AS at, ? + 1 AS n", ["x' OR 1", when, 4]).iloc[0]
    assert (row["text"], row["at"], row["n"]) == ("x' OR 1", pd.Timestamp("2026-01-02 03:04"), 5)
    assert sql("SELECT $a AS a", {"a": 1})["a"].tolist() == [1]


def test_types_arrive_without_a_warning(gateway):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = sql(
            'SELECT TIMESTAMPTZ \'2026-01-01 00:00:00+00\' AS "t""z", NULL::TIMESTAMPTZ AS n, 1.5::DECIMAL(9, 2) AS d'
        )
    assert frame['t"z'].iloc[0] == pd.Timestamp("2026-01-01", tz="UTC")
    assert dtypes(frame) == {'t"z': "datetime64[us, UTC]", "n": "datetime64[us, UTC]", "d": "float64"}


NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, None),
        ("90 s", NOW - timedelta(seconds=90)),
        ("2h", NOW - timedelta(hours=2)),
        ("1.5 days", NOW - timedelta(days=1.5)),
        (timedelta(1), NOW - timedelta(1)),
        ("2026-05-01T00:00+02:00", datetime(2026, 4, 30, 22, tzinfo=UTC)),
        (NOW, NOW),
    ],
)
def test_since(since, expected):
    assert since_time(since, NOW) == expected


def test_since_that_is_nothing_is_an_error():
    with pytest.raises(QueryError, match="neither a duration"):
        since_time("yesterday", NOW)


def test_placed():
    assert placed(NOW.astimezone()) == "2026-06-01T00:00:00"
    assert placed(NOW.date()) == "2026-06-01"
    assert placed(Decimal("1.5")) == "1.5"
    assert placed(pd.Series([3])[0]) == 3
