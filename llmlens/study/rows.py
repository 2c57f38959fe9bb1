"""Scores as they come to one number a row. No statistics.

The unit of analysis is the row of the data set. Repeated samples are averaged within their row first: to take rows x
repeats as independent is pseudo-replication. A cached answer is not a new sample: the caller leaves such repeats out.

Scores of one arm are a sequence over its n rows: a number or true/false for each, or a sequence of samples for each
(any count, also an n x K array). None, NaN or pandas.NA is a sample without a score (an error, say). `failed_as` is
the score such samples get; None leaves them out, and a row with no score left is dropped: always counted, always told.
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from numbers import Real
from typing import Any, Final, TypeAlias
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from llmlens.errors import StudyError
from llmlens.study.wording import count, number

Scores: TypeAlias = Iterable[Any]
Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]

LARGEST: Final = 1e100  # squares of it, and of its inverse, are still floats
ROUNDING: Final = 1e-12  # of the largest score: a smaller spread is rounding, not variance


@dataclass(frozen=True)
class Arm:
    """The scores of one arm: n rows, up to K samples each.

    samples: (n, K), NaN where there is no score.
    missing: how many samples came without a score; those that `failed_as` gave one are counted too.
    """

    name: str
    samples: Floats
    missing: int = 0

    @cached_property
    def counts(self) -> Counts:
        """(n,) samples with a score."""
        counts: Counts = np.sum(~np.isnan(self.samples), axis=1)
        return counts

    @cached_property
    def means(self) -> Floats:
        """(n,) mean score of each row; NaN where it has none."""
        total = np.nansum(self.samples, axis=1)
        return _over(total, self.counts)

    @cached_property
    def within(self) -> Floats:
        """(n,) variance of the samples of each row; NaN where it has fewer than two."""
        squares = np.nansum((self.samples - self.means[:, None]) ** 2, axis=1)
        return _over(squares, self.counts - 1)

    @property
    def binary(self) -> bool:
        """One sample a row, and every score is 0 or 1."""
        scores = self.samples[~np.isnan(self.samples)]
        return self.samples.shape[1] == 1 and bool(np.isin(scores, (0.0, 1.0)).all())

    @property
    def largest(self) -> float:
        """The largest score, without its sign: what rounding is measured against."""
        return float(np.nanmax(np.abs(self.samples)))

    def of(self, kept: Mask) -> "Arm":
        """The same arm with some of its rows."""
        return replace(self, samples=self.samples[kept])


@dataclass(frozen=True)
class Pairs:
    """Two arms over the n rows in which both have a score.

    kept: (all rows,) which of the rows given these are.
    notes: what happened to errors and dropped rows, as sentences.
    """

    a: Arm
    b: Arm
    kept: Mask
    notes: tuple[str, ...]

    @property
    def n(self) -> int:
        """Rows compared."""
        return len(self.a.samples)

    @property
    def n_dropped(self) -> int:
        """Rows left out, for want of a score in one arm or both."""
        return len(self.kept) - self.n

    @property
    def names(self) -> tuple[str, str]:
        """Of A and B."""
        return self.a.name, self.b.name

    @property
    def binary(self) -> bool:
        """One sample a row, every score 0 or 1, in both arms."""
        return self.a.binary and self.b.binary

    @cached_property
    def differences(self) -> Floats:
        """(n,) mean of A minus mean of B in each row."""
        return self.a.means - self.b.means

    @property
    def largest(self) -> float:
        """The largest score of both arms, without its sign."""
        return max(self.a.largest, self.b.largest)


def _over(total: Floats, counts: Counts) -> Floats:
    """Their ratio; NaN where there is nothing to divide by."""
    result: Floats = np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0)
    return result


# ── reading ──────────────────────────────────────────────────────────────────


def read_arm(scores: Scores, name: str = "A", failed_as: float | None = None) -> Arm:
    """The scores of one arm, whatever they come in.

    Raises:
        StudyError: there is no row, or something in it is no score.
    """
    rows = [list(_samples(row, name, at)) for at, row in enumerate(_sequence(scores, name))]
    if not rows:
        raise StudyError(f"{name} has no rows: give one score for each row of the data set")
    missing = sum(math.isnan(sample) for row in rows for sample in row)
    if failed_as is not None:
        fill = finite(_score(failed_as, "failed_as"), "failed_as")
        rows = [[fill if math.isnan(sample) else sample for sample in row] for row in rows]
    table = np.full((len(rows), max(1, *map(len, rows))), np.nan)
    for at, row in enumerate(rows):
        table[at, : len(row)] = row
    return Arm(name, table, missing)


def read_pairs(a: Scores, b: Scores, names: tuple[str, str], failed_as: float | None = None) -> Pairs:
    """The rows of two arms, in the same order, less those in which one has no score.

    Raises:
        StudyError: the arms do not have the same rows, or fewer than two can be compared.
    """
    if names[0] == names[1]:
        raise StudyError(f"both arms are called {names[0]!r}: give `names` that differ")
    return paired(read_arm(a, names[0], failed_as), read_arm(b, names[1], failed_as), failed_as)


def paired(left: Arm, right: Arm, failed_as: float | None = None) -> Pairs:
    """As `read_pairs`, for arms that were read before."""
    if len(left.samples) != len(right.samples):
        raise StudyError(
            f"{left.name} has {count(len(left.samples), 'row')}, {right.name} has {len(right.samples)}: both answer "
            "the same rows in the same order; give None where an arm has no score"
        )
    kept = (left.counts > 0) & (right.counts > 0)
    enough(kept, f"both {left.name} and {right.name}")
    notes = account((left, right), kept, failed_as)
    return Pairs(left.of(kept), right.of(kept), kept, notes)


def enough(kept: Mask, where: str) -> None:
    """Raises StudyError unless at least two rows are kept."""
    if (rows := int(kept.sum())) < 2:
        has = "no row has" if rows == 0 else "only one row has"
        raise StudyError(f"{has} a score in {where} (of {len(kept)}): at least two are needed; add rows")


def account(arms: Sequence[Arm], kept: Mask, failed_as: float | None, want: str = "a score") -> tuple[str, ...]:
    """What became of errors and rows, in sentences. Never empty: that nothing was dropped is said too."""
    missing = sum(arm.missing for arm in arms)
    dropped = len(kept) - int(kept.sum())
    without = count(missing, "sample") + " without a score (errors)"
    notes = [f"{dropped} of {count(len(kept), 'row')} dropped for want of {want}." if dropped else "No row dropped."]
    if missing and failed_as is None:
        notes.append(f"{without} left out, not counted as failures.")
    elif missing:
        notes.append(f"{without} counted as {number(float(failed_as or 0))}.")
    return tuple(notes)


def _sequence(scores: Scores, name: str) -> Iterable[Any]:
    if hasattr(scores, "__array__"):
        scores = np.asarray(scores)
        if scores.ndim == 0:
            raise StudyError(f"{name} is a single value: give one score for each row of the data set")
        return scores.tolist() if scores.dtype.kind in "fiub" else scores
    if isinstance(scores, str | bytes | Mapping | Set) or not isinstance(scores, Iterable):
        raise StudyError(f"{name} is a {type(scores).__name__}: give a sequence with one score for each row")
    return scores


def _samples(row: Any, name: str, at: int) -> Iterator[float]:
    where = f"{name}, row {at} (counted from 0)"
    if isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim > 0):
        return (_score(sample, where) for sample in row)
    return iter((_score(row, where),))


def absent(value: Any) -> bool:
    """Whether `value` stands for nothing: None, NaN, or pandas.NA (known by name: pandas need not be loaded)."""
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, Real) and value != value)


def _score(value: Any, where: str) -> float:
    score = _number(value, where)
    if abs(score) > LARGEST or 0 < abs(score) < 1 / LARGEST:
        raise StudyError(
            f"{where}: {score} is out of range; scores are 0 or between {1 / LARGEST:g} and {LARGEST:g} in size: "
            "change the unit, or give None where there is no score"
        )
    return score


def _number(value: Any, where: str) -> float:
    if absent(value):
        return math.nan
    if not isinstance(value, Real | Decimal | np.bool_):
        raise StudyError(
            f"{where}: {value!r} is a {type(value).__name__}, not a number; give numbers or true/false, "
            "None where there is none, and map labels to numbers first"
        )
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.inf


# ── clusters ─────────────────────────────────────────────────────────────────


def read_clusters(labels: Iterable[Hashable], kept: Mask) -> Counts:
    """The cluster of each row kept, as 0, 1, 2 …

    labels: one for each row given, dropped ones too; any hashable value.

    Raises:
        StudyError: not one label a row, a row without one, or fewer than two clusters.
    """
    given = list(labels.tolist() if isinstance(labels, np.ndarray) else labels)
    if len(given) != len(kept):
        raise StudyError(f"{count(len(given), 'cluster label')} for {count(len(kept), 'row')}: give one for each row")
    if any(absent(label) for label in given):
        raise StudyError("a row has no cluster label (None or NaN): name its cluster, or leave the row out")
    if any(not isinstance(label, Hashable) for label in given):
        raise StudyError("a cluster label is a list or the like: give names or numbers")
    labels_kept = [label for label, keep in zip(given, kept, strict=True) if keep]
    code = {label: at for at, label in enumerate(dict.fromkeys(labels_kept))}
    if len(code) < 2:
        raise StudyError("all rows are in one cluster: at least two are needed; leave `clusters` out if rows are alone")
    return np.array([code[label] for label in labels_kept], dtype=np.intp)


# ── checks ─────────────────────────────────────────────


def constant(values: Floats, largest: float) -> bool:
    """Whether `values` differ by rounding only."""
    return bool(np.ptp(values) <= ROUNDING * largest)


def finite(value: float, name: str) -> float:
    """`value` as a finite number. Raises StudyError where it is none."""
    if not math.isfinite(found := _number(value, name)):
        raise StudyError(f"{name} is {value!r}: give a number")
    return found


def fraction(value: float, name: str) -> float:
    """`value`, if it lies between 0 and 1, both excluded. Raises StudyError where not."""
    if not 0 < finite(value, name) < 1:
        raise StudyError(f"{name} is {value!r}: give a number between 0 and 1, such as 0.95")
    return float(value)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings from inside scipy: its callers look at the numbers and say what is wrong in words."""
    with catch_warnings(), np.errstate(all="ignore"):
        simplefilter("ignore")
        yield
