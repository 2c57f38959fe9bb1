"""The command line against a real gateway: what it prints, where, and with which exit code."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import llmlens as lens
from llmlens.cli import main


@pytest.fixture
def cli(environment):
    """cli(*arguments) → the result, with the gateway of the tests as the one of the environment."""
    lens.ask("say hello\nand more", "sim/echo", tags={"a": 1})
    lens.ask("hello", "sim/down", raises=False)
    return lambda *arguments, **options: CliRunner().invoke(main, arguments, prog_name="llmlens", **options)


def test_calls_as_a_table(cli):
    done = cli("calls", "--last", "2")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].split()[:4] == ["started_at", "model", "outcome", "cache"]
    assert len(lines) == 3
    assert "sim/down" in lines[1]
    assert "true" in lines[1].lower()  # simulated
    assert cli("calls", "--model", "sim/ec*", "--format", "csv").stdout.count("sim/echo") >= 1
    assert "sim/echo" not in cli("calls", "--errors").stdout


def test_sql_in_every_format(cli, tmp_path: Path):
    query = (
        "SELECT model_asked, count(*) AS n, sum(cost_usd) AS usd, NULL AS nothing FROM calls GROUP BY ALL ORDER BY 1"
    )
    table = cli("sql", query).stdout.splitlines()
    assert table[0].split() == ["model_asked", "n", "usd", "nothing"]
    assert table[1].startswith("sim/down")
    assert table[1].endswith("–")
    assert json.loads(cli("sql", query, "-f", "json").stdout)[0]["model_asked"] == "sim/down"
    assert cli("sql", query, "-f", "csv").stdout.startswith("model_asked,n,usd")
    parquet = cli("sql", query, "--format", "parquet").stdout_bytes
    assert parquet[:4] == parquet[-4:] == b"PAR1"
    cli("sql", query, "-f", "csv", "-o", str(tmp_path / "out.csv"))
    assert list(pd.read_csv(io.StringIO((tmp_path / "out.csv").read_text())).columns)[:2] == ["model_asked", "n"]
    assert cli("sql", "-", input="SELECT 42 AS answer").stdout.split() == ["answer", "42"]
    assert cli("sql", "SELECT 1 AS a WHERE false").stdout == "(no rows)\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("sql", "SELEC 1"), 1, "syntax error"),
        (("sql", "DELETE FROM calls"), 1, "Error"),
        (("sql", "SELECT 1", "-o", "/nowhere/x.csv"), 1, "cannot write"),
        (("calls", "--last", "0"), 2, "--last"),
        (("calls", "--format", "xml"), 2, "xml"),
        (("sqll",), 2, "sql"),
        (("status", "--config", "/nowhere.toml"), 1, "no configuration file"),
        (("stop",), 1, "LLMLENS_URL"),
    ],
)
def test_errors_are_one_message_on_stderr(cli, arguments, code, says):
    done = cli(*arguments)
    assert done.exit_code == code
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_status_and_doctor(cli, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    assert "calls logged" in cli("status").stdout
    assert json.loads(cli("status", "--json").stdout)["calls"] >= 2
    doctor = cli("doctor")
    assert doctor.exit_code == 0
    assert "OPENAI_API_KEY set" in doctor.stdout
    assert "canary" not in doctor.stdout


def test_without_a_gateway(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("LLMLENS_URL", raising=False)
    runner, store = CliRunner(), str(tmp_path / "none.duckdb")
    assert runner.invoke(main, ["status", "--store", store]).exit_code == 1
    assert "no log yet" in runner.invoke(main, ["calls", "--store", store]).stderr
    assert runner.invoke(main, ["stop", "--store", store]).stdout.startswith("none runs")
    assert runner.invoke(main, ["doctor", "--store", store]).exit_code == 1
    assert list(tmp_path.iterdir()) == []  # asking leaves nothing behind


def test_the_module_is_the_command():
    began = time.monotonic()
    module = subprocess.run([sys.executable, "-m", "llmlens", "--help"], capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 10
    for command in ("serve", "status", "stop", "sql", "calls", "doctor"):
        assert f"\n  {command} " in module.stdout
    shown = subprocess.run([sys.executable, "-m", "llmlens", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"llmlens {lens.__version__}\n"


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom click.testing import CliRunner\nfrom llmlens.cli import main\n"
    code += "CliRunner().invoke(main, ['--help'])\n"
    code += "print([m for m in ('duckdb', 'pandas', 'httpx2', 'aiohttp', 'starlette', 'IPython') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
