"""`%lens status | calls | usage | doctor` and `%%lens_sql`."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from llmlens.notebook import options

if TYPE_CHECKING:
    from pandas import DataFrame

    from llmlens.notebook.extension import Extension


@dataclass(frozen=True, slots=True)
class Command:
    """A word after `%lens`: what it is for, the options it takes, and the act itself."""

    summary: str
    act: Callable[["Extension", argparse.Namespace], Any]
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()

    def parser(self, name: str) -> argparse.ArgumentParser:
        """Its own options, with `-h` for help."""
        parser = MagicArgumentParser(f"lens {name}", description=self.summary)
        parser.add_argument("-h", "--help", action="store_true", help="show this")
        for flags, details in self.arguments:
            parser.add_argument(*flags, **details)
        return parser


def run(extension: "Extension", line: str) -> Any:
    """Run the command that `line` begins with.

    Raises:
        UsageError: no such command; lists those there are.
    """
    word, _, rest = line.strip().partition(" ")
    if not word or word in ("-h", "--help", "help"):
        print(overview())  # noqa: T201  help is for the reader, as `?` is
        return None
    if word not in COMMANDS:
        near = get_close_matches(word, COMMANDS, n=1)
        raise UsageError(f"unknown: %lens {word}{f'; did you mean %lens {near[0]}?' if near else ''}\n\n{overview()}")
    command = COMMANDS[word]
    parser = command.parser(word)
    given = options.parsed(parser, rest)
    if given.help:
        print(parser.format_help())  # noqa: T201
        return None
    return command.act(extension, given)


def overview() -> str:
    """One line per command."""
    return "\n".join(f"%lens {name:<8} {command.summary}" for name, command in COMMANDS.items())
