"""How many rows, or how many samples a row, it takes to see a difference.

The variance of the difference in one row is ω² + σ_A²/K_A + σ_B²/K_B: ω² between rows, σ² within a row over repeated
samples, K samples a row. Source: Miller 2024, arXiv 2411.00640, sections 3 and 5.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.comparing import NAMES
from llmlens.study.rows import Arm, Pairs, Scores, constant, finite, fraction, read_pairs
from llmlens.study.wording import count, level_percent, number

ALPHA: Final = 0.05
POWER: Final = 0.8


@dataclass(frozen=True, slots=True)
class Variances:
    """What makes A − B vary, in squared units of the score.

    between:            ω², over rows, of the difference of the arms' true means.
    within_a, within_b: σ², over repeated samples of one row; None where a pilot of one sample a row cannot tell (it
                        is then a part of `between`, and one sample a row is all that can be planned).
    """

    between: float
    within_a: float | None = 0.0
    within_b: float | None = 0.0

    def per_row(self, samples_a: float = 1, samples_b: float | None = None) -> float:
        """Variance of A − B in one row with so many samples of each arm (math.inf too; B as A if not given).

        `v.per_row(K) / v.per_row(1)` is what K samples a row leave of the variance.
        """
        counts = (samples_a, samples_a if samples_b is None else samples_b)
        return self.between + sum(map(_within, (self.within_a, self.within_b), counts))


def _within(variance: float | None, samples: float) -> float:
    if not samples >= 1:
        raise StudyError(f"{samples!r} samples a row: give 1 or more")
    if variance is None and samples != 1:
        raise StudyError(
            "the pilot has one sample a row, so what repeats would gain is not known: plan with one sample, or run a "
            "pilot with at least two"
        )
    return 0.0 if variance is None else variance / samples


def variances(a: Scores, b: Scores, *, names: tuple[str, str] = NAMES, failed_as: float | None = None) -> Variances:
    """The variances seen in a pilot: scores of n rows by two arms, (n, K) each, as `rows` says.

    σ̂² is the mean variance within a row, ω̂² = max(0, s_d² − σ̂_A²/K_A − σ̂_B²/K_B); K is the harmonic mean where rows
    differ in it.
    """
    return _variances(read_pairs(a, b, names, failed_as))


def _variances(pairs: Pairs) -> Variances:
    if constant(pairs.differences, pairs.largest):
        raise StudyError(
            f"{pairs.names[0]} − {pairs.names[1]} is the same on all {pairs.n} rows of the pilot, so nothing says how "
            "much it varies: run a larger pilot"
        )
    within_a, within_b = _measured(pairs.a), _measured(pairs.b)
    noise = (within_a or 0.0) / repeats(pairs.a) + (within_b or 0.0) / repeats(pairs.b)
    return Variances(max(0.0, float(pairs.differences.var(ddof=1)) - noise), within_a, within_b)


def _measured(arm: Arm) -> float | None:
    repeated = arm.within[arm.counts > 1]
    return float(repeated.mean()) if len(repeated) else None


def repeats(arm: Arm) -> float:
    """Samples a row: the harmonic mean, which is what the variance of a mean of rows goes by."""
    return float(1 / np.mean(1 / arm.counts))


def rows_needed(
    difference: float,
    variances: Variances,
    *,
    samples_a: float = 1,
    samples_b: float | None = None,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int:
    """Rows that show a true `difference` with chance `power` at a two-sided level `alpha`.

    n = (z_{α/2} + z_β)²·(ω² + σ_A²/K_A + σ_B²/K_B)/δ², rounded up.
    """
    if (delta := abs(finite(difference, "the difference"))) == 0:
        raise StudyError("the difference to see is 0: no number of rows shows that; give the smallest that matters")
    n = _quantiles(alpha, power) ** 2 * _variance(variances, samples_a, samples_b) / delta**2
    return max(2, math.ceil(n * (1 - 1e-12)))


def smallest_difference(
    n: int,
    variances: Variances,
    *,
    samples_a: float = 1,
    samples_b: float | None = None,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float:
    """The minimal detectable effect: the difference that `n` rows show with chance `power` at level `alpha`."""
    if n < 2:
        raise StudyError(f"{count(n, 'row')}: a comparison needs at least two")
    return _quantiles(alpha, power) * math.sqrt(_variance(variances, samples_a, samples_b) / n)


def _quantiles(alpha: float, power: float) -> float:
    from scipy import stats  # type: ignore[import-untyped]

    return float(stats.norm.isf(fraction(alpha, "alpha") / 2) + stats.norm.ppf(fraction(power, "power")))


def _variance(variances: Variances, samples_a: float, samples_b: float | None) -> float:
    if not 0 < (found := variances.per_row(samples_a, samples_b)) < math.inf:
        raise StudyError(f"a variance of {found:g} a row cannot be planned with: take it from a larger pilot")
    return found


# ── in words ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What a pilot says about the rows that a difference takes.

    difference:          the difference to see, in the unit of the score.
    n, n_dropped:        rows of the pilot that both arms answered, and those that not.
    n_needed, n_more:    rows in all, and beyond the pilot (0: there are enough).
    smallest_difference: what the n rows of the pilot show with the same chance.
    """

    names: tuple[str, str]
    difference: float
    n: int
    n_dropped: int
    n_needed: int
    n_more: int
    smallest_difference: float
    variances: Variances
    samples_a: float
    samples_b: float
    alpha: float
    power: float
    in_points: bool
    notes: tuple[str, ...] = ()
    unit: str = ""

    def sentence(self) -> str:
        """Such as "About 180 more rows to resolve 2 points between A and B …"."""
        a, b = self.names
        aim = f"to resolve {self._amount(self.difference)} between {a} and {b}"
        rows = f"about {count(_rounded(self.n_needed), 'row')} in all" if self.n_more else "there are enough"
        head = f"About {count(_rounded(self.n_more), 'more row')}" if self.n_more else "No more rows"
        terms = (
            f"{level_percent(self.power)} power, two-sided {level_percent(self.alpha)} level, normal approximation, "
            f"samples a row: {a} {number(self.samples_a)}, {b} {number(self.samples_b)}"
        )
        now = f"The {count(self.n, 'row')} of the pilot resolve {self._amount(self.smallest_difference)}."
        return " ".join((f"{head} {aim}: {rows} ({terms}).", now, *self.notes))

    def __str__(self) -> str:
        return self.sentence()

    def _amount(self, value: float) -> str:
        if self.in_points:
            return count_points(value)
        return number(value) + (self.unit and " " + self.unit)


