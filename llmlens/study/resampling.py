"""Two arms on the same rows, compared by resampling the rows: for what is far from normal.

Permutation suits right-or-wrong scores with repeats; the bootstrap suits cost, latency and ratios. Run the arms
interleaved in random order, so that drift of the provider cancels. The same seed gives the same numbers, whatever
the order of the rows, and A − B is exactly −(B − A). Arguments as in `comparing`.
"""

import math
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.comparing import NAMES, correlation, refuse_constant
from llmlens.study.results import Comparison, Ratio
from llmlens.study.rows import Floats, Pairs, Scores, constant, fraction, quiet, read_pairs

RESAMPLES: Final = 9_999
FEWEST_RESAMPLES: Final = 99
BATCH: Final = 2_000_000  # floats held at a time: 16 MB
MOST_FOR_BCA: Final = 5_000  # rows; the acceleration of BCa needs n² work, and matters little by then

Statistic = Callable[..., Any]
Of = Literal["mean", "median"]


def permutation(
    a: Scores,
    b: Scores,
    *,
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
    failed_as: float | None = None,
    unit: str = "",
) -> Comparison:
    """A − B by flipping the sign of d_i at random: exact where there are at most `n_resamples` ways to do it.

    Sources: `scipy.stats.permutation_test(permutation_type="samples")`; interval from `scipy.stats.bootstrap`.
    """
    from scipy import stats  # type: ignore[import-untyped]

    pairs = read_pairs(a, b, names, failed_as)
    refuse_constant(pairs)
    x, y, swapped = canonical(pairs)
    with quiet():
        found = stats.permutation_test(
            (x - y,), _mean, permutation_type="samples", vectorized=True, n_resamples=_resamples(n_resamples),
            batch=_batch(pairs.n), rng=_seed(seed),
        )  # fmt: skip
    low, high = _turned(_interval(x, y, _mean_difference, level, seed, n_resamples), swapped)
    exact = 2**pairs.n <= n_resamples
    flips = f"all {2**pairs.n:,} sign flips" if exact else f"{n_resamples:,} random sign flips"
    test = f"sign-flip permutation test over rows, {flips}; interval by {_words(pairs.n)}"
    return _comparison(pairs, _mean_difference, (low, high), level, test, float(found.pvalue), unit)


def bootstrap(
    a: Scores,
    b: Scores,
    *,
    of: Of = "mean",
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
    failed_as: float | None = None,
    unit: str = "",
) -> Comparison:
    """Difference of the means (or medians) of A and B, with an interval from resampled rows. No p-value.

    Source: `scipy.stats.bootstrap(paired=True, method="BCa")`; by percentiles above MOST_FOR_BCA rows.
    """
    if of not in DIFFERENCES:
        raise StudyError(f"no bootstrap of the {of!r}; known: {', '.join(DIFFERENCES)}")
    pairs = read_pairs(a, b, names, failed_as)
    refuse_constant(pairs)
    x, y, swapped = canonical(pairs)
    bounds = _turned(_interval(x, y, DIFFERENCES[of], level, seed, n_resamples), swapped)
    test = f"difference of {of}s, {_words(pairs.n)}, {n_resamples:,} resamples"
    return _comparison(pairs, DIFFERENCES[of], bounds, level, test, None, unit)


def bootstrap_ratio(
    a: Scores,
    b: Scores,
    *,
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
    failed_as: float | None = None,
    unit: str = "",
) -> Ratio:
    """Mean of A over mean of B ("1.8 times the cost"), with an interval from resampled rows. No p-value.

    Raises:
        StudyError: a score below 0, or one arm is 0 on so many rows that a resample may be all 0.
    """
    pairs = read_pairs(a, b, names, failed_as)
    x, y, swapped = canonical(pairs)
    if min(x.min(), y.min()) < 0 or min(x.max(), y.max()) == 0:
        raise StudyError(
            f"{names[0]} / {names[1]} needs scores of 0 and more, not all 0: use bootstrap for their difference"
        )
    mean_a, mean_b = float(pairs.a.means.mean()), float(pairs.b.means.mean())
    if constant(x / x.mean() - y / y.mean(), 1.0):
        raise StudyError(
            f"{names[0]} / {names[1]} is {mean_a / mean_b:g} on every row: there is no variance to build an "
            "interval on; add rows"
        )
    low, high = _turned(_interval(x, y, _log_ratio, level, seed, n_resamples), swapped)
    return Ratio(
        names=names, ratio=mean_a / mean_b, low=math.exp(low), high=math.exp(high), level=level, n=pairs.n,
        n_dropped=pairs.n_dropped, test=f"ratio of means, {_words(pairs.n)}, {n_resamples:,} resamples",
        notes=pairs.notes, unit=unit, mean_a=mean_a, mean_b=mean_b,
    )  # fmt: skip


