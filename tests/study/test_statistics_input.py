"""Bad input ends in a sentence that says what to do; what is odd but usable is read, and what is dropped is told."""

import math
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.errors import LensError, StudyError
from llmlens.study import statistics
from llmlens.study.statistics import (
    Battle,
    Variances,
    adjust,
    anytime,
    bootstrap,
    bootstrap_ratio,
    bradley_terry,
    clustered_difference,
    cohen_kappa,
    compare,
    e_value,
    many_arms,
    mcnemar_exact,
    mcnemar_table,
    mean_pass_at_k,
    one_arm,
    paired_difference,
    pass_at_k,
    permutation,
    power,
    rows_needed,
    smallest_difference,
    swap_consistency,
    variances,
)

NAN = math.nan
PAIRED = [paired_difference, permutation, bootstrap, bootstrap_ratio, compare, mcnemar_exact, anytime, variances]
SPREAD = [paired_difference, permutation, bootstrap, variances, lambda a, b: clustered_difference(a, b, range(len(a)))]


@pytest.mark.parametrize("test", PAIRED)
@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([], [], "A has no rows: give one score for each row"),
        ([1], [0], r"only one row has a score in both A and B \(of 1\).*add rows"),
        ([1, NAN], [0, 1], r"only one row has a score in both A and B \(of 2\)"),
        ([NAN, None], [0, 1], "no row has a score in both A and B"),
        ([1, 0, 1], [0, 1], "A has 3 rows, B has 2: both answer the same rows"),
        ([1, "yes"], [0, 1], r"A, row 1 \(counted from 0\): 'yes' is a str, not a number"),
        (["1", "0"], [0, 1], "'1' is a str, not a number"),
        ([1, 0], [0, [1, {}]], r"B, row 1 \(counted from 0\): \{\} is a dict"),
        ([1, math.inf], [0, 1], "A, row 1 .*: inf is out of range"),
        ([1, 10**400], [0, 1], "out of range"),
        ([1, 1e-200], [0, 1], "1e-200 is out of range.*change the unit"),
        ([1, 1j], [0, 1], "is a complex, not a number"),
        ("10", [0, 1], "A is a str: give a sequence"),
        ({"x": 1}, [0, 1], "A is a dict: give a sequence"),
        ({1, 0}, [0, 1], "A is a set: give a sequence"),
        (5, [0, 1], "A is a int: give a sequence"),
        (np.array(5), [0, 1], "A is a single value"),
        (np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]"), [0, 1], "not a number"),
    ],
)
def test_scores_that_cannot_be_compared(test, a, b, says):
    with pytest.raises(StudyError, match=says):
        test(a, b)


