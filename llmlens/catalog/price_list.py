"""genai-prices' list of prices, read without its library. Pure but for `shipped` and `newest`, which read files.

The list is genai-prices' own data (format "v2"; https://github.com/pydantic/genai-prices, MIT) without what is not
needed for prices. It ships as `price_data/genai_prices.json`; `price_update` makes it and its successors.

Why not the library: importing it takes 1.1-1.5 s and 25-45 MB (an HTTP client, pydantic with its validators, 2,300
models as objects) and, while its data is compiled, a peak of 110 MB. Here the file stays bytes (0.5 MB), a provider is
parsed when one of its models is first asked for, and the prices of a model when that one is. What is lost: a newer
library no longer brings newer prices by being installed; `llmlens prices update` does.
That both price alike, on any day and in any tier, is a test (tests/catalog/test_catalog_prices.py).
"""

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from llmlens.errors import SettingsError

MAX_CACHED_MODELS: Final = 2_048  # model names come from callers, so what is kept by name is bounded
SHIPPED: Final = files("llmlens.catalog") / "price_data" / "genai_prices.json"


# ── the format ────────────────────────────────────────────────────────────────────────────────────────────────────


class Tier(Struct, forbid_unknown_fields=True):
    """`price` holds for all tokens of a call whose input is longer than `start` tokens."""

    start: int
    price: Decimal


class Tiered(Struct, forbid_unknown_fields=True):
    """A price that depends on the size of the input."""

    base: Decimal
    tiers: list[Tier]


Amounts = dict[str, Decimal | Tiered]  # price key ("input_mtok", "requests_kcount", …) → USD per that many


