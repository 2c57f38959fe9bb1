"""Known answers: published examples, R, statsmodels and scipy's own tests."""

import math

import pytest

from llmlens.study.statistics import (
    Battle,
    Variances,
    adjust,
    bradley_terry,
    cohen_kappa,
    e_value,
    mcnemar_table,
    newcombe_10,
    one_arm,
    pass_at_k,
    rows_needed,
    smallest_difference,
)


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ([[101, 121], [59, 33]], 4.434e-6),
        ([[101, 70], [59, 33]], 0.378688),
        ([[101, 80], [59, 33]], 0.089452),
        ([[101, 30], [60, 33]], 0.00206),
        ([[101, 10], [30, 33]], 0.002221),
    ],
)
def test_exact_mcnemar(table, p):
    """statsmodels tests (R, Vassar)."""
    assert mcnemar_table(table).p == pytest.approx(p, rel=2e-4)


@pytest.mark.parametrize(
    ("method", "statistic", "p"), [("chi2-corrected", 20.67222, 5.450095e-6), ("chi2", 21.35556, 3.815136e-6)]
)
def test_mcnemar_by_chi_squared(method, statistic, p):
    found = mcnemar_table([[101, 121], [59, 33]], method=method)
    assert found.statistic == pytest.approx(statistic, abs=5e-6)
    assert found.p == pytest.approx(p, rel=1e-6)


def test_newcombe_10():
    """Newcombe 1998."""
    assert newcombe_10(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    found = mcnemar_table([[36, 12], [2, 0]])
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert found.difference == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("k", "n", "method", "bounds"),
    [
        (3, 10, "wilson", (0.1077913, 0.6032219)),
        (3, 10, "wilson-cc", (0.08094782, 0.64632928)),
        (0, 10, "wilson", (0, 0.2775328)),
        (7, 50, "clopper-pearson", (0.05819170, 0.26739600)),
    ],
)
def test_proportion_of_one_arm(k, n, method, bounds):
    """scipy's tests (R) and documentation."""
    found = one_arm([1] * k + [0] * (n - k), method=method)
    assert (found.low, found.high) == pytest.approx(bounds, abs=5e-8)
    assert found.mean == k / n


@pytest.mark.parametrize(("samples", "left"), [(1, 1), (2, 2 / 3), (4, 1 / 2), (6, 4 / 9)])
def test_variance_that_repeats_leave(samples, left):
    """Miller 2024: a chance of being right that is uniform over rows, one arm."""
    uniform = Variances(between=1 / 12, within_a=1 / 6, within_b=0)
    assert uniform.per_row(samples) / uniform.per_row(1) == pytest.approx(left)


def test_rows_needed():
    """Miller 2024."""
    assert rows_needed(0.03, Variances(1 / 9, 1 / 6, 1 / 6), samples_a=math.inf) == 969
    assert rows_needed(-0.03, Variances(1 / 9)) == 969


@pytest.mark.parametrize(("samples", "effect"), [(1, 0.1327), (10, 0.0757)])
def test_smallest_difference(samples, effect):
    """Miller 2024, who rounds down to 13.2 and 7.5 %."""
    assert smallest_difference(198, Variances(1 / 9, 1 / 6, 1 / 6), samples_a=samples) == pytest.approx(
        effect, abs=5e-5
    )


def test_clusters_of_one_arm():
    scores, clusters = [1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1], "aaaabbbbcccc"
    clustered = one_arm(scores, clusters=clusters)
    assert one_arm(scores, method="t").standard_error == pytest.approx(0.142134, abs=5e-7)
    assert clustered.standard_error == pytest.approx(0.220479, abs=5e-7)
    assert clustered.standard_error * math.sqrt(2 / 3) == pytest.approx(0.180021, abs=5e-7)  # without C/(C − 1)
    assert clustered.n_clusters == 3


def test_bradley_terry():
    """Textbook example, geometric mean 1."""
    played = [("A", "B", 2, 3), ("A", "D", 1, 4), ("B", "C", 5, 3), ("C", "D", 1, 3)]
    battles = [Battle(a, b, score) for a, b, w, l in played for score in [1] * w + [0] * l]  # noqa: E741
    found = {arm.name: arm for arm in bradley_terry(battles).arms}
    assert [found[name].strength for name in "ABCD"] == pytest.approx([0.640, 1.043, 0.660, 2.270], abs=5e-4)
    assert math.prod(arm.strength for arm in found.values()) == pytest.approx(1)
    assert found["D"].rating - 1000 == pytest.approx(400 * math.log10(found["D"].strength))


@pytest.mark.parametrize(
    ("wins", "decided", "e"), [(7, 7, 16), (8, 8, 28.44), (10, 10, 93.09), (15, 20, 3.22), (65, 100, 11.46)]
)
def test_e_value(wins, decided, e):
    assert e_value(wins, decided) == pytest.approx(e, abs=5e-3)
    assert e_value(wins, decided) == pytest.approx(2**decided / ((decided + 1) * math.comb(decided, wins)), rel=1e-11)


def test_pass_at_k():
    assert pass_at_k(5, 2, 3) == pytest.approx(0.9)


def test_adjusted_p_values():
    assert adjust([0.01, 0.04, 0.03, 0.005], "bh") == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert adjust([0.01, 0.04, 0.03, 0.005], "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])  # statsmodels


@pytest.mark.parametrize(
    ("table", "kappa", "error"),
    [([[20, 5], [10, 15]], 0.4, 0.12699606), ([[10, 2, 3], [1, 20, 4], [0, 5, 15]], 0.61206897, 0.08708180)],
)
def test_kappa(table, kappa, error):
    """statsmodels."""
    pairs = [(x, y) for x, row in enumerate(table) for y, times in enumerate(row) for _ in range(times)]
    found = cohen_kappa(*zip(*pairs, strict=True))
    assert (found.kappa, found.standard_error) == pytest.approx((kappa, error), abs=5e-9)