def power(
    a: Scores,
    b: Scores,
    difference: float,
    *,
    samples_a: float | None = None,
    samples_b: float | None = None,
    alpha: float = ALPHA,
    power: float = POWER,
    names: tuple[str, str] = NAMES,
    failed_as: float | None = None,
    unit: str = "",
) -> Power:
    """From a pilot of two arms on the same rows: the rows needed to resolve `difference`, in the unit of the score.

    samples_a, samples_b: samples a row to plan with; as many as the pilot has where not given.

    Raises:
        StudyError: as `comparing` says; or the pilot has one sample a row and more are planned.
    """
    pairs = read_pairs(a, b, names, failed_as)
    found = _variances(pairs)
    planned_a, planned_b = _planned(samples_a, pairs.a), _planned(samples_b, pairs.b)
    terms = {"samples_a": planned_a, "samples_b": planned_b, "alpha": alpha, "power": power}
    needed = rows_needed(difference, found, **terms)
    smallest = min(float(np.nanmin(pairs.a.samples)), float(np.nanmin(pairs.b.samples)))
    return Power(
        names=names, difference=abs(difference), n=pairs.n, n_dropped=pairs.n_dropped, n_needed=needed,
        n_more=max(0, needed - pairs.n), variances=found, **terms, notes=pairs.notes, unit=unit,
        smallest_difference=smallest_difference(
            pairs.n, found, samples_a=repeats(pairs.a), samples_b=repeats(pairs.b), alpha=alpha, power=power
        ),
        in_points=smallest >= 0 and pairs.largest <= 1 and not unit,
    )  # fmt: skip


def _planned(samples: float | None, pilot: Arm) -> float:
    return repeats(pilot) if samples is None else samples


def count_points(share: float) -> str:
    """A difference of shares in points: 0.02 is `2 points`."""
    points = number(round(100 * share, 1) or 100 * share)
    return f"{points} point" + ("" if points == "1" else "s")


def _rounded(n: int) -> int:
    """Up, to two digits: a plan is no more exact than that."""
    step: int = 10 ** max(0, len(str(n)) - 2)
    return -(-n // step) * step