@pytest.mark.parametrize("test", SPREAD)
@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([1, 0, 1, 1], [1, 0, 1, 1], "the same|A and B tie on all 4 rows: nothing to test; add rows"),
        ([0.3] * 5, [0.1] * 5, r"A − B is 0\.2 on all 5 rows: there is no variance|the same"),
        ([0.1 + 0.2, 1.3, 2.3], [0.0, 1.0, 2.0], r"A − B is 0\.3 on all 3 rows: there is no variance|the same"),
    ],
)
def test_no_variance(test, a, b, says):
    with pytest.raises(StudyError, match=says):
        test(a, b)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: one_arm([]), "A has no rows"),
        (lambda: one_arm([1]), "only one row has a score in A"),
        (lambda: one_arm([NAN, NAN]), "no row has a score in A"),
        (lambda: one_arm([0.7] * 4, name="gpt"), "gpt scores 0.7 on all 4 rows: a t interval needs variance"),
        (lambda: one_arm([1, 0, 1], method="bayes"), "no method 'bayes'; known: t, wilson"),
        (lambda: one_arm([1, 0.5, 1], method="wilson"), "'wilson' needs one score of 0 or 1 a row"),
        (lambda: one_arm([[1, 0], [1, 1]], method="wilson"), "use method 't'"),
        (lambda: one_arm([1, 0], level=95), "level is 95: give a number between 0 and 1"),
        (lambda: one_arm([1, 0], level="95%"), "level: '95%' is a str"),
        (lambda: one_arm([1, None], failed_as=NAN), "failed_as is nan: give a number"),
        (lambda: compare([1, 0], [0, 1], names=("x", "x")), "both arms are called 'x'"),
        (lambda: clustered_difference([1, 0, 1], [0, 0, 1], "aa"), "2 cluster labels for 3 rows"),
        (lambda: clustered_difference([1, 0, 1], [0, 0, 1], "aaa"), "all rows are in one cluster"),
        (lambda: clustered_difference([1, 0, 1], [0, 0, 1], ["a", None, "b"]), "a row has no cluster label"),
        (lambda: clustered_difference([1, 0, 1], [0, 0, 1], ["a", NAN, "b"]), "a row has no cluster label"),
        (lambda: clustered_difference([1, 0, 1], [0, 0, 1], ["a", ["b"], "b"]), "is a list or the like"),
        (lambda: clustered_difference([1, 0, 1, 0], [0, 1, 0, 1], "aabb"), "every cluster has the same mean"),
        (lambda: mcnemar_exact([0.5, 1], [0, 1]), "needs one score of 0 or 1 a row in A and B: use permutation"),
        (lambda: mcnemar_exact([[1, 0], [1, 1]], [0, 1]), "use permutation for repeated samples"),
        (lambda: mcnemar_table([[1, 2, 3]]), "not 2 x 2 counts"),
        (lambda: mcnemar_table([[1, -2], [3, 4]]), "none below 0"),
        (lambda: mcnemar_table([[1, 2.5], [3, 4]]), "give whole counts"),
        (lambda: mcnemar_table([[0, 0], [0, 0]]), "at least two rows"),
        (lambda: mcnemar_table([[5, 0], [0, 4]], method="chi2"), "use method 'exact'"),
        (lambda: mcnemar_table([[5, 0], [0, 4]], method="t"), "no method 't'; known: exact"),
        (lambda: bootstrap([1, 2, 4], [0, 3, 3], of="mode"), "no bootstrap of the 'mode'; known: mean, median"),
        (lambda: bootstrap([1, 2, 4], [0, 3, 3], n_resamples=5), "n_resamples is 5: give a whole number from 99 on"),
        (lambda: permutation([1, 2, 4], [0, 3, 3], seed=-1), "seed is -1: give a whole number"),
        (lambda: bootstrap_ratio([1, 2, -4], [1, 3, 3]), "needs scores of 0 and more"),
        (lambda: bootstrap_ratio([0, 0, 0], [1, 3, 3]), "not all 0: use bootstrap for their difference"),
        (lambda: bootstrap_ratio([2, 4, 8], [1, 2, 4]), "A / B is 2 on every row: there is no variance"),
        (lambda: bootstrap_ratio([0, 0, 0, 5], [1, 3, 3, 2]), "the bootstrap has no interval over these 4 rows"),
        (lambda: many_arms({"A": [1, 0], "B": [0, 1]}), "2 arms: three or more are needed here; use compare"),
        (lambda: many_arms({"A": [1, 0], "B": [0, 1], "C": [1]}), r"differ in rows \(A 2, B 2 and C 1\)"),
        (lambda: many_arms({"A": [1, 0], "B": [1, 0], "C": [1, 0]}), "all arms tie on all 2 rows"),
        (lambda: many_arms({"A": [1, NAN], "B": [NAN, 1], "C": [1, 1]}), "no row has a score in every arm"),
        (lambda: many_arms({"A": [1, 0.5], "B": [1, 0.5], "C": [1, 0]}), "A and B tie on all 2 rows"),
        (
            lambda: many_arms({"A": [1, 0], "B": [1, 0], "C": [1, 0]}, correction="none"),
            "no correction 'none'; known: holm, bh",
        ),
        (lambda: adjust([0.1, 1.5]), "p-values lie between 0 and 1"),
        (lambda: one_arm([1, None], failed_as=math.inf), "failed_as: inf is out of range"),
        (lambda: rows_needed(math.inf, Variances(1)), "the difference is inf: give a number"),
        (lambda: adjust([0.1, NAN]), "a p-value is nan"),
        (lambda: power([1, 0, 1], [0, 1, 1], 0), "the difference to see is 0"),
        (lambda: power([1, 0, 1], [0, 1, 1], 0.1, samples_a=3), "the pilot has one sample a row"),
        (lambda: power([1, 0, 1], [0, 1, 1], 0.1, samples_a=0), "0 samples a row: give 1 or more"),
        (lambda: rows_needed(0.1, Variances(0)), "a variance of 0 a row cannot be planned with"),
        (lambda: rows_needed(0.1, Variances(1), power=1), "power is 1: give a number between 0 and 1"),
        (lambda: smallest_difference(1, Variances(1)), "1 row: a comparison needs at least two"),
        (lambda: pass_at_k(2, 1, 3), r"pass@3 of 1 right in 2 samples.*take more samples"),
        (lambda: pass_at_k(2, 3, 1), "c from 0 to n"),
        (lambda: mean_pass_at_k([[1, 0], [1, 1]], 3), "fewer than two rows of A have 3 samples"),
        (lambda: mean_pass_at_k([[1, 0.5], [1, 1]], 2), "needs scores of 0 or 1"),
        (lambda: cohen_kappa([], []), "0 items labelled by both"),
        (lambda: cohen_kappa("aab", "aa"), "judge has 3 labels, human has 2"),
        (lambda: cohen_kappa("aaa", "aaa"), "both say 'a' of all 3 items: κ needs two labels"),
        (lambda: cohen_kappa([["a"], "b"], ["a", "b"]), r"\['a'\] is no label"),
        (lambda: swap_consistency(["a", "x"], ["a", "b"]), "'x' is no verdict"),
        (lambda: swap_consistency([None], ["a"]), "none of 1 pair has a verdict in both orders"),
        (lambda: swap_consistency([], []), "none of 0 pairs"),
        (lambda: e_value(3, 2), "3 wins of 2 decided rows"),
        (lambda: bradley_terry([]), "no battles with a verdict"),
        (lambda: bradley_terry([Battle("A", "A", 1)]), "an arm cannot be compared with itself"),
        (lambda: bradley_terry([Battle("A", "B", 2)]), "the score is 2; give 1 for a win"),
        (lambda: bradley_terry([Battle("A", "B", "A")]), "A against B: 'A' is a str"),
        (lambda: bradley_terry([Battle("A", "B", 0.5)] * 3), "all 3 battles are ties"),
        (lambda: bradley_terry([Battle("A", "B", None)] * 3), "nothing links these groups of arms: A; B"),
    ],
)
def test_what_cannot_be_answered(call, says):
    with pytest.raises(StudyError, match=says):
        call()


