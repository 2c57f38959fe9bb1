"""How far to trust a judge: with itself when the answers change places, and with a human."""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.results import Result
from llmlens.study.rows import ROUNDING, absent, fraction
from llmlens.study.wording import count, level_percent, number, percent

Verdict = Literal["a", "b", "tie"]
VERDICTS: Final[tuple[Verdict, ...]] = ("a", "b", "tie")
SCORES: Final = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Result):
    """Cohen's κ of two raters over `n` items. observed, expected: share of equal labels seen, and by chance."""

    names: tuple[str, str]
    kappa: float
    observed: float
    expected: float
    standard_error: float

    def _estimate(self) -> str:
        a, b = self.names
        return (
            f"{a} and {b} agree on {percent(self.observed)} of {count(self.n, 'item')}, {percent(self.expected)} by "
            f"chance: κ = {number(self.kappa)}, {self._interval()} ({self.test})."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap(Result):
    """What a judge says of `n` pairs in both orders. `low` and `high` bound the consistent share.

    consistency:   share of pairs with the same verdict in both orders.
    verdicts:      for each pair given "a", "b", or "tie" where the orders disagree; None where one has no verdict.
    first, second: pairs on which it preferred, in both orders, what was shown first, or second.
    """

    consistency: float
    verdicts: tuple[Verdict | None, ...]
    first: int
    second: int

    @property
    def scores(self) -> tuple[float | None, ...]:
        """1 where a won, ½ for a tie, 0 where b won: what `bradley_terry` takes."""
        return tuple(None if verdict is None else SCORES[verdict] for verdict in self.verdicts)

    def _estimate(self) -> str:
        return (
            f"The judge says the same in both orders on {percent(self.consistency)} of {count(self.n, 'pair')}, "
            f"{level_percent(self.level)} interval {percent(self.low)} to {percent(self.high)} ({self.test}); it "
            f"preferred what was shown first on {self.first:,}, what was shown second on {self.second:,}. "
            "Disagreement is a tie."
        )


def swap_consistency(a_first: Iterable[str | None], b_first: Iterable[str | None], *, level: float = 0.95) -> Swap:
    """Verdicts of a judge over n pairs, in both orders.

    a_first, b_first: (n,) who won, "a", "b" or "tie" (None: no verdict), with the answer of a shown first and with
        that of b shown first.

    Sources: disagreement is a tie as in FastChat (Zheng et al. 2023, arXiv 2306.05685); Wilson interval.
    """
    from scipy import stats  # type: ignore[import-untyped]

    fraction(level, "level")
    given = _matched(a_first, b_first, ("a_first", "b_first"))
    judged = [(x, y) for x, y in given if not (absent(x) or absent(y))]
    if strange := next((v for pair in judged for v in pair if v not in VERDICTS), None):
        raise StudyError(f"{strange!r} is no verdict: give 'a', 'b' or 'tie', None where there is none")
    if not judged:
        raise StudyError(f"none of {count(len(given), 'pair')} has a verdict in both orders: run the judge on both")
    same, n = sum(x == y for x, y in judged), len(judged)
    low, high = stats.binomtest(same, n).proportion_ci(level, "wilson")
    return Swap(
        consistency=same / n, low=float(low), high=float(high), level=level, n=n, n_dropped=len(given) - n,
        test=f"Wilson interval, {same:,} of {n:,}", verdicts=tuple(_agreed(x, y) for x, y in given),
        first=judged.count(("a", "b")), second=judged.count(("b", "a")),
        notes=(_dropped(len(given) - n, "pair", "a verdict in both orders"),),
    )  # fmt: skip


def cohen_kappa(
    a: Iterable[Hashable],
    b: Iterable[Hashable],
    *,
    names: tuple[str, str] = ("judge", "human"),
    level: float = 0.95,
) -> Agreement:
    """Agreement of two raters beyond chance: κ = (p_o − p_e)/(1 − p_e), normal interval.

    a, b: (n,) labels of the same items, any hashable values; None or NaN: not labelled.

    Source: Fleiss, Cohen and Everitt 1969, Psychological Bulletin 72:323 (the standard error for κ ≠ 0).

    Raises:
        StudyError: fewer than two items labelled by both, or both raters use one and the same label throughout.
    """
    from scipy import stats

    fraction(level, "level")
    given = _matched(a, b, names)
    labelled = [(x, y) for x, y in given if not (absent(x) or absent(y))]
    if strange := next((v for pair in labelled for v in pair if not isinstance(v, Hashable)), None):
        raise StudyError(f"{strange!r} is no label: give names or numbers, None where an item is not labelled")
    if (n := len(labelled)) < 2:
        raise StudyError(f"{count(n, 'item')} labelled by both (of {len(given)}): at least two are needed")
    observed, expected, kappa, error = _kappa(labelled)
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    notes = [_dropped(len(given) - n, "item", "a label of both")]
    if error <= ROUNDING:
        notes.append(f"The interval has no width because all items agree alike, not because {n} items prove it.")
    return Agreement(
        names=names, kappa=kappa, low=max(-1.0, kappa - reach), high=min(1.0, kappa + reach), level=level, n=n,
        n_dropped=len(given) - n, test="Cohen's κ, normal interval", observed=observed, expected=expected,
        standard_error=error, notes=tuple(notes),
    )  # fmt: skip


def _kappa(labelled: list[tuple[Hashable, Hashable]]) -> tuple[float, float, float, float]:
    """Observed and expected agreement, κ and its standard error."""
    n = len(labelled)
    place = {label: at for at, label in enumerate(dict.fromkeys(label for pair in labelled for label in pair))}
    if len(place) == 1:
        raise StudyError(f"both say {labelled[0][0]!r} of all {n} items: κ needs two labels; add items of another kind")
    table = np.zeros((len(place), len(place)))
    for x, y in labelled:
        table[place[x], place[y]] += 1 / n
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float(np.trace(table)), float(rows @ columns)
    kappa = (observed - expected) / (1 - expected)
    away = table * (columns[:, None] + rows[None, :]) ** 2
    mine = float(np.sum(np.diag(table) * (1 - (rows + columns) * (1 - kappa)) ** 2))
    others = (1 - kappa) ** 2 * float(away.sum() - np.trace(away))
    spread = mine + others - (kappa - expected * (1 - kappa)) ** 2
    return observed, expected, kappa, math.sqrt(max(0.0, spread) / n) / (1 - expected)


def _matched(a: Iterable[Hashable], b: Iterable[Hashable], names: tuple[str, str]) -> list[tuple[Hashable, Hashable]]:
    left, right = list(a), list(b)
    if len(left) != len(right):
        raise StudyError(f"{names[0]} has {len(left)} labels, {names[1]} has {len(right)}: give one for each item")
    return list(zip(left, right, strict=True))


def _agreed(x: Hashable, y: Hashable) -> Verdict | None:
    if absent(x) or absent(y):
        return None
    return next((verdict for verdict in VERDICTS if x == y == verdict), "tie")


def _dropped(n: int, what: str, want: str) -> str:
    return f"{count(n, what)} dropped for want of {want}." if n else f"No {what} dropped."
