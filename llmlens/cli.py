"""`llmlens serve | status | stop | sql | calls | tokens | prices | doctor`.

Tables for people, CSV, JSON and Parquet for programs.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from llmlens.errors import LensError

if TYPE_CHECKING:
    from llmlens.catalog.prices import Shown
    from llmlens.settings import Settings

FORMATS = ("table", "csv", "json", "parquet")
ACCEPT = {"csv": "text/csv", "json": "application/json", "table": "application/json",
          "parquet": "application/vnd.apache.parquet"}  # fmt: skip


F = TypeVar("F", bound=Callable[..., Any])

FILE: Any = click.Path(dir_okay=False, path_type=Path)


class Command(click.Command):
    """A command whose `LensError`s become one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LensError as error:
            raise click.ClickException(str(error)) from error


class Group(click.Group):
    """Commands of the class above, in the order in which they are written."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        import llmlens

        click.echo(f"llmlens {llmlens.__version__}")
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def main() -> None:
    """The LLM gateway that lives in the notebook: logs, caches and prices every LLM call.

    Commands work on the store of the project that the working folder lies in (data/llmlens.duckdb), or on the one that
    --store or LLMLENS_STORE names.
    """


def _placed(command: F) -> F:
    """--config and --store, which every command takes."""
    store_help = "The DuckDB file; else LLMLENS_STORE, else data/llmlens.duckdb of the project."
    config_help = "The configuration; else LLMLENS_CONFIG, else llmlens.toml of the project."
    command = click.option("--store", type=FILE, metavar="FILE", help=store_help)(command)
    return click.option("--config", type=FILE, metavar="FILE", help=config_help)(command)


def _settings(config: Path | None, store: Path | None) -> "Settings":
    from llmlens.settings import load

    return load(config, store)


@main.command()
@_placed
@click.option("--host", metavar="ADDRESS", help="Address to listen on; else [gateway] host, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Port; 0 is any free one.")
@click.option("--key", metavar="KEY", help="The owner's key; else LLMLENS_KEY, else a new random one. Others on this "
              "machine can see a command line: prefer the variable.")  # fmt: skip
@click.option("--detached", is_flag=True, help="Stop after a while without calls, as gateways that notebooks start do.")
def serve(config: Path | None, store: Path | None, host: str | None, port: int | None, key: str | None,
          detached: bool) -> None:  # fmt: skip
    """Run the gateway until Ctrl-C or `llmlens stop`."""
    from dataclasses import replace

    settings = _settings(config, store)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = replace(settings, gateway=replace(settings.gateway, **given))  # type: ignore[arg-type]
    from llmlens.gateway.serve import run

    run(settings, detached=detached, key=key)
    # Everything is closed by now. DuckDB's bindings would report their own leaks on stderr while Python takes itself
    # down, and a user would take them for ours.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@main.command()
@_placed
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(config: Path | None, store: Path | None, as_json: bool) -> None:
    """Say how the gateway is; exit code 1 when none runs."""
    import json

    from llmlens.checkup import status_of, status_rows
    from llmlens.client.session import Session
    from llmlens.plain import table

    settings = _settings(config, store)
    found = status_of(Session(settings, _running(settings)))
    click.echo(json.dumps(found, indent=2) if as_json else table(("", ""), status_rows(found)))


@main.command()
@_placed
def stop(config: Path | None, store: Path | None) -> None:
    """Stop the gateway of this store. It finishes its calls and writes its log first."""
    from llmlens.client import gateway

    settings = _settings(config, store)
    click.echo(
        f"stopped the gateway of {settings.store}" if gateway.stop(settings) else f"none runs for {settings.store}"
    )


@main.command()
@click.argument("query", metavar="QUERY")
@_placed
@click.option("-f", "--format", "fmt", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write to FILE.")
def sql(query: str, config: Path | None, store: Path | None, fmt: str, output: Path | None) -> None:
    """Run read-only SQL over the log: the views calls, attempts and usage_daily. "-" reads it from stdin.

    \b
    llmlens sql "SELECT model_asked, count(*), sum(cost_usd) FROM calls GROUP BY ALL"
    llmlens sql "FROM calls" --format parquet -o calls.parquet
    """
    text = sys.stdin.read() if query == "-" else query
    _write(_query(_settings(config, store), text, None, fmt), fmt, output)


@main.command()
@_placed
@click.option("-n", "--last", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.option("-m", "--model", metavar="PATTERN", help="Only of models like this one; * stands for anything.")
@click.option("--errors", is_flag=True, help="Only those that did not end well.")
@click.option("-f", "--format", "fmt", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write to FILE.")
def calls(config: Path | None, store: Path | None, last: int, model: str | None, errors: bool, fmt: str,
          output: Path | None) -> None:  # fmt: skip
    """Show the last calls, the newest first. Tables show the main columns, the other formats all of them."""
    where, params = ["true"], []
    if model:
        where.append("(model_asked GLOB ? OR model_sent GLOB ?)")
        params += [model, model]
    if errors:
        where.append("outcome <> 'complete'")
    columns = CALL_COLUMNS if fmt == "table" else "*"
    query = f"SELECT {columns} FROM calls WHERE {' AND '.join(where)} ORDER BY calls.started_at DESC LIMIT {last}"  # noqa: S608
    _write(_query(_settings(config, store), query, params, fmt), fmt, output)


CALL_COLUMNS = (
    "strftime(started_at, '%Y-%m-%d %H:%M:%S') AS started_at, model_asked AS model, outcome, cache, input_tokens, "
    "output_tokens, cost_usd, latency_s, first_token_s, simulated, coalesce(error_message, text) AS answer"
)


@main.command()
@click.argument("model", metavar="MODEL")
@click.argument("text", metavar="[TEXT|-]", default="-")
@_placed
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def tokens(model: str, text: str, config: Path | None, store: Path | None, as_json: bool) -> None:
    """Count the tokens of TEXT as MODEL does, without a network; "-" reads stdin.

    \b
    llmlens tokens gpt-5.1 "How many ducks?"
    llmlens tokens anthropic/claude-opus-5 < prompt.txt
    """
    import json
    from dataclasses import asdict

    from llmlens.catalog.models import limits_of
    from llmlens.catalog.token_count import count_text
    from llmlens.plain import count, table

    providers = _settings(config, store).providers
    counted = count_text(sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text, model)
    limits = limits_of(model, providers)
    if as_json:
        found = asdict(counted) | asdict(limits)
        del found["source"]
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        ("input tokens", f"{count(counted.input_tokens)}{' (estimated)' if counted.estimated else ''}"),
        ("counted by", counted.how),
        ("context window", count(limits.context_tokens)),
        ("longest answer", count(limits.max_output_tokens)),
    ]
    click.echo(table(("", ""), rows))


@main.group(cls=Group)
def prices() -> None:
    """Show what models cost, and bring the price list up to date."""


@prices.command()
@_placed
@click.option("--file", type=FILE, metavar="FILE", help="A copy of genai-prices' data.json instead of the one on the "
              'network; "genai-prices" is the list of the installed package.')  # fmt: skip
def update(config: Path | None, store: Path | None, file: Path | None) -> None:
    """Fetch the newest prices of genai-prices and keep them beside the store."""
    from datetime import UTC, datetime

    from llmlens.catalog.price_update import update_prices

    done = update_prices(_settings(config, store).price_file, datetime.now(UTC), file)
    click.echo(f"{done.n_models:,} models of {done.n_providers} providers in {done.path} ({done.source})")
    click.echo("A gateway that runs already takes them at its next start (llmlens stop).")


@prices.command()
@click.argument("model", metavar="MODEL")
@_placed
def show(model: str, config: Path | None, store: Path | None) -> None:
    """Show the prices of MODEL that are in force now: rows of llmlens.toml, else the newest list.

    Which tokens cost what: one line for each kind of call (service tier, batch …) and each size of input.
    """
    from datetime import UTC, datetime

    from llmlens.catalog.price_list import newest
    from llmlens.catalog.prices import show as prices_of
    from llmlens.catalog.providers import named_model

    settings = _settings(config, store)
    provider, name = named_model(model, settings.providers)
    listed = newest(settings.price_file)
    rows = prices_of(settings.providers[provider], name, datetime.now(UTC), settings.prices, listed=listed)
    if not rows:
        raise click.ClickException(
            f"no price is known for {name!r} of {provider!r} ({listed.source}); `llmlens prices update` fetches newer "
            f'ones, and [prices."{provider}/{name}"] in llmlens.toml sets your own'
        )
    click.echo(_price_table(rows))


def _price_table(rows: "list[Shown]") -> str:
    from llmlens.plain import UNKNOWN, count, table

    priced = dict.fromkeys(name for row in rows for name in row.usd)
    names = [name for name in PRICE_COLUMNS if name in priced] + [name for name in priced if name not in PRICE_COLUMNS]
    cells = [
        [row.kind, count(row.above_input_tokens), *(f"{row.usd[n]:f}" if n in row.usd else UNKNOWN for n in names),
         row.source]
        for row in rows
    ]  # fmt: skip
    headers = ["kind", "above tokens", *(name.replace("_", " ") for name in names), "source"]
    unit = "USD per million tokens"
    if pieces := [name.replace("_", " ") for name in names if name in PIECES]:
        unit += f"; {' and '.join(pieces)}: USD each"
    return table(headers, cells, right=frozenset(range(1, len(headers) - 1))) + f"\n{unit}"


PRICE_COLUMNS = ("input", "cache_read", "cache_write", "cache_write_1h", "output")  # first, then whatever else there is
PIECES = ("web_searches", "storage_searches", "request")  # what is not priced by the token


@main.command()
@_placed
def doctor(config: Path | None, store: Path | None) -> None:
    """Check the surroundings: gateway, log, keys, base URLs, proxies, SDKs. Exit code 1 when something is broken."""
    from llmlens.checkup import SIGNS, gateway_findings, surroundings
    from llmlens.client.session import Session
    from llmlens.plain import table

    settings = _settings(config, store)
    findings = [*gateway_findings(lambda: Session(settings, _running(settings))), *surroundings(settings)]
    click.echo(table(("", "", ""), [(SIGNS[f.mark], f.about, f.says) for f in findings]))
    if any(f.mark == "bad" for f in findings):
        raise SystemExit(1)


def _running(settings: "Settings") -> Any:
    from llmlens.client.gateway import connect

    return connect(settings, start=False)


def _query(settings: "Settings", query: str, params: list[Any] | None, fmt: str) -> bytes:
    """Rows in the format asked for, from the running gateway or one that is started for it."""
    import json

    from llmlens.client.door import error_of
    from llmlens.client.session import Session
    from llmlens.errors import QueryError, StoreError

    if not settings.url and not settings.store.exists():
        raise StoreError(f"there is no log yet at {settings.store}; --store or LLMLENS_STORE names another")
    body = json.dumps({"sql": query, "params": params}).encode()
    kind = {"accept": ACCEPT[fmt], "content-type": "application/json"}
    code, answer = Session(settings).fetch("POST", "/lens/query", body, kind)
    if code != 200:
        raise QueryError(error_of(answer)[0])
    return answer


def _write(answer: bytes, fmt: str, output: Path | None) -> None:
    if fmt == "table":
        answer = _as_table(answer).encode()
    if output is not None:
        try:
            output.write_bytes(answer)
        except OSError as error:
            raise click.ClickException(f"cannot write {output}: {error.strerror}") from error
    elif fmt == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal; name a file with -o, or pipe it")
    else:
        click.echo(answer, nl=fmt != "parquet" and not answer.endswith(b"\n"))


def _as_table(answer: bytes) -> str:
    import json
    from decimal import Decimal

    from llmlens.plain import table

    rows: list[dict[str, Any]] = json.loads(answer, parse_float=Decimal)
    if not rows:
        return "(no rows)"
    headers = list(rows[0])
    numbers = frozenset(i for i, name in enumerate(headers) if _all_numbers(row[name] for row in rows))
    return table(headers, [[_cell(name, row[name]) for name in headers] for row in rows], right=numbers)


def _all_numbers(values: Iterable[Any]) -> bool:
    return all(value is None or (hasattr(value, "__index__") and value is not True and value is not False)
               or type(value).__name__ == "Decimal" for value in values)  # fmt: skip


def _cell(name: str, value: Any) -> str:
    from llmlens.plain import UNKNOWN, one_line

    if value is None:
        return UNKNOWN
    if name.endswith("_s") and not isinstance(value, str):
        return f"{value:.3f}"
    if type(value).__name__ == "Decimal":
        return f"{value.normalize():f}"
    return one_line(str(value), 72)
