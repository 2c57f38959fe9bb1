"""What a call costs. Unknown is None, never 0.

Three sources, in this order: the user's [prices] rows, the simulated models' own table, genai-prices' list
(`price_list`; nothing is fetched unless `price_update` is asked to). The counts of a usage overlap; a price is taken
on the disjoint buckets made from them, so no token is paid twice: BUCKETS says what is a part of what. A bucket
without a price of its own is paid as the one that contains it: cached tokens as input, reasoning as output.

What a `records.Usage` does not count travels as `counts` (one-hour cache writes, audio and image tokens, searches) and
what sets other rates as `kind` (service tier, batch, fast mode): `wire.billing` reads both from an answer.
Not in a cost, because no list has it: surcharges for a region, code execution, storage of caches.

Measured 2026-11-24 on two busy cores: the first price 5-15 ms and 1 MB (`price_list`), then 6-11 µs a call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from llmlens.catalog.price_list import Amounts, ModelPrices, PriceList, flat, shipped, steps
from llmlens.catalog.price_overrides import PriceOverride, best_override, override_from
from llmlens.catalog.providers import Provider, load_catalog
from llmlens.catalog.simulated import PROVIDER as SIMULATED
from llmlens.catalog.simulated import SIM_PRICES
from llmlens.records import Usage

PER_MTOK: Final = Decimal(1_000_000)
PER_THOUSAND: Final = Decimal(1_000)
NOTHING: Final[Mapping[str, str]] = {}
NO_COUNTS: Final[Mapping[str, int]] = {}


class Bucket(NamedTuple):
    """One kind of token: its name, the key of its price in genai-prices, and the buckets it is a part of."""

    name: str
    price_key: str
    within: tuple[str, ...] = ()


# The most specific first: what is paid here is no longer in those that contain it.
BUCKETS: Final = (
    Bucket("cache_audio_read", "cache_audio_read_mtok", ("cache_read", "input_audio", "input")),
    Bucket("cache_image_read", "cache_image_read_mtok", ("cache_read", "input_image", "input")),
    Bucket("cache_write_1h", "cache_write_1h_mtok", ("cache_write", "input")),
    Bucket("cache_read", "cache_read_mtok", ("input",)),
    Bucket("cache_write", "cache_write_mtok", ("input",)),
    Bucket("input_audio", "input_audio_mtok", ("input",)),
    Bucket("input_image", "input_image_mtok", ("input",)),
    Bucket("input_video", "input_video_mtok", ("input",)),
    Bucket("input", "input_mtok"),
    Bucket("reasoning", "output_reasoning_mtok", ("output",)),
    Bucket("output_audio", "output_audio_mtok", ("output",)),
    Bucket("output_image", "output_image_mtok", ("output",)),
    Bucket("output", "output_mtok"),
)
SEARCHES: Final = {"web_searches": "web_searches_kcount", "storage_searches": "storage_searches_kcount"}
FINER: Final = frozenset(b.name for b in BUCKETS if b.within) - {"cache_read", "cache_write", "reasoning"}
NO_FINER: Final[dict[str, int | None]] = dict.fromkeys(FINER)


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost. `source` says whose prices; `parts` is USD by bucket (input, cache_read, cache_write, output, …)."""

    cost_usd: Decimal
    source: str
    parts: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rates:
    """USD at one moment, for one size of prompt and one kind of call. What is missing is unknown.

    tokens: per token, by bucket. each: per search, by what is searched. request: per call, whatever its size.
    """

    tokens: Mapping[str, Decimal]
    each: Mapping[str, Decimal] = field(default_factory=dict)
    request: Decimal | None = None


