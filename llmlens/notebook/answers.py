"""One `%%llm`: from its options and body to the answers of all its models, drawn while they come in."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmlens.client import ask, cell
from llmlens.client.answer import Answer
from llmlens.notebook.board import Board, NoAnswer, Stream
from llmlens.notebook.display import Slip
from llmlens.notebook.fill import fill
from llmlens.notebook.screen import screen_of
from llmlens.records import CacheMode

if TYPE_CHECKING:
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


def slips_of(answers: Sequence[Answer]) -> Iterator[Slip]:
    """The slips that show `answers` again."""
    seen: dict[str, int] = {}
    for answer in answers:
        seen[answer.model] = seen.get(answer.model, -1) + 1
        yield Slip.of(answer, seen[answer.model])
