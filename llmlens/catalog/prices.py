"""What a call costs. Unknown is None, never 0.

Three sources, in this order: the user's [prices] rows, the simulated models' own table, genai-prices' bundled data
(nothing is fetched; a newer package brings newer prices). The counts of `records.Usage` overlap; a price is taken on
the disjoint buckets made from them, so no token is paid twice:

    uncached input = input - cache read - cache write      cache read      cache write
    plain output   = output - reasoning                    reasoning

A bucket without a price of its own is paid as the one that contains it: cached tokens as input, reasoning as output.
Not in a cost, because no usage states it: audio and image tokens at rates of their own (paid as text), one-hour cache
writes (paid as five-minute ones), fees per web search or per storage search, batch and priority tiers.

Measured 2026-11-24 on two busy cores: a simulated model 4-8 µs a call, a row of the user 7-11 µs among one to twenty
rows, genai-prices 5-9 µs (its own `calc_price` takes 150-290 µs). The first call that needs genai-prices spends about
1.1 s on its import: see `warm`.
"""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final

from llmlens.catalog.providers import load_catalog
from llmlens.catalog.simulated import PROVIDER as SIMULATED
from llmlens.catalog.simulated import SIM_PRICES
from llmlens.errors import SettingsError
from llmlens.records import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

PER_MTOK: Final = Decimal(1_000_000)
MAX_CACHED_MODELS: Final = 2_048  # model names come from callers, so the caches below are bounded


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost. `source` says whose prices; `parts` is USD by bucket (input, cache_read, cache_write, output, …)."""

    cost_usd: Decimal
    source: str
    parts: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per token and bucket, at one moment and for one size of prompt. None is unknown."""

    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    request: Decimal | None = None  # USD per call, whatever its size


UNKNOWN: Final = Rates(input=None, output=None)


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """One [prices."pattern"] row: USD per million tokens. None is "not said": see `_pay` for what follows."""

    pattern: str
    input_usd_per_mtok: Decimal | None = None
    output_usd_per_mtok: Decimal | None = None
    cache_read_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    rates: Rates = field(init=False, repr=False, compare=False)  # the same per token
    matches: re.Pattern[str] = field(init=False, repr=False, compare=False)
    source: str = field(init=False, repr=False, compare=False)  # how a cost made with this row names it

    def __post_init__(self) -> None:
        per_token = Rates(
            input=_per_token(self.input_usd_per_mtok),
            output=_per_token(self.output_usd_per_mtok),
            cache_read=_per_token(self.cache_read_usd_per_mtok),
            cache_write=_per_token(self.cache_write_usd_per_mtok),
        )
        object.__setattr__(self, "rates", per_token)
        object.__setattr__(self, "matches", re.compile(translate(self.pattern)))
        object.__setattr__(self, "source", f'llmlens.toml [prices."{self.pattern}"]')


def price(
    provider: str,
    model: str,
    usage: Usage,
    at: datetime,
    overrides: Mapping[str, PriceOverride] | None = None,
    *,
    priced_as: str | None = None,
) -> Priced | None:
    """Cost of one call of `provider`'s `model` (the name it was sent as) that began at `at`; None where it is unknown.

    `priced_as` is the provider's name in genai-prices, for a row of the user that is one under another name.
    Overrides are matched on "provider/model"; of several that match, the one with most literal characters wins.
    """
    found = rates(provider, model, at, usage.input_tokens or 0, overrides, priced_as=priced_as)
    if found is None:
        return None
    parts = _pay(found[0], usage)
    return None if parts is None else Priced(sum(parts.values(), Decimal(0)), found[1], parts)


