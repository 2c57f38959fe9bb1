"""One `%%llm`: from its options and body to the answers of all its models, drawn while they come in."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from llmlens.client import ask, cell
from llmlens.client.answer import Answer
from llmlens.notebook import display as look
from llmlens.notebook.board import Board, NoAnswer, Stream
from llmlens.notebook.display import Slip
from llmlens.notebook.fill import fill
from llmlens.notebook.screen import screen_of
from llmlens.records import CacheMode

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from llmlens.notebook.extension import Extension


class Answers(list[Answer]):
    """The answers of one `%%llm` with several models or samples, model by model. Looks like the cell's output."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one `%%llm` asks, and of whom."""

    models: tuple[str, ...]
    prompt: str
    samples: int = 1
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    cache: CacheMode | None = None
    tags: Mapping[str, Any] | None = None
    group: str = field(default_factory=lambda: token_hex(8))

    @classmethod
    def of(cls, given: argparse.Namespace, body: str, names: Mapping[str, Any]) -> "Request":
        """Raises UsageError where the body names a variable that is not there."""
        return cls(
            models=tuple(dict.fromkeys(given.models)),
            prompt=body if given.verbatim else fill(body, names),
            samples=given.samples,
            system=given.system,
            temperature=given.temperature,
            max_tokens=given.max_tokens,
            cache=given.cache,
            tags=given.tags,
        )

    def open_stream(self, slip: Slip) -> Stream:
        """Start asking for the answer of `slip`."""
        return ask.stream(
            self.prompt,
            slip.model,
            system=self.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            cache=self.cache,
            tags=self.tags,
            raises=False,
            sample_of=(self.group, slip.sample, self.samples) if self.samples > 1 else None,
        )


def run(extension: "Extension", request: Request, *, store_in: str | None = None) -> Answer | Answers:
    """Ask, draw, store. Gives the one Answer, or all of them.

    Raises:
        NoAnswer: every one of them failed; those that failed beside others are shown and stored only.
        Interrupted: the user interrupted.
    """
    slips = [Slip(model, sample) for model in request.models for sample in range(request.samples)]
    board = Board(slips, request.open_stream, screen_of(extension.shell, alone=len(slips) == 1))
    try:
        board.run(cell.carry)
    finally:
        answers = Answers(slip.answer for slip in board.slips if slip.answer)
        given = answers[0] if len(slips) == 1 and answers else answers
        if store_in:
            extension.shell.user_ns[store_in] = given
    if all(slip.error for slip in slips):
        raise NoAnswer(slips[0].error or "" if len(slips) == 1 else f"none of the {len(slips)} calls was answered")
    return given


def slips_of(given: Answer | Answers) -> Iterator[Slip]:
    """The slips that show `given` again."""
    answers = [given] if isinstance(given, Answer) else given
    seen: dict[str, int] = {}
    for answer in answers:
        seen[answer.model] = seen.get(answer.model, -1) + 1
        yield Slip.of(answer, seen[answer.model])


class Rendering:
    """How an `Answer` in Out looks, for as long as the extension is loaded."""

    def __init__(self, shell: "InteractiveShell") -> None:
        self._shell = shell
        self._formatter: Any = shell.display_formatter  # None only while a shell is being made
        self._drawn: Answer | Answers | None = None

    def begin(self) -> None:
        """Register with IPython's formatters."""
        for kind in (Answer, Answers):
            self._formatter.formatters["text/html"].for_type(kind, lambda given: look.html(slips_of(given)))
            self._formatter.formatters["text/plain"].for_type(kind, self._write)
            self._formatter.ipython_display_formatter.for_type(kind, self._draw_once)
        self._shell.events.register("post_run_cell", self.forget)

    def end(self) -> None:
        """Unregister."""
        self._shell.events.unregister("post_run_cell", self.forget)
        for kind in (Answer, Answers):
            for formatter in (
                self._formatter.formatters["text/html"],
                self._formatter.formatters["text/plain"],
                self._formatter.ipython_display_formatter,
            ):
                formatter.pop(kind, None)

    def drawn(self, given: "Answer | Answers") -> None:
        """`given` is on the screen: as the value of the line that asked for it, it need not be drawn again."""
        self._drawn = given

    def forget(self, *_: object) -> None:
        """A cell has ended: from now on everything is drawn."""
        self._drawn = None

    def _draw_once(self, given: "Answer | Answers") -> None:
        if self._drawn is not given or getattr(self._shell, "kernel", None) is None:
            raise NotImplementedError  # IPython's word for: draw it the usual way

    def _write(self, given: "Answer | Answers", printer: Any, cycle: bool) -> None:
        # A terminal shows `Out[1]:` in any case.
        printer.text(repr(given) if self._drawn is given else look.text(slips_of(given)))
