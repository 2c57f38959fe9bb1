"""Answers → Gemini's GenerateContentResponses, plain and streamed (server-sent events). No I/O.

Source: `google.genai.types` of google-genai 3. Function calls are written when the answer ends: Gemini knows no piece
of one that every client could read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmlens.records import (
    Choice,
    Ended,
    Faulted,
    Finished,
    Other,
    OtherDelta,
    Part,
    Piece,
    Refusal,
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageSeen,
)
from llmlens.wire.accumulate import overlay
from llmlens.wire.anthropic_write import tool_input
from llmlens.wire.finish import GEMINI_WORDS, finish_word
from llmlens.wire.gemini_faults import gemini_error
from llmlens.wire.gemini_read import NAME
from llmlens.wire.gemini_signature import enclosed
from llmlens.wire.gemini_usage import usage_body
from llmlens.wire.json_text import dumps
from llmlens.wire.sse import encode

RawPart = dict[str, Any]


def build_reply(reply: Reply, model: str) -> dict[str, Any]:
    """`reply` as a GenerateContentResponse that shows `model`."""
    head = {"modelVersion": model, "responseId": reply.response_id or ""}
    told = [(choice, [shown(part) for part in parts_of(choice.parts)]) for choice in reply.choices]
    return {**_endings(told, reply.usage), **head}


def _endings(choices: list[tuple[Choice, list[RawPart]]], usage: Usage) -> dict[str, Any]:
    """What a response says that ends `choices`, each with the parts that are still to be told."""
    response: dict[str, Any] = {"candidates": []}
    for choice, parts in choices:
        if choice.finish_reason is None and choice.finish_detail is not None and not parts:
            response["promptFeedback"] = {"blockReason": choice.finish_detail}
            continue
        tools = any("functionCall" in part for part in parts)
        word = finish_word(choice.finish_reason, GEMINI_WORDS, has_tools=tools, detail=choice.finish_detail)
        candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": word, "index": choice.index}
        response["candidates"].append({k: v for k, v in candidate.items() if v is not None})
    if (counts := usage_body(usage)) is not None:
        response["usageMetadata"] = counts
    return response


# ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def parts_of(parts: Sequence[Part]) -> list[RawPart]:
    """The parts of one turn of the model; what only another dialect understands is left out."""
    built: list[RawPart] = []
    for part in parts:
        if (raw := part_of(part)) is not None:
            merged(built, raw)
    return built


def merged(built: list[RawPart], raw: RawPart) -> None:
    """Append `raw` to `built`; a signature alone goes back onto the text before it, where it came from."""
    if raw.get("text") == "" and raw.keys() == {"text", "thoughtSignature"} and built and built[-1].keys() == {"text"}:
        built[-1]["thoughtSignature"] = raw["thoughtSignature"]
    else:
        built.append(raw)


def part_of(part: Part) -> RawPart | None:
    """One part; None for what is none of a model's, or of another dialect."""
    if isinstance(part, Text | Refusal):
        return {"text": part.text}
    if isinstance(part, Thinking):
        return thought(part)
    if isinstance(part, ToolCall):
        return function_call(part)
    return dict(part.value) if isinstance(part, Other) and part.dialect == NAME else None


def thought(part: Thinking | ThinkingDelta) -> RawPart:
    """Thinking that can be read, a signature alone, or thinking that only its provider can read."""
    if part.redacted is not None:
        return {"text": "", "thought": True, "thoughtSignature": part.redacted}
    if part.signature and not part.text:
        return {"text": "", "thoughtSignature": part.signature}
    return {"text": part.text, "thought": True, **({"thoughtSignature": part.signature} if part.signature else {})}


def function_call(call: ToolCall, signature: str | None = None) -> RawPart:
    """A function call with its own signature, or with `signature` where it has none."""
    body: RawPart = {"id": call.id} if call.id else {}
    part: RawPart = {"functionCall": {**body, "name": call.name, "args": tool_input(call)}}
    signature = call.signature or signature
    return {**part, "thoughtSignature": signature} if signature else part


def shown(part: RawPart) -> RawPart:
    """`part` as a client can be told it: not every provider's signature is one for Google's clients."""
    signature = part.get("thoughtSignature")
    return {**part, "thoughtSignature": enclosed(signature)} if isinstance(signature, str) else part


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Call:
    id: str | None = None
    name: str = ""
    signature: str | None = None
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Told:
    """What is known of a candidate that has not been told yet."""

    reason: str | None = None
    detail: str | None = None
    said: bool = False
    calls: dict[int, _Call] = field(default_factory=dict)


class GenerateWriter:
    """Writes a stream of GenerateContentResponses, the last of which ends all candidates and states the usage."""

    def __init__(self, answer_id: str, model: str, include_usage: bool) -> None:
        self._head = {"modelVersion": model, "responseId": answer_id}  # usage is always part of it
        self._told: dict[int, _Told] = {}
        self._usage = Usage()
        self._closed = False

    def write(self, pieces: Iterable[Piece]) -> bytes:
        """The events that say `pieces`."""
        return b"".join(self._piece(piece) for piece in pieces if not self._closed)

    def end(self) -> bytes:
        """The last response. Nothing after an error, which ended the stream itself."""
        if self._closed:
            return b""
        self._closed = True
        told = sorted(self._told.items()) or [(0, _Told())]
        return self._event(_endings([_ending(index, state) for index, state in told], self._usage))

    def _piece(self, piece: Piece) -> bytes:
        if isinstance(piece, TextDelta | RefusalDelta):
            return self._part(piece.choice, {"text": piece.text} if piece.text else None)
        if isinstance(piece, ThinkingDelta):
            says = piece.text or piece.signature or piece.redacted is not None
            return self._part(piece.choice, thought(piece) if says else None)
        if isinstance(piece, OtherDelta):
            return self._part(piece.choice, part_of(piece.part))
        if isinstance(piece, ToolDelta):
            self._call(piece)
        elif isinstance(piece, Faulted):
            self._closed = True
            return encode(None, dumps(gemini_error(piece.fault)))
        elif isinstance(piece, Ended):
            return self.end()
        else:
            self._note(piece)
        return b""

    def _note(self, piece: Piece) -> None:
        if isinstance(piece, UsageSeen):
            self._usage = overlay(piece.usage, self._usage)
        elif isinstance(piece, Finished):
            told = self._of(piece.choice)
            told.reason, told.detail = piece.reason or told.reason, piece.detail or told.detail

    def _call(self, piece: ToolDelta) -> None:
        call = self._of(piece.choice).calls.setdefault(piece.index, _Call())
        call.id, call.name = call.id or piece.id, call.name or piece.name or ""
        call.signature = piece.signature or call.signature
        call.arguments.append(piece.arguments)

    def _part(self, choice: int, part: RawPart | None) -> bytes:
        told = self._of(choice)
        if part is None:
            return b""
        told.said = True
        return self._event({"candidates": [{"content": {"parts": [shown(part)], "role": "model"}, "index": choice}]})

    def _of(self, choice: int) -> _Told:
        return self._told.setdefault(choice, _Told())

    def _event(self, response: dict[str, Any]) -> bytes:
        return encode(None, dumps({**response, **self._head}))


def _ending(index: int, told: _Told) -> tuple[Choice, list[RawPart]]:
    calls = [ToolCall(c.id, c.name, "".join(c.arguments), c.signature) for c in told.calls.values()]
    parts = [shown(function_call(call)) for call in calls]
    blocked = told.reason is None and told.detail is not None and not (told.said or parts)
    # without a reason the stream would look cut
    return Choice(index, (), None if blocked else told.reason or "STOP", None, told.detail), parts
