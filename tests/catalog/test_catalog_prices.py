"""Costs: unknown is None, nothing is paid twice, and genai-prices' own arithmetic agrees with ours."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.catalog.prices import PriceOverride, best_override, override_from, price, rates
from llmlens.catalog.simulated import SIM_MODELS
from llmlens.errors import SettingsError
from llmlens.records import Usage

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LAB = {"lab/*": override_from("lab/*", {"input_usd_per_mtok": 2, "output_usd_per_mtok": 10})}


def listed_models():
    """Every fifth (provider, model) of genai-prices, so that all its kinds of price occur."""
    rows = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
    return rows[::5]


@st.composite
def usages(draw):
    read, write, plain = (draw(st.integers(0, 400_000)) for _ in range(3))
    reasoning, said = draw(st.integers(0, 30_000)), draw(st.integers(0, 30_000))
    return Usage(read + write + plain, reasoning + said, read, write, reasoning)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(listed_models()), usages(), st.integers(0, 3_000))
def test_genai_prices_agrees(row, usage, days_ago):
    """The law behind the fast path: same total as the library's own (slow) calc_price, on any day and in any tier."""
    provider, model = row
    at = NOW - timedelta(days=days_ago, hours=days_ago % 24)
    ours = price(provider, model, usage, at)
    try:
        theirs = their_price(provider, model, usage, at)
    except LookupError:  # a few ids of the data match none of its own rules
        assert ours is None
        return
    if ours is None:  # only where a price is not one per token, or misses for tokens that were used
        prices = {key for key, value in vars(theirs.model_price).items() if value is not None}
        assert not {"input_mtok", "output_mtok"} <= prices, (prices, usage)
    else:
        assert ours.cost_usd == theirs.total_price
        assert ours.source == f"genai-prices {genai_prices.__version__}"


def their_price(provider, model, usage, at):
    return genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_reasoning_tokens=usage.reasoning_tokens,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
    )


def test_cached_tokens_are_paid_once_and_at_their_own_price():
    priced = price("openai", "gpt-4o", Usage(1_000_000, 0, cache_read_tokens=400_000), NOW)
    assert priced.parts == {"input": Decimal("1.5"), "cache_read": Decimal("0.5")}
    assert priced.cost_usd == Decimal(2)


@given(usages())
def test_the_parts_add_up(usage):
    for provider, model in (("lab", "x"), ("sim", "large"), ("anthropic", "claude-sonnet-4-5")):
        priced = price(provider, model, usage, NOW, LAB)
        assert sum(priced.parts.values()) == priced.cost_usd


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("lab", "gpt-4o"),  # a name of the user's: not OpenAI, whatever the model is called
        ("my-openai", "gpt-4o"),  # the library would take this for OpenAI
        ("openai", "no-such-model-at-all"),
        ("openai", ""),
        ("ollama", "llama3.2"),
        ("vllm", "gpt-4o"),
        ("llamacpp", "x"),
        ("lmstudio", "x"),
        ("sim", "no-such-model"),
        ("groq", "whisper-large-v3"),  # paid by the hour
    ],
)
def test_unknown_is_none(provider, model):
    assert price(provider, model, Usage(10, 10), NOW) is None


def test_a_row_may_be_priced_as_another_provider():
    usage = Usage(1000, 1000)
    assert price("proxy", "gpt-4o", usage, NOW, priced_as="openai") == price("openai", "gpt-4o", usage, NOW)


def test_local_models_cost_nothing_only_when_said_so():
    free = {"ollama/*": override_from("ollama/*", {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0})}
    assert price("ollama", "llama3.2", Usage(10, 10), NOW) is None
    assert price("ollama", "llama3.2", Usage(10, 10), NOW, free).cost_usd == 0
    assert price("ollama", "llama3.2", Usage(), NOW, free).cost_usd == 0


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=10), Usage(output_tokens=10)])
def test_a_missing_count_of_something_paid_is_unknown(usage):
    assert price("openai", "gpt-4o", usage, NOW) is None
    assert price("lab", "x", usage, NOW, LAB) is None
    assert price("sim", "small", usage, NOW) is None


