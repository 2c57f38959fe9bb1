"""`sql`, `calls`, `usage`: the log as DataFrames. The gateway runs the SQL, read-only; Parquet travels both ways."""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, cast

from llmlens.client.door import error_of
from llmlens.client.filters import Filter, placed, since_time
from llmlens.client.frames import from_parquet, named_frames, to_parquet
from llmlens.client.session import session
from llmlens.errors import GatewayError, QueryError, StoreError

if TYPE_CHECKING:
    import pandas

PARQUET: Final = "application/vnd.apache.parquet"
QUERY_TIMEOUT_S: Final = 120.0

# Column → dtype, in the order of the view. "time" is datetime64[us, UTC].
COLUMNS: Final[Mapping[str, str]] = {
    "call_id": "str", "started_at": "time", "outcome": "category", "cache": "category", "provider": "category",
    "model": "category", "request": "str", "text": "str", "input_tokens": "Int64", "output_tokens": "Int64",
    "cost_usd": "float64", "saved_usd": "float64", "latency_s": "float64", "first_token_s": "float64",
    "error_type": "category", "error_message": "str", "finish_reason": "category", "tool_calls": "str",
    "reasoning_text": "str", "refusal": "str", "response": "str", "notebook": "category", "cell_id": "category",
    "execution_count": "Int64", "run_id": "category", "tags": "str", "user_name": "category", "team": "category",
    "key_id": "category", "operation": "category", "dialect": "category", "method": "category", "path": "category",
    "stream": "boolean", "model_asked": "category", "model_sent": "category", "model_served": "category",
    "upstream_dialect": "category", "dropped": "str", "attempts": "Int64", "simulated": "boolean",
    "http_status": "Int64", "response_id": "str", "n_choices": "Int64", "n_vectors": "Int64", "dimensions": "Int64",
    "error_code": "category", "error_param": "category", "retry_after_s": "float64", "cache_read_tokens": "Int64",
    "cache_write_tokens": "Int64", "reasoning_tokens": "Int64", "usage_source": "category",
    "price_source": "category", "stated_cost_usd": "float64", "finish_detail": "category", "overhead_s": "float64",
    "cache_key": "str", "sample": "Int64",
    "cached_from": "str", "cell_sha": "category", "git_commit": "category", "git_dirty": "boolean",
    "client": "category", "traceparent": "str", "response_type": "category",
}  # fmt: skip
GROUPS: Final[Mapping[str, str]] = {
    "day": "CAST(started_at AS DATE)",
    **{name: name for name, kind in COLUMNS.items() if kind == "category" or name == "execution_count"},
}


def sql(
    query: str,
    /,
    params: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    namespace: Mapping[str, Any] | None = None,
    **frames: "pandas.DataFrame",
) -> "pandas.DataFrame":
    """Run read-only SQL over the log: `lens.sql("SELECT model, count(*) FROM calls GROUP BY ALL")`.

    The views are calls, attempts and usage_daily. DataFrames that the query names as tables travel along, without
    their index: those given by keyword, and those found in `namespace` (without it, the caller's variables).
    `params` are bound to `?` (a sequence) or `$name` (a mapping). Times of the log are UTC, without a zone.

    Raises:
        QueryError: the SQL is wrong, not read-only, or takes too long; the message is DuckDB's.
        GatewayError: there is no gateway and none can be started.
    """
    names = _variables(sys._getframe(1)) if namespace is None else namespace
    travelling = {**named_frames(query, names), **frames}
    return _run(query, params, travelling)


def calls(
    *,
    since: "datetime | timedelta | str | None" = None,
    model: str | Sequence[str] | None = None,
    provider: str | Sequence[str] | None = None,
    cell: str | int | None = None,
    notebook: str | None = None,
    run: str | None = None,
    outcome: str | Sequence[str] | None = None,
    tag: str | Mapping[str, Any] | None = None,
    limit: int | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
) -> "pandas.DataFrame":
    """The logged calls, the newest last. Every argument narrows down; together they all hold.

    since:    a time (without a zone: local), a timedelta before now, or text: "2 h", "30 min", "7 d", "2026-01-31".
    model:    as asked for ("openai/gpt-5-mini") or as served; several in a list. `provider`, `outcome` likewise.
    cell:     a cell's id, or its execution count. `run` is one kernel session.
    tag:      "name" (it is there) or "name=value"; a mapping for several.
    limit:    the newest so many.
    columns:  these only; without it all of `COLUMNS`, which is always the same list, also where there is no call.
    where:    a condition in SQL, for everything else: "latency_s > 2 AND text LIKE '%sorry%'".

    Columns of few values are categorical; `started_at` is datetime64[us, UTC]; counts are Int64 and flags boolean,
    so that unknown stays <NA>; money is float64 US dollars.

    Raises:
        QueryError: `where` is wrong, or a column is unknown.
        GatewayError: there is no gateway and none can be started.
    """
    chosen = _chosen(columns)
    asked = Filter()
    asked.since(since_time(since, datetime.now(UTC)))
    asked.model(model)
    asked.any_of("provider", provider)
    asked.any_of("outcome", outcome)
    asked.any_of("notebook", notebook)
    asked.any_of("run_id", run)
    asked.any_of("execution_count" if isinstance(cell, int) else "cell_id", cell)
    asked.tagged(tag)
    newest = ""
    if limit is not None:
        newest = "LIMIT ?"
    inner = f"SELECT * FROM calls WHERE {asked.condition(where)} ORDER BY started_at DESC, call_id DESC {newest}"  # noqa: S608
    query = f"SELECT {', '.join(chosen)} FROM ({inner}) ORDER BY started_at, call_id"  # noqa: S608
    frame = _run(query, [*asked.values, *([int(limit)] if limit is not None else [])], {})
    return _typed(frame, chosen)


