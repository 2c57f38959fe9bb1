"""Costs: unknown is None, nothing is paid twice, and genai-prices' own arithmetic agrees with ours."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.catalog.price_list import SHIPPED, shipped
from llmlens.catalog.price_update import from_package, list_file
from llmlens.catalog.prices import PriceOverride, best_override, override_from, price, rates, show
from llmlens.catalog.providers import Provider
from llmlens.catalog.simulated import SIM_MODELS
from llmlens.errors import SettingsError
from llmlens.records import Usage

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LAB = {"lab/*": override_from("lab/*", {"input_usd_per_mtok": 2, "output_usd_per_mtok": 10})}


KINDS = [
    {},
    {"service_tier": "flex"},
    {"service_tier": "priority"},
    {"service_tier": "default"},
    {"processing": "batch"},
    {"speed": "fast"},
    {"processing": "batch", "service_tier": "flex"},
]
THEIR_NAMES = {
    "cache_write_1h": "cache_write_1h_tokens",
    "input_audio": "input_audio_tokens",
    "cache_audio_read": "cache_audio_read_tokens",
    "output_audio": "output_audio_tokens",
    "web_searches": "web_searches",
}


def listed_models():
    """Every fifth (provider, model) of genai-prices, so that all its kinds of price occur."""
    rows = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
    varied = [(p.id, model.id) for p in get_snapshot().providers for model in p.models if model.price_variants]
    return rows[::5] + varied


@st.composite
def usages(draw):
    read, write, plain = (draw(st.integers(0, 400_000)) for _ in range(3))
    reasoning, said = draw(st.integers(0, 30_000)), draw(st.integers(0, 30_000))
    return Usage(read + write + plain, reasoning + said, read, write, reasoning)


@st.composite
def finer(draw, usage):
    """Parts of `usage` that do not contradict it."""
    heard = draw(st.integers(0, usage.cache_read_tokens))
    plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    counts = {
        "cache_write_1h": draw(st.integers(0, usage.cache_write_tokens)),
        "cache_audio_read": heard,
        "input_audio": heard + draw(st.integers(0, plain)),
        "output_audio": draw(st.integers(0, usage.output_tokens - usage.reasoning_tokens)),
        "web_searches": draw(st.integers(0, 5)),
    }
    return draw(st.sampled_from([{}, counts, {name: counts[name] for name in ("cache_write_1h", "web_searches")}]))


@settings(max_examples=250, deadline=None)
@given(st.data(), st.sampled_from(listed_models()), usages(), st.integers(0, 3_000), st.sampled_from(KINDS))
def test_genai_prices_agrees(data, row, usage, days_ago, kind):
    """The law behind reading the list ourselves: the library's own total, on any day, in any tier, for any kind."""
    provider, model = row
    counts = data.draw(finer(usage))
    at = NOW - timedelta(days=days_ago, hours=days_ago % 24)
    ours = price(provider, model, usage, at, kind=kind, counts=counts)
    try:
        theirs = their_price(provider, model, usage, at, kind, counts)
    except LookupError:  # a few ids of the data match none of its own rules
        assert ours is None
        return
    except ValueError:  # it asks for counts that no provider states (cached audio where only audio is priced …)
        return
    if ours is None:  # only where a price is not one per token, or misses for tokens that were used
        prices = {key for key, value in vars(theirs.model_price).items() if value is not None}
        assert not {"input_mtok", "output_mtok"} <= prices, (prices, usage)
    else:
        assert ours.cost_usd == theirs.total_price
        assert ours.source == f"genai-prices {genai_prices.__version__}"


def their_price(provider, model, usage, at, kind, counts):
    return genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_reasoning_tokens=usage.reasoning_tokens,
            **{THEIR_NAMES[name]: n for name, n in counts.items()},
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context=kind,
    )


def test_genai_prices_finds_the_same_models():
    """Every name it lists, and spellings of it, mean the same model to both, windows included."""
    providers = get_snapshot().providers
    for provider in providers:
        for model in provider.models:
            for name in (model.id, model.id.upper(), f"{model.id}-20251211", f"x-{model.id}", "x/" + model.id):
                theirs = provider.find_model(name, all_providers=providers)
                ours = shipped().find(provider.id, name)
                assert (ours and (ours.id, ours.context_window)) == (theirs and (theirs.id, theirs.context_window))


def test_the_shipped_list_is_that_of_the_installed_package():
    source, rows = from_package()
    assert shipped().source == source, "run: python -m llmlens.catalog.price_update"
    _head, _, body = SHIPPED.read_bytes().partition(b"\n")
    assert list_file(source, NOW, rows).partition(b"\n")[2] == body
    assert shipped().check() > 2_000


