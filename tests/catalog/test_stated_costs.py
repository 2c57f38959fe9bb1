"""What providers say they charged, read from the recordings, and how our own prices compare.

The table of both stands in tests/README.md. `python -m tests.catalog.test_stated_costs` writes it anew.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.price_list import shipped
from llmlens.catalog.prices import price
from llmlens.catalog.providers import load_catalog
from llmlens.records import Usage
from llmlens.wire.billing import finer_counts, kind_of_call
from llmlens.wire.stated_cost import own_key_cost_usd, stated_cost_usd
from tests.catalog.recordings import recordings

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- stated costs: begin -->", "<!-- stated costs: end -->"
NO_LIST = "the list has no such model at OpenRouter (any more)"
TODAY = "no date was kept: priced as of the list's own day, after a change of price"
FEE = "the request fee depends on `search_context_size`: low was used, the list has that of high"
SEARCH = "the searches' fee is not in the list"
REASONING = "Vercel leaves reasoning out of `completion_tokens` and `total_tokens`, but bills it"
INVENTED = "the usage is a test fixture of the vendor's own: `123456` ticks"
AZURE = "Azure leaves xAI's field at 0; it counts more cached tokens than input, so ours is unknown"
# Why the computed cost differs, by the end of the recording's id. All others agree to the last digit.
REASONS = {
    "287b0e2f": AZURE,
    "88d194f6": AZURE,
    "21ff4cbb": NO_LIST,
    "d092e6cb": NO_LIST,
    "179345d2": f"served by a fallback; {NO_LIST}",
    "b96d8373": NO_LIST,
    "3c75851b": "a free model, which the list does not have",
    "06cbc3bf": "charged at 0.11 and 0.38 USD per million (`cost_details`); the list has 0.13 and 0.40",
    "01358afa": "charged at 0.27 and 1.00 USD per million (`cost_details`); the list has 0.21 and 0.79",
    "05a68095": "charged at 6 and 30 USD per million (`cost_details`); the list has 3 and 15",
    "fc051b1c": SEARCH,
    "ca4b29b6": SEARCH,
    "470f0c46": SEARCH,
    "acea36ca": "own key: OpenRouter charges nothing, Anthropic bills the computed cost (`own_key_cost_usd`)",
    "3267f080": TODAY,
    "b1947817": TODAY,
    "59544ad6": FEE,
    "e40f2b0e": FEE,
    "6f5b0028": FEE,
    "37afe8c1": FEE,
    "39ef10f4": REASONING,
    "d88b5016": REASONING,
    "751805fc": INVENTED,
    "895401aa": INVENTED,
}
ROWS = [row for row in recordings() if row["expect"].get("stated_cost")]
needs_recordings = pytest.mark.skipif(not ROWS, reason="no recordings beside this checkout")


def provider_of(row):
    catalog = load_catalog()
    known = {"azure_ai": catalog["azure"], "vercel_gateway": catalog["vercel"]}
    return known.get(row["provider"]) or catalog[row["provider"]]


def computed(row):
    """Our price of the recorded usage, on the day of the recording; on the list's own where no day was kept."""
    expect, raw = row["expect"], row["expect"]["usage_raw"]
    usage = Usage(
        expect["input_tokens"],
        expect.get("output_tokens"),
        expect.get("cached_input_tokens"),
        expect.get("cache_write_tokens"),
        expect.get("reasoning_tokens"),
    )
    day = row.get("recorded_on")
    return price(
        provider_of(row),
        row["request"]["body"]["model"],
        usage,
        datetime.fromisoformat(day).replace(tzinfo=UTC) if day else shipped().taken_at,
        served=expect["model"],
        kind=kind_of_call(raw),
        counts=finer_counts(raw),
    )


def differs(row):
    priced = computed(row)
    return priced is None or priced.cost_usd != stated_cost_usd(row["expect"]["usage_raw"])


def reason(row):
    return REASONS.get(row["id"].rpartition(".")[2])


