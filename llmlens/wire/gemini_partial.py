"""Arguments of a function call that come in pieces (Vertex, `streamFunctionCallArguments`). No I/O.

Source: `google.genai.types.PartialArg`: each piece names the place of one value by a JSON path (RFC 9535).
"""

import re
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from llmlens.wire.json_text import as_dict

MAX_DEPTH = 64
_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,9})\]|\['([^']*)'\]|\["([^"]*)"\]""")
_VALUES = ("stringValue", "numberValue", "boolValue")


@dataclass(slots=True)
class PartialCall:
    """Call number `number` of its candidate; `arguments` is what is known so far."""

    number: int
    arguments: dict[str, Any] = field(default_factory=dict)
    _goes_on: str | None = field(default=None, init=False)  # the path whose text is not whole yet

    def add(self, pieces: list[Any]) -> None:
        """Put each of `pieces` in its place; one whose path makes no sense is left out."""
        for piece in map(as_dict, pieces):
            path = str(piece.get("jsonPath"))
            value = next((piece[name] for name in _VALUES if name in piece), None)
            self._put(_steps(path), value, append=path == self._goes_on)
            self._goes_on = path if piece.get("willContinue") is True else None

    def _put(self, steps: list[str | int], value: Any, *, append: bool) -> None:
        place: Any = self.arguments
        for step, following in zip_longest(steps, steps[1:]):
            at: Any = step
            if isinstance(place, list) and isinstance(step, int):
                at = min(step, len(place))  # elements come in order
                place += [None] * (at == len(place))
                known = place[at]
            elif isinstance(place, dict) and isinstance(step, str):
                known = place.get(step)
            else:
                return
            if following is None:
                joins = append and isinstance(known, str) and isinstance(value, str)
                place[at] = known + value if joins else value
            elif not isinstance(known, dict | list):
                place[at] = [] if isinstance(following, int) else {}
            place = place[at]


def _steps(path: str) -> list[str | int]:
    """`$.a[0].b` → ["a", 0, "b"]; [] for what is no such path."""
    steps: list[str | int] = []
    at = 1 if path.startswith("$") else len(path)
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or len(steps) == MAX_DEPTH:
            return []
        steps.append(int(found[2]) if found[2] else next(g for g in found.groups() if g is not None))
        at = found.end()
    return steps