def price(
    provider: Provider | str,
    model: str,
    usage: Usage,
    at: datetime,
    overrides: Mapping[str, PriceOverride] | None = None,
    *,
    served: str | None = None,
    listed: PriceList | None = None,
    kind: Mapping[str, str] = NOTHING,
    counts: Mapping[str, int] = NO_COUNTS,
) -> Priced | None:
    """Cost of one call of `provider`'s `model` (the name it was sent as) that began at `at`; None where it is unknown.

    provider:  its row, whose `priced_as` and `local` count; a name stands for the shipped row of that name, or for a
               provider that nobody lists.
    overrides: matched on "provider/model"; of several that match, the one with most literal characters wins.
    served:    the model that the answer names. Where the list knows it, it counts before `model`: an alias has become
               a dated model, Azure's deployments have names of their own, a router has fallen back.
    listed:    the price list in force (`price_list.newest`); None is the shipped one.
    kind:      what sets other rates, in genai-prices' words: {"service_tier": "flex"}, {"processing": "batch"}.
    counts:    parts of `usage` by bucket (cache_write_1h, input_audio, …), and searches.
    """
    size = usage.input_tokens or 0
    found = rates(provider, model, at, size, overrides, served=served, listed=listed, kind=kind)
    if found is None:
        return None
    parts = _pay(found[0], usage, counts)
    return None if parts is None else Priced(sum(parts.values(), Decimal(0)), found[1], parts)


def rates(
    provider: Provider | str,
    model: str,
    at: datetime,
    input_tokens: int = 0,
    overrides: Mapping[str, PriceOverride] | None = None,
    *,
    served: str | None = None,
    listed: PriceList | None = None,
    kind: Mapping[str, str] = NOTHING,
) -> tuple[Rates, str] | None:
    """The rates for a prompt of `input_tokens` and their source; None where no price is known."""
    row = load_catalog().get(provider) if isinstance(provider, str) else provider
    name = provider if isinstance(provider, str) else provider.name
    if overrides and (own := best_override(name, model, overrides)) is not None:
        return _override_rates(own), own.source
    if name == SIMULATED:
        simulated = _SIMULATED_RATES.get(model.removeprefix(f"{SIMULATED}/"))
        return None if simulated is None else (simulated, "simulated")
    listed = listed or shipped()
    names = (served, model) if served else (model,)
    found = next((hit for each in names if (hit := find_listed(listed, row, name, each))), None)
    if found is None:
        return None
    by_size = _by_size(found, found.in_force(at, kind))
    known = next(known for start, known in by_size if max(input_tokens, 0) > start)
    return None if known is None else (known, listed.source)


def find_listed(listed: PriceList, row: Provider | None, name: str, model: str) -> ModelPrices | None:
    """The prices of `model` in the list, under the name that the provider has there.

    A router has the prices of whom it sends to. `priced_as` then has a star: "*" is filled by the head of
    "maker/model" (Vercel), "huggingface_*" by the end of "model:server".
    """
    if row is not None and row.local and row.priced_as is None:
        return None
    priced_as = (row.priced_as if row else None) or name
    if priced_as == "*":
        maker, _, model = model.partition("/")
        known = load_catalog().get(maker)
        priced_as = (known.priced_as if known else None) or maker
    elif "*" in priced_as:
        model, _, server = model.rpartition(":")
        priced_as = priced_as.replace("*", server)
    return listed.find(priced_as, model)


def warm() -> None:
    """Load the shipped list (about 3 ms) where a pause does not hurt."""
    shipped()


# ── paying ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pay(found: Rates, usage: Usage, counts: Mapping[str, int]) -> dict[str, Decimal] | None:
    """USD by bucket; None where a count or a rate is missing that would change the sum.

    A count that is missing costs nothing where its rate is 0 or where the model has no such price at all (embeddings
    have no output). A count above 0 without any rate is unknown.
    """
    usd = found.tokens
    if "input" not in usd and "output" not in usd and found.request is None:
        return None
    n_cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    if usage.input_tokens is not None and n_cached > usage.input_tokens:
        return None  # the counts contradict each other
    left, parts = _counts(usage, counts), {}
    for name, _key, within in BUCKETS:
        n_tokens, rate = left[name], usd.get(name)
        if within and (not n_tokens or rate is None):
            continue  # stays a part of what contains it
        if n_tokens is None:
            if rate:
                return None
        elif n_tokens < 0 or (n_tokens > 0 and rate is None):
            return None  # the counts contradict each other, or nobody knows what these tokens cost
        elif n_tokens > 0 and rate is not None:
            parts[name] = n_tokens * rate
            for parent in within:
                left[parent] = _minus(left[parent], n_tokens)
    if found.request is not None:
        parts["request"] = found.request
    return parts | {name: counts[name] * each for name, each in found.each.items() if counts.get(name)}


