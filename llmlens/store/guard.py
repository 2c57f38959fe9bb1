"""Which SQL of a user may run: one SELECT that names only the tables it is given and only functions that compute.

DuckDB's own parser reads the text (`json_serialize_sql`); nothing here guesses at syntax. Of its tree every kind of
node must be known to be harmless: what a later DuckDB adds is refused until someone has looked at it (2.0 added
INSERT, UPDATE and DELETE inside a WITH of a SELECT, for one). This is the first fence; `database.py` is the second.
"""

import difflib
import json
import re
from collections.abc import Collection, Mapping
from importlib import resources
from typing import Any, NoReturn

import duckdb

from llmlens.errors import QueryError
from llmlens.store.schema import identifier, quoted

MAX_SQL_CHARS = 200_000
LONGEST_PADDING = 10_000  # characters; and elements of a list made by range()
TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "json_each", "json_tree", "repeat"})
_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLES = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EMPTY", "EXPRESSION_LIST", "PIVOT", "SHOW_REF"}
)
_OTHERS = frozenset(
    {"ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"}
    | {"ORDER_DEFAULT", "ASCENDING", "DESCENDING", "ORDER_ASCENDING", "ORDER_DESCENDING"}
    | {"LIST_TYPE_INFO", "DECIMAL_TYPE_INFO", "STRUCT_TYPE_INFO", "ARRAY_TYPE_INFO", "STRING_TYPE_INFO"}
    | {"UNBOUND_TYPE_INFO", "GENERIC_TYPE_INFO"}
)
_EXPRESSIONS = frozenset(
    {
        "COLUMN_REF",
        "CONSTANT",
        "FUNCTION",
        "WINDOW",
        "CASE",
        "CAST",
        "COMPARISON",
        "CONJUNCTION",
        "OPERATOR",
        "SUBQUERY",
    }
    | {"STAR", "LAMBDA", "LAMBDA_REF", "BETWEEN", "COLLATE", "PARAMETER", "POSITIONAL_REFERENCE", "TYPE", "DEFAULT"}
)
_OPERATOR = re.compile(r"[-+*/%^<>=!~@&|]+")
_SIZED = frozenset({"range", "generate_series", "lpad", "rpad"})  # as scalars they build one value, uninterruptibly
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$|\w+|\S""",
    re.DOTALL,
)
_WIDE = re.compile(r"\d{5}")


def allowed_functions() -> frozenset[str]:
    """The names in `functions.txt`."""
    text = resources.files("llmlens.store").joinpath("functions.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def parse(connection: duckdb.DuckDBPyConnection, sql: str) -> Mapping[str, Any]:
    """The tree of the one SELECT that `sql` is.

    Raises:
        QueryError: a syntax error (with its place), another kind of statement, or not exactly one.
    """
    if len(sql) > MAX_SQL_CHARS or "\x00" in sql:
        raise QueryError(f"the query is longer than {MAX_SQL_CHARS} characters, or has a NUL in it")
    try:
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    except (duckdb.Error, UnicodeEncodeError, RuntimeError) as error:
        raise QueryError(f"the query cannot be parsed: {error}") from error
    try:
        tree = json.loads(row[0]) if row else {}
    except RecursionError:
        raise QueryError("the query is nested too deeply") from None
    if tree.get("error"):
        if tree.get("error_type") == "parser":
            raise QueryError(f"{tree['error_message']}{_place(sql, tree)}")
        if any(word.upper().startswith("PIVOT") for _, word in tokens(sql)):
            raise QueryError("PIVOT inside of another query needs its columns spelled out: PIVOT … ON x IN ('a', 'b')")
        raise QueryError(
            "only SELECT is allowed here: the log is read-only (no COPY, ATTACH, SET, PRAGMA, CALL, EXPLAIN, "
            "INSERT, UPDATE, DELETE, CREATE, DROP)"
        )
    statements: list[Mapping[str, Any]] = tree.get("statements", [])
    if len(statements) != 1:
        raise QueryError(f"one statement at a time, please: this is {len(statements)}")
    return statements[0]


def check(connection: duckdb.DuckDBPyConnection, sql: str, tables: Collection[str]) -> str:
    """Let `sql` pass if it reads nothing but `tables` (names in any case); gives it as a subquery may hold it.

    Raises:
        QueryError: it does more than that; the message says what to write instead.
    """
    statement = parse(connection, sql)
    if special := _shown(statement, tables):
        return special
    try:
        _Walk(frozenset(folded(name) for name in tables), allowed_functions()).statement(statement)
    except RecursionError:
        raise QueryError("the query is nested too deeply") from None
    return _without_end(sql)


def folded(name: str) -> str:
    """As DuckDB compares identifiers: ASCII letters only."""
    return name.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _without_end(sql: str) -> str:
    """`sql` without the semicolon that ends it. Whatever follows that can only be blanks and comments."""
    ends = [at for at, _ in tokens(sql) if sql[at] == ";"]
    return sql[: ends[0]] if ends else sql


def tokens(sql: str) -> list[tuple[int, str]]:
    """(offset, text) of words and single characters; strings, quoted names and comments count as one or none."""
    return [(m.start(), m.group()) for m in _TOKEN.finditer(sql) if not m.group().startswith(("--", "/*"))]


def _place(sql: str, tree: Mapping[str, Any]) -> str:
    try:
        before = sql.encode()[: int(tree["position"])].decode("utf-8", "ignore")
    except (KeyError, ValueError):
        return ""
    return f" (line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))})"


def _shown(statement: Mapping[str, Any], tables: Collection[str]) -> str | None:
    """SQL for a top-level SHOW TABLES or SHOW <table>; None for anything else."""
    source = statement["node"].get("from_table") or {}
    if source.get("type") != "SHOW_REF" or source.get("query"):
        return None
    name = source["table_name"].strip('"')
    if name == "tables" or (name == "__show_tables_expanded"):
        return f"SELECT * FROM (VALUES {', '.join(f'({quoted(n)})' for n in sorted(tables))}) AS shown(name)"  # noqa: S608
    if folded(name) in {folded(n) for n in tables}:
        return f"DESCRIBE {identifier(name)}"
    raise QueryError(f"SHOW {name} is not allowed here; SHOW TABLES and DESCRIBE {min(tables, default='calls')} are")


class _Walk:
    """Visits a statement's tree; raises QueryError at the first thing that is not allowed."""

    def __init__(self, tables: frozenset[str], functions: frozenset[str]) -> None:
        self._tables = tables
        self._functions = functions

    def statement(self, statement: Mapping[str, Any]) -> None:
        """Check all of it."""
        self._visit(statement["node"], frozenset())

    def _visit(self, item: Any, ctes: frozenset[str]) -> None:
        """`ctes` are the WITH names in scope: DuckDB looks there first."""
        if isinstance(item, list):
            for each in item:
                self._visit(each, ctes)
        elif isinstance(item, dict):
            self._check(item, ctes)
            if item.get("type") == "TABLE_FUNCTION":  # its function is no scalar: only what is inside goes on
                item = {**item, "function": None, "inside": list(item["function"].values())}
            if item.get("type") == "RECURSIVE_CTE_NODE":
                self._visit(item.get("left"), ctes)
                ctes = ctes | {folded(item["cte_name"])}
            if "cte_map" in item:
                ctes = self._with(item["cte_map"], ctes)
            for key, value in item.items():
                if key != "cte_map" and isinstance(value, dict | list):
                    self._visit(value, ctes)

    def _with(self, cte_map: Mapping[str, Any], ctes: frozenset[str]) -> frozenset[str]:
        """Check the WITH clause; a query of it sees those before it, and never itself unless it is recursive."""
        for each in cte_map.get("map", []):
            self._visit(each["value"], ctes)
            ctes = ctes | {folded(each["key"])}
        return ctes

    def _check(self, item: Mapping[str, Any], ctes: frozenset[str]) -> None:
        kind = item.get("class")
        if kind is not None:
            if kind not in _EXPRESSIONS:
                raise QueryError(f"{kind} expressions are not allowed here")
            if kind in ("FUNCTION", "WINDOW"):
                self._function(item)
            return
        kind = item.get("type")
        if not isinstance(kind, str):
            return
        if kind == "BASE_TABLE":
            self._table(item, ctes)
        elif kind == "TABLE_FUNCTION":
            self._table_function(item)
        elif kind == "SHOW_REF" and not item.get("query"):
            raise QueryError("SHOW is only allowed as a statement of its own: SHOW TABLES")
        elif kind not in _NODES and kind not in _TABLES and kind not in _OTHERS:
            word = kind.removesuffix("_QUERY_NODE").replace("_", " ")
            raise QueryError(f"{word} is not allowed here: the log is read-only")

    def _table(self, item: Mapping[str, Any], ctes: frozenset[str]) -> None:
        name, schema = item["table_name"], item.get("schema_name") or item.get("catalog_name")
        if schema:
            raise QueryError(f"name tables without a schema: {name!r}, not {schema}.{name}{self._hint(name)}")
        if item.get("at_clause"):
            raise QueryError("AT (…) is not allowed here")
        if folded(name) not in ctes and folded(name) not in self._tables:
            raise QueryError(f"no table {name!r}{self._hint(name)}")

    def _hint(self, name: str) -> str:
        known = ", ".join(sorted(self._tables))
        close = difflib.get_close_matches(folded(name), self._tables, 1)
        meant = f"; did you mean {close[0]!r}?" if close else ";"
        return f"{meant} There are: {known} (and DataFrames that the query names). Files cannot be read"

    def _table_function(self, item: Mapping[str, Any]) -> None:
        function = item["function"]
        name = folded(function.get("function_name", ""))
        if name not in TABLE_FUNCTIONS:
            raise QueryError(f"table function {name}() is not allowed here; {', '.join(sorted(TABLE_FUNCTIONS))} are")

    def _function(self, item: Mapping[str, Any]) -> None:
        name = folded(item["function_name"])
        if name in self._functions:
            if name in _SIZED:
                _bounded(name, item)
            elif name in ("format", "printf"):
                _narrow(name, item)
        elif not _OPERATOR.fullmatch(name):
            self._unknown(name)

    def _unknown(self, name: str) -> NoReturn:
        close = difflib.get_close_matches(name, self._functions, 3)
        raise QueryError(
            f"function {name}() is not known or not allowed here" + (f"; near: {', '.join(close)}" if close else "")
        )


