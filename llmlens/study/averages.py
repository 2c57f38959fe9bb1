"""The mean score of one arm, with an interval."""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.results import OneArm
from llmlens.study.rows import (
    ROUNDING,
    Arm,
    Counts,
    Floats,
    Scores,
    account,
    constant,
    enough,
    fraction,
    quiet,
    read_arm,
    read_clusters,
)
from llmlens.study.wording import count

Method = Literal["t", "wilson", "wilson-cc", "clopper-pearson"]

# Our name of a method → scipy's, and in words.
BINOMIAL: Final = {
    "wilson": ("wilson", "Wilson interval"),
    "wilson-cc": ("wilsoncc", "Wilson interval with continuity correction"),
    "clopper-pearson": ("exact", "Clopper-Pearson interval"),
}
FEW_ROWS: Final = 200
TOO_NARROW: Final = f"Under {FEW_ROWS} rows a t interval of scores between 0 and 1 tends to be too narrow."


def one_arm(
    scores: Scores,
    *,
    name: str = "A",
    method: Method | None = None,
    clusters: Iterable[Hashable] | None = None,
    level: float = 0.95,
    failed_as: float | None = None,
    unit: str = "",
) -> OneArm:
    """Mean score of one arm.

    scores:   (n,) or (n, K) as `rows` says.
    method:   "t", or for one score of 0 or 1 a row "wilson" (the default there), "wilson-cc", "clopper-pearson".
    clusters: (n,) labels of rows that belong together (questions on one text): t interval with the error of Miller
              2024, arXiv 2411.00640, C − 1 degrees of freedom.

    Sources: `scipy.stats.binomtest`, `scipy.stats.t`; Bowyer et al. 2025, arXiv 2503.01747, on few rows.

    Raises:
        StudyError: fewer than two rows, no variance to build a t interval on, or a method that does not fit.
    """
    fraction(level, "level")
    given = read_arm(scores, name, failed_as)
    kept = given.counts > 0
    enough(kept, name)
    arm, notes = given.of(kept), account((given,), kept, failed_as)
    codes = None if clusters is None else read_clusters(clusters, kept)
    chosen = method or ("wilson" if arm.binary and codes is None else "t")
    dropped = len(kept) - len(arm.samples)
    if chosen == "t":
        return t_interval(arm, codes, level, dropped, notes, unit)
    if chosen not in BINOMIAL:
        raise StudyError(f"no method {chosen!r}; known: t, {', '.join(BINOMIAL)}")
    if codes is not None or not arm.binary:
        raise StudyError(f"{chosen!r} needs one score of 0 or 1 a row, without clusters: use method 't' for {name}")
    return _binomial(arm, chosen, level, dropped, notes)


def _binomial(arm: Arm, method: str, level: float, dropped: int, notes: tuple[str, ...]) -> OneArm:
    from scipy import stats  # type: ignore[import-untyped]

    theirs, words = BINOMIAL[method]
    n, k = len(arm.samples), int(arm.means.sum())
    low, high = stats.binomtest(k, n).proportion_ci(level, theirs)
    return OneArm(
        name=arm.name, mean=k / n, low=float(low), high=float(high), level=level, n=n, n_dropped=dropped,
        test=f"{words}, {k:,} of {n:,}", notes=notes,
    )  # fmt: skip


def t_interval(
    arm: Arm, codes: Counts | None, level: float, dropped: int, notes: tuple[str, ...], unit: str = ""
) -> OneArm:
    """Mean of the row means of `arm`, of which every row has a score. Raises StudyError where they are all the same."""
    means = arm.means
    if constant(means, arm.largest):
        raise StudyError(
            f"{arm.name} scores {means[0]:g} on all {count(len(means), 'row')}: a t interval needs variance; add rows, "
            "or where each row has one score of 0 or 1 use method 'wilson'"
        )
    spread = spread_of(means, codes, arm.largest, arm.name)
    low, high = spread.interval(level)
    in_unit = float(arm.samples[~np.isnan(arm.samples)].min()) >= 0 and arm.largest <= 1
    if in_unit and spread.df + 1 < FEW_ROWS:
        notes = (*notes, TOO_NARROW)
    return OneArm(
        name=arm.name, mean=spread.mean, low=low, high=high, level=level, n=len(means), n_dropped=dropped,
        test="t interval" + spread.words, notes=notes, unit=unit, standard_error=spread.error,
        n_clusters=spread.n_clusters,
    )  # fmt: skip


# ── mean and standard error, also of differences ─────────────────────────────


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean with its standard error and degrees of freedom."""

    mean: float
    error: float
    df: int
    n_clusters: int | None = None

    @property
    def words(self) -> str:
        """What was done about clusters."""
        return "" if self.n_clusters is None else f" with the standard error of {self.n_clusters:,} clusters"

    @property
    def statistic(self) -> float:
        """t of "the mean is 0"."""
        return self.mean / self.error

    @property
    def p(self) -> float:
        """Two-sided, of "the mean is 0"."""
        from scipy import stats

        return float(2 * stats.t.sf(abs(self.statistic), self.df))

    def interval(self, level: float) -> tuple[float, float]:
        """t interval."""
        from scipy import stats

        low, high = stats.t.interval(level, self.df, self.mean, self.error)
        return float(low), float(high)


def spread_of(values: Floats, codes: Counts | None, largest: float, what: str) -> Spread:
    """Mean of `values` (n,), with SE = s/√n, or by cluster √(C/(C−1)·Σ_c(Σ_{i∈c}(d_i−d̄))²)/n and C − 1 df.

    Raises:
        StudyError: the clusters differ in nothing.
    """
    from scipy import stats

    n, mean = len(values), float(values.mean())
    if codes is None:
        with quiet():
            return Spread(mean, float(stats.sem(values)), n - 1)
    sums = np.bincount(codes, weights=values - mean)
    clusters = len(sums)
    error = math.sqrt(clusters / (clusters - 1) * float(sums @ sums)) / n
    if error <= ROUNDING * largest:
        raise StudyError(f"{what}: every cluster has the same mean, so there is no variance between clusters; add some")
    return Spread(mean, error, clusters - 1, clusters)