def _counts(usage: Usage, counts: Mapping[str, int]) -> dict[str, int | None]:
    finer = {name: counts.get(name) for name in FINER} if counts else NO_FINER
    return finer | {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_tokens,
        "reasoning": usage.reasoning_tokens,
    }


def _minus(whole: int | None, part: int) -> int | None:
    return None if whole is None else whole - part


# ── rates ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_size(found: ModelPrices, in_force: tuple[int, ...]) -> list[tuple[int, Rates | None]]:
    """The rates for inputs longer than so many tokens, the largest first; made once, kept with the model."""
    if (known := found.memo.get(in_force)) is None:
        amounts = found.amounts(in_force)
        starts = [-1, *steps(amounts)]
        known = [(start, None if _beyond_tokens(amounts) else _rates(flat(amounts, start + 1))) for start in starts]
        found.memo[in_force] = known[::-1]
        return known[::-1]
    return known  # type: ignore[no-any-return]


def _rates(usd: Mapping[str, Decimal]) -> Rates:
    per_thousand = usd.get("requests_kcount")
    return Rates(
        tokens={b.name: usd[b.price_key] / PER_MTOK for b in BUCKETS if b.price_key in usd},
        each={name: usd[key] / PER_THOUSAND for name, key in SEARCHES.items() if key in usd},
        request=None if per_thousand is None else per_thousand / PER_THOUSAND,
    )


def _override_rates(row: PriceOverride) -> Rates:
    return Rates({name: usd / PER_MTOK for name, usd in row.usd_per_mtok.items()}, request=row.request_usd)


def _beyond_tokens(amounts: Amounts) -> bool:
    """True where a model is paid in what nobody counts here: hours of audio, characters, pages, images."""
    return any(
        key == "audio_hours" or (key.startswith(f"{side}_") and f"{side}_mtok" not in amounts)
        for key in amounts
        for side in ("input", "output")
    )


_SIMULATED_RATES: Final = {
    name: Rates({"input": row.input_usd_per_mtok / PER_MTOK, "output": row.output_usd_per_mtok / PER_MTOK})
    for name, row in SIM_PRICES.items()
}


# ── showing ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Shown:
    """What a model costs for one kind of call above one size of prompt. `usd` is per million tokens by bucket, and
    per piece for `request` and searches."""

    kind: str  # "standard", "service_tier=flex", …
    above_input_tokens: int
    usd: Mapping[str, Decimal]
    source: str


def show(
    provider: Provider | str,
    model: str,
    at: datetime,
    overrides: Mapping[str, PriceOverride] | None = None,
    *,
    listed: PriceList | None = None,
) -> list[Shown]:
    """All that is known at `at` of what `model` costs, for people to read; empty where nothing is."""
    row = load_catalog().get(provider) if isinstance(provider, str) else provider
    name = provider if isinstance(provider, str) else provider.name
    listed = listed or shipped()
    own = best_override(name, model, overrides) if overrides else None
    found = None if own or name == SIMULATED else find_listed(listed, row, name, model)
    kinds = [NOTHING, *(v.when for v in (found.variants if found else ()) if v.prices and v.active(at))]
    shown: list[Shown] = []
    for kind in kinds:
        for start in [0, *(steps(found.amounts(found.in_force(at, kind))) if found else [])]:
            known = rates(provider, model, at, start + 1, overrides, listed=listed, kind=kind)
            if known is not None:
                label = ", ".join(f"{key}={value}" for key, value in kind.items()) or "standard"
                shown.append(Shown(label, start, _readable(known[0]), known[1]))
    return shown


def _readable(found: Rates) -> dict[str, Decimal]:
    usd = {name: per_token * PER_MTOK for name, per_token in found.tokens.items()} | dict(found.each)
    if found.request is not None:
        usd["request"] = found.request
    return {name: Decimal(f"{amount.normalize():f}") for name, amount in usd.items()}


__all__ = [
    "BUCKETS",
    "PriceOverride",
    "Priced",
    "Rates",
    "Shown",
    "best_override",
    "find_listed",
    "override_from",
    "price",
    "rates",
    "show",
    "warm",
]