def _arguments(function: Mapping[str, Any]) -> list[Any]:
    """Named `arguments` in DuckDB 2, `children` in 1.5."""
    if "arguments" in function:
        return [argument["expression"] for argument in function["arguments"]]
    return list(function.get("children", []))


def _literal(expression: Mapping[str, Any]) -> str | None:
    """The text of a constant; None for anything else."""
    if expression.get("class") != "CONSTANT":
        return None
    value = expression["literal"].get("text") if "literal" in expression else expression["value"].get("value")
    return str(value)


def _bounded(name: str, item: Mapping[str, Any]) -> None:
    numbers = [_literal(a) for a in _arguments(item)]
    sizes = numbers if name in ("range", "generate_series") else numbers[1:2]
    if not all(n is not None and n.lstrip("-").isdecimal() and abs(int(n)) <= LONGEST_PADDING for n in sizes):
        raise QueryError(
            f"{name}() as a value takes plain numbers up to {LONGEST_PADDING} here"
            + ("; FROM range(…) has no limit" if name in ("range", "generate_series") else "")
        )


def _narrow(name: str, item: Mapping[str, Any]) -> None:
    arguments = _arguments(item)
    text = _literal(arguments[0]) if arguments else None
    if text is None or _WIDE.search(text) or "*" in text or re.search(r"\{[^}]*\{", text):
        raise QueryError(f"{name}() takes its format as a literal without a computed or huge width here")
