"""Context windows and maximum outputs: every row is sound, and what nobody states stays unknown."""

import subprocess
import sys
from datetime import date

import pytest

from llmlens.catalog.models import Limits, limits, limits_of, rows
from llmlens.catalog.providers import Provider, load_catalog

KEYS = {"providers", "models", "context_tokens", "max_output_tokens", "source", "checked"}
INPUT_LIMITED = {"gemini", "vertex", "dashscope"}  # their output is not a part of the window
ROWS = rows()
CLAIMS = [(provider, pattern, row) for row in ROWS for provider in row["providers"] for pattern in row["models"]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["models"][0])
def test_every_row_says_something_and_where_it_is_from(row):
    assert set(row) <= KEYS
    assert row["source"]
    assert isinstance(row["checked"], date)
    assert set(row["providers"]) <= set(load_catalog())
    figures = [row[key] for key in ("context_tokens", "max_output_tokens") if key in row]
    assert figures
    assert all(isinstance(figure, int) and 0 < figure < 20_000_000 for figure in figures)
    if not INPUT_LIMITED & set(row["providers"]):
        assert row.get("max_output_tokens", 0) <= row.get("context_tokens", 20_000_000)


def test_no_pattern_is_written_twice():
    names = [(provider, pattern) for provider, pattern, _ in CLAIMS]
    assert sorted(set(names)) == sorted(names)
    assert all(pattern == pattern.lower() for _, pattern in names)


@pytest.mark.parametrize(
    ("provider", "pattern", "row"),
    [claim for claim in CLAIMS if not set("*?[") & set(claim[1])],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_that_is_written_out_has_the_figures_of_its_row(provider, pattern, row):
    found = limits(provider, pattern)
    assert found.max_output_tokens == row.get("max_output_tokens")
    assert found.context_tokens == row.get("context_tokens", found.context_tokens)
    assert row["source"] in found.source


@pytest.mark.parametrize(
    ("provider", "model", "context_tokens", "max_output_tokens"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", 128_000, 16_384),
        ("openai", "gpt-4o-2024-05-13", 128_000, 4_096),  # its exact name wins over "gpt-4o-2024-*"
        ("openai", "gpt-5-mini-2025-08-07", 400_000, 128_000),
        ("openai", "gpt-5-pro-2025-10-06", 400_000, 272_000),
        ("openai", "gpt-5.2-chat-latest", 128_000, 16_384),
        ("openai", "o3-2025-04-16", 200_000, 100_000),
        ("azure", "gpt-4.1-mini", 1_047_576, 32_768),
        ("anthropic", "claude-sonnet-4-5-20250929", 200_000, 64_000),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000, 64_000),
        ("bedrock", "anthropic.claude-opus-4-6-v1", 1_000_000, 128_000),
        ("vertex", "claude-opus-4-5@20251101", 200_000, 64_000),
        ("vertex", "gemini-2.5-pro", 1_048_576, 65_536),
        ("gemini", "gemini-2.5-flash-lite-preview-09-2025", 1_048_576, 65_536),
        ("zai", "GLM-5.3", 1_000_000, 128_000),  # names compare in lower case
        ("deepseek", "deepseek-v4-flash-0731", 1_000_000, 393_216),
        # the window of genai-prices' data:
        ("openai", "text-embedding-3-small", 8_192, None),
        ("perplexity", "sonar-pro", 200_000, 8_000),
        ("together", "moonshotai/Kimi-K3", 1_048_576, None),
        ("openrouter", "openai/gpt-4o", 128_000, None),
        ("huggingface", "moonshotai/Kimi-K3:together", 1_048_576, None),
        ("vercel", "openai/gpt-4o", 128_000, None),
        # made up, and said so:
        ("sim", "large", 128_000, None),
        ("sim", "sim/large", 128_000, None),
    ],
)
def test_models_have_the_limits_that_are_stated(provider, model, context_tokens, max_output_tokens):
    found = limits(provider, model)
    assert (found.context_tokens, found.max_output_tokens) == (context_tokens, max_output_tokens)
    assert found.source


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("openai", ""),
        ("gemini", "gemini-9-tts"),
        ("lab", "gpt-4o"),
        ("ollama", "gpt-4o"),  # on the own machine the window is what was configured
        ("sim", "nobody"),
        ("huggingface", "openai/gpt-oss-120b"),  # which of its providers serves is not known
    ],
)
def test_unknown_is_none(provider, model):
    assert limits(provider, model) == Limits(None, None, None)


def test_both_sources_are_named():
    assert limits("perplexity", "sonar-pro").source.startswith("litellm 1.109; genai-prices ")


def test_a_model_is_named_as_callers_name_it():
    providers = load_catalog()
    assert limits_of("gpt-4o", providers) == limits("openai", "gpt-4o") == limits_of("openai/gpt-4o", providers)
    assert limits_of("azure/gpt-4.1", providers).max_output_tokens == 32_768  # whether or not its address is known
    assert limits_of("nobody/gpt-4o", providers) == Limits()
    lab = {"lab": Provider("lab", "http://lab/v1", priced_as="openai")}
    assert limits_of("lab/text-embedding-3-small", lab).context_tokens == 8_192


def test_a_users_row_can_be_one_under_another_name():
    assert limits("lab", "text-embedding-3-small", priced_as="openai").context_tokens == 8_192


def test_nothing_is_read_before_the_first_question():
    code = (
        "import sys, llmlens.catalog.models as m; assert m._by_provider.cache_info().currsize == 0;"
        "m.limits('openai', 'gpt-4o'); print(m.shipped.cache_info().currsize, 'genai_prices' in sys.modules);"
        "m.limits('openrouter', 'openai/gpt-4o'); print('genai_prices' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["0", "False", "False"]
