"""The word problems: reproducible, many kinds, integer answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.draws import Draws
from llmlens.catalog.problems import arithmetic_problems, problem_kinds

FIRST = {
    "question": "Farid scores 67, 89 and 72 points in a series of games. What is the average score?",
    "answer": 76,
    "kind": "average",
}


@given(st.integers(0, 60), st.integers(0, 60), st.integers())
def test_more_problems_begin_with_the_fewer(n, more, seed):
    assert arithmetic_problems(n + more, seed)[:n] == arithmetic_problems(n, seed)


def test_all_kinds_come_in_turn():
    kinds = problem_kinds()
    assert len(kinds) >= 12
    assert [p["kind"] for p in arithmetic_problems(len(kinds) * 2)] == kinds * 2


def test_problems_are_questions_with_plain_integers():
    problems = arithmetic_problems(600, seed=3)
    assert len({p["question"] for p in problems}) > 590
    assert all(type(p["answer"]) is int and p["answer"] >= 0 and p["question"].endswith("?") for p in problems)


def test_the_first_problem_never_changes():
    """Notebooks that were run with an older version must find the same questions."""
    assert arithmetic_problems(1, seed=7) == [FIRST]


def test_a_negative_number_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        arithmetic_problems(-1)


@given(st.text(), st.integers(-50, 50), st.integers(0, 50))
def test_draws_depend_on_the_name_alone_and_stay_in_range(name, low, width):
    one, two = Draws(name), Draws(name)
    drawn = [one.integer(low, low + width) for _ in range(5)]
    assert drawn == [two.integer(low, low + width) for _ in range(5)]
    assert all(low <= n <= low + width for n in drawn)


def test_fractions_are_uniform():
    draw = Draws("uniform")
    sample = [draw.fraction() for _ in range(4000)]
    assert sum(sample) / 4000 == pytest.approx(0.5, abs=0.02)
    assert sum(x < 0.1 for x in sample) / 4000 == pytest.approx(0.1, abs=0.02)