class Constraint(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """From a day (UTC) on, or daily between two times."""

    start_date: date | None = None
    start_time: time | None = None
    end_time: time | None = None

    def active(self, moment: datetime) -> bool:
        moment = moment.astimezone(UTC)
        if self.start_date is not None:
            return moment.date() >= self.start_date
        if self.start_time is None or self.end_time is None:
            return False
        start, end, now = _minute(self.start_time), _minute(self.end_time), _minute(moment.timetz())
        return start <= now < end if start <= end else now >= start or now < end


class Conditional(Struct, omit_defaults=True):
    """Prices for a time; of several the last active one counts."""

    prices: Amounts
    constraint: Constraint | None = None

    def active(self, moment: datetime) -> bool:
        return self.constraint is None or self.constraint.active(moment)


class Variant(Conditional):
    """Prices for calls of a kind (`{"service_tier": "flex"}`); for each price key the first that fits counts."""

    when: dict[str, str] = {}

    def fits(self, moment: datetime, context: Mapping[str, str]) -> bool:
        return self.active(moment) and all(context.get(key) == value for key, value in self.when.items())


class ModelRow(Struct, omit_defaults=True):
    id: str
    match: dict[str, Any]
    prices: Raw
    context_window: int | None = None
    price_variants: Raw = Raw(b"[]")


class ProviderRow(Struct, omit_defaults=True):
    id: str
    models: Raw
    fallback_model_providers: list[str] = []


class ListFile(Struct, omit_defaults=True):
    """`source` is how a cost made with this list names it; `taken_at` is when it was read from where it came from."""

    source: str
    taken_at: datetime
    providers: list[ProviderRow]


_read_file = msgspec.json.Decoder(ListFile).decode
_read_models = msgspec.json.Decoder(list[ModelRow]).decode
_read_prices = msgspec.json.Decoder(Amounts | list[Conditional]).decode
_read_variants = msgspec.json.Decoder(list[Variant]).decode


# ── a model's prices ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """What one model costs, at any time and for every kind of call. `context_window` is in tokens."""

    id: str
    standard: tuple[Conditional, ...]
    variants: tuple[Variant, ...] = ()
    context_window: int | None = None

    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # for who prices calls with it

    def in_force(self, moment: datetime, context: Mapping[str, str]) -> tuple[int, ...]:
        """Which rows count at `moment` for a call of kind `context`: one of `standard`, then any of `variants`."""
        last = len(self.standard) - 1
        standard = next((i for i in range(last, -1, -1) if self.standard[i].active(moment)), 0)
        if not context:
            return (standard,)
        return standard, *(i for i, row in enumerate(self.variants) if row.fits(moment, context))

    def amounts(self, in_force: tuple[int, ...]) -> Amounts:
        """The prices of those rows; for each price key the first variant that has it counts."""
        standard, *variants = in_force
        merged = dict(self.standard[standard].prices)
        for i in reversed(variants):
            merged |= self.variants[i].prices
        return merged


def steps(amounts: Amounts) -> list[int]:
    """The input sizes beyond which some price changes, ascending."""
    return sorted({tier.start for amount in amounts.values() if isinstance(amount, Tiered) for tier in amount.tiers})


def flat(amounts: Amounts, input_tokens: int) -> dict[str, Decimal]:
    """The amounts for an input of `input_tokens`."""
    return {key: _at_size(amount, input_tokens) for key, amount in amounts.items()}


def _at_size(amount: Decimal | Tiered, input_tokens: int) -> Decimal:
    if isinstance(amount, Decimal):
        return amount
    n_passed = bisect_left([tier.start for tier in amount.tiers], input_tokens)
    return amount.tiers[n_passed - 1].price if n_passed else amount.base


# ── the list ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class PriceList:
    """All prices of one file. Safe from any thread."""

    source: str
    taken_at: datetime
    _providers: Mapping[str, ProviderRow]
    _parsed: dict[str, list[ModelRow]] = field(default_factory=dict)
    _found: dict[tuple[str, str], ModelPrices | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, content: bytes) -> "PriceList":
        """The list in the bytes of a file. Only its frame is checked here: see `check`.

        Raises:
            ValueError: it is no such file.
        """
        try:
            read = _read_file(content)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise ValueError(f"no price list: {error}") from error
        return cls(read.source, read.taken_at.astimezone(UTC), {row.id: row for row in read.providers})

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(self._providers)

    def find(self, provider: str, model: str) -> ModelPrices | None:
        """The prices of `model` at the provider with exactly this id, or at one whose models it also offers."""
        key = (provider, model)
        if key in self._found:
            return self._found[key]
        with self._lock:
            if len(self._found) >= MAX_CACHED_MODELS:
                self._found.clear()
            found = self._found[key] = self._look_up(provider, model.lower())
        return found

    def models(self, provider: str) -> Iterator[ModelPrices]:
        """Every model of one provider."""
        with self._lock:
            rows = self._rows(provider)
        return map(_model_prices, rows)

    def check(self) -> int:
        """Read every row; gives how many models there are. Raises ValueError where one is not as it must be."""
        n_models = 0
        for provider in self._providers:
            try:
                for row in self._rows(provider):
                    n_models += 1
                    _check_clause(row.match)
                    _check_prices(_model_prices(row))
            except (msgspec.MsgspecError, ValueError, TypeError, re.error) as error:
                raise ValueError(f"prices of {provider!r} cannot be read: {error}") from error
        return n_models

    def _look_up(self, provider: str, model: str) -> ModelPrices | None:
        listed = self._providers.get(provider)
        if listed is None or not model:
            return None
        for name in dict.fromkeys((model, _dashed_date(model))):
            for offers in (provider, *listed.fallback_model_providers):
                row = next((row for row in self._rows(offers) if _matches(row.match, name)), None)
                if row is not None:
                    found = _model_prices(row)
                    # the variants are those of the provider that lists them, as in genai-prices itself
                    return found if offers == provider else replace(found, variants=())
        return None

    def _rows(self, provider: str) -> list[ModelRow]:
        if provider not in self._parsed:
            listed = self._providers.get(provider)
            self._parsed[provider] = _read_models(listed.models) if listed else []
        return self._parsed[provider]


@cache
def shipped() -> PriceList:
    """The list that came with this version (about 3 ms at the first call, 1 MB)."""
    return PriceList.of(SHIPPED.read_bytes())


def newest(cached: Path | None) -> PriceList:
    """The list in the file `cached` where it is newer than the shipped one, else the shipped one.

    Raises:
        SettingsError: the file is there and cannot be read; says how to replace it.
    """
    if cached is None or not cached.exists():
        return shipped()
    try:
        read = PriceList.of(cached.read_bytes())
    except (OSError, ValueError) as error:
        hint = "delete it, or write it anew with `llmlens prices update`"
        raise SettingsError(f"{cached} cannot be read: {error}; {hint}") from error
    return read if read.taken_at > shipped().taken_at else shipped()


# ── which names mean a model ──────────────────────────────────────────────────────────────────────────────────────

# Texts compare in lower case, but for regular expressions, which see the lower-case name as it is.
_CLAUSES: Final[Mapping[str, Callable[[Any, str], bool]]] = {
    "equals": lambda value, name: name == value.lower(),
    "starts_with": lambda value, name: name.startswith(value.lower()),
    "ends_with": lambda value, name: name.endswith(value.lower()),
    "contains": lambda value, name: value.lower() in name,
    "regex": lambda value, name: re.search(value, name) is not None,
    "or": lambda value, name: any(_matches(clause, name) for clause in value),
    "and": lambda value, name: all(_matches(clause, name) for clause in value),
}
_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def _matches(clause: Mapping[str, Any], name: str) -> bool:
    ((kind, value),) = clause.items()
    return _CLAUSES[kind](value, name)


def _dashed_date(name: str) -> str:
    """OpenRouter writes gpt-5.2-20251211 where the list has gpt-5.2-2025-12-11."""

    def dashed(found: re.Match[str]) -> str:
        try:
            return f"-{date(*map(int, found.groups()))}"
        except ValueError:  # the 31st of February
            return found[0]

    return _COMPACT_DATE.sub(dashed, name)


def _model_prices(row: ModelRow) -> ModelPrices:
    prices = _read_prices(row.prices)
    standard = (Conditional(prices),) if isinstance(prices, dict) else tuple(prices)
    variants = tuple(_read_variants(row.price_variants))
    for part in (*standard, *variants):
        for amount in part.prices.values():
            if isinstance(amount, Tiered):
                amount.tiers.sort(key=lambda tier: tier.start)
    return ModelPrices(row.id, standard or (Conditional({}),), variants, row.context_window)


def _check_clause(clause: Any) -> None:
    if not isinstance(clause, dict) or len(clause) != 1 or next(iter(clause)) not in _CLAUSES:
        raise ValueError(f"unknown match {clause!r}")
    ((kind, value),) = clause.items()
    if kind in ("or", "and"):
        for inner in value:
            _check_clause(inner)
    elif not isinstance(value, str):
        raise TypeError(f"match {kind!r} must be text, not {value!r}")
    elif kind == "regex":
        re.compile(value)


def _check_prices(model: ModelPrices) -> None:
    for part in (*model.standard, *model.variants):
        for key, amount in part.prices.items():
            values = [amount] if isinstance(amount, Decimal) else [amount.base, *(tier.price for tier in amount.tiers)]
            if any(not value.is_finite() or value < 0 for value in values):
                raise ValueError(f"{model.id!r}: {key} must be 0 or more")


def _minute(value: time) -> tuple[int, int, int, int]:
    """A time of day to compare by, in UTC; naive ones are UTC."""
    if value.tzinfo is not None:
        value = datetime.combine(date(1970, 1, 1), value).astimezone(UTC).time()
    return value.hour, value.minute, value.second, value.microsecond
