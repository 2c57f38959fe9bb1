"""`Piece`s → `Reply`, the same way for every dialect, and back. No I/O.

Law: any split of a stream gives the same Reply, and a plain answer, which is read through the same pieces, gives the
Reply of its stream.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    Choice,
    CostSeen,
    Ended,
    Fault,
    Faulted,
    Finished,
    Other,
    OtherDelta,
    Part,
    Piece,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageSeen,
)
from llmlens.wire.dialect import Dialect
from llmlens.wire.json_text import clean


@dataclass(slots=True)
class _Run:
    """A part being written: texts to be joined once."""

    kind: type[Part]
    texts: list[str] = field(default_factory=list)
    signature: str | None = None
    redacted: str | None = None
    id: str | None = None
    name: str | None = None
    other: Other | None = None

    def part(self) -> Part:
        text = clean("".join(self.texts))
        if self.other is not None:
            return self.other
        if self.kind is Thinking:
            return Thinking(text, self.signature, self.redacted)
        if self.kind is ToolCall:
            return ToolCall(self.id, self.name or "", text, self.signature)
        return Refusal(text) if self.kind is Refusal else Text(text)


@dataclass(slots=True)
class _Choice:
    runs: list[_Run] = field(default_factory=list)
    tools: dict[int, _Run] = field(default_factory=dict)
    reason: str | None = None
    stop_sequence: str | None = None
    detail: str | None = None

    def last(self, kind: type[Part]) -> _Run:
        """The part being written if it is of `kind`, else a new one."""
        if not self.runs or self.runs[-1].kind is not kind:
            self.runs.append(_Run(kind))
        return self.runs[-1]


class Accumulator:
    """Feed it pieces in order; `reply()` may be asked at any time."""

    __slots__ = ("_choices", "_cost", "_created_s", "_ended", "_fault", "_id", "_model", "_usage")

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._id: str | None = None
        self._model: str | None = None
        self._usage = Usage()
        self._fault: Fault | None = None
        self._cost: Decimal | None = None
        self._created_s: int | None = None
        self._ended = False

    def add(self, pieces: Iterable[Piece]) -> None:
        """Fold `pieces` in."""
        for piece in pieces:
            _FOLD[type(piece)](self, piece)

    def reply(self) -> Reply:
        """The answer so far. `complete` is True once the end was seen and no error was."""
        choices = sorted(self._choices.items())
        return Reply(
            response_id=self._id,
            model=self._model,
            choices=tuple(
                Choice(index, tuple(run.part() for run in c.runs), c.reason, c.stop_sequence, c.detail)
                for index, c in choices
            ),
            usage=self._usage,
            fault=self._fault,
            complete=self._ended and self._fault is None,
            stated_cost_usd=self._cost,
            created_s=self._created_s,
        )

    def _choice(self, index: int) -> _Choice:
        if (found := self._choices.get(index)) is None:
            found = self._choices[index] = _Choice()
        return found

    def _text(self, piece: TextDelta) -> None:
        if piece.text:
            self._choice(piece.choice).last(Text).texts.append(piece.text)
        else:
            # "" is an answer too: it makes the choice exist, and leaves no empty part behind
            self._choice(piece.choice)

    def _thinking(self, piece: ThinkingDelta) -> None:
        choice = self._choice(piece.choice)
        if piece.redacted is not None:
            choice.runs.append(_Run(Thinking, [piece.text], piece.signature, piece.redacted))
        elif piece.text or piece.signature:
            run = choice.last(Thinking)
            if run.signature is not None or run.redacted is not None:
                # a signature closes its block; what follows is the next one
                choice.runs.append(run := _Run(Thinking))
            run.texts.append(piece.text)
            run.signature = piece.signature

    def _refusal(self, piece: RefusalDelta) -> None:
        if piece.text:
            self._choice(piece.choice).last(Refusal).texts.append(piece.text)

    def _tool(self, piece: ToolDelta) -> None:
        choice = self._choice(piece.choice)
        run = choice.tools.get(piece.index)
        if run is None:
            run = choice.tools[piece.index] = _Run(ToolCall)
            choice.runs.append(run)
        run.id = run.id or piece.id
        run.name = run.name or piece.name
        run.signature = piece.signature or run.signature
        if piece.arguments:
            run.texts.append(piece.arguments)

    def _other(self, piece: OtherDelta) -> None:
        self._choice(piece.choice).runs.append(_Run(Other, other=piece.part))

    def _started(self, piece: Started) -> None:
        self._id = self._id or piece.response_id
        self._model = self._model or piece.model
        self._created_s = self._created_s or piece.created_s

    def _finished(self, piece: Finished) -> None:
        choice = self._choice(piece.choice)
        choice.reason = piece.reason or choice.reason
        choice.stop_sequence = piece.stop_sequence or choice.stop_sequence
        choice.detail = piece.detail or choice.detail

    def _usage_seen(self, piece: UsageSeen) -> None:
        self._usage = overlay(piece.usage, self._usage)

    def _cost_seen(self, piece: CostSeen) -> None:
        self._cost = piece.usd

    def _faulted(self, piece: Faulted) -> None:
        self._fault = self._fault or piece.fault

    def _end(self, _piece: Ended) -> None:
        self._ended = True


def overlay(new: Usage, old: Usage) -> Usage:
    """The counts of `new`, and those of `old` where `new` does not know."""
    return Usage(
        _known(new.input_tokens, old.input_tokens),
        _known(new.output_tokens, old.output_tokens),
        _known(new.cache_read_tokens, old.cache_read_tokens),
        _known(new.cache_write_tokens, old.cache_write_tokens),
        _known(new.reasoning_tokens, old.reasoning_tokens),
    )


def _known(new: int | None, old: int | None) -> int | None:
    return old if new is None else new


_FOLD: dict[type[Piece], Callable[[Accumulator, Any], None]] = {
    TextDelta: Accumulator._text,
    ThinkingDelta: Accumulator._thinking,
    RefusalDelta: Accumulator._refusal,
    ToolDelta: Accumulator._tool,
    OtherDelta: Accumulator._other,
    Started: Accumulator._started,
    Finished: Accumulator._finished,
    UsageSeen: Accumulator._usage_seen,
    CostSeen: Accumulator._cost_seen,
    Faulted: Accumulator._faulted,
    Ended: Accumulator._end,
}


def reply_of(pieces: Iterable[Piece]) -> Reply:
    """Fold all `pieces` of one answer."""
    folded = Accumulator()
    folded.add(pieces)
    return folded.reply()


def read_stream(dialect: Dialect, chunks: Iterable[bytes]) -> Reply:
    """Read a whole stream of `dialect`. A stream past the size bound ends as an incomplete Reply with a Fault.

    Raises:
        WireError: `dialect` has no streams.
    """
    if dialect.stream_reader is None:
        raise WireError(f"dialect {dialect.name!r} has no streams")
    reader, folded = dialect.stream_reader(), Accumulator()
    try:
        for chunk in chunks:
            folded.add(reader.feed(chunk))
        folded.add(reader.end())
    except WireError as e:
        return replace(folded.reply(), fault=Fault(str(e), type="wire_error"), complete=False)
    return folded.reply()


def pieces_of(reply: Reply) -> list[Piece]:
    """`reply` as the pieces of a stream; `reply_of` gives it back."""
    pieces: list[Piece] = [Started(reply.response_id, reply.model, reply.created_s)]
    for choice in reply.choices:
        tools = 0
        for part in choice.parts:
            if isinstance(part, ToolCall):
                pieces.append(ToolDelta(tools, part.id, part.name, part.arguments, choice.index, part.signature))
                tools += 1
            else:
                pieces += _part_pieces(part, choice.index)
        pieces.append(Finished(choice.finish_reason, choice.stop_sequence, choice.index, choice.finish_detail))
    if reply.usage:
        pieces.append(UsageSeen(reply.usage))
    if reply.stated_cost_usd is not None:
        pieces.append(CostSeen(reply.stated_cost_usd))
    if reply.fault is not None:
        pieces.append(Faulted(reply.fault))
    elif reply.complete:
        pieces.append(Ended())
    return pieces


def _part_pieces(part: Part, choice: int) -> list[Piece]:
    if isinstance(part, Text):
        return [TextDelta(part.text, choice)]
    if isinstance(part, Thinking):
        return [ThinkingDelta(part.text, part.signature, part.redacted, choice)]
    if isinstance(part, Refusal):
        return [RefusalDelta(part.text, choice)]
    return [OtherDelta(part, choice)] if isinstance(part, Other) else []
