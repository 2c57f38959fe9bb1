"""What holds for all data: A − B is −(B − A), the order of rows is nothing, and scipy by hand gives the same."""

import math
from dataclasses import fields
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from llmlens.errors import StudyError
from llmlens.study.statistics import (
    Variances,
    adjust,
    anytime,
    bootstrap,
    bootstrap_ratio,
    clustered_difference,
    compare,
    e_value,
    many_arms,
    mcnemar_exact,
    mean_pass_at_k,
    one_arm,
    paired_difference,
    pass_at_k,
    permutation,
    power,
    rows_needed,
    smallest_difference,
    variances,
)

GRID = st.integers(-40, 40).map(lambda i: i / 8)
WIDE = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 6))
RIGHT = st.sampled_from((0, 1))


def arms(score, least=3, most=30, count=2):
    """Rows of `count` scores, turned into so many arms."""
    rows = st.lists(st.tuples(*[score] * count), min_size=least, max_size=most)
    return rows.map(lambda rows: [list(arm) for arm in zip(*rows, strict=True)])


def differ(a, b):
    assume(np.ptp(np.subtract(a, b)) > 1e-6)


COMPARISONS = {
    "paired t": (GRID, paired_difference),
    "clusters": (GRID, lambda a, b, **more: clustered_difference(a, b, [i % 3 for i in range(len(a))], **more)),
    "McNemar": (RIGHT, mcnemar_exact),
    "permutation": (GRID, lambda a, b, **more: permutation(a, b, n_resamples=199, **more)),
    "bootstrap": (GRID, lambda a, b, **more: bootstrap(a, b, n_resamples=199, **more)),
    "bootstrap of medians": (GRID, lambda a, b, **more: bootstrap(a, b, of="median", n_resamples=199, **more)),
    "what fits": (GRID, compare),
}


@pytest.mark.parametrize("kind", COMPARISONS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_minus_b_is_minus_b_minus_a(kind, data):
    score, test = COMPARISONS[kind]
    a, b = data.draw(arms(score))
    forward, backward = outcome(test, a, b), outcome(test, b, a)
    if isinstance(forward, str):
        assert isinstance(backward, str)
        return
    assert (forward.difference, forward.low, forward.high) == pytest.approx(
        (-backward.difference, -backward.high, -backward.low), abs=1e-12
    )
    assert forward.p == pytest.approx(backward.p) if forward.p is not None else backward.p is None
    assert forward.low <= forward.high
    assert (forward.mean_a, forward.n) == (backward.mean_b, backward.n)


@pytest.mark.parametrize("kind", sorted(set(COMPARISONS) - {"clusters"}))
@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 99))
def test_the_order_of_rows_is_nothing(kind, data, seed):
    score, test = COMPARISONS[kind]
    a, b = data.draw(arms(score))
    rows = list(range(len(a)))
    Random(seed).shuffle(rows)
    one, other = outcome(test, a, b), outcome(test, [a[i] for i in rows], [b[i] for i in rows])
    if isinstance(one, str):
        assert other == one or "tie" not in one
        return
    for field in fields(one):
        expected = getattr(one, field.name)
        assert getattr(other, field.name) == (
            pytest.approx(expected, abs=1e-12) if isinstance(expected, float) else expected
        )


def outcome(test, a, b):
    """A comparison, or the sentence that says why there is none."""
    try:
        return test(a, b)
    except StudyError as error:
        return str(error)


# ── the same by hand ─────────────────────────────────────────────────────────


@given(arms(WIDE), st.sampled_from((0.8, 0.95, 0.99)))
def test_paired_difference_is_scipys(pair, level):
    a, b = map(np.array, pair)
    differ(a, b)
    found, by_hand = paired_difference(a, b, level=level), stats.ttest_rel(a, b)
    bounds = by_hand.confidence_interval(level)
    assert found.p == pytest.approx(by_hand.pvalue, rel=1e-9)
    assert found.statistic == pytest.approx(by_hand.statistic, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high), rel=1e-9, abs=1e-9)


