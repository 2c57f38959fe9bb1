"""Arithmetic word problems with integer answers: a small data set that needs no download and no licence.

Made by templates from a seed, so any number of them can be had, and the same seed gives the same problems everywhere.
"""

from collections.abc import Callable
from typing import Final, TypedDict

from llmlens.catalog.draws import Draws

NAMES: Final = ("Amira", "Ben", "Carla", "Deniz", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kaya", "Lin")
THINGS: Final = ("apples", "marbles", "stickers", "pencils", "shells", "coins", "cards", "buttons")


class Problem(TypedDict):
    """`kind` names the template; `answer` is exact."""

    question: str
    answer: int
    kind: str


def arithmetic_problems(n: int, seed: int = 0) -> list[Problem]:
    """`n` problems, all kinds in turn; the first k of them are the same for every n ≥ k.

    Raises:
        ValueError: n is below 0.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more, not {n}")
    kinds = sorted(_TEMPLATES)
    return [_problem(kinds[i % len(kinds)], f"problems/{seed}/{i}") for i in range(n)]


def problem_kinds() -> list[str]:
    """The names of the templates, in the order in which problems come."""
    return sorted(_TEMPLATES)


def _problem(kind: str, name: str) -> Problem:
    question, answer = _TEMPLATES[kind](Draws(name))
    return {"question": question, "answer": answer, "kind": kind}


def _two_names(draw: Draws) -> tuple[str, str]:
    first = draw.choice(NAMES)
    return first, draw.choice([name for name in NAMES if name != first])


def _buy_and_give(draw: Draws) -> tuple[str, int]:
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    a, b = draw.integer(12, 80), draw.integer(5, 40)
    c = draw.integer(3, a + b - 1)
    text = f"{name} has {a} {thing}. {name} buys {b} more and then gives {c} to a friend."
    return f"{text} How many {thing} does {name} have now?", a + b - c


def _boxes(draw: Draws) -> tuple[str, int]:
    thing = draw.choice(THINGS)
    a, b = draw.integer(4, 20), draw.integer(6, 24)
    c = draw.integer(5, a * b - 1)
    text = f"A shop has {a} boxes. Each box holds {b} {thing}. On Monday {c} {thing} are sold."
    return f"{text} How many {thing} are left?", a * b - c


def _share(draw: Draws) -> tuple[str, int]:
    name = draw.choice(NAMES)
    a, b = draw.integer(3, 12), draw.integer(4, 25)
    text = f"{name} bakes {a * b} cookies and shares them equally among {a} friends."
    return f"{text} How many cookies does each friend get?", b


def _change(draw: Draws) -> tuple[str, int]:
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    a, b = draw.integer(2, 9), draw.integer(3, 11)
    text = f"{name} buys {a} {thing} at {b} dollars each and pays with 100 dollars."
    return f"{text} How many dollars of change does {name} get?", 100 - a * b


def _speed(draw: Draws) -> tuple[str, int]:
    a, b = draw.integer(40, 160), draw.integer(2, 9)
    return f"A train travels at {a} kilometers per hour for {b} hours. How many kilometers does it travel?", a * b


def _together(draw: Draws) -> tuple[str, int]:
    (one, two), thing = _two_names(draw), draw.choice(THINGS)
    a, b = draw.integer(10, 70), draw.integer(3, 30)
    text = f"{one} has {a} {thing}. {two} has {b} more {thing} than {one}."
    return f"{text} How many {thing} do they have together?", 2 * a + b


def _times_as_many(draw: Draws) -> tuple[str, int]:
    one, two = _two_names(draw)
    a, b = draw.integer(8, 40), draw.integer(2, 7)
    text = f"{one} collects {a} stamps. {two} collects {b} times as many stamps as {one}."
    return f"{text} How many more stamps does {two} have than {one}?", a * b - a


def _percent(draw: Draws) -> tuple[str, int]:
    p, whole = draw.choice((10, 20, 25, 30, 40, 60, 75)), draw.integer(4, 40) * 20
    text = f"A school has {whole} students. {p} percent of them play football."
    return f"{text} How many students play football?", whole * p // 100


def _discount(draw: Draws) -> tuple[str, int]:
    p, whole = draw.choice((10, 15, 20, 25, 30, 40)), draw.integer(2, 20) * 20
    text = f"A jacket costs {whole} dollars. In the sale there is a discount of {p} percent."
    return f"{text} How many dollars does the jacket cost in the sale?", whole - whole * p // 100


def _garden(draw: Draws) -> tuple[str, int]:
    a, b = draw.integer(12, 60), draw.integer(4, 30)
    text = f"A garden is {a} meters long and {b} meters wide."
    if draw.fraction() < 0.5:
        return f"{text} What is its perimeter in meters?", 2 * (a + b)
    return f"{text} What is its area in square meters?", a * b


def _average(draw: Draws) -> tuple[str, int]:
    mean, one, two = draw.integer(40, 90), draw.integer(1, 15), draw.integer(1, 15)
    scores = mean - one, mean + one + two, mean - two
    text = f"{draw.choice(NAMES)} scores {scores[0]}, {scores[1]} and {scores[2]} points in a series of games."
    return f"{text} What is the average score?", mean


def _bus(draw: Draws) -> tuple[str, int]:
    a = draw.integer(15, 60)
    b, c = draw.integer(2, a - 1), draw.integer(2, 25)
    text = f"A bus starts with {a} passengers. At the first stop {b} get off and {c} get on."
    return f"{text} How many passengers are on the bus now?", a - b + c


def _saving(draw: Draws) -> tuple[str, int]:
    name, a, b = draw.choice(NAMES), draw.integer(5, 30), draw.integer(3, 12)
    c = draw.integer(2, a * b - 1)
    text = f"{name} saves {a} dollars every week for {b} weeks and then spends {c} dollars on a book."
    return f"{text} How many dollars are left?", a * b - c


def _rows(draw: Draws) -> tuple[str, int]:
    a, b = draw.integer(6, 25), draw.integer(8, 30)
    c = draw.integer(5, a * b - 1)
    text = f"A cinema has {a} rows of {b} seats. {c} seats are taken."
    return f"{text} How many seats are free?", a * b - c


def _half(draw: Draws) -> tuple[str, int]:
    name, a, b = draw.choice(NAMES), draw.integer(8, 45) * 2, draw.integer(5, 40)
    text = f"{name} picks {a} berries and eats half of them. Then {name} picks {b} more."
    return f"{text} How many berries does {name} have?", a // 2 + b


def _pages(draw: Draws) -> tuple[str, int]:
    b, c = draw.integer(8, 30), draw.integer(2, 9)
    a = b * c + draw.integer(5, 200)
    text = f"A book has {a} pages. {draw.choice(NAMES)} reads {b} pages a day for {c} days."
    return f"{text} How many pages are left to read?", a - b * c


def _expression(draw: Draws) -> tuple[str, int]:
    a, b, c = draw.integer(11, 49), draw.integer(3, 19), draw.integer(5, 30)
    text, answer = draw.choice(
        (
            (f"{a} * {b} + {c}", a * b + c),
            (f"{a} + {b} * {c}", a + b * c),
            (f"({a} + {b}) * {c}", (a + b) * c),
            (f"{a} times {b} minus {c}", a * b - c),
        )
    )
    return f"What is {text}?", answer


_TEMPLATES: Final[dict[str, Callable[[Draws], tuple[str, int]]]] = {
    "average": _average,
    "boxes": _boxes,
    "bus": _bus,
    "buy_and_give": _buy_and_give,
    "change": _change,
    "discount": _discount,
    "expression": _expression,
    "garden": _garden,
    "half": _half,
    "pages": _pages,
    "percent": _percent,
    "rows": _rows,
    "saving": _saving,
    "share": _share,
    "speed": _speed,
    "times_as_many": _times_as_many,
    "together": _together,
}