def test_embeddings_have_no_output_to_pay():
    assert price("openai", "text-embedding-3-small", Usage(input_tokens=1_000_000), NOW).cost_usd == Decimal("0.02")
    only_input = {"lab/*": override_from("lab/*", {"input_usd_per_mtok": 1})}
    assert price("lab", "e", Usage(input_tokens=1_000_000), NOW, only_input).cost_usd == 1
    assert price("lab", "chat", Usage(10, 10), NOW, only_input) is None


def test_counts_that_contradict_each_other_are_unknown():
    assert price("openai", "gpt-4o", Usage(10, 1, cache_read_tokens=11), NOW) is None


def test_prices_follow_the_day_and_the_size_of_the_prompt():
    early, late = (rates("anthropic", "claude-opus-4-6", datetime(2026, m, 1, tzinfo=UTC), 500_000) for m in (3, 4))
    assert early[0].input > late[0].input  # its long-context tier ended on 2026-03-13
    small, large = (rates("anthropic", "claude-sonnet-4-5", NOW, n)[0].input for n in (200_000, 200_001))
    assert large > small


@pytest.mark.parametrize("name", SIM_MODELS)
def test_simulated_models_have_simulated_prices(name):
    priced = price("sim", name, Usage(1_000_000, 0), NOW)
    assert priced.source == "simulated"
    assert priced.cost_usd == SIM_MODELS[name].price.input_usd_per_mtok
    assert price("sim", f"sim/{name}", Usage(1_000_000, 0), NOW) == priced


def test_the_most_specific_row_wins():
    rows = {p: PriceOverride(p, Decimal(1), Decimal(1)) for p in ("*/*", "lab/*", "lab/gpt-*", "lab/gpt-4o")}
    found = {m: best_override("lab", m, rows).pattern for m in ("gpt-4o", "gpt-5", "other")}
    assert found == {"gpt-4o": "lab/gpt-4o", "gpt-5": "lab/gpt-*", "other": "lab/*"}
    assert best_override("x", "y", {"lab/*": rows["lab/*"]}) is None


def test_a_row_of_the_user_wins_over_every_list():
    row = {"openai/gpt-4o": override_from("openai/gpt-4o", {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0})}
    priced = price("openai", "gpt-4o", Usage(1_000_000, 5), NOW, row)
    assert priced.cost_usd == Decimal("0.1")
    assert priced.source == 'llmlens.toml [prices."openai/gpt-4o"]'


def test_cached_tokens_of_a_row_without_such_a_price_are_input():
    assert price("lab", "x", Usage(1_000_000, 0, 400_000, 100_000), NOW, LAB).cost_usd == 2
    own = override_from("lab/*", {"input_usd_per_mtok": 2, "output_usd_per_mtok": 1, "cache_read_usd_per_mtok": 0})
    assert price("lab", "x", Usage(1_000_000, 0, 500_000), NOW, {"lab/*": own}).cost_usd == 1


@pytest.mark.parametrize(
    ("pattern", "table", "message"),
    [
        ("lab", {"input_usd_per_mtok": 1}, "provider/model"),
        ("lab/*", {}, "at least one"),
        ("lab/*", 3, "at least one"),
        ("lab/*", {"input_usd_per_mtoken": 1}, "did you mean 'input_usd_per_mtok'"),
        ("lab/*", {"input_usd_per_mtok": "1"}, "must be a number"),
        ("lab/*", {"input_usd_per_mtok": True}, "must be a number"),
        ("lab/*", {"output_usd_per_mtok": -1}, "0 or more"),
        ("lab/*", {"output_usd_per_mtok": float("nan")}, "0 or more"),
        ("lab/*", {"output_usd_per_mtok": float("inf")}, "0 or more"),
    ],
)
def test_wrong_rows_are_refused_with_their_name(pattern, table, message):
    with pytest.raises(SettingsError, match=message) as caught:
        override_from(pattern, table)
    assert pattern in str(caught.value)