@given(arms(RIGHT), st.sampled_from((0.8, 0.95)))
def test_mcnemar_is_scipys_binomial_test(pair, level):
    a, b = map(np.array, pair)
    won, lost = int((a > b).sum()), int((a < b).sum())
    found = mcnemar_exact(a.astype(bool), b, level=level)
    assert found.p == pytest.approx(stats.binomtest(won, won + lost).pvalue if won + lost else 1, rel=1e-9)
    assert found.p == pytest.approx(min(1, 2 * stats.binom.cdf(min(won, lost), won + lost, 0.5)), rel=1e-9)
    assert found.difference == pytest.approx((won - lost) / len(a))
    assert -1 <= found.low <= found.difference <= found.high <= 1


@given(arms(GRID, least=4), st.integers(2, 4))
def test_clusters_by_hand(pair, count):
    a, b = map(np.array, pair)
    differ(a, b)
    labels = np.arange(len(a)) % count
    d = a - b
    sums = [(d[labels == c] - d.mean()).sum() for c in range(count)]
    error = math.sqrt(count / (count - 1) * sum(s**2 for s in sums)) / len(d)
    assume(error > 1e-6)
    found = clustered_difference(a, b, [f"text {c}" for c in labels])
    assert found.standard_error == pytest.approx(error, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.95, count - 1, d.mean(), error), rel=1e-9, abs=1e-9
    )
    assert found.p == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, count - 1), rel=1e-9)


@given(arms(GRID))
def test_each_row_its_own_cluster_is_the_paired_test(pair):
    differ(*pair)
    plain, clustered = paired_difference(*pair), clustered_difference(*pair, range(len(pair[0])))
    assert (clustered.low, clustered.high, clustered.p) == pytest.approx(
        (plain.low, plain.high, plain.p), rel=1e-9, abs=1e-9
    )


@given(arms(GRID, most=8))
@settings(max_examples=30)
def test_a_permutation_of_few_rows_is_exact(pair):
    a, b = map(np.array, pair)
    differ(a, b)
    found = outcome(permutation, a, b)
    assume(not isinstance(found, str))
    signs = np.array(np.meshgrid(*[[1, -1]] * len(a))).reshape(len(a), -1)
    sums = (signs * (a - b)[:, None]).sum(axis=0)
    assert found.p == pytest.approx((np.abs(sums) >= abs((a - b).sum()) - 1e-9).mean(), rel=1e-9)
    assert f"all {2 ** len(a)} sign flips" in found.test


def test_bootstrap_is_scipys():
    """Rows are taken in the order of their scores, so a hand with the same seed must take them so too."""
    cost = np.sort(stats.lognorm.rvs(1, size=60, random_state=1))
    found = bootstrap(cost, np.zeros(60), seed=7, n_resamples=999)
    by_hand = stats.bootstrap((cost,), np.mean, n_resamples=999, rng=7, method="BCa").confidence_interval
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high), rel=1e-9)
    assert found.difference == pytest.approx(cost.mean())


@given(arms(GRID, count=4))
def test_friedman_is_scipys(four):
    means = np.array(four)
    assume(len(set(map(tuple, four))) == 4)
    assume(all(np.ptp(np.subtract(x, y)) > 0 for i, x in enumerate(four) for y in four[:i]))
    found = many_arms(dict(zip("ABCD", four, strict=True)))
    by_hand = stats.friedmanchisquare(*means)
    assert (found.statistic, found.p) == pytest.approx((by_hand.statistic, by_hand.pvalue), rel=1e-9)
    assert [pair.names for pair in found.pairs] == [tuple(pair) for pair in ("AB", "AC", "AD", "BC", "BD", "CD")]


