"""Where a board is drawn: one display of the notebook that is updated in place, or the lines of a terminal."""

from collections.abc import Sequence
from itertools import groupby
from time import monotonic
from typing import TYPE_CHECKING, Any

from llmlens.notebook import display as look
from llmlens.plain import clean

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from llmlens.notebook.board import Screen
    from llmlens.notebook.display import Slip

MAX_BYTES_PER_S = 1_000_000
"""Long answers are drawn less often, so that a board never floods the connection to the browser."""


def published(bundle: dict[str, str], *, display_id: bool = False) -> Any:
    """Display a MIME bundle; gives a DisplayHandle where `display_id` asks for one."""
    from IPython import display

    untyped: Any = display.display
    return untyped(bundle, raw=True, display_id=display_id) if display_id else untyped(bundle, raw=True)


class NotebookScreen:
    """One display, made in the main thread and updated there. Both HTML and text, so every front end shows it."""

    def __init__(self) -> None:
        self._handle: Any = None  # an IPython.display.DisplayHandle
        self._not_before = 0.0

    def draw(self, slips: Sequence["Slip"]) -> None:
        if monotonic() >= self._not_before:
            self._show(slips)

    def piece(self, slip: "Slip", text: str) -> None:
        """Nothing: `draw` shows it."""

    def finish(self, slips: Sequence["Slip"]) -> None:
        self._show(slips)

    def _show(self, slips: Sequence["Slip"]) -> None:
        bundle = {"text/html": look.html(slips), "text/plain": look.text(slips)}
        self._not_before = monotonic() + sum(map(len, bundle.values())) / MAX_BYTES_PER_S
        if self._handle is None:
            self._handle = published(bundle, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class TerminalScreen:
    """A lone answer is written as it comes; several appear model by model, each once those before it are done."""

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._groups_shown = 0
        self._begun = False

    def draw(self, slips: Sequence["Slip"]) -> None:
        if self._alone:
            return
        groups = [list(group) for _, group in groupby(slips, key=lambda slip: slip.model)]
        for group in groups[self._groups_shown :]:
            if any(slip.state in ("waiting", "running") for slip in group):
                return
            self._write(look.text(group) + "\n\n")
            self._groups_shown += 1

    def piece(self, slip: "Slip", text: str) -> None:
        if self._alone:
            if not self._begun:
                self._write(look.heading([slip]) + "\n")
                self._begun = True
            self._write(clean(text))

    def finish(self, slips: Sequence["Slip"]) -> None:
        if not self._alone:
            self.draw(slips)
        elif self._begun:
            self._write("\n" + look.closing(slips[0]) + "\n")
        else:
            self._write(look.text(slips) + "\n")

    def _write(self, text: str) -> None:
        print(text, end="", flush=True)  # noqa: T201  a terminal is where it belongs


def screen_of(shell: "InteractiveShell", *, alone: bool) -> "Screen":
    """A display for kernels, lines for everything else."""
    return NotebookScreen() if getattr(shell, "kernel", None) is not None else TerminalScreen(alone=alone)
