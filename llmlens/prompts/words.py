"""The filters, tests and methods a template may use: Jinja's own, but for those below.

Left out are those that draw at random, write HTML pages or reach into objects. Rewritten are those that could make a
little into a lot (`join`, `replace`, `indent`, `%`-formats), and `tojson`, whose original escapes `<` for web pages.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import pass_context
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS as JINJA_TESTS
from markupsafe import escape

from llmlens.errors import PromptError
from llmlens.prompts.budget import Budget, small

BUDGET = "llmlens budget"  # the context's key: the space keeps it out of reach of every template
MAX_INDENT = 64
MAX_DIGITS = 20

# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────

_TEXT_METHODS = """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit isidentifier
    islower isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex
    rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"""
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_TEXT_METHODS.split()),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    range: frozenset({"count", "index"}),
    float: frozenset({"is_integer"}),
}
_MANY_PIECES = frozenset({"rsplit", "split", "splitlines"})
_SLOW = frozenset({"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"})
"""Python's time for these can be the length of the text times that of the argument."""


def call_method(budget: Budget, owner: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`owner.name(…)`, where `METHODS` has it.

    Raises:
        PromptError: it does not, or the budget is spent.
    """
    kind = next((kind for kind in METHODS if isinstance(owner, kind)), None)
    if kind is None or name not in METHODS[kind]:
        raise PromptError(f"{type(owner).__name__}.{name}() is not allowed in a prompt")
    if kind is str and name in _OWN_METHODS:
        return _OWN_METHODS[name](budget, owner, *args, **kwargs)
    if kind is not dict:  # looking up a key reads nothing else
        budget.weigh(owner)
    if name in _MANY_PIECES:
        budget.spend(len(owner))
    if name in _SLOW:
        budget.write(len(owner) * sum(len(arg) for arg in (*args, *kwargs.values()) if isinstance(arg, str)))
    return settled(budget, getattr(owner, name)(*args, **kwargs))


def settled(budget: Budget, result: Any) -> Any:
    """`result` as data: what is drawn lazily becomes a list, and integers stay small."""
    if isinstance(result, (str, list, tuple, dict, range)):
        return result
    if isinstance(result, Iterable):
        listed = []
        for item in result:
            budget.spend(1)
            listed.append(item)
        return listed
    return small(result)


# ── filters ───────────────────────────────────────────────────────────────────────────────────────────────────────


def joined(budget: Budget, separator: Any, items: Iterable[Any]) -> str:
    if isinstance(items, str):
        budget.spend(len(items))
    texts = [str(item) for item in items]
    budget.write(len(str(separator)) * len(texts))
    return str(separator).join(texts)


def replaced(budget: Budget, text: Any, old: Any, new: Any, count: int = -1) -> str:
    whole, part = str(text), str(old)
    places = whole.count(part)
    budget.write(len(whole) + len(str(new)) * (places if count < 0 else min(places, count)))
    return whole.replace(part, str(new), count)


def _join(context: Context, items: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    if attribute is not None:
        items = context.environment.call_filter("map", items, (), {"attribute": attribute}, context)
    return joined(context[BUDGET], d, items)


def _replace(context: Context, text: Any, old: Any, new: Any, count: int | None = None) -> str:
    return replaced(context[BUDGET], text, old, new, -1 if count is None else count)


def _indent(context: Context, text: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    lead = " " * within(width, MAX_INDENT) if isinstance(width, int) else str(width)
    lines = str(text).split("\n")
    context[BUDGET].write(len(lead) * len(lines))
    return "\n".join(
        lead + line if (number or first) and (line or blank) else line for number, line in enumerate(lines)
    )


def _trim(context: Context, text: Any, chars: str | None = None) -> Any:
    return call_method(context[BUDGET], str(text), "strip", (chars,), {})


def _round(context: Context, number: Any, precision: int = 0, method: str = "common") -> float:
    if not isinstance(number, (int, float)):
        raise PromptError(f"round takes a number, not {type(number).__name__}")
    result: float = JINJA_FILTERS["round"](small(number), within(precision, MAX_DIGITS), method)
    return result


def _sum(context: Context, items: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    if attribute is not None:
        items = context.environment.call_filter("map", items, (), {"attribute": attribute}, context)
    numbers = [start, *items]
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise PromptError("sum takes numbers; texts and lists are put together with join or +")
    return sum(numbers)


def _tojson(context: Context, value: Any, indent: int | None = None) -> str:
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    chunks = []
    for chunk in json.JSONEncoder(ensure_ascii=False, indent=within(indent, 8)).iterencode(value):
        context[BUDGET].write(len(chunk))
        chunks.append(chunk)
    return "".join(chunks)


def _escape(context: Context, value: Any) -> str:
    return str.__str__(escape(str(value)))  # text again: Markup would escape whatever is added to it


def _format(context: Context, text: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise PromptError("format takes positional or named values, not both")
    return formatted(context[BUDGET], str(text), kwargs or args)


# A width or precision of three digits or more, or `*`; or a key with parentheses in it, which could hide one.
_WIDE = re.compile(r"%(\([^()]*\))?[-#0 +]*(\*|\d{3}|\d*\.(\*|\d{3}))|%\([^()]*\(")


def formatted(budget: Budget, text: str, values: Any) -> str:
    """`text % values`.

    Raises:
        PromptError: a width or a precision is over 99, or taken from the values.
    """
    if _WIDE.search(text):
        raise PromptError(f"a format in {text[:60]!r} is wider than 99, or takes its width from a value")
    places = text.count("%")
    budget.weigh(values)
    budget.write(places * 400)  # 99 of width, or a float of 309 digits with 99 after its point
    if isinstance(values, dict):  # each can be named more than once
        budget.write(places * max((len(str(value)) for value in values.values()), default=0))
    return str(text % values)


def within(number: int, most: int) -> int:
    """`number`, if it is an integer from `-most` to `most`."""
    if not isinstance(number, int) or abs(number) > most:
        raise PromptError(f"{number!r:.40} is not an integer of at most {most}")
    return number


_OWN_METHODS: Mapping[str, Callable[..., Any]] = {"join": joined, "replace": replaced}
_JINJAS = """abs capitalize count d default dictsort first float groupby int items last length list lower map max min
    reject rejectattr reverse select selectattr sort string title truncate unique upper urlencode wordcount"""
_OWN: Mapping[str, Callable[..., Any]] = {
    "e": _escape, "escape": _escape, "format": _format, "indent": _indent, "join": _join,
    "replace": _replace, "round": _round, "sum": _sum, "tojson": _tojson, "trim": _trim,
}  # fmt: skip
FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: JINJA_FILTERS[name] for name in _JINJAS.split()},
    **{name: pass_context(own) for name, own in _OWN.items()},
}
UNREAD_BY = frozenset({"count", "d", "default", "first", "last", "length"})
"""The filters that do not look into their value."""
READ_BY_CHARACTER = (frozenset(FILTERS) - UNREAD_BY - frozenset(_OWN) - {
    "abs", "capitalize", "float", "int", "lower", "string", "truncate", "upper"
}) | {"join", "sum"}  # fmt: skip
"""The filters that make a list of their value, be it a text."""


# ── tests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _divisible(value: Any, num: Any) -> bool:
    """Of numbers only: `%` of a text would be a format."""
    if not isinstance(value, (int, float)) or not isinstance(num, (int, float)):
        raise PromptError(f"{type(value).__name__} is not a number that could be divided")
    return bool(small(value) % small(num) == 0)


def _even(value: Any) -> bool:
    return _divisible(value, 2)


def _odd(value: Any) -> bool:
    return not _divisible(value, 2)


_ASKING = "defined undefined none boolean false true integer float string mapping number sequence iterable sameas"
_READING = "lower upper in == eq equalto != ne > gt greaterthan ge >= < lt lessthan <= le"
_JINJA_TESTS: Mapping[str, Any] = JINJA_TESTS
TESTS: Mapping[str, Callable[..., Any]] = {
    **{name: _JINJA_TESTS[name] for name in f"{_ASKING} {_READING}".split()},
    "odd": _odd,
    "even": _even,
    "divisibleby": _divisible,
}
READ_BY = frozenset(TESTS) - frozenset(_ASKING.split())
"""The tests that look into their value; the others only ask what it is."""