def rates(
    provider: str,
    model: str,
    at: datetime,
    input_tokens: int = 0,
    overrides: Mapping[str, PriceOverride] | None = None,
    *,
    priced_as: str | None = None,
) -> tuple[Rates, str] | None:
    """The rates for a prompt of `input_tokens` and their source; None where no price is known."""
    if overrides and (row := best_override(provider, model, overrides)) is not None:
        return row.rates, row.source
    if provider == SIMULATED:
        simulated = _SIMULATED_RATES.get(model.removeprefix(f"{SIMULATED}/"))
        return None if simulated is None else (simulated, "simulated")
    known = load_catalog().get(provider)
    if known is not None and known.local and priced_as is None:
        return None
    listed = _listed(priced_as or (known.priced_as if known else None) or provider, model)
    return None if listed is None else (listed.at(at, input_tokens), listed.source)


def best_override(provider: str, model: str, overrides: Mapping[str, PriceOverride]) -> PriceOverride | None:
    """The row whose pattern matches "provider/model" most closely."""
    name = f"{provider}/{model}"
    if (exact := overrides.get(name)) is not None:
        return exact
    matching = [row for row in overrides.values() if row.matches.match(name)]
    return max(matching, key=_specificity) if matching else None


def override_from(pattern: str, table: Mapping[str, Any]) -> PriceOverride:
    """The row that `[prices."<pattern>"]` makes.

    Raises:
        SettingsError: the pattern is not of the form provider/model, an unknown key, or not a number of 0 or more.
    """
    where = f'[prices."{pattern}"]'
    if "/" not in pattern:
        raise SettingsError(f'{where}: a pattern is matched on "provider/model", e.g. [prices."lab/*"]')
    if not isinstance(table, Mapping) or not table:
        raise SettingsError(f"{where} must be a table with at least one of {', '.join(_OVERRIDE_KEYS)}")
    return PriceOverride(pattern, **{key: _usd(where, key, value) for key, value in table.items()})


def warm() -> None:
    """Import genai-prices and its data (about 1.1 s, 35 MB) where a pause does not hurt, e.g. in a thread at start."""
    _listed("openai", "gpt-4o")


# ── paying ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pay(found: Rates, usage: Usage) -> dict[str, Decimal] | None:
    """USD by bucket; None where a count or a rate is missing that would change the sum.

    A count that is missing costs nothing where its rate is 0 or where the model has no such price at all (embeddings
    have no output). A count above 0 without any rate is unknown.
    """
    if found.input is found.output is found.request is None:
        return None
    parts: dict[str, Decimal] = {}
    for name, n_tokens, rate in _buckets(found, usage):
        if n_tokens is None:
            if rate:
                return None
        elif n_tokens < 0 or (n_tokens > 0 and rate is None):
            return None  # the counts contradict each other, or nobody knows what these tokens cost
        elif n_tokens > 0 and rate is not None:
            parts[name] = n_tokens * rate
    if found.request is not None:
        parts["request"] = found.request
    return parts


def _buckets(found: Rates, usage: Usage) -> list[tuple[str, int | None, Decimal | None]]:
    read, write, reasoning = usage.cache_read_tokens, usage.cache_write_tokens, 0
    n_input, n_output = usage.input_tokens, usage.output_tokens
    if n_input is not None:
        n_input -= (read or 0) + (write or 0)
    if found.reasoning is not None and usage.reasoning_tokens and n_output is not None:
        reasoning = usage.reasoning_tokens
        n_output -= reasoning
    buckets = [("input", n_input, found.input), ("output", n_output, found.output)]
    if read:
        buckets.append(("cache_read", read, found.input if found.cache_read is None else found.cache_read))
    if write:
        buckets.append(("cache_write", write, found.input if found.cache_write is None else found.cache_write))
    if reasoning:
        buckets.append(("reasoning", reasoning, found.reasoning))
    return buckets


def _per_token(usd_per_mtok: Decimal | None) -> Decimal | None:
    return None if usd_per_mtok is None else usd_per_mtok / PER_MTOK


_SIMULATED_RATES: Final = {
    name: Rates(_per_token(row.input_usd_per_mtok), _per_token(row.output_usd_per_mtok))
    for name, row in SIM_PRICES.items()
}


# ── rows of the user ──────────────────────────────────────────────────────────────────────────────────────────────

_OVERRIDE_KEYS: Final = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "cache_write_usd_per_mtok",
)