def usage(
    by: str | Sequence[str] = "model", *, since: "datetime | timedelta | str | None" = None
) -> "pandas.DataFrame":
    """What was used, one row per `by` (a column of few values of `calls()`, or "day"; several in a list).

    calls, errors, hits (answered from the cache), input_tokens, output_tokens (of the calls that reached a provider),
    cost_usd, saved_usd, unpriced_calls (reached a provider, cost unknown), latency_median_s and latency_p95_s (of the
    complete calls that reached a provider). Sums skip what is unknown, and are NaN where nothing is known. The most
    expensive comes first, a day after the other.

    Raises:
        QueryError: there is nothing to group by with that name.
    """
    groups = [by] if isinstance(by, str) else list(by)
    for name in groups:
        if name not in GROUPS:
            raise QueryError(f"cannot group by {name!r}; known: {', '.join(sorted(GROUPS))}")
    asked = Filter()
    asked.since(since_time(since, datetime.now(UTC)))
    keys = ", ".join(f"{GROUPS[name]} AS {name}" for name in groups)
    order = ", ".join(["day"] if "day" in groups else []) or "cost_usd DESC NULLS LAST, calls DESC"
    query = f"""
        SELECT {keys}, count(*) AS calls,
            count(*) FILTER (outcome IN ('error', 'denied', 'incomplete')) AS errors,
            count(*) FILTER (cache = 'hit') AS hits,
            CAST(sum(input_tokens) FILTER (cache IS DISTINCT FROM 'hit') AS BIGINT) AS input_tokens,
            CAST(sum(output_tokens) FILTER (cache IS DISTINCT FROM 'hit') AS BIGINT) AS output_tokens,
            CAST(sum(cost_usd) AS DOUBLE) AS cost_usd, CAST(sum(saved_usd) AS DOUBLE) AS saved_usd,
            count(*) FILTER (cost_usd IS NULL AND attempts > 0) AS unpriced_calls,
            quantile_cont(latency_s, 0.5) FILTER (outcome = 'complete' AND cache IS DISTINCT FROM 'hit')
                AS latency_median_s,
            quantile_cont(latency_s, 0.95) FILTER (outcome = 'complete' AND cache IS DISTINCT FROM 'hit')
                AS latency_p95_s
        FROM calls WHERE {asked.condition(None)} GROUP BY ALL ORDER BY {order}, {", ".join(groups)}
    """  # noqa: S608
    counts = dict.fromkeys(("calls", "errors", "hits", "input_tokens", "output_tokens", "unpriced_calls"), "Int64")
    return _run(query, asked.values, {}).astype(counts)


# ── the way there and back ────────────────────────────────────────────────────────────────────────────────────────


def _run(
    query: str, params: Sequence[Any] | Mapping[str, Any] | None, frames: "Mapping[str, pandas.DataFrame]"
) -> "pandas.DataFrame":
    body: dict[str, Any] = {"sql": query}
    if params is not None:
        body["params"] = (
            {name: placed(value) for name, value in params.items()}
            if isinstance(params, Mapping)
            else [placed(value) for value in params]
        )
    if frames:
        body["frames"] = {name: base64.b64encode(to_parquet(name, f)).decode() for name, f in frames.items()}
    headers = {"content-type": "application/json", "accept": PARQUET}
    status, answer = session().fetch("POST", "/lens/query", json.dumps(body).encode(), headers, QUERY_TIMEOUT_S)
    if status == 200:
        return from_parquet(answer)
    message, code = error_of(answer)
    if code == "store_error":
        raise StoreError(message)
    if status in (401, 403):
        raise GatewayError(message)
    raise QueryError(message)


def _variables(frame: FrameType) -> Mapping[str, Any]:
    """What the caller can name: its locals, then its globals."""
    return {**frame.f_globals, **frame.f_locals}


def _chosen(columns: Sequence[str] | None) -> list[str]:
    chosen = list(COLUMNS) if columns is None else list(columns)
    for name in chosen:
        if name not in COLUMNS:
            raise QueryError(f"calls have no column {name!r}; known: {', '.join(COLUMNS)}")
    return chosen


def _typed(frame: "pandas.DataFrame", columns: Sequence[str]) -> "pandas.DataFrame":
    import pandas

    typed: dict[str, Any] = {}
    for name in columns:
        kind, column = COLUMNS[name], cast("Any", frame[name])
        if kind == "time":
            typed[name] = pandas.to_datetime(column, utc=True).astype("datetime64[us, UTC]")
        elif kind == "category":
            typed[name] = column.astype("str").astype("category")
        else:
            typed[name] = column.astype(kind)
    return pandas.DataFrame(typed, index=frame.index)
