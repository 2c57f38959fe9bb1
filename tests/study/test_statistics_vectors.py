"""Known answers from papers, textbooks and other software, one test a line of their table."""

import math

import numpy as np
import pytest
from scipy import stats

from llmlens.errors import StudyError
from llmlens.study import statistics as study
from llmlens.study.power import Variances


def scores(k: int, n: int) -> list[int]:
    return [1] * k + [0] * (n - k)


@pytest.mark.parametrize(
    ("table", "p"),
    [
        (((101, 121), (59, 33)), 4.434e-6),
        (((101, 70), (59, 33)), 0.378688),
        (((101, 80), (59, 33)), 0.089452),
        (((101, 30), (60, 33)), 0.00206),
        (((101, 10), (30, 33)), 0.002221),
    ],
)
def test_mcnemar_exact(table, p):
    assert study.mcnemar_table(table).p == pytest.approx(p, rel=1e-3)


def test_mcnemar_by_chi_square():
    table = ((101, 121), (59, 33))
    corrected = study.mcnemar_table(table, method="chi2-corrected")
    plain = study.mcnemar_table(table, method="chi2")
    assert (corrected.statistic, corrected.p) == pytest.approx((20.67222, 5.450095e-6), rel=1e-6)
    assert (plain.statistic, plain.p) == pytest.approx((21.35556, 3.815136e-6), rel=1e-6)


def test_newcombe_method_10():
    assert study.newcombe_10(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@pytest.mark.parametrize(
    ("k", "n", "method", "interval"),
    [
        (3, 10, "wilson", (0.1077913, 0.6032219)),
        (3, 10, "wilson-cc", (0.08094782, 0.64632928)),
        (0, 10, "wilson", (0, 0.2775328)),
        (7, 50, "clopper-pearson", (0.05819170, 0.26739600)),
    ],
)
def test_intervals_of_a_proportion(k, n, method, interval):
    found = study.one_arm(scores(k, n), method=method)
    assert (found.low, found.high) == pytest.approx(interval, abs=1e-7)
    assert (found.mean, found.n) == (k / n, n)


def test_more_samples_a_row_help_less_and_less():
    pilot = Variances(
        between=1 / 9 * 3, within_a=1 / 3, within_b=1 / 3
    )  # two thirds of one sample's variance is within
    ratios = [pilot.per_row(k) / pilot.per_row(1) for k in (1, 2, 4, 6)]
    assert ratios == pytest.approx([1, 2 / 3, 1 / 2, 4 / 9])


def test_rows_needed_and_the_smallest_difference():
    assert study.rows_needed(0.03, Variances(1 / 9, 1 / 6, 1 / 6), samples_a=math.inf) == 969
    pilot = Variances(1 / 9, 1 / 6, 1 / 6)
    assert study.smallest_difference(198, pilot) == pytest.approx(0.1327, abs=5e-5)
    assert study.smallest_difference(198, pilot, samples_a=10) == pytest.approx(0.0757, abs=5e-5)


def test_rows_that_belong_together():
    values = [1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1]
    clusters = [c for c in "abc" for _ in range(4)]
    reach = stats.t.ppf(0.975, 2)
    found = study.one_arm(values, clusters=clusters)
    assert (found.high - found.low) / 2 == pytest.approx(0.220479 * reach, rel=1e-5)
    naive = study.one_arm(values, method="t")
    assert (naive.high - naive.low) / 2 == pytest.approx(0.142134 * stats.t.ppf(0.975, 11), rel=1e-5)


def test_bradley_terry():
    wins = {("A", "B"): (2, 3), ("A", "D"): (1, 4), ("B", "C"): (5, 3), ("C", "D"): (1, 3)}
    battles = [study.Battle(a, b, won) for (a, b), (x, y) in wins.items() for won in [1.0] * x + [0.0] * y]
    ratings = {arm.name: arm.rating for arm in study.bradley_terry(battles).arms}
    strength = {name: math.exp((rating - 1000) * math.log(10) / 400) for name, rating in ratings.items()}
    middle = math.prod(strength.values()) ** 0.25
    assert [strength[n] / middle for n in "ABCD"] == pytest.approx([0.640, 1.043, 0.660, 2.270], abs=5e-4)


@pytest.mark.parametrize(
    ("w", "m", "e"), [(7, 7, 16), (8, 8, 28.44), (10, 10, 93.09), (15, 20, 3.22), (65, 100, 11.46)]
)
def test_evidence_at_any_time(w, m, e):
    assert study.e_value(w, m) == pytest.approx(e, abs=5e-3)


def test_pass_at_k_and_false_discovery():
    assert study.pass_at_k(5, 2, 3) == pytest.approx(0.9)
    assert study.adjust([0.01, 0.04, 0.03, 0.005], "bh") == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_a_paired_difference_is_scipys():
    draw = np.random.default_rng(7)
    a, b = draw.random(40), draw.random(40)
    found, theirs = study.paired_difference(a, b), stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.95)
    assert (found.difference, found.p) == pytest.approx((float(np.mean(a - b)), theirs.pvalue), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    other = study.paired_difference(b, a)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(
    "asks",
    [
        lambda: study.one_arm([]),
        lambda: study.one_arm([0.5]),
        lambda: study.paired_difference([1, 2, 3], [1, 2]),
        lambda: study.paired_difference([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
        lambda: study.bradley_terry([study.Battle("a", "b", 1.0), study.Battle("c", "d", 0.0)]),
        lambda: study.pass_at_k(3, 1, 4),
        lambda: study.e_value(3, 2),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(asks):
    with pytest.raises(StudyError) as refused:
        asks()
    assert len(str(refused.value).split()) > 5
