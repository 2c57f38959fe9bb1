"""Two arms on the same rows: A − B with an interval and the name of the test.

a, b:      scores of n rows in the same order, as `rows` says: (n,) or (n, K); repeats are averaged within the row.
names:     what the arms are called in the sentence.
level:     of the interval; p is two-sided.
failed_as: score of a sample without one (an error); None leaves it out, and a row with none left is dropped.
unit:      of the scores, "USD" or "s"; "" for a plain score.
All raise StudyError: the arms do not match, fewer than two rows are left, or the data have nothing to test.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, Literal

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.averages import spread_of
from llmlens.study.results import Comparison
from llmlens.study.rows import Pairs, Scores, constant, fraction, read_clusters, read_pairs
from llmlens.study.wording import count

NAMES: Final = ("A", "B")
Table = Sequence[Sequence[int]]
McNemar = Literal["exact", "chi2", "chi2-corrected"]

MCNEMAR: Final = {
    "exact": "exact McNemar test",
    "chi2": "McNemar's chi-squared test",
    "chi2-corrected": "McNemar's chi-squared test with continuity correction",
}


def compare(
    a: Scores,
    b: Scores,
    *,
    clusters: Iterable[Hashable] | None = None,
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    failed_as: float | None = None,
    unit: str = "",
) -> Comparison:
    """A − B by what fits: clusters where given, exact McNemar for one score of 0 or 1 a row, else paired t."""
    if clusters is not None:
        return clustered_difference(a, b, clusters, names=names, level=level, failed_as=failed_as, unit=unit)
    return fitting(read_pairs(a, b, names, failed_as), level, unit)


def fitting(pairs: Pairs, level: float, unit: str) -> Comparison:
    """`compare` without clusters, for arms that were read before."""
    return _mcnemar(pairs, level) if pairs.binary else _difference(pairs, None, level, unit)


def paired_difference(
    a: Scores,
    b: Scores,
    *,
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    failed_as: float | None = None,
    unit: str = "",
) -> Comparison:
    """A − B by the paired t test: SE = √(Σ(d_i−d̄)²/(n(n−1))), n − 1 degrees of freedom.

    Sources: Miller 2024, arXiv 2411.00640; the same as `scipy.stats.ttest_rel` of the row means.
    """
    return _difference(read_pairs(a, b, names, failed_as), None, level, unit)


def clustered_difference(
    a: Scores,
    b: Scores,
    clusters: Iterable[Hashable],
    *,
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    failed_as: float | None = None,
    unit: str = "",
) -> Comparison:
    """A − B where rows belong together (questions on one text): t test with the error by cluster, C − 1 df.

    clusters: (n,) labels, one for each row given, dropped ones too.
    SE = √(C/(C−1)·Σ_c(Σ_{i∈c}(d_i−d̄))²)/n. Source: Miller 2024, arXiv 2411.00640.
    """
    return _difference(read_pairs(a, b, names, failed_as), clusters, level, unit)


def _difference(pairs: Pairs, clusters: Iterable[Hashable] | None, level: float, unit: str) -> Comparison:
    fraction(level, "level")
    refuse_constant(pairs)
    codes = None if clusters is None else read_clusters(clusters, pairs.kept)
    spread = spread_of(pairs.differences, codes, pairs.largest, " − ".join(pairs.names))
    low, high = spread.interval(level)
    return Comparison(
        names=pairs.names, difference=spread.mean, low=low, high=high, level=level, n=pairs.n,
        n_dropped=pairs.n_dropped, test="paired t test" + spread.words, p=spread.p, notes=pairs.notes, unit=unit,
        mean_a=float(pairs.a.means.mean()), mean_b=float(pairs.b.means.mean()), standard_error=spread.error,
        statistic=spread.statistic, correlation=correlation(pairs), n_clusters=spread.n_clusters,
    )  # fmt: skip


def refuse_constant(pairs: Pairs) -> None:
    """Raises StudyError where A − B is the same in every row: there is no variance to build an interval on."""
    if not constant(pairs.differences, pairs.largest):
        return
    (a, b), rows = pairs.names, count(pairs.n, "row")
    if (same := float(pairs.differences[0])) == 0:
        raise StudyError(
            f"{a} and {b} tie on all {rows}: nothing to test; add rows, use a finer score, or where each row has one "
            "score of 0 or 1 use mcnemar_exact"
        )
    raise StudyError(
        f"{a} − {b} is {same:g} on all {rows}: there is no variance to build an interval on; add rows, or where each "
        "row has one score of 0 or 1 use mcnemar_exact"
    )


def correlation(pairs: Pairs) -> float | None:
    """Pearson's, of the row means of the two arms; None where one of them is constant."""
    a, b = pairs.a.means, pairs.b.means
    if constant(a, pairs.a.largest) or constant(b, pairs.b.largest):
        return None
    return float(np.corrcoef(a, b)[0, 1])


