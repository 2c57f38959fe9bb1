"""Stopping early: evidence that may be looked at after every row.

An ordinary p-value is valid at one look that was fixed beforehand. An e-value is valid at every look: stop once
e ≥ 1/α, and the chance to stop in error is at most α. Only rows that one arm wins count (m of them, w won by A).
"""

import math
from dataclasses import dataclass
from typing import Any

from llmlens.errors import StudyError
from llmlens.study.comparing import NAMES
from llmlens.study.rows import Scores, fraction, read_pairs
from llmlens.study.wording import count, level_percent, number, p_value, percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Anytime:
    """The evidence after the rows so far.

    difference: (rows won by A − rows won by B) / n.
    share:      of the decided rows won by A; None while there are none. ½ is no difference.
    low, high:  interval of the share, valid at every look (a confidence sequence at 1 − alpha).
    e, e_max:   e-value now, and its largest so far.
    p:          anytime p = min(1, 1/e_max).
    stop:       e_max has reached 1/alpha.
    """

    names: tuple[str, str]
    wins: int
    decided: int
    n: int
    n_dropped: int
    difference: float
    share: float | None
    low: float
    high: float
    alpha: float
    e: float
    e_max: float
    p: float
    test: str = "e-value of a uniform mixture of binomials, valid at every look"
    notes: tuple[str, ...] = ()

    @property
    def stop(self) -> bool:
        """Whether the evidence was enough at some look."""
        return self.e_max >= 1 / self.alpha

    def sentence(self) -> str:
        """Who wins, with the interval, the evidence, and whether to go on."""
        a, b = self.names
        won = "no row is decided yet" if self.share is None else f"{a} wins {percent(self.share)}"
        advice = "enough to stop" if self.stop else f"go on: stop at e = {number(1 / self.alpha)}"
        found = (
            f"Of {count(self.decided, 'row')} that {a} or {b} wins, {won}, {level_percent(1 - self.alpha)} interval "
            f"{percent(self.low)} to {percent(self.high)} (50 % is no difference); {a} − {b} = "
            f"{number(self.difference, signed=True)} over {count(self.n, 'row')}; e = {number(self.e)}, largest "
            f"{number(self.e_max)}, anytime {p_value(self.p)} ({self.test}): {advice}."
        )
        return " ".join((found, *self.notes))

    def __str__(self) -> str:
        return self.sentence()


def e_value(wins: int, decided: int) -> float:
    """Evidence against "either arm wins a decided row with chance ½": e = 2^m/((m+1)·C(m, w)). inf past 1e308.

    Source: the ratio of a uniform mixture of binomials to Bin(m, ½); Ville 1939, Robbins 1970.

    Raises:
        StudyError: not 0 ≤ w ≤ m.
    """
    if not 0 <= wins <= decided:
        raise StudyError(f"{wins} wins of {decided} decided rows: wins go from 0 to the decided rows")
    return _exp(_log_e(wins, decided, 0.5))


def anytime(
    a: Scores,
    b: Scores,
    *,
    alpha: float = 0.05,
    names: tuple[str, str] = NAMES,
    failed_as: float | None = None,
) -> Anytime:
    """The evidence that one arm wins more rows, valid however often it is looked at.

    a, b: scores of the rows so far, in the order in which they were finished, as `rows` says. A row is won by the arm
        with the higher mean score. The order matters: every row counts as a look.

    Raises:
        StudyError: the arms do not match, or fewer than two rows.
    """
    fraction(alpha, "alpha")
    pairs = read_pairs(a, b, names, failed_as)
    wins = decided = 0
    best = 0.0
    for d in pairs.differences[pairs.differences != 0].tolist():
        decided += 1
        wins += d > 0
        best = max(best, _log_e(wins, decided, 0.5))
    low, high = _shares(wins, decided, alpha)
    return Anytime(
        names=names, wins=wins, decided=decided, n=pairs.n, n_dropped=pairs.n_dropped, alpha=alpha,
        difference=(2 * wins - decided) / pairs.n, share=wins / decided if decided else None, low=low, high=high,
        e=e_value(wins, decided), e_max=_exp(best), p=math.exp(-best), notes=pairs.notes,
    )  # fmt: skip


def _log_e(wins: int, decided: int, q: float) -> float:
    """Logarithm of the evidence against "A wins a decided row with chance q"."""
    from scipy import special  # type: ignore[import-untyped]

    losses = decided - wins
    chance = special.xlogy(wins, q) + special.xlog1py(losses, -q)
    return float(special.betaln(wins + 1, losses + 1) - chance)


def _shares(wins: int, decided: int, alpha: float) -> tuple[float, float]:
    """The chances q that the evidence does not rule out: those with e(q) < 1/alpha."""
    from scipy import optimize

    if decided == 0:
        return 0.0, 1.0

    def excess(q: float) -> Any:
        return _log_e(wins, decided, q) + math.log(alpha)

    centre = wins / decided
    low = optimize.brentq(excess, 0.0, centre) if wins and excess(0.0) > 0 else 0.0
    high = optimize.brentq(excess, centre, 1.0) if wins < decided and excess(1.0) > 0 else 1.0
    return float(low), float(high)


def _exp(log_e: float) -> float:
    try:
        return math.exp(log_e)
    except OverflowError:
        return math.inf
