"""A ranking of arms from comparisons in pairs: the Bradley-Terry model.

P(i beats j) = 1/(1 + exp(θ_j − θ_i)). Maximum likelihood, a tie is half a win for each. Ratings are 1000 +
400/ln 10·(θ − mean θ): 400 points are odds of ten to one. Intervals are sandwich, by row where rows are given.
Sources: Bradley and Terry 1952; Chiang et al. 2024, arXiv 2403.04132 (Chatbot Arena).
"""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from llmlens.errors import StudyError
from llmlens.study.results import Comparison
from llmlens.study.rows import Counts, Floats, absent, finite, fraction
from llmlens.study.wording import count, level_percent, listed

SCALE: Final = 400 / math.log(10)
OFFSET: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Battle:
    """One comparison of two arms.

    score: 1 where `a` won, 0 where `b` won, ½ for a tie; None where it has no verdict.
    row:   of the data set; battles on one row count as one observation. None: each stands for itself.
    """

    a: str
    b: str
    score: float | None
    row: Hashable = None


@dataclass(frozen=True, slots=True)
class Rated:
    """One arm: `rating` with its interval against the mean of all arms, and what it fought."""

    name: str
    rating: float
    low: float
    high: float
    strength: float
    battles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Arms, the strongest first. `strength` is exp(θ), with geometric mean 1. `n` battles, on `n_rows` observations.

    covariance: (k, k) of the ratings, in the order of `arms`.
    """

    arms: tuple[Rated, ...]
    level: float
    n: int
    n_rows: int
    n_dropped: int
    covariance: tuple[tuple[float, ...], ...]
    test: str = "Bradley-Terry by maximum likelihood, ties ½, sandwich intervals"

    def sentence(self) -> str:
        """Every rating with its interval, then the procedure and what it rests on."""
        ratings = listed([f"{arm.name} {arm.rating:.0f} ({arm.low:.0f} to {arm.high:.0f})" for arm in self.arms])
        return (
            f"{ratings}; {level_percent(self.level)} intervals, over {count(self.n, 'battle')} on "
            f"{count(self.n_rows, 'row')} ({self.test}). {_dropped(self.n_dropped)} Overlapping intervals do not "
            "say that two arms are equal: see difference()."
        )

    def __str__(self) -> str:
        return self.sentence()

    def difference(self, a: str, b: str) -> Comparison:
        """Rating of `a` minus rating of `b`, with a Wald interval and test.

        Raises:
            StudyError: no such arm, or the same arm twice.
        """
        from scipy import stats  # type: ignore[import-untyped]

        names = [arm.name for arm in self.arms]
        if a == b or a not in names or b not in names:
            raise StudyError(f"cannot compare {a!r} and {b!r}: give two of {listed(names)}")
        i, j = names.index(a), names.index(b)
        v = self.covariance
        error = math.sqrt(max(0.0, v[i][i] + v[j][j] - 2 * v[i][j]))
        gap = self.arms[i].rating - self.arms[j].rating
        if error <= 1e-9:
            raise StudyError(f"the battles of {a} and {b} leave no variance to build an interval on: add battles")
        reach = float(stats.norm.ppf((1 + self.level) / 2)) * error
        return Comparison(
            names=(a, b), difference=gap, low=gap - reach, high=gap + reach, level=self.level, n=self.n_rows,
            n_dropped=self.n_dropped, test="Bradley-Terry ratings, Wald test with sandwich error", standard_error=error,
            mean_a=self.arms[i].rating, mean_b=self.arms[j].rating, statistic=gap / error,
            p=float(2 * stats.norm.sf(abs(gap) / error)), notes=(_dropped(self.n_dropped),),
        )  # fmt: skip


def bradley_terry(battles: Iterable[Battle], *, level: float = 0.95) -> Ranking:
    """The ranking that makes the battles most likely.

    Raises:
        StudyError: no battles; an arm against itself; or the battles do not link all arms, each both as winner and
            as loser (ties count as both): then some rating has no bound, and the message says which groups are apart.
    """
    fraction(level, "level")
    given = list(battles)
    fought = [battle for battle in given if not absent(battle.score)]
    names = list(dict.fromkeys(name for battle in given for name in (battle.a, battle.b)))
    place = {name: at for at, name in enumerate(names)}
    a = np.array([place[battle.a] for battle in fought], dtype=np.intp)
    b = np.array([place[battle.b] for battle in fought], dtype=np.intp)
    score = np.array([_score(battle) for battle in fought])
    wins = np.zeros((len(names), len(names)))
    if len(score) and bool((score == 0.5).all()):
        raise StudyError(f"all {count(len(score), 'battle')} are ties: nothing ranks the arms; add comparisons")
    np.add.at(wins, (a, b), score)
    np.add.at(wins, (b, a), 1 - score)
    require_links(names, wins)
    theta = most_likely(wins)
    rows = _observations(fought)
    covariance = SCALE**2 * _sandwich(theta, wins, (a, b), score, rows)
    return _ranking(names, theta, wins, covariance, level, len(given) - len(fought), int(rows.max()) + 1)


def _score(battle: Battle) -> float:
    where = f"{battle.a} against {battle.b}"
    if battle.a == battle.b:
        raise StudyError(f"{where}: an arm cannot be compared with itself; leave the battle out")
    if not 0 <= (score := finite(battle.score or 0.0, where)) <= 1:
        raise StudyError(f"{where}: the score is {score:g}; give 1 for a win of the first, 0 for a loss, 0.5 for a tie")
    return score


def require_links(names: list[str], wins: Floats) -> None:
    """Raises StudyError unless every arm can be reached from every other along wins.

    names: k arms; wins: (k, k), wins of row over column.
    """
    from scipy.sparse import csgraph  # type: ignore[import-untyped]

    if len(names) < 2:
        raise StudyError("no battles with a verdict: give at least two arms that were compared")
    parts, member = csgraph.connected_components(wins + wins.T > 0, directed=False)
    if parts > 1:
        apart = "; ".join(listed(group) for group in _groups(names, member))
        raise StudyError(f"nothing links these groups of arms: {apart}. Compare arms across them, or rank each alone")
    parts, member = csgraph.connected_components(wins > 0, directed=True, connection="strong")
    if parts > 1:
        winners = next(at for at in range(parts) if not (wins[np.ix_(member != at, member == at)] > 0).any())
        top, rest = (
            [n for n, at in zip(names, member, strict=True) if bool(at == winners) is on] for on in (True, False)
        )
        raise StudyError(
            f"{listed(top)} never lost to {listed(rest)}, so the distance between these groups has no bound: add "
            "comparisons across them, or rank each group alone"
        )


def _groups(names: list[str], member: Counts) -> list[list[str]]:
    return [[name for name, at in zip(names, member, strict=True) if at == part] for part in range(max(member) + 1)]


# ── the model ────────────────────────────────────────────────────────────────


def most_likely(wins: Floats) -> Floats:
    """θ (k,) with sum 0, for wins (k, k) of row over column whose arms are all linked.

    Σθ²/2 of the mean is added to the loss: it fixes the sum, and changes nothing else.
    """
    from scipy import optimize

    k = len(wins)

    def loss(theta: Floats) -> Any:
        gaps = theta[:, None] - theta[None, :]
        return np.sum(wins * np.logaddexp(0, -gaps)) + k * theta.mean() ** 2 / 2

    def slope(theta: Floats) -> Any:
        met = wins + wins.T
        return (met * _chances(theta)).sum(axis=1) - wins.sum(axis=1) + theta.mean()

    found = optimize.minimize(
        loss, np.zeros(k), jac=slope, hess=lambda theta: _information(theta, wins) + 1 / k, method="trust-exact",
        options={"gtol": 1e-9 * max(1.0, float(wins.sum())), "maxiter": 1000},
    )  # fmt: skip
    # One Newton step more: from the optimiser's tolerance to the last digits.
    theta: Floats = found.x - np.linalg.solve(_information(found.x, wins) + 1 / k, slope(found.x))
    centred: Floats = theta - theta.mean()
    return centred


def _chances(theta: Floats) -> Floats:
    from scipy import special

    chances: Floats = special.expit(theta[:, None] - theta[None, :])
    return chances


def _information(theta: Floats, wins: Floats) -> Floats:
    """(k, k) second derivative of the loss: a weighted Laplacian of the arms that met."""
    chances = _chances(theta)
    weight = (wins + wins.T) * chances * chances.T
    laplacian: Floats = np.diag(weight.sum(axis=1)) - weight
    return laplacian


def _sandwich(theta: Floats, wins: Floats, met: tuple[Counts, Counts], score: Floats, rows: Counts) -> Floats:
    """(k, k) covariance of θ: H⁺ (Σ_row g gᵀ) H⁺, with g the score of all battles on one row."""
    a, b = met
    surprise = score - _chances(theta)[a, b]
    slopes = np.zeros((int(rows.max()) + 1, len(theta)))
    np.add.at(slopes, (rows, a), surprise)
    np.add.at(slopes, (rows, b), -surprise)
    bread = np.linalg.pinv(_information(theta, wins), hermitian=True)
    covariance: Floats = bread @ (slopes.T @ slopes) @ bread
    return covariance


def _observations(fought: list[Battle]) -> Counts:
    """Which observation each battle belongs to, as 0, 1, 2 …"""
    keys = [("alone", at) if absent(battle.row) else ("row", battle.row) for at, battle in enumerate(fought)]
    code = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    return np.array([code[key] for key in keys], dtype=np.intp)


def _ranking(
    names: list[str], theta: Floats, wins: Floats, covariance: Floats, level: float, n_dropped: int, n_rows: int
) -> Ranking:
    from scipy import stats

    order = np.argsort(-theta, kind="stable")
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(np.maximum(np.diag(covariance), 0))
    ratings, battles = OFFSET + SCALE * theta, (wins + wins.T).sum(axis=1)
    arms = tuple(
        Rated(
            names[at], float(ratings[at]), float(ratings[at] - reach[at]), float(ratings[at] + reach[at]),
            float(np.exp(theta[at])), round(float(battles[at])),
        )
        for at in order
    )  # fmt: skip
    return Ranking(
        arms=arms, level=level, n=round(float(wins.sum())), n_rows=n_rows, n_dropped=n_dropped,
        covariance=tuple(tuple(float(v) for v in covariance[at, order]) for at in order),
    )  # fmt: skip


def _dropped(n: int) -> str:
    return f"{count(n, 'battle')} without a verdict dropped." if n else "No battle dropped."