@given(arms(RIGHT, count=4))
def test_cochrans_q_by_its_formula(four):
    x = np.array(four)
    rows, columns = x.sum(axis=0), x.sum(axis=1)
    assume((4 * rows.sum() - (rows**2).sum()) > 0)
    found = many_arms(dict(zip("ABCD", four, strict=True)), correction="bh")
    q = 3 * (4 * (columns**2).sum() - columns.sum() ** 2) / (4 * rows.sum() - (rows**2).sum())
    assert found.test == "Cochran's Q"
    assert (found.statistic, found.p) == pytest.approx((q, stats.chi2.sf(q, 3)), rel=1e-9, abs=1e-9)
    assert [pair.p_adjusted for pair in found.pairs] == pytest.approx(
        stats.false_discovery_control([p.p for p in found.pairs])
    )


@given(st.lists(WIDE, min_size=2, max_size=30), st.sampled_from((0.8, 0.95)))
def test_t_interval_is_scipys(scores, level):
    assume(np.ptp(scores) > 1e-6)
    found, by_hand = one_arm(scores, method="t", level=level), stats.ttest_1samp(scores, 0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high), rel=1e-9, abs=1e-9)


@given(st.lists(RIGHT, min_size=2, max_size=60), st.sampled_from(("wilson", "wilson-cc", "clopper-pearson")))
def test_proportions_lie_in_their_interval(scores, method):
    found = one_arm(scores, method=method)
    assert -1e-12 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1 + 1e-12


# ── repeats ──────────────────────────────────────────────────────────────────


@given(arms(GRID), st.integers(1, 5))
def test_repeating_the_same_sample_adds_nothing(pair, times):
    a, b = pair
    differ(a, b)
    plain, repeated = paired_difference(a, b), paired_difference([[x] * times for x in a], b)
    assert (repeated.low, repeated.high, repeated.p) == pytest.approx(
        (plain.low, plain.high, plain.p), rel=1e-9, abs=1e-9
    )
    assert repeated.n == len(a)


@given(st.lists(st.lists(st.one_of(RIGHT, st.none()), min_size=1, max_size=4), min_size=3, max_size=20))
def test_a_row_is_the_mean_of_its_scores(rows):
    known = [[s for s in row if s is not None] for row in rows]
    means = [sum(row) / len(row) for row in known if row]
    assume(len(means) > 1 and np.ptp(means) > 0)
    found = one_arm(rows, method="t")
    assert found.mean == pytest.approx(np.mean(means))
    assert (found.n, found.n_dropped) == (len(means), len(rows) - len(means))
    failed = one_arm(rows, method="t", failed_as=0) if np.ptp([sum(filter(None, r)) / len(r) for r in rows]) else None
    assert failed is None or (failed.n_dropped == 0 and failed.mean <= found.mean + 1 - min(means))


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_chance_of_a_draw(numbers):
    n, c, k = numbers
    assert pass_at_k(n, c, k) == pytest.approx(stats.hypergeom.sf(0, n, c, k), abs=1e-12)


