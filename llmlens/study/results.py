"""What the statistics give: frozen records that say themselves in a sentence which a reader can quote.

A sentence has the estimate, its interval with the level, the rows, what was dropped, and the test by name; a p-value
never stands alone. Overlap of two arms' intervals says nothing about their difference: `Comparison` does.
"""

from dataclasses import dataclass

from llmlens.study.wording import count, interval, number, p_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What all estimates share.

    low, high: bounds of the interval at `level`, in the unit of the scores.
    n:         rows used (not samples). `n_dropped`: rows left out for want of a score.
    test:      name of the procedure, in words.
    notes:     sentences on errors, dropped rows and limits.
    unit:      of the scores: "USD", "s"; "" for a plain score.
    """

    low: float
    high: float
    level: float
    n: int
    n_dropped: int
    test: str
    notes: tuple[str, ...] = ()
    unit: str = ""

    def sentence(self) -> str:
        """Estimate, interval, rows, dropped rows and procedure, to be quoted."""
        return " ".join((self._estimate(), *self.notes))

    def __str__(self) -> str:
        return self.sentence()

    def _estimate(self) -> str:
        raise NotImplementedError

    def _interval(self) -> str:
        return interval(self.low, self.high, self.level, self.unit)

    def _amount(self, value: float, *, signed: bool = False) -> str:
        return number(value, signed=signed) + (self.unit and " " + self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneArm(Result):
    """Mean score of one arm. `standard_error` is None where the interval is not built on one (Wilson)."""

    name: str
    mean: float
    standard_error: float | None = None
    n_clusters: int | None = None

    def _estimate(self) -> str:
        rows = count(self.n, "row")
        return f"{self.name} scores {self._amount(self.mean)}, {self._interval()}, over {rows} ({self.test})."


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Result):
    """A − B over rows that both answered.

    difference:     mean (or median, if `test` says so) of A minus that of B.
    p:              two-sided, of "no difference"; None where the procedure has none (bootstrap).
    p_adjusted:     p corrected for the number of comparisons; `adjustment` says how.
    standard_error: of the difference; None where the interval is not built on one.
    statistic:      t or chi-squared; None where p is exact.
    correlation:    of the arms' row means; None where one arm is constant.
    """

    names: tuple[str, str]
    difference: float
    mean_a: float
    mean_b: float
    p: float | None = None
    p_adjusted: float | None = None
    adjustment: str = ""
    standard_error: float | None = None
    statistic: float | None = None
    correlation: float | None = None
    n_clusters: int | None = None

    def _estimate(self) -> str:
        a, b = self.names
        facts = [self.test, self._p(), "" if self.correlation is None else f"correlation {self.correlation:.2f}"]
        return (
            f"{a} − {b} = {self._amount(self.difference, signed=True)}, {self._interval()}, over "
            f"{count(self.n, 'row')} ({'; '.join(fact for fact in facts if fact)}). "
            f"{a} scores {self._amount(self.mean_a)}, {b} {self._amount(self.mean_b)}."
        )

    def _p(self) -> str:
        if self.p_adjusted is not None:
            return f"{p_value(self.p_adjusted)} {self.adjustment}; the interval is not adjusted"
        return "" if self.p is None else p_value(self.p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio(Result):
    """Mean of A over mean of B, for rows that both answered; 1 is no difference. `low` and `high` bound the ratio."""

    names: tuple[str, str]
    ratio: float
    mean_a: float
    mean_b: float

    def _estimate(self) -> str:
        a, b = self.names
        bounds = interval(self.low, self.high, self.level)
        return (
            f"{a} / {b} = {number(self.ratio)}, {bounds}, over {count(self.n, 'row')} ({self.test}). "
            f"{a} takes {self._amount(self.mean_a)} a row, {b} {self._amount(self.mean_b)}."
        )
