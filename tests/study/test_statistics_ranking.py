"""Laws of judges and rankings: symmetry, the equations of the maximum, intervals that cover as they say."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmlens.study.statistics import Battle, bradley_terry, cohen_kappa, swap_consistency


@given(st.lists(st.tuples(*[st.sampled_from(("a", "b", "tie"))] * 2), min_size=1, max_size=40))
def test_verdicts_that_disagree_are_ties(pairs):
    x, y = zip(*pairs, strict=True)
    found, turned = swap_consistency(x, y), swap_consistency(y, x)
    assert found.verdicts == tuple(i if i == j else "tie" for i, j in pairs) == turned.verdicts
    assert found.consistency == sum(i == j for i, j in pairs) / len(pairs)
    assert (found.first, found.second) == (turned.second, turned.first)
    assert set(found.scores) <= {0, 0.5, 1}


@given(st.lists(st.tuples(*[st.sampled_from("xyz")] * 2), min_size=2, max_size=40))
def test_kappa_takes_raters_in_any_order(pairs):
    a, b = zip(*pairs, strict=True)
    assume(len({*a, *b}) > 1)
    found, turned = cohen_kappa(a, b), cohen_kappa(b, a)
    assert (found.kappa, found.low, found.high) == pytest.approx((turned.kappa, turned.low, turned.high))
    assert -1 <= found.low <= found.kappa <= found.high <= 1
    assert (found.kappa == pytest.approx(1)) == (a == b)


def every_pair(names, least=1):
    """Battles in which every arm won and lost against every other: always linked."""
    pairs = [(a, b) for a in names for b in names if a < b]
    times = st.tuples(*[st.tuples(*[st.integers(least, 4)] * 2, st.integers(0, 3))] * len(pairs))
    return times.map(
        lambda counts: [
            Battle(a, b, score)
            for (a, b), (wins, losses, ties) in zip(pairs, counts, strict=True)
            for score in [1] * wins + [0] * losses + [0.5] * ties
        ]
    )


@settings(max_examples=40)
@given(every_pair("ABCD"), st.randoms(use_true_random=False))
def test_a_ranking_explains_the_wins(battles, random):
    found = bradley_terry(battles)
    strength = {arm.name: arm.strength for arm in found.arms}
    for name in "ABCD":
        won = sum(x.score if x.a == name else 1 - x.score for x in battles if name in (x.a, x.b))
        expected = sum(strength[name] / (strength[x.a] + strength[x.b]) for x in battles if name in (x.a, x.b))
        assert expected == pytest.approx(won, rel=1e-9)  # the equation of the maximum
    turned = [Battle(x.b, x.a, 1 - x.score) for x in battles]
    random.shuffle(turned)
    other = {arm.name: arm for arm in bradley_terry(turned).arms}
    for arm in found.arms:
        assert (arm.low, arm.rating, arm.high) == pytest.approx(
            (other[arm.name].low, other[arm.name].rating, other[arm.name].high), rel=1e-9
        )
    assert sum(arm.rating for arm in found.arms) / 4 == pytest.approx(1000)
    gap, back = found.difference("A", "B"), found.difference("B", "A")
    assert (gap.difference, gap.low, gap.high, gap.p) == pytest.approx(
        (-back.difference, -back.high, -back.low, back.p)
    )


def test_two_arms_have_the_interval_of_a_log_odds():
    """With two arms the sandwich is the error of a logit: √(1/w + 1/l)."""
    found = bradley_terry([Battle("A", "B", 1)] * 30 + [Battle("A", "B", 0)] * 20).difference("A", "B")
    scale = 400 / math.log(10)
    assert found.difference == pytest.approx(scale * math.log(30 / 20))
    assert found.standard_error == pytest.approx(scale * math.sqrt(1 / 30 + 1 / 20))


def test_battles_on_one_row_are_one_observation():
    battles = [("A", "B", 1)] * 30 + [("A", "B", 0)] * 20
    alone = bradley_terry([Battle(*x) for x in battles])
    twice = bradley_terry([Battle(*x, row=i) for i, x in enumerate(battles) for _ in range(2)])
    assert (alone.n, alone.n_rows, twice.n, twice.n_rows) == (50, 50, 100, 50)
    assert twice.arms[0].low == pytest.approx(alone.arms[0].low)


def test_the_ranking_interval_covers_as_it_says():
    rng, hits = np.random.default_rng(11), 0
    theta = np.array([0.5, 0.0, -0.5])
    for _ in range(150):
        pairs = rng.permuted(np.tile([0, 1, 2], (150, 1)), axis=1)[:, :2]
        won = rng.random(150) < 1 / (1 + np.exp(theta[pairs[:, 1]] - theta[pairs[:, 0]]))
        battles = [Battle(str(i), str(j), float(w)) for (i, j), w in zip(pairs, won, strict=True)]
        gap = bradley_terry(battles).difference("0", "2")
        hits += gap.low <= 400 / math.log(10) <= gap.high
    assert 0.9 <= hits / 150 <= 0.99
