"""PIVOT without IN: DuckDB runs it as several statements, which no subquery and no `COPY` can hold.

So the columns are asked for first and written into the text as `IN (…)`. What comes out is checked like any other
query, so a mistake here can make a query fail but never let one pass.
"""

from collections.abc import Callable
from typing import NamedTuple

from llmlens.errors import QueryError
from llmlens.store.guard import tokens
from llmlens.store.schema import quoted

MAX_COLUMNS = 1_000
_AFTER_ON = frozenset({"USING", "GROUP", "ORDER", "LIMIT", ";"})


class _Pivot(NamedTuple):
    """Offsets into the SQL: [with][PIVOT source ON on][rest]."""

    word: int
    source: int
    on: int
    after_on: int


def is_dynamic(sql: str) -> bool:
    """Does `sql` look like a PIVOT statement (after an optional WITH) whose columns come from the data?"""
    return _parts(sql) is not None


def spelled_out(sql: str, values: Callable[[str], list[str]]) -> str:
    """`sql` with the columns of its PIVOT spelled out; other SQL as it is. `values(query)` runs a checked query and
    gives its one column.

    Raises:
        QueryError: no values, or more than MAX_COLUMNS.
    """
    parts = _parts(sql)
    if parts is None:
        return sql
    head, source = sql[: parts.word], sql[parts.source : parts.on]
    on = sql[parts.on + 2 : parts.after_on]
    spelled = []
    for expression in _split(on):
        if any(text.upper() == "IN" for text in _top_level(expression)):
            spelled.append(expression)
            continue
        found = values(
            f"{head} SELECT DISTINCT CAST(({expression}) AS VARCHAR) FROM {source} "  # noqa: S608 - checked by `values`
            f"WHERE ({expression}) IS NOT NULL ORDER BY 1 LIMIT {MAX_COLUMNS + 1}"
        )
        if not 0 < len(found) <= MAX_COLUMNS:
            raise QueryError(f"PIVOT ON {expression.strip()} gives {len(found)} columns; it takes 1 to {MAX_COLUMNS}")
        spelled.append(f" {expression.strip()} IN ({', '.join(map(quoted, found))})")
    return f"{sql[: parts.on]}ON {', '.join(spelled)} {sql[parts.after_on :]}"


def _parts(sql: str) -> _Pivot | None:
    depth, word, on, after = 0, None, None, None
    first = None
    for at, text in tokens(sql):
        upper = text.upper()
        first = first or upper
        depth += (text in "([{") - (text in ")]}") if len(text) == 1 else 0
        if depth:
            continue
        if upper in ("PIVOT", "PIVOT_WIDER") and word is None and first in ("WITH", upper):
            word = (at, at + len(text))
        elif word and upper == "ON" and after is None:
            on = at
        elif on and upper in _AFTER_ON and after is None:
            after = at
    if word is None or on is None:
        return None
    return _Pivot(word[0], word[1], on, len(sql) if after is None else after)


def _split(text: str) -> list[str]:
    """At the commas outside of brackets."""
    pieces, depth, start = [], 0, 0
    for at, word in tokens(text):
        if len(word) == 1:
            depth += (word in "([{") - (word in ")]}")
        if word == "," and not depth:
            pieces.append(text[start:at])
            start = at + 1
    return [*pieces, text[start:]]


def _top_level(text: str) -> list[str]:
    found, depth = [], 0
    for _, word in tokens(text):
        if len(word) == 1:
            depth += (word in "([{") - (word in ")]}")
        if not depth:
            found.append(word)
    return found
