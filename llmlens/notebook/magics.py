"""`%%llm`, `%llm`, `%lens`, `%%lens_sql`: the words of the notebook."""

from collections import ChainMap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, needs_local_scope, no_var_expand

from llmlens.notebook import commands, options
from llmlens.notebook.answers import Request, run
from llmlens.notebook.options import argument

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from llmlens.notebook.extension import Extension

CACHE_HELP = (
    "on: take the logged answer to the same request, if there is one; off: neither take nor keep; "
    "refresh: ask anew and keep; only: never ask"
)
EXAMPLE = "%%llm sim/large sim/small\nWhat is 17 * 23?"


@magics_class
class LensMagics(Magics):
    """llmlens in the notebook."""

    def __init__(self, shell: "InteractiveShell", extension: "Extension") -> None:
        super().__init__(shell)
        self.extension = extension

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    @options.takes(
        argument("models", nargs="*", metavar="MODEL", help="as provider/model; several are asked at once"),
        argument("-o", "--out", type=options.variable, metavar="NAME", help="store the Answer (or the list) in NAME"),
        argument("-s", "--system", metavar="TEXT", help="the system prompt"),
        argument("-t", "--temperature", type=options.temperature, metavar="T", help="sampling temperature"),
        argument("-m", "--max-tokens", type=options.at_least(1), metavar="N", help="the longest answer, in tokens"),
        argument("-n", "--samples", type=options.at_least(1), default=1, metavar="N", help="answers per model (1)"),
        argument("-c", "--cache", choices=("on", "off", "refresh", "only"), help=CACHE_HELP),
        argument("--tags", type=options.tags, metavar="TAGS", help="logged with the calls: step=1 or '{\"step\": 1}'"),
        argument("--verbatim", action="store_true", help="send the body as it stands, {{ }} and all"),
    )
    def llm(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Ask one model or several, side by side.

        The body of the cell is the prompt, sent as it stands; only {{ name }} is filled in, from the notebook's
        variables ({{ row.text }}, {{ rows[0] }}). Options stand on the first line only.

            %%llm sim/large sim/small -n 3 --temperature 1 -o answers
            Is this review positive? {{ review }}

        On one line: `%llm sim/large What is 17 * 23?`. It gives the Answer, too: `a = %llm sim/large Hello`.
        """
        parser = options.parser_of(type(self).llm)
        head, body = options.model_then_text(parser, line) if cell is None else (line, cell.removesuffix("\n"))
        given = options.parsed(parser, head)
        if not given.models:
            raise UsageError(f"no model; for example\n\n{EXAMPLE}\n\n%lens doctor says which providers are ready")
        if not body.strip():
            raise UsageError(f"no prompt; for example\n\n{EXAMPLE}")
        names = ChainMap(dict(local_ns or {}), self._shell.user_ns)
        answers = run(self.extension, Request.of(given, body, names), store_in=given.out)
        if cell is not None:
            return None
        self.extension.rendering.drawn(answers)
        return answers

    @no_var_expand
    @line_magic
    def lens(self, line: str) -> Any:
        """%lens status | calls | usage | doctor: what the gateway did and how it is."""
        return commands.run(self.extension, line)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    @options.takes(
        argument("-o", "--out", type=options.variable, metavar="NAME", help="store the DataFrame in NAME"),
        argument("sql", nargs="*", metavar="SQL", help="a SELECT over calls, attempts, usage_daily and DataFrames"),
    )
    def lens_sql(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Read-only SQL (DuckDB's) over the log, and over the DataFrames of the notebook that it names.

            %%lens_sql -o by_model
            SELECT model_asked, count(*) AS n, sum(cost_usd) AS cost_usd FROM calls GROUP BY ALL

        The views are calls, attempts and usage_daily. Gives a DataFrame.
        """
        names = ChainMap(dict(local_ns or {}), self._shell.user_ns)
        return commands.query(self.extension, options.parser_of(type(self).lens_sql), line, cell, names)

    @property
    def _shell(self) -> "InteractiveShell":
        if self.shell is None:
            raise RuntimeError("LensMagics needs a shell")
        return self.shell
