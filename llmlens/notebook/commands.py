"""`%lens status | calls | usage | doctor` and `%%lens_sql`."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from llmlens.checkup import captures, gateway_findings, status_of, status_rows, surroundings
from llmlens.client import redirect
from llmlens.client.session import session
from llmlens.errors import LensError
from llmlens.notebook import options
from llmlens.notebook.options import argument
from llmlens.notebook.tables import show_findings, show_table

if TYPE_CHECKING:
    from pandas import DataFrame

    from llmlens.notebook.extension import Extension


@dataclass(frozen=True, slots=True)
class Command:
    """A word after `%lens`: what it is for, the options it takes, and the act itself."""

    summary: str
    act: Callable[["Extension", argparse.Namespace], Any]
    arguments: tuple[options.Argument, ...] = ()

    def parser(self, name: str) -> argparse.ArgumentParser:
        """Its own options, with `-h` for help."""
        wants_help = argument("-h", "--help", action="store_true", help="show this")
        return options.parser_for(f"lens {name}", self.summary, (wants_help, *self.arguments))


def run(extension: "Extension", line: str) -> Any:
    """Run the command that `line` begins with.

    Raises:
        UsageError: no such command; lists those there are.
    """
    word, _, rest = line.strip().partition(" ")
    if not word or word in ("-h", "--help", "help"):
        print(overview())  # noqa: T201  help is for the reader, as `?` is
        return None
    if word not in COMMANDS:
        near = get_close_matches(word, COMMANDS, n=1)
        raise UsageError(f"unknown: %lens {word}{f'; did you mean %lens {near[0]}?' if near else ''}\n\n{overview()}")
    command = COMMANDS[word]
    parser = command.parser(word)
    given = options.parsed(parser, rest)
    if given.help:
        print(parser.format_help())  # noqa: T201
        return None
    try:
        return command.act(extension, given)
    except LensError as error:
        raise UsageError(str(error)) from None


def overview() -> str:
    """One line per command."""
    return "\n".join(f"%lens {name:<8} {command.summary}" for name, command in COMMANDS.items())


def query(extension: "Extension", parser: argparse.ArgumentParser, line: str, cell: str | None,
          names: Mapping[str, Any]) -> "DataFrame":  # fmt: skip
    """Run the SQL of `%%lens_sql`, or of the line where there is no body.

    Raises:
        UsageError: no SQL, or both on the line and in the body.
    """
    from llmlens.client.query import sql

    head, text = options.leading_options(parser, line) if cell is None else (line, cell)
    given = options.parsed(parser, head)
    if given.sql:
        raise UsageError(f"SQL stands in the cell below %%lens_sql, not beside it: {' '.join(given.sql)!r}")
    if not text.strip():
        raise UsageError("no SQL; for example\n\n%%lens_sql\nSELECT model, count(*) AS n FROM calls GROUP BY ALL")
    try:
        return _stored(extension, sql(text, namespace=names), given.out)
    except LensError as error:
        raise UsageError(str(error)) from None


def _stored(extension: "Extension", frame: "DataFrame", name: str | None) -> "DataFrame":
    if name:
        extension.shell.user_ns[name] = frame
    return frame


# ── the commands ──────────────────────────────────────────────────────────────────────────────────────────────────

CALL_COLUMNS = ("started_at", "model", "outcome", "cache", "input_tokens", "output_tokens", "cost_usd", "latency_s",
                "first_token_s", "simulated", "text", "error_message")  # fmt: skip
LAST_CELL = "last"
CELL_HELP = "of the cell that ran before this one; or of cell N: its number In [N], or its id"
BY_HELP = "group by these, e.g. model, day, notebook, cache (provider,model)"


def _status(extension: "Extension", given: argparse.Namespace) -> None:
    show_table("llmlens", status_rows(status_of(session())))


def _doctor(extension: "Extension", given: argparse.Namespace) -> None:
    url = None
    with suppress(LensError):  # the first finding says so
        url = session().gateway.url
    where = extension.settings()
    show_findings([*gateway_findings(session), *captures(redirect.installed()), *surroundings(where, url)])


def _calls(extension: "Extension", given: argparse.Namespace) -> "DataFrame":
    from llmlens.client.query import calls

    cell, run = given.cell, None
    if cell == LAST_CELL:
        where = extension.cells.last_cell
        if where is None:
            raise UsageError("no cell has run since llmlens was loaded")
        cell, run = where.execution_count, where.run_id
    elif cell is not None and cell.isdigit():
        cell, run = int(cell), extension.cells.run_id
    columns = None if given.all else CALL_COLUMNS
    frame = calls(limit=given.last, model=given.model, cell=cell, run=run, outcome=given.outcome, since=given.since,
                  columns=columns)  # fmt: skip
    return _stored(extension, frame, given.out)


def _usage(extension: "Extension", given: argparse.Namespace) -> "DataFrame":
    from llmlens.catalog.simulated import PROVIDER
    from llmlens.client.query import usage

    by = [name.strip() for name in given.by.split(",")]
    frame = usage(by, since=given.since)
    if "provider" in frame.columns:
        frame.insert(len(by), "simulated", frame["provider"] == PROVIDER)
    return _stored(extension, frame, given.out)


OUT = argument("-o", "--out", type=options.variable, metavar="NAME", help="store the DataFrame in NAME")
SINCE = argument("--since", metavar="WHEN", help="'2 h', '30 min', '7 d', or a time like 2026-01-31")
OUTCOMES = ("complete", "error", "denied", "cancelled", "incomplete")

COMMANDS: dict[str, Command] = {
    "status": Command("the gateway: where it is, how it is, what it holds", _status),
    "calls": Command(
        "the last calls, the newest at the bottom, as a DataFrame",
        _calls,
        (
            argument("-n", "--last", type=options.at_least(1), default=20, metavar="N", help="how many (20)"),
            argument("-m", "--model", metavar="NAME", help="of this model only"),
            argument("--cell", nargs="?", const=LAST_CELL, metavar="N", help=CELL_HELP),
            argument("--outcome", choices=OUTCOMES, help="that ended like this"),
            SINCE,
            argument("--all", action="store_true", help="all columns, as lens.calls() gives them"),
            OUT,
        ),
    ),
    "usage": Command(
        "calls, tokens, dollars and hits per model, as a DataFrame",
        _usage,
        (argument("--by", default="provider,model", metavar="COLUMNS", help=BY_HELP), SINCE, OUT),
    ),
    "doctor": Command("what is captured and what is not, and what stands in the way", _doctor),
}
