"""The user's own prices: rows `[prices."provider/model"]` of llmlens.toml. They win over every list."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import translate
from typing import Any, Final

from llmlens.errors import SettingsError

SUFFIX: Final = "_usd_per_mtok"
# What a row may price, each per million tokens.
BUCKETS: Final = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output_audio",
    "reasoning",
)
REQUEST_KEY: Final = "request_usd"  # per call, whatever its size
_KEYS: Final = (*(bucket + SUFFIX for bucket in BUCKETS), REQUEST_KEY)


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """One row: USD per million tokens by bucket, and USD per call. What is not in it is "not said", not 0."""

    pattern: str
    usd_per_mtok: Mapping[str, Decimal]
    request_usd: Decimal | None = None
    matches: re.Pattern[str] = field(init=False, repr=False, compare=False)
    source: str = field(init=False, repr=False, compare=False)  # how a cost made with this row names it

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", re.compile(translate(self.pattern)))
        object.__setattr__(self, "source", f'llmlens.toml [prices."{self.pattern}"]')


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
        raise SettingsError(f"{where} must be a table with at least one of {', '.join(_KEYS)}")
    usd = {key: _usd(where, key, value) for key, value in table.items()}
    request_usd = usd.pop(REQUEST_KEY, None)
    return PriceOverride(pattern, {key.removesuffix(SUFFIX): value for key, value in usd.items()}, request_usd)


def _usd(where: str, key: str, value: Any) -> Decimal:
    if key not in _KEYS:
        near = difflib.get_close_matches(key, _KEYS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise SettingsError(f"{where}: unknown key {key!r}{hint}; known: {', '.join(_KEYS)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{where}: {key} must be a number of USD, not {value!r}")
    usd = Decimal(str(value))  # str: 0.1 is meant as 0.1, not as its nearest binary fraction
    if not usd.is_finite() or usd < 0:
        raise SettingsError(f"{where}: {key} must be 0 or more, not {value!r}")
    return usd


def _specificity(row: PriceOverride) -> tuple[int, str]:
    return sum(char not in "*?[]!" for char in row.pattern), row.pattern
