"""Sentences that a reader can quote: estimate, interval with level, rows, dropped rows, test; never a bare p."""

import numpy as np
import pytest

from llmlens.study.statistics import (
    Battle,
    anytime,
    bootstrap,
    bootstrap_ratio,
    bradley_terry,
    clustered_difference,
    cohen_kappa,
    compare,
    many_arms,
    mcnemar_exact,
    mean_pass_at_k,
    one_arm,
    paired_difference,
    permutation,
    power,
    swap_consistency,
)
from llmlens.study.wording import count, level_percent, listed, number, p_value, percent

A = [0.9, 0.4, None, 0.7, 0.6]
B = [0.5, 0.5, 0.2, 0.1, 0.4]
RIGHT_A, RIGHT_B = [1, 1, 1, 0, None, 1], [0, 1, 0, 1, 1, 0]


def test_a_paired_difference_in_full():
    assert str(paired_difference(A, B, names=("small", "large"), unit="s")) == (
        "small − large = +0.275 s, 95 % interval -0.2002 to 0.7502 s, over 4 rows (paired t test; p = 0.16; "
        "correlation -0.13). small scores 0.65 s, large 0.375 s. 1 of 5 rows dropped for want of a score. "
        "1 sample without a score (errors) left out, not counted as failures."
    )


def test_errors_that_count_as_failures():
    words = paired_difference(A, B, failed_as=0).sentence()
    assert words.endswith("No row dropped. 1 sample without a score (errors) counted as 0.")


QUOTABLE = {
    "one arm": (one_arm([1, 0, None, 1]), "Wilson interval, 2 of 3"),
    "one arm, t": (one_arm(A), "t interval"),
    "one arm, clusters": (one_arm(A, clusters="aabbc"), "t interval with the standard error of 3 clusters"),
    "pass@k": (
        mean_pass_at_k([[1, 0], [1, 1], [0, 0], [1, None]], 2),
        "1 of 4 rows dropped for want of 2 scored samples",
    ),
    "paired": (paired_difference(A, B), "paired t test"),
    "clusters": (clustered_difference(A, B, "aabbc"), "paired t test with the standard error of 3 clusters"),
    "McNemar": (
        mcnemar_exact(RIGHT_A, RIGHT_B),
        "exact McNemar test, 3 won by A alone, 1 by B; interval by Newcombe's",
    ),
    "what fits": (compare(RIGHT_A, RIGHT_B), "exact McNemar test"),
    "permutation": (permutation(A, B), "sign-flip permutation test over rows, all 16 sign flips; interval by BCa"),
    "bootstrap": (bootstrap(A, B), "difference of means, BCa bootstrap over rows, 9,999 resamples"),
    "ratio": (bootstrap_ratio(A, B), "ratio of means, BCa bootstrap over rows, 9,999 resamples"),
    "many arms": (many_arms({"A": RIGHT_A, "B": RIGHT_B, "C": [0] * 6}), "after Holm over 3 comparisons"),
    "Bonferroni's rival": (many_arms({"A": A, "B": B, "C": range(5)}, correction="bh"), "after Benjamini-Hochberg"),
    "swap": (swap_consistency(["a", "b", None], ["a", "a", "a"]), "Wilson interval, 1 of 2"),
    "kappa": (cohen_kappa(["x", "y", "x", None], ["x", "y", "y", "x"]), "Cohen's κ, normal interval"),
    "ranking": (bradley_terry([Battle("A", "B", s) for s in (1, 0, 1, None)]), "Bradley-Terry by maximum likelihood"),
    "anytime": (anytime(RIGHT_A, RIGHT_B), "e-value of a uniform mixture of binomials, valid at every look"),
}


@pytest.mark.parametrize("kind", QUOTABLE)
def test_every_answer_can_be_quoted(kind):
    found, test = QUOTABLE[kind]
    assert found.n_dropped == 1
    for line in str(found).splitlines():
        assert "95 % interval" in line or "χ²" in line
        assert "dropped" in line
        assert f"over {found.n} " in line or f"of {found.n} " in line or "−" in line
    assert test in str(found)


def test_the_plan_of_a_pilot():
    rng = np.random.default_rng(1)
    pilot = [(rng.random(320) < chance).astype(int) for chance in (0.8, 0.78)]
    found = power(*pilot, 0.1, names=("old", "new"))
    assert found.n_more == found.n_needed - found.n == 0 or f"{found.n_more:,}"[0] in found.sentence()
    words = power(*pilot, 0.08).sentence()
    assert words.startswith("About ")
    assert "more rows to resolve 8 points between A and B" in words
    assert "80 % power, two-sided 5 % level" in words
    assert (
        power(*pilot, 0.5).sentence().startswith("No more rows to resolve 50 points between A and B: there are enough")
    )
    assert "to resolve 0.01 USD" in power(*pilot, 0.01, unit="USD").sentence()


def test_a_plan_is_rounded_up_to_two_digits():
    found = power([0, 1, 2, 3.5], [1, 0, 2, 2], 0.3)
    assert found.n_more == found.n_needed - 4
    rounded = int(found.sentence().removeprefix("About ").split()[0].replace(",", ""))
    assert found.n_more <= rounded < found.n_more * 1.1 + 1


def test_perfect_agreement_is_not_proof():
    assert "not because 3 items prove it" in str(cohen_kappa("xyx", "xyx"))


def test_few_rows_are_told():
    assert "Under 200 rows a t interval of scores between 0 and 1 tends to be too narrow." in str(one_arm(A))
    assert "Under" not in str(one_arm([x / 300 for x in range(300)]))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (number(0.0517), "0.0517"), (number(0.05, signed=True), "+0.05"), (number(123456.7), "123,457"),
        (number(0.0000213), "2.13e-05"), (number(1e99), "1e+99"), (percent(0.1789), "17.9 %"), (level_percent(0.9999), "99.99 %"),
        (p_value(0.01234), "p = 0.012"), (p_value(0.0), "p < 1e-300"), (count(1, "row"), "1 row"), (count(1319, "row"), "1,319 rows"),
        (listed(["A"]), "A"), (listed(["A", "B", "C"]), "A, B and C"),
    ],
)  # fmt: skip
def test_how_numbers_are_written(written, text):
    assert written == text