def table():
    """The section of the README, between its marks."""
    n_equal = sum(not differs(row) for row in ROWS)
    lines = [
        f"{len(ROWS)} recordings state a cost; {n_equal} of them are computed to the last digit ({shipped().source}).",
        "",
        "| recording | provider | model | stated USD | computed USD | difference | why |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in sorted(ROWS, key=lambda row: row["id"]):
        stated, priced = stated_cost_usd(row["expect"]["usage_raw"]), computed(row)
        ours = priced.cost_usd if priced else None
        cells = (
            row["id"],
            row["provider"],
            row["expect"]["model"],
            plain(stated),
            plain(ours) if ours is not None else "unknown",
            plain(ours - stated) if ours is not None else "",
            reason(row) or "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([BEGIN, *lines, END])


def plain(usd):
    return f"{usd.normalize():f}"


@needs_recordings
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_stated_costs_are_read_from_usage_and_from_the_body(row):
    stated, raw = row["expect"]["stated_cost"], row["expect"]["usage_raw"]
    expected = Decimal(repr(stated["usd"]))
    for holder in (raw, {"id": "x", "usage": raw}, {"type": "response.completed", "response": {"usage": raw}}):
        assert stated_cost_usd(holder) == expected
    upstream = stated.get("upstream_usd")
    own_key = Decimal(repr(upstream)) if raw.get("is_byok") and upstream is not None else None
    assert own_key_cost_usd(raw) == own_key


@needs_recordings
def test_no_other_recording_states_a_cost():
    silent = [row for row in recordings() if not row["expect"].get("stated_cost")]
    usages = [raw for row in silent if isinstance(raw := row["expect"].get("usage_raw"), dict)]
    assert [usage for usage in usages if stated_cost_usd(usage) is not None] == []
    assert len(usages) > 300


@needs_recordings
def test_every_difference_has_a_reason_and_no_other():
    assert [row["id"] for row in ROWS if differs(row) != (reason(row) is not None)] == []


@needs_recordings
def test_the_table_in_the_readme_is_true():
    text = README.read_text("utf-8")
    section = text[text.index(BEGIN) : text.index(END) + len(END)]
    assert section == table(), "run: python -m tests.catalog.test_stated_costs"


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"cost": 0.1}, "0.1"),
        ({"cost": 3}, "3"),
        ({"cost": 0}, "0"),
        ({"cost_in_usd_ticks": 1}, "1e-10"),
        ({"estimated_cost": 0.0000268}, "0.0000268"),
        ({"cost": {"total_cost": 0.00501, "currency": "USD"}}, "0.00501"),
        ({"cost": None, "cost_in_usd_ticks": 5}, "5e-10"),
    ],
)
def test_places_and_units(usage, usd):
    assert stated_cost_usd(usage) == Decimal(usd)


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"cost": True},
        {"cost": "free"},
        {"cost": -0.1},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": 10**5000},
        {"cost": {"total_cost": 1, "currency": "EUR"}},
        {"cost": {"total_cost": {}}},
        {"cost_in_usd_ticks": 10**5000},
        {"usage": None, "response": [1]},
    ],
)
def test_what_is_no_cost_is_none(usage):
    assert stated_cost_usd(usage) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["usage", "response", "message", "cost", "total_cost", "currency", "is_byok", "cost_details",
                 "upstream_inference_cost", "cost_in_usd_ticks", "service_tier", "speed", "usageMetadata",
                 "promptTokensDetails", "cacheDetails", "ttl", "modality", "tokenCount", "server_tool_use"]
            ),
            inner,
        )
    ),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["usage", "cost", "response", "usageMetadata", "cacheDetails"]), JSON))
def test_anything_is_read_without_an_error(body: Mapping[str, Any]):
    for value in (stated_cost_usd(body), own_key_cost_usd(body)):
        assert value is None or 0 <= value <= 1_000_000
    assert all(isinstance(word, str) for word in kind_of_call(body).values())
    assert all(isinstance(n, int) and n for n in finer_counts(body).values())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"service_tier": "flex"}, {"service_tier": "flex"}),
        ({"service_tier": "default"}, {}),
        ({"response": {"service_tier": "priority"}}, {"service_tier": "priority"}),
        ({"usage": {"service_tier": "batch"}}, {"processing": "batch"}),
        ({"message": {"usage": {"service_tier": "standard", "speed": "fast"}}}, {"speed": "fast"}),
        ({"usageMetadata": {"trafficType": "ON_DEMAND_PRIORITY"}}, {"service_tier": "priority"}),
        ({"usageMetadata": {"serviceTier": "flex"}}, {"service_tier": "flex"}),
        ({"service_tier": None}, {}),
    ],
)
def test_kinds_of_call(answer, kind):
    assert kind_of_call(answer) == kind


def test_finer_counts():
    anthropic = {
        "usage": {"cache_creation": {"ephemeral_1h_input_tokens": 7}, "server_tool_use": {"web_search_requests": 2}}
    }
    assert finer_counts(anthropic) == {"cache_write_1h": 7, "web_searches": 2}
    heard = {"modality": "AUDIO", "tokenCount": 9}
    assert finer_counts({"usageMetadata": {"promptTokensDetails": [heard]}}) == {"input_audio": 9}
    assert finer_counts({"completion_tokens_details": {"audio_tokens": 4}}) == {"output_audio": 4}
    assert finer_counts(
        {"usage": {"cacheDetails": [{"ttl": "1h", "inputTokens": 3}, {"ttl": "5m", "inputTokens": 1}]}}
    ) == {"cache_write_1h": 3}


if __name__ == "__main__":
    text = README.read_text("utf-8")
    README.write_text(text[: text.index(BEGIN)] + table() + text[text.index(END) + len(END) :], "utf-8")
