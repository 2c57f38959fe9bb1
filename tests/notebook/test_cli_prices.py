"""`llmlens prices …` and `llmlens tokens`: no gateway, no network."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmlens.cli import main

PUBLISHED = [
    {
        "id": "openai",
        "models": [
            {
                "id": "gpt-4o",
                "match": {"equals": "gpt-4o"},
                "prices": {
                    "input_mtok": {"base": 7, "tiers": [{"start": 1000, "price": 14.5}]},
                    "output_mtok": 20,
                    "web_searches_kcount": 10,
                },
            }
        ],
    }
]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """cli(*arguments) → the result, in an empty project folder."""
    for name in ("LLMLENS_STORE", "LLMLENS_CONFIG", "LLMLENS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llmlens.toml").write_text("")
    return lambda *arguments, **options: CliRunner().invoke(main, arguments, prog_name="llmlens", **options)


def test_prices_are_shown_by_kind_and_size(cli):
    shown = cli("prices", "show", "openai/gpt-5.4")
    lines = shown.stdout.splitlines()
    assert shown.exit_code == 0
    assert lines[0].split()[:6] == ["kind", "above", "tokens", "input", "cache", "read"]
    assert lines[1].split()[:4] == ["standard", "0", "2.5", "0.25"]
    assert lines[2].split()[:4] == ["standard", "272,000", "5", "0.5"]
    assert any(line.startswith("service_tier=flex") for line in lines)
    assert lines[1].split()[-2] == "genai-prices"
    assert lines[-1].startswith("USD per million tokens")
    assert cli("prices", "show", "gpt-5.4").stdout == shown.stdout


def test_a_provider_without_an_address_has_prices_all_the_same(cli):
    assert "standard" in cli("prices", "show", "azure/gpt-4o").stdout


def test_own_prices_win_and_say_so(cli):
    Path("llmlens.toml").write_text('[prices."ollama/*"]\ninput_usd_per_mtok = 0\nrequest_usd = 0.5\n')
    lines = cli("prices", "show", "ollama/llama3.2").stdout.splitlines()
    assert lines[1].split()[:4] == ["standard", "0", "0", "0.5"]
    assert 'llmlens.toml [prices."ollama/*"]' in lines[1]
    assert "request: USD each" in lines[2]


def test_prices_are_updated_from_a_file_and_then_shown(cli):
    Path("data.json").write_text(json.dumps(PUBLISHED))
    before = cli("prices", "show", "gpt-4o").stdout
    done = cli("prices", "update", "--file", "data.json")
    assert done.exit_code == 0
    assert done.stdout.startswith("1 models of 1 providers in ")
    assert list(Path("data").iterdir()) == [Path("data/llmlens.duckdb.prices.json")]
    lines = cli("prices", "show", "gpt-4o").stdout.splitlines()
    assert lines[0].split() == ["kind", "above", "tokens", "input", "output", "web", "searches", "source"]
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["standard", "0", "7", "20", "0.01"],
        ["standard", "1,000", "14.5", "20", "0.01"],
    ]
    assert "data.json" in lines[1]
    assert "\n".join(lines) != before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("prices", "show", "nonsense"), 1, "no provider serves model 'nonsense'"),
        (("prices", "show", "openai/nonsense"), 1, '[prices."openai/nonsense"]'),
        (("prices", "show", "ollama/llama3.2"), 1, "no price is known"),
        (("prices", "update", "--file", "nothing.json"), 1, "nothing.json"),
        (("prices", "update", "--file", "llmlens.toml"), 1, "not JSON"),
        (("prices", "upgrade"), 2, "upgrade"),
        (("tokens",), 2, "MODEL"),
    ],
)
def test_errors_are_one_message_on_stderr(cli, arguments, code, says):
    done = cli(*arguments)
    assert done.exit_code == code
    assert says in done.stderr
    assert done.stdout == ""
    assert code == 2 or done.stderr.count("\n") == 1
    assert not Path("data").exists()


def test_a_damaged_price_file_says_how_to_replace_it(cli):
    Path("data").mkdir()
    Path("data/llmlens.duckdb.prices.json").write_text("{")
    done = cli("prices", "show", "gpt-4o")
    assert done.exit_code == 1
    assert "llmlens prices update" in done.stderr


def test_tokens_of_an_argument_and_of_stdin(cli):
    shown = cli("tokens", "gpt-5.1", "hello")
    assert shown.exit_code == 0
    lines = [line.split("  ") for line in shown.stdout.splitlines()]
    assert {line[0]: line[-1].strip() for line in lines} == {
        "input tokens": "1",
        "counted by": "tiktoken o200k_base; text",
        "context window": "400,000",
        "longest answer": "128,000",
    }
    assert cli("tokens", "gpt-5.1", "-", input="hello").stdout == shown.stdout
    assert cli("tokens", "gpt-5.1", input="hello").stdout == shown.stdout
    assert cli("tokens", "gpt-5.1", input=b"hello \xff").exit_code == 0


def test_an_estimate_is_called_one_and_unknown_limits_are_a_dash(cli):
    lines = cli("tokens", "lab/some-model", "hello").stdout.splitlines()
    assert lines[0].endswith("1 (estimated)")
    assert "not the model's own" in lines[1]
    assert [line[-1] for line in lines[2:]] == ["–", "–"]


def test_tokens_as_json(cli):
    found = json.loads(cli("tokens", "sim/small", "hello", "--json").stdout)
    assert found == {
        "input_tokens": 1,
        "estimated": True,
        "encoding": "o200k_base",
        "how": "tiktoken o200k_base (not the model's own); text",
        "at_least": 1,
        "context_tokens": 128_000,
        "max_output_tokens": None,
    }