# ── statistics: each changes its sign when the arms change places ────────────


def _mean(x: Floats, axis: int = -1) -> Any:
    return x.mean(axis=axis)


def _mean_difference(x: Floats, y: Floats, axis: int = -1) -> Any:
    return x.mean(axis=axis) - y.mean(axis=axis)


def _median_difference(x: Floats, y: Floats, axis: int = -1) -> Any:
    return np.median(x, axis=axis) - np.median(y, axis=axis)


def _log_ratio(x: Floats, y: Floats, axis: int = -1) -> Any:
    return np.log(x.mean(axis=axis)) - np.log(y.mean(axis=axis))


DIFFERENCES: Final[dict[str, Statistic]] = {"mean": _mean_difference, "median": _median_difference}


# ── resampling ───────────────────────────────────────────────────────────────


def canonical(pairs: Pairs) -> tuple[Floats, Floats, bool]:
    """Row means in an order that depends neither on the order of the rows nor on which arm is A.

    Returns the means of two arms (n,), (n,), and whether they changed places.
    """
    a, b = pairs.a.means, pairs.b.means
    forward, backward = np.lexsort((b, a)), np.lexsort((a, b))
    ab = np.stack([a[forward], b[forward]], axis=1)
    ba = np.stack([b[backward], a[backward]], axis=1)
    swapped = ba.tolist() < ab.tolist()
    first, second = (ba if swapped else ab).T.copy()
    return first, second, swapped


def _turned(bounds: tuple[float, float], swapped: bool) -> tuple[float, float]:
    return (-bounds[1], -bounds[0]) if swapped else bounds


def _interval(
    x: Floats, y: Floats, statistic: Statistic, level: float, seed: int, n_resamples: int
) -> tuple[float, float]:
    from scipy import stats

    fraction(level, "level")
    with quiet():
        found = stats.bootstrap(
            (x, y), statistic, paired=True, vectorized=True, confidence_level=level, batch=_batch(len(x)),
            rng=_seed(seed), n_resamples=_resamples(n_resamples),
            method="BCa" if len(x) <= MOST_FOR_BCA else "percentile",
        )  # fmt: skip
    low, high = (float(bound) for bound in found.confidence_interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise StudyError(
            f"the bootstrap has no interval over these {len(x)} rows: too few differ, or one arm is nearly always 0; "
            "add rows, or compare means by paired_difference"
        )
    return low, high


def _comparison(
    pairs: Pairs, statistic: Statistic, bounds: tuple[float, float], level: float, test: str, p: float | None, unit: str
) -> Comparison:
    x, y, swapped = canonical(pairs)
    centre = np.median if statistic is _median_difference else np.mean
    return Comparison(
        names=pairs.names, difference=float(statistic(x, y)) * (-1 if swapped else 1), low=bounds[0], high=bounds[1],
        level=level, n=pairs.n, n_dropped=pairs.n_dropped, test=test, p=p, notes=pairs.notes, unit=unit,
        mean_a=float(centre(pairs.a.means)), mean_b=float(centre(pairs.b.means)), correlation=correlation(pairs),
    )  # fmt: skip


def _words(n: int) -> str:
    return "BCa bootstrap over rows" if n <= MOST_FOR_BCA else "percentile bootstrap over rows"


def _batch(n: int) -> int:
    return max(1, BATCH // n)


def _seed(seed: int) -> int:
    if not isinstance(seed, int) or seed < 0:
        raise StudyError(f"seed is {seed!r}: give a whole number, 0 or more")
    return seed


def _resamples(n_resamples: int) -> int:
    if not isinstance(n_resamples, int) or n_resamples < FEWEST_RESAMPLES:
        raise StudyError(
            f"n_resamples is {n_resamples!r}: give a whole number from {FEWEST_RESAMPLES} on; {RESAMPLES:,} is usual"
        )
    return n_resamples