def test_groups_that_were_never_compared_are_named():
    battles = [Battle(a, b, s) for a, b in (("A", "B"), ("C", "D"), ("D", "E")) for s in (1, 0)]
    with pytest.raises(StudyError, match=r"nothing links these groups of arms: A and B; C, D and E\. Compare"):
        bradley_terry(battles)


def test_an_arm_that_never_lost_is_named():
    battles = [Battle("A", "B", 1), Battle("B", "C", 1), Battle("C", "B", 1), Battle("A", "C", 1)]
    with pytest.raises(StudyError, match=r"A never lost to B and C, so the distance .* has no bound: add"):
        bradley_terry(battles)
    assert bradley_terry([*battles, Battle("A", "C", 0.5)]).arms[0].name == "A"


def test_a_ranking_compares_two_of_its_arms():
    found = bradley_terry([Battle("A", "B", 1), Battle("A", "B", 0)])
    with pytest.raises(StudyError, match="cannot compare 'A' and 'X': give two of A and B"):
        found.difference("A", "X")


def test_ties_are_an_answer_of_mcnemar():
    found = compare([1] * 50, [1] * 50)
    assert (found.difference, found.p, found.correlation) == (0, 1, None)
    assert (found.low, found.high) == pytest.approx((-0.0714, 0.0714), abs=1e-4)


def test_no_decided_row_is_an_answer_while_it_runs():
    found = anytime([1, 0, 1], [1, 0, 1])
    assert (found.share, found.low, found.high, found.e, found.p, found.stop) == (None, 0, 1, 1, 1, False)


@pytest.mark.parametrize(
    "scores",
    [
        [True, False, None, True],
        (1, 0, NAN, 1.0),
        np.array([1, 0, NAN, 1]),
        np.array([[1], [0], [NAN], [1]]),
        np.array([True, False, None, True], dtype=object),
        pd.Series([1, 0, None, 1]),
        pd.Series([True, False, pd.NA, True], dtype="boolean"),
        pd.Series([1, 0, pd.NA, 1], dtype="Float64"),
        pd.Series([1, 0, None, 1], index=list("wxyz"), dtype=object),
        pd.DataFrame({"sample 1": [1, 0, None, 1]}),
        [Decimal(1), Decimal(0), Decimal("NaN"), np.float32(1)],
        [[1], [0], [], [1]],
        [np.array([1]), [0], [None], (1,)],
        iter([1, 0, None, 1]),
    ],
)
def test_scores_come_in_many_shapes(scores):
    found = one_arm(scores)
    assert (found.mean, found.n, found.n_dropped) == (pytest.approx(2 / 3), 3, 1)
    assert found.test == "Wilson interval, 2 of 3"


ODD = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.decimals(), st.text(max_size=2), st.just(pd.NA),
    st.sampled_from((0.1, 0.2, 0.30000000000000004, 1e-99, 1e99, -1e99, 1e-300)),
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.tuples(*[st.one_of(ODD, st.lists(ODD, max_size=3))] * 3), max_size=6))
def test_whatever_comes_in_an_answer_or_a_sentence_comes_out(rows):
    a, b, c = ([row[i] for row in rows] for i in range(3))
    calls = [
        lambda: one_arm(a), lambda: compare(a, b), lambda: paired_difference(a, b), lambda: many_arms({"A": a, "B": b, "C": c}),
        lambda: clustered_difference(a, b, [i % 2 for i in range(len(a))]), lambda: bootstrap(a, b, n_resamples=99),
        lambda: bootstrap(a, b, of="median", n_resamples=99), lambda: bootstrap_ratio(a, b, n_resamples=99),
        lambda: permutation(a, b, n_resamples=99), lambda: anytime(a, b), lambda: power(a, b, 0.1), lambda: mean_pass_at_k(a, 2),
    ]  # fmt: skip
    for call in calls:
        try:
            found = call()
        except StudyError:
            continue
        numbers = [getattr(found, name, 0.0) for name in ("difference", "low", "high", "p", "mean")]
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert "nan" not in found.sentence()


def test_nothing_is_loaded_before_it_is_needed():
    code = "import sys, llmlens, llmlens.study; assert 'numpy' not in sys.modules; import llmlens.study.statistics"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'scipy' not in sys.modules"], check=True)


def test_study_errors_are_ours():
    assert issubclass(StudyError, LensError)


def test_every_public_name_says_what_it_is():
    for name in statistics.__all__:
        assert getattr(statistics, name).__doc__, name