def test_pricing_imports_no_library():
    code = (
        "import sys; from datetime import datetime, UTC; from llmlens.catalog.prices import price\n"
        "from llmlens.records import Usage; assert price('openai', 'gpt-4o', Usage(1, 1), datetime.now(UTC))\n"
        "print([m for m in ('genai_prices', 'pydantic', 'httpx2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


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
    proxy = Provider("proxy", "http://proxy/v1", priced_as="openai")
    assert price(proxy, "gpt-4o", usage, NOW) == price("openai", "gpt-4o", usage, NOW)
    assert price(Provider("proxy", "http://proxy/v1"), "gpt-4o", usage, NOW) is None


def test_a_router_is_priced_as_whom_the_model_name_says():
    router = Provider("hf", "https://hf/v1", priced_as="huggingface_*")
    usage = Usage(1000, 1000)
    served = price(router, "Qwen/Qwen2.5-7B-Instruct:together", usage, NOW)
    assert served == price("huggingface_together", "Qwen/Qwen2.5-7B-Instruct", usage, NOW)
    assert served is not None
    assert price(router, "Qwen/Qwen2.5-7B-Instruct", usage, NOW) is None


def test_a_local_row_is_free_of_every_list_unless_it_says_whose_prices_it_has():
    usage = Usage(1000, 1000)
    assert price(Provider("openai", "http://127.0.0.1/v1", local=True), "gpt-4o", usage, NOW) is None
    assert price(Provider("x", "http://127.0.0.1/v1", local=True, priced_as="openai"), "gpt-4o", usage, NOW)


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
    assert early[0].tokens["input"] > late[0].tokens["input"]  # its long-context tier ended on 2026-03-13
    small, large = (rates("anthropic", "claude-sonnet-4-5", NOW, n)[0].tokens["input"] for n in (200_000, 200_001))
    assert large > small


def test_prices_follow_the_kind_of_call():
    usage = Usage(1_000_000, 0)
    flex = price("openai", "gpt-5", usage, NOW, kind={"service_tier": "flex"})
    assert (price("openai", "gpt-5", usage, NOW).cost_usd, flex.cost_usd) == (Decimal("1.25"), Decimal("0.625"))
    assert price("openai", "gpt-5", usage, NOW, kind={"service_tier": "unheard of"}).cost_usd == Decimal("1.25")


def test_one_hour_cache_writes_cost_more_and_are_paid_once():
    usage = Usage(2_000_000, 0, 0, 2_000_000)
    priced = price("anthropic", "claude-opus-4-5", usage, NOW, counts={"cache_write_1h": 1_000_000})
    assert priced.parts == {"cache_write_1h": Decimal(10), "cache_write": Decimal("6.25")}


def test_a_row_of_the_user_may_price_calls_and_finer_buckets():
    row = override_from("lab/*", {"input_usd_per_mtok": 1, "cache_write_1h_usd_per_mtok": 3, "request_usd": 0.5})
    usage = Usage(2_000_000, None, 0, 1_000_000)
    priced = price("lab", "x", usage, NOW, {"lab/*": row}, counts={"cache_write_1h": 1_000_000})
    assert priced.parts == {"cache_write_1h": Decimal(3), "input": Decimal(1), "request": Decimal("0.5")}


def test_what_is_known_of_a_model_can_be_shown():
    shown = show("openai", "gpt-5.4", NOW)
    assert [(row.kind, row.above_input_tokens) for row in shown][:2] == [("standard", 0), ("standard", 272_000)]
    assert {"service_tier=flex", "processing=batch"} <= {row.kind for row in shown}
    assert shown[0].usd["input"] == Decimal("2.5")
    assert show("openai", "no-such-model", NOW) == []
    assert [row.usd["input"] for row in show("lab", "x", NOW, LAB)] == [Decimal(2)]


@pytest.mark.parametrize("name", SIM_MODELS)
def test_simulated_models_have_simulated_prices(name):
    priced = price("sim", name, Usage(1_000_000, 0), NOW)
    assert priced.source == "simulated"
    assert priced.cost_usd == SIM_MODELS[name].price.input_usd_per_mtok
    assert price("sim", f"sim/{name}", Usage(1_000_000, 0), NOW) == priced


def test_the_most_specific_row_wins():
    rows = {p: PriceOverride(p, {"input": Decimal(1)}) for p in ("*/*", "lab/*", "lab/gpt-*", "lab/gpt-4o")}
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
