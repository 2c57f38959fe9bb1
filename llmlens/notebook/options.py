"""The magic line: options and operands, as IPython's `magic_arguments` declare them.

Options stand on the magic line only, so `--x` in a prompt is part of the prompt. Quotes group words and go away, as in
a shell. On the line of `%llm` the prompt begins after the model and is taken as it stands, quotes included.
"""

import argparse
import json
import re
import shlex
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeAlias, TypeVar

from IPython.core import magic_arguments
from IPython.core.error import UsageError

F = TypeVar("F", bound=Callable[..., Any])
Argument: TypeAlias = tuple[tuple[str, ...], dict[str, Any]]
_UNTYPED: Any = magic_arguments

WORD = re.compile(r"""\s*((?:"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'])+)""")


def argument(*flags: str, **details: Any) -> Argument:
    """One option or operand, in the words of argparse."""
    return flags, details


def takes(*arguments: Argument) -> Callable[[F], F]:
    """A magic that takes these; its docstring becomes the help that `?` shows."""

    def declare(magic: F) -> F:
        declared: Any = magic
        for flags, details in reversed(arguments):
            declared = _UNTYPED.argument(*flags, **details)(declared)
        known: F = _UNTYPED.magic_arguments()(declared)
        return known

    return declare


def parser_for(name: str, description: str, arguments: tuple[Argument, ...]) -> argparse.ArgumentParser:
    """A parser that raises UsageError instead of ending the process."""
    parser: argparse.ArgumentParser = _UNTYPED.MagicArgumentParser(name, description=description)
    for flags, details in arguments:
        parser.add_argument(*flags, **details)
    return parser


def parsed(parser: argparse.ArgumentParser, line: str) -> argparse.Namespace:
    """The options in `line`.

    Raises:
        UsageError: an unknown option (it names the nearest one), a wrong value, an open quote.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"cannot read {line!r}: {error}") from None
    known = set(options_of(parser))
    for word in words[: words.index("--") if "--" in words else None]:
        name = word.partition("=")[0]
        if name.startswith("--") and not any(option.startswith(name) for option in known):
            raise UsageError(f"unknown option {name}{_instead(name, known)}")
    options, extra = parser.parse_known_args(words)
    if extra:
        raise UsageError(f"unknown option {' '.join(extra)}{_instead(extra[0], known)}")
    return options


def parser_of(magic: Callable[..., Any]) -> argparse.ArgumentParser:
    """The parser that `magic_arguments` made for `magic`."""
    parser: argparse.ArgumentParser = magic.parser  # type: ignore[attr-defined]
    return parser


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options that `parser` knows, each with what it stands for."""
    return parser._option_string_actions


def _instead(name: str, known: set[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(sorted(known, key=lambda option: option.lstrip('-')))}"


def model_then_text(parser: argparse.ArgumentParser, line: str) -> tuple[str, str]:
    """Cut the line of `%llm` into its options with the model, and the prompt after them, untouched."""
    return _cut(parser, line, model_seen=False)


def leading_options(parser: argparse.ArgumentParser, line: str) -> tuple[str, str]:
    """Cut a line into the options it begins with, and what comes after them, untouched."""
    return _cut(parser, line, model_seen=True)


def _cut(parser: argparse.ArgumentParser, line: str, *, model_seen: bool) -> tuple[str, str]:
    options, at, value_due = options_of(parser), 0, False
    while match := WORD.match(line, at):
        word = match[1]
        if value_due:
            value_due = False
        elif word == "--" and model_seen:
            return line[:at], line[match.end() :].lstrip()
        elif re.match(r"--?[A-Za-z]", word):
            action = options.get(word.partition("=")[0])
            value_due = "=" not in word and not (action is not None and action.nargs == 0)
        elif model_seen:
            break
        else:
            model_seen = True
        at = match.end()
    return line[:at], line[at:].lstrip()


def tags(text: str) -> dict[str, Any]:
    """`{"a": 1}` or `a=1,b=two` → a dict."""
    if text.lstrip().startswith("{"):
        try:
            given = json.loads(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
        return dict(given)
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not pairs or any(not mark or not name.strip() for name, mark, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is neither JSON like '{{\"step\": 1}}' nor pairs like step=1,run=a")
    return {name.strip(): value.strip() for name, _, value in pairs}


def at_least(smallest: int) -> Callable[[str], int]:
    """An int of `smallest` or more."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = smallest - 1
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {smallest} or more")
        return value

    return number


def temperature(text: str) -> float:
    """A float of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


def variable(text: str) -> str:
    """A Python name to store into."""
    if not text.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not a name to store into")
    return text
