"""More than two arms on the same rows: whether they differ at all, then every pair, corrected for their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, Literal

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.comparing import fitting
from llmlens.study.results import Comparison
from llmlens.study.rows import Arm, Floats, Scores, account, enough, finite, paired, quiet, read_arm
from llmlens.study.wording import count, listed, number, p_value

Correction = Literal["holm", "bh"]
WORDS: Final = {"holm": "Holm", "bh": "Benjamini-Hochberg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyArms:
    """Whether k arms differ, and their pairs.

    statistic, df, p: of "all arms are the same" over the n rows in which every arm has a score.
    n_dropped:        rows in which some arm has none. A pair uses, and counts, its own rows.
    pairs:            every two arms, in the order given, with `p_adjusted`.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    statistic: float
    df: int
    p: float
    n: int
    n_dropped: int
    test: str
    pairs: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The test of all arms, then one line for each pair."""
        scores = listed([f"{name} {number(mean)}" for name, mean in zip(self.names, self.means, strict=True)])
        found = f"{self.test}: χ²({self.df}) = {number(self.statistic)}, {p_value(self.p)}, over {count(self.n, 'row')}"
        head = " ".join((f"{len(self.names)} arms, {scores}. {found}.", *self.notes))
        return "\n".join((head, *(pair.sentence() for pair in self.pairs)))

    def __str__(self) -> str:
        return self.sentence()


def many_arms(
    arms: Mapping[str, Scores],
    *,
    correction: Correction = "holm",
    level: float = 0.95,
    failed_as: float | None = None,
    unit: str = "",
) -> ManyArms:
    """Cochran's Q (one score of 0 or 1 a row in every arm) or Friedman's test, then `compare` for every pair.

    arms:       name → scores of the same n rows, as `rows` says.
    correction: "holm" holds the chance of one false finding among all pairs, "bh" the share of false findings.
                It changes p only: each interval is at `level` by itself.

    Sources: `scipy.stats.friedmanchisquare`, which with its correction for ties is Cochran's Q on zeros and ones;
    Holm 1979; `scipy.stats.false_discovery_control`.

    Raises:
        StudyError: fewer than three arms, arms of different length, or arms that tie on every row.
    """
    if len(arms) < 3:
        raise StudyError(f"{count(len(arms), 'arm')}: three or more are needed here; use compare for two")
    _correction(correction)
    given = _given(arms, failed_as)
    kept = np.logical_and.reduce([arm.counts > 0 for arm in given])
    enough(kept, "every arm")
    means = np.stack([arm.means[kept] for arm in given])
    binary = all(arm.binary for arm in given)
    statistic, p = _friedman(means)
    pairs = [fitting(paired(a, b, failed_as), level, unit) for a, b in combinations(given, 2)]
    adjusted = adjust([pair.p or 0.0 for pair in pairs], correction)
    words = f"after {WORDS[correction]} over {len(pairs)} comparisons"
    return ManyArms(
        names=tuple(arms), means=tuple(float(mean) for mean in means.mean(axis=1)), statistic=statistic,
        df=len(given) - 1, p=p, n=int(kept.sum()), n_dropped=int((~kept).sum()),
        test="Cochran's Q" if binary else "Friedman's test", notes=account(given, kept, failed_as),
        pairs=tuple(replace(pair, p_adjusted=q, adjustment=words) for pair, q in zip(pairs, adjusted, strict=True)),
    )  # fmt: skip


def _given(arms: Mapping[str, Scores], failed_as: float | None) -> list[Arm]:
    given = [read_arm(scores, name, failed_as) for name, scores in arms.items()]
    if len({len(arm.samples) for arm in given}) > 1:
        lengths = listed([f"{arm.name} {len(arm.samples)}" for arm in given])
        raise StudyError(f"the arms differ in rows ({lengths}): all answer the same rows, in the same order")
    return given


def adjust(p_values: Sequence[float], method: Correction = "holm") -> list[float]:
    """p-values (m,) corrected for their number, in the same order.

    Sources: Holm 1979; Benjamini and Hochberg 1995 by `scipy.stats.false_discovery_control`.
    """
    from scipy import stats  # type: ignore[import-untyped]

    _correction(method)
    p = np.array([finite(value, "a p-value") for value in p_values])
    if not len(p):
        return []
    if p.min() < 0 or p.max() > 1:
        raise StudyError(f"p-values lie between 0 and 1; the range of these is {p.min():g} to {p.max():g}")
    if method == "bh":
        return [float(q) for q in stats.false_discovery_control(p, method="bh")]
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return [float(q) for q in np.minimum(stepped, 1)[np.argsort(order)]]


def _friedman(means: Floats) -> tuple[float, float]:
    from scipy import stats

    if bool((means == means[0]).all()):
        raise StudyError(f"all arms tie on all {count(means.shape[1], 'row')}: nothing to test; add rows")
    with quiet():
        found = stats.friedmanchisquare(*means)
    return float(found.statistic), float(found.pvalue)


def _correction(method: str) -> None:
    if method not in WORDS:
        raise StudyError(f"no correction {method!r}; known: {', '.join(WORDS)}")