def test_pass_at_k_over_rows():
    rows = [[1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0], [1, None, 0]]
    found = mean_pass_at_k(rows, 3)
    by_hand = stats.ttest_1samp([1, 1, 0, 1], 0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((0.75, by_hand.low, by_hand.high))
    assert (found.n, found.n_dropped) == (4, 1)
    assert mean_pass_at_k(rows, 3, failed_as=0).mean == pytest.approx(0.8)


# ── ratios ───────────────────────────────────────────────────────────────────


@settings(max_examples=25)
@given(arms(st.integers(1, 400).map(lambda i: i / 8), least=5))
def test_a_ratio_turned_over_is_its_inverse(pair):
    a, b = pair
    forward, backward = outcome(lambda *x: bootstrap_ratio(*x, n_resamples=199), a, b), None
    assume(not isinstance(forward, str))
    backward = bootstrap_ratio(b, a, n_resamples=199)
    assert (forward.ratio, forward.low, forward.high) == pytest.approx(
        (1 / backward.ratio, 1 / backward.high, 1 / backward.low), rel=1e-9
    )
    scaled = bootstrap_ratio([x * 4 for x in a], [x * 4 for x in b], n_resamples=199)
    assert (scaled.ratio, scaled.low, scaled.high) == pytest.approx(
        (forward.ratio, forward.low, forward.high), rel=1e-9
    )


# ── power ────────────────────────────────────────────────────────────────────

VARIANCES = st.builds(Variances, *[st.floats(0.01, 1)] * 3)


@given(VARIANCES, st.floats(0.01, 0.5), st.integers(1, 9))
def test_rows_needed_and_smallest_difference_are_inverse(spread, difference, samples):
    n = rows_needed(difference, spread, samples_a=samples)
    assert smallest_difference(n, spread, samples_a=samples) <= difference * (1 + 1e-9)
    if n > 2:
        assert smallest_difference(n - 1, spread, samples_a=samples) > difference * (1 - 1e-9)


@given(VARIANCES, st.integers(1, 9))
def test_more_samples_never_need_more_rows(spread, samples):
    assert rows_needed(0.1, spread, samples_a=samples + 1) <= rows_needed(0.1, spread, samples_a=samples)


def test_variances_of_a_pilot_by_hand():
    a, b = np.random.default_rng(3).random((2, 40, 4))
    found = variances(a, b[:, :2])
    within = a.var(axis=1, ddof=1).mean(), b[:, :2].var(axis=1, ddof=1).mean()
    between = (a.mean(axis=1) - b[:, :2].mean(axis=1)).var(ddof=1) - within[0] / 4 - within[1] / 2
    assert (found.within_a, found.within_b, found.between) == pytest.approx((*within, max(0, between)))
    planned = power(a, b[:, :2], 0.05)
    assert (planned.samples_a, planned.samples_b) == pytest.approx((4, 2))
    assert planned.n_more == planned.n_needed - 40


def test_the_simulated_power_is_the_one_asked_for():
    rng = np.random.default_rng(5)
    spread = Variances(0.04, 0.1, 0.1)
    n = rows_needed(0.1, spread, samples_a=2)
    true = 0.1 + rng.normal(0, 0.2, (4000, n))
    noise = rng.normal(0, math.sqrt(0.1 / 2), (2, 4000, n))
    found = stats.ttest_1samp(true + noise[0] - noise[1], 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


# ── stopping early ───────────────────────────────────────────────────────────


@given(st.lists(st.sampled_from((-1, 0, 1)), min_size=2, max_size=60))
def test_evidence_grows_with_the_largest_look(signs):
    found = anytime(signs, [0] * len(signs))
    wins = np.cumsum([s > 0 for s in signs if s])
    looks = [e_value(int(w), m) for m, w in enumerate(wins, 1)]
    assert found.e_max == pytest.approx(max([1.0, *looks]))
    assert found.p == pytest.approx(1 / found.e_max)
    assert found.e == pytest.approx(looks[-1] if looks else 1)
    assert found.low <= (0.5 if found.share is None else found.share) <= found.high
    # the interval shuts out ½ exactly where the evidence of this look is enough
    assert (found.low <= 0.5 <= found.high) == (found.e <= 20)
    mirrored = anytime([0] * len(signs), signs)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


@pytest.mark.parametrize("decided", [1, 5, 20])
def test_an_e_value_is_1_on_average_when_nothing_differs(decided):
    """Which is why stopping at e ≥ 1/α is wrong with chance α at most (Ville)."""
    chances = [math.comb(decided, w) / 2**decided for w in range(decided + 1)]
    assert sum(p * e_value(w, decided) for w, p in enumerate(chances)) == pytest.approx(1)


# ── p-values ─────────────────────────────────────────────────────────────────


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_corrected_p_values_keep_their_order(p_values, random):
    for method in ("holm", "bh"):
        q = adjust(p_values, method)
        assert all(before <= after + 1e-15 <= 1 + 1e-12 for before, after in zip(p_values, q, strict=True))
        ranked = [q[i] for i in sorted(range(len(q)), key=p_values.__getitem__)]
        assert ranked == sorted(ranked)
        order = list(range(len(q)))
        random.shuffle(order)
        assert adjust([p_values[i] for i in order], method) == pytest.approx([q[i] for i in order])
    assert all(bh <= holm + 1e-12 for bh, holm in zip(adjust(p_values, "bh"), adjust(p_values, "holm"), strict=True))