# ── one answer of right or wrong a row ───────────────────────────────────────


def mcnemar_exact(
    a: Scores,
    b: Scores,
    *,
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    failed_as: float | None = None,
) -> Comparison:
    """A − B of right answers, one sample a row: exact McNemar test, interval by Newcombe's method 10.

    All ties are no error here: p is 1, and the interval says how much n rows of ties leave open.
    """
    pairs = read_pairs(a, b, names, failed_as)
    if not pairs.binary:
        raise StudyError(
            f"McNemar's test needs one score of 0 or 1 a row in {names[0]} and {names[1]}: use permutation for "
            "repeated samples, paired_difference for other scores"
        )
    return _mcnemar(pairs, level)


def mcnemar_table(
    table: Table,
    *,
    method: McNemar = "exact",
    names: tuple[str, str] = NAMES,
    level: float = 0.95,
    n_dropped: int = 0,
    notes: tuple[str, ...] = (),
) -> Comparison:
    """McNemar's test from counts of rows: [[both right, only A right], [only B right, both wrong]].

    method: "exact": p = min(1, 2·P(Bin(b+c, ½) ≤ min(b, c))); "chi2" and "chi2-corrected" for many discordant rows.
    """
    if method not in MCNEMAR:
        raise StudyError(f"no method {method!r}; known: {', '.join(MCNEMAR)}")
    fraction(level, "level")
    both, only_a, only_b, neither = _cells(table)
    n = both + only_a + only_b + neither
    p, statistic = _mcnemar_p(only_a, only_b, method)
    low, high = newcombe_10(both, only_a, only_b, neither, level)
    a, b = names
    return Comparison(
        names=names, difference=(only_a - only_b) / n, low=low, high=high, level=level, n=n, n_dropped=n_dropped, p=p,
        test=f"{MCNEMAR[method]}, {only_a:,} won by {a} alone, {only_b:,} by {b}; interval by Newcombe's method 10",
        notes=notes, mean_a=(both + only_a) / n, mean_b=(both + only_b) / n, statistic=statistic,
        correlation=_phi(both, only_a, only_b, neither),
    )  # fmt: skip


def newcombe_10(both: int, only_a: int, only_b: int, neither: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two paired proportions, from counts of rows.

    Square-and-add of the two Wilson intervals, with the correlation φ of the arms, corrected where it is positive.
    Source: Newcombe 1998, Statistics in Medicine 17:2635, method 10.
    """
    from scipy import stats  # type: ignore[import-untyped]

    n = both + only_a + only_b + neither
    right = (both + only_a, both + only_b)
    (low_a, high_a), (low_b, high_b) = (stats.binomtest(k, n).proportion_ci(level, "wilson") for k in right)
    phi = _phi(both, only_a, only_b, neither, continuity=n / 2) or 0.0
    a, b = right[0] / n, right[1] / n
    down = _joined(a - low_a, high_b - b, phi)
    up = _joined(high_a - a, b - low_b, phi)
    return a - b - down, a - b + up


def _joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _phi(both: int, only_a: int, only_b: int, neither: int, continuity: float = 0.0) -> float | None:
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return None
    cross = both * neither - only_a * only_b
    return (max(cross - continuity, 0.0) if cross > 0 else cross) / math.sqrt(margins)


def _mcnemar(pairs: Pairs, level: float) -> Comparison:
    right_a, right_b = pairs.a.means == 1, pairs.b.means == 1
    cells = ((right_a & right_b, right_a & ~right_b), (~right_a & right_b, ~right_a & ~right_b))
    table = [[int(cell.sum()) for cell in row] for row in cells]
    return mcnemar_table(table, names=pairs.names, level=level, n_dropped=pairs.n_dropped, notes=pairs.notes)


def _mcnemar_p(only_a: int, only_b: int, method: McNemar) -> tuple[float, float | None]:
    from scipy import stats

    discordant = only_a + only_b
    if method == "exact":
        return (float(stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0), None
    if not discordant:
        raise StudyError("no row is won by one arm alone, and chi-squared needs one: use method 'exact'")
    gap = abs(only_a - only_b) - (method == "chi2-corrected")
    statistic = max(gap, 0) ** 2 / discordant
    return float(stats.chi2.sf(statistic, 1)), statistic


def _cells(table: Table) -> tuple[int, int, int, int]:
    try:
        (both, only_a), (only_b, neither) = ([int(cell) for cell in row] for row in table)
    except (TypeError, ValueError):
        raise StudyError(
            "the table is not 2 x 2 counts: give [[both right, only A right], [only B right, both wrong]]"
        ) from None
    cells = both, only_a, only_b, neither
    if min(cells) < 0 or sum(cells) < 2 or cells != tuple(cell for row in table for cell in row):
        raise StudyError(f"the cells are {cells}: give whole counts of at least two rows, none below 0")
    return cells
