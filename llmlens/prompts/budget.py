"""How much a template may do while it is rendered, and which values it may touch.

One unit of work is one node of the template evaluated, or `CHARS_PER_UNIT` characters or one item read or written.
The budget is spent before the work is done, so a hostile template ends with an error and not with a full memory.
It counts, it does not time: the same template and values end the same way on every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jinja2 import Undefined

from llmlens.errors import PromptError

MAX_WORK = 600_000
CHARS_PER_UNIT = 16
MAX_INT_BITS = 2048
OPERATION = 4  # units for what costs more than a node: a filter, a test or a call

Scalar = str | int | float | bool | None
_SCALARS = frozenset({int, float, bool, type(None)})


@dataclass(slots=True)
class Budget:
    left: int = MAX_WORK

    def spend(self, units: int) -> None:
        """Take `units` (never negative) off.

        Raises:
            PromptError: nothing is left.
        """
        self.left -= units
        if self.left < 0:
            raise PromptError(
                "the template does too much: loops, texts and lists together are over the limit of a prompt "
                f"({MAX_WORK:,} steps, or {MAX_WORK * CHARS_PER_UNIT:,} characters)"
            )

    def write(self, chars: int) -> None:
        """Spend what `chars` characters cost."""
        self.spend(1 + chars // CHARS_PER_UNIT)

    def weigh(self, value: Any) -> Any:
        """`value`, once its whole content is paid for: whoever writes, compares or searches it reads all of it.

        Nested values that share parts count as often as they would be written.

        Raises:
            PromptError: too large, or there is something in it that is not data (a function, a loop).
            jinja2.UndefinedError: something in it is missing.
        """
        pending = [value]
        while pending:
            item = pending.pop()
            kind = type(item)
            if kind is str:
                self.write(len(item))
            elif kind in _SCALARS:
                self.spend(1)
            else:
                pending.extend(self._inside(item))
        return value

    def _inside(self, item: Any) -> Iterator[Any]:
        if isinstance(item, dict):
            self.spend(1 + len(item))
            return (part for pair in item.items() for part in pair)
        if isinstance(item, (list, tuple, range)):
            self.spend(1 + len(item))
            return iter(()) if isinstance(item, range) else iter(item)
        if isinstance(item, Undefined):
            str(item)  # raises where missing is an error
            return iter(())
        raise PromptError(f"a {type(item).__name__} is not text, number, list or dict; a method needs its ()")


def small(number: Any) -> Any:
    """`number`, if arithmetic with it is quick: what is no integer, or one of at most `MAX_INT_BITS` bits."""
    if isinstance(number, int) and number.bit_length() > MAX_INT_BITS:
        raise PromptError(f"integers of more than {MAX_INT_BITS} bits have no place in a prompt")
    return number