def _usd(where: str, key: str, value: Any) -> Decimal:
    if key not in _OVERRIDE_KEYS:
        import difflib

        near = difflib.get_close_matches(key, _OVERRIDE_KEYS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise SettingsError(f"{where}: unknown key {key!r}{hint}; known: {', '.join(_OVERRIDE_KEYS)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{where}: {key} must be a number of USD per million tokens, not {value!r}")
    usd = Decimal(str(value))  # str: 0.1 is meant as 0.1, not as its nearest binary fraction
    if not usd.is_finite() or usd < 0:
        raise SettingsError(f"{where}: {key} must be 0 or more, not {value!r}")
    return usd


def _specificity(row: PriceOverride) -> tuple[int, str]:
    return sum(char not in "*?[]!" for char in row.pattern), row.pattern


# ── genai-prices ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Listed:
    """A model of genai-prices. `at` picks the price that was valid then; one `ModelPrice` is read only once."""

    info: "ModelInfo"
    source: str
    _read: dict[int, "tuple[ModelPrice, Callable[[int], Rates]]"] = field(default_factory=dict)

    def at(self, moment: datetime, input_tokens: int) -> Rates:
        """The rates valid at `moment` for a prompt of `input_tokens`."""
        found = self.info.get_prices(moment)
        known = self._read.get(id(found))
        if known is None:
            known = self._read[id(found)] = found, _reader(found)  # holding `found` keeps its id its own
        return known[1](input_tokens)


_listings: dict[tuple[str, str], _Listed | None] = {}
_lock = threading.Lock()


def _listed(provider: str, model: str) -> _Listed | None:
    key = (provider, model)
    if key in _listings:
        return _listings[key]
    with _lock:
        if len(_listings) >= MAX_CACHED_MODELS:
            _listings.clear()
        found = _listings[key] = _look_up(provider, model)
    return found


def _look_up(provider: str, model: str) -> _Listed | None:
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    # By exact id: the library's own search by provider also takes names that merely contain "openai".
    listed = next((row for row in snapshot.providers if row.id == provider), None)
    info = listed.find_model(model.lower(), all_providers=snapshot.providers) if listed and model else None
    return None if info is None else _Listed(info, f"genai-prices {genai_prices.__version__}")


def _reader(found: "ModelPrice") -> Callable[[int], Rates]:
    """Rates of one ModelPrice by the size of the prompt: a tier's price holds for all tokens of a call."""
    from genai_prices.types import TieredPrices

    prices = {key: value for key, value in vars(found).items() if value is not None}
    if _beyond_tokens(prices):
        return lambda _: UNKNOWN
    starts = sorted({t.start for value in prices.values() if isinstance(value, TieredPrices) for t in value.tiers})
    steps = [(start, _rates_above(prices, start)) for start in [-1, *starts]]

    def read(input_tokens: int) -> Rates:
        return next(step for start, step in reversed(steps) if input_tokens > start)

    return read


def _beyond_tokens(prices: Mapping[str, Any]) -> bool:
    """True where a model is paid in what a `Usage` does not count: hours of audio, characters, pages, images."""
    return any(
        key == "audio_hours" or (key.startswith(f"{side}_") and f"{side}_mtok" not in prices)
        for key in prices
        for side in ("input", "output")
    )


def _rates_above(prices: Mapping[str, Any], start: int) -> Rates:
    """The rates for a prompt that is just longer than `start` tokens."""

    def rate(key: str) -> Decimal | None:
        value = prices.get(key)
        if isinstance(value, Decimal | None):
            return _per_token(value)
        return _per_token(next((tier.price for tier in reversed(value.tiers) if start >= tier.start), value.base))

    per_thousand = prices.get("requests_kcount")
    return Rates(
        input=rate("input_mtok"),
        output=rate("output_mtok"),
        cache_read=rate("cache_read_mtok"),
        cache_write=rate("cache_write_mtok"),
        reasoning=rate("output_reasoning_mtok"),
        request=per_thousand / 1000 if isinstance(per_thousand, Decimal) else None,
    )
