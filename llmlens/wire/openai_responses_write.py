"""Answers → OpenAI Responses, plain and streamed. No I/O.

Source: `openai.types.responses` of openai 3. Ids of items are made of the answer's. Thinking is written as a summary,
and its proof as `encrypted_content`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmlens.records import (
    Choice,
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
from llmlens.wire.accumulate import overlay
from llmlens.wire.call_proof import proof, proofs_apart
from llmlens.wire.faults import openai_error
from llmlens.wire.finish import RESPONSES_WORDS, finish_word
from llmlens.wire.json_text import dumps
from llmlens.wire.openai_responses_read import NAME, REDACTED
from llmlens.wire.sse import encode

Item = dict[str, Any]

# Statuses that are an answer's own: they are kept as they are. A failed one has a fault.
_STATUSES = frozenset({"completed", "cancelled", "queued", "in_progress"})


def status_of(choice: Choice) -> tuple[str, str | None]:
    """(`status`, `incomplete_details.reason`) that say why `choice` ended."""
    if choice.finish_reason in _STATUSES:
        return choice.finish_reason or "", None
    word = finish_word(choice.finish_reason, RESPONSES_WORDS, has_tools=False, detail=choice.finish_detail)
    if word in (None, "completed"):
        return "completed", None
    return "incomplete", choice.finish_detail or word


def usage_body(usage: Usage) -> Item | None:
    """`usage` as a response states it; None unless input and output are known. The details are required there."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    details_in = {"cached_tokens": usage.cache_read_tokens or 0}
    if usage.cache_write_tokens is not None:
        details_in["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": details_in,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _response(answer_id: str, model: str, created_s: int | None, status: str, **known: Any) -> Item:
    """A response object with every field that the SDK needs."""
    empty: Item = {
        "created_at": created_s or 0, "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
        "output": [], "parallel_tool_calls": True, "temperature": None, "tool_choice": "auto", "tools": [],
        "top_p": None, "usage": None,
    }  # fmt: skip
    return {"id": answer_id, "object": "response", "model": model, "status": status, **empty, **known}


def _ending(choice: Choice, usage: Usage, fault: Fault | None) -> tuple[str, Item]:
    """(status, the fields beside it) of an answer that has ended."""
    if fault is not None:
        code = fault.code or fault.type or "server_error"
        error = {"code": code, "message": fault.message, "type": fault.type, "param": fault.param}
        return "failed", {"error": error, "usage": usage_body(usage)}
    status, reason = status_of(choice)
    return status, {"incomplete_details": reason and {"reason": reason}, "usage": usage_body(usage)}


# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _message(item_id: str, content: Sequence[Item] = ()) -> Item:
    return {
        "id": f"msg_{item_id}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [*content],
    }


def reasoning(text: str, signature: str | None, redacted: str | None = None) -> Item:
    """A reasoning item without an id."""
    item: Item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}] if text else []}
    sealed = signature if redacted is None else REDACTED + redacted
    return item if sealed is None else {**item, "encrypted_content": sealed}


def call(call_id: str, name: str, arguments: str) -> Item:
    """A function call item without an id."""
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def _text_part(kind: str, text: str) -> Item:
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": [], "logprobs": []}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


def build_reply(reply: Reply, model: str) -> Item:
    """`reply` as a response that shows `model`; the first choice only, Responses has no others."""
    choice = reply.choices[0] if reply.choices else Choice()
    answer_id = reply.response_id or ""
    status, fields = _ending(choice, reply.usage, reply.fault)
    output = _output(proofs_apart(choice.parts), answer_id)
    return _response(answer_id, model, reply.created_s, status, output=output, **fields)


def _output(parts: Iterable[Part], answer_id: str) -> list[Item]:
    """Texts and refusals in a row are one message."""
    items: list[Item] = []
    calls = 0
    for part in parts:
        item_id = f"{answer_id}_{len(items)}"
        if isinstance(part, Text | Refusal):
            if not items or items[-1].get("type") != "message":
                items.append(_message(item_id))
            items[-1]["content"].append(_text_part("output_text" if isinstance(part, Text) else "refusal", part.text))
        elif isinstance(part, Thinking):
            items.append({"id": f"rs_{item_id}", **reasoning(part.text, part.signature, part.redacted)})
        elif isinstance(part, ToolCall):
            body = call(part.id or f"call_{calls}", part.name, part.arguments)
            items.append({"id": f"fc_{item_id}", "status": "completed", **body})
            calls += 1
        elif isinstance(part, Other) and part.dialect == NAME:
            items.append(dict(part.value))
    return items


# ── stream ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Words:
    """The names in the events about one kind of text part."""

    text: str  # stem of the events about its text
    part: str  # stem of the events about the part
    number: str  # field with its number
    within: str  # field of the item that holds it


_WORDS: Mapping[str, _Words] = {
    "output_text": _Words("response.output_text", "response.content_part", "content_index", "content"),
    "refusal": _Words("response.refusal", "response.content_part", "content_index", "content"),
    "summary_text": _Words(
        "response.reasoning_summary_text", "response.reasoning_summary_part", "summary_index", "summary"
    ),
}


class ResponsesWriter:
    """Writes a stream of Responses events.

    A message or a reasoning item is closed before the next item opens. Tool calls stay open until the end, since their
    deltas may alternate.
    """

    def __init__(self, answer_id: str, model: str, include_usage: bool) -> None:
        self._id, self._model = answer_id, model  # usage is always part of the protocol
        self._created_s: int | None = None
        self._number = 0  # of the next event
        self._begun = False
        self._closed = False
        self._output: list[Item] = []
        self._open: Item | None = None  # the last item, if it is a message or a reasoning item
        self._part: str | None = None  # kind of the part being written
        self._texts: list[str] = []
        self._calls: dict[int, tuple[int, list[str]]] = {}  # tool call → (its place in the output, arguments)
        self._choice = Choice()
        self._usage = Usage()

    def write(self, pieces: Iterable[Piece]) -> bytes:
        """The events that say `pieces`."""
        out: list[bytes] = []
        for piece in pieces:
            if not self._closed:
                self._piece(piece, out)
        return b"".join(out)

    def end(self) -> bytes:
        """The events that close the response. Nothing after an error, which ended the stream itself."""
        out: list[bytes] = []
        self._end(None, out)
        return b"".join(out)

    def _piece(self, piece: Piece, out: list[bytes]) -> None:
        if isinstance(piece, UsageSeen):
            self._usage = overlay(piece.usage, self._usage)
        elif isinstance(piece, Faulted):
            self._end(piece.fault, out)
        elif isinstance(piece, Ended):
            self._end(None, out)
        elif getattr(piece, "choice", 0) == 0:  # Responses has one choice
            if isinstance(piece, Started):
                self._created_s = self._created_s or piece.created_s
            self._begin(out)
            self._content(piece, out)

    def _content(self, piece: Piece, out: list[bytes]) -> None:
        if isinstance(piece, TextDelta):
            self._text("message", "output_text", piece.text, out)
        elif isinstance(piece, RefusalDelta):
            self._text("message", "refusal", piece.text, out)
        elif isinstance(piece, ThinkingDelta):
            self._thinking(piece, out)
        elif isinstance(piece, ToolDelta):
            self._call(piece, out)
        elif isinstance(piece, OtherDelta) and piece.part.dialect == NAME:
            self._close(out)
            self._add(dict(piece.part.value), out)
            self._item_event("done", len(self._output) - 1, out)
        elif isinstance(piece, Finished):
            self._choice = Choice(0, (), piece.reason or self._choice.finish_reason, None, piece.detail)

    def _begin(self, out: list[bytes]) -> None:
        if self._begun:
            return
        self._begun = True
        response = _response(self._id, self._model, self._created_s, "in_progress")
        self._emit("response.created", out, response=response)
        self._emit("response.in_progress", out, response=response)

    def _end(self, fault: Fault | None, out: list[bytes]) -> None:
        if self._closed:
            return
        self._begin(out)
        self._close(out)
        if fault is None:
            for place, arguments in self._calls.values():
                self._close_call(place, "".join(arguments), out)
        self._closed = True
        status, fields = _ending(self._choice, self._usage, fault)
        response = _response(self._id, self._model, self._created_s, status, output=self._output, **fields)
        if fault is not None:
            self._emit("error", out, **error_fields(fault))
        name = status if status in ("failed", "incomplete") else "completed"
        self._emit(f"response.{name}", out, response=response)

    # ── messages and reasoning ────────────────────────────────────────────────────────────────────────────────────

    def _text(self, item: str, kind: str, text: str, out: list[bytes]) -> None:
        if not text:
            return
        self._switch(item, out)
        if self._part != kind:
            self._close_part(out)
            self._part = kind
            self._part_event("part", "added", kind, out, part=_text_part(kind, ""))
        self._texts.append(text)
        self._part_event("text", "delta", kind, out, delta=text)

    def _thinking(self, piece: ThinkingDelta, out: list[bytes]) -> None:
        if piece.redacted is not None:
            self._close(out)
        self._text("reasoning", "summary_text", piece.text, out)
        if piece.signature or piece.redacted is not None:
            self._switch("reasoning", out)
            if self._open is not None:
                self._open.update(reasoning("", piece.signature, piece.redacted), summary=self._open["summary"])
            self._close(out)  # the proof ends its item

    def _switch(self, kind: str, out: list[bytes]) -> None:
        """Make sure that an item of `kind` is open."""
        if self._open is not None and self._open["type"] == kind:
            return
        self._close(out)
        item_id = f"{self._id}_{len(self._output)}"
        item = _message(item_id) if kind == "message" else {"id": f"rs_{item_id}", **reasoning("", None)}
        self._add(item | ({"status": "in_progress"} if kind == "message" else {}), out)
        self._open = self._output[-1]

    def _close(self, out: list[bytes]) -> None:
        if self._open is None:
            return
        self._close_part(out)
        if "status" in self._open:
            self._open["status"] = "completed"
        self._open = None
        self._item_event("done", len(self._output) - 1, out)

    def _close_part(self, out: list[bytes]) -> None:
        if self._part is None or self._open is None:
            return
        kind, text = self._part, "".join(self._texts)
        field = "refusal" if kind == "refusal" else "text"
        self._part_event("text", "done", kind, out, **{field: text})
        self._part_event("part", "done", kind, out, part=_text_part(kind, text))
        self._open[_WORDS[kind].within].append(_text_part(kind, text))
        self._part, self._texts = None, []

    def _part_event(self, about: str, verb: str, kind: str, out: list[bytes], **fields: Any) -> None:
        words, item = _WORDS[kind], self._output[-1]
        if kind == "output_text" and about == "text":
            fields["logprobs"] = []
        place = {words.number: len(item[words.within]), "output_index": len(self._output) - 1, "item_id": item["id"]}
        self._emit(f"{words.text if about == 'text' else words.part}.{verb}", out, **place, **fields)

    # ── tool calls ────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, piece: ToolDelta, out: list[bytes]) -> None:
        if piece.index not in self._calls:
            self._close(out)
            if piece.signature:
                self._thinking(ThinkingDelta(redacted=proof(piece.signature)), out)
            place = len(self._output)
            body = call(piece.id or f"call_{piece.index}", piece.name or "", "")
            self._calls[piece.index] = (place, [])
            self._add({"id": f"fc_{self._id}_{place}", "status": "in_progress", **body}, out)
        place, arguments = self._calls[piece.index]
        if piece.arguments:
            arguments.append(piece.arguments)
            self._call_event("delta", place, out, delta=piece.arguments)

    def _close_call(self, place: int, arguments: str, out: list[bytes]) -> None:
        self._output[place].update(arguments=arguments, status="completed")
        self._call_event("done", place, out, arguments=arguments, name=self._output[place]["name"])
        self._item_event("done", place, out)

    def _call_event(self, verb: str, place: int, out: list[bytes], **fields: Any) -> None:
        item_id = self._output[place]["id"]
        self._emit(f"response.function_call_arguments.{verb}", out, output_index=place, item_id=item_id, **fields)

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, item: Item, out: list[bytes]) -> None:
        self._output.append(item)
        self._item_event("added", len(self._output) - 1, out)

    def _item_event(self, verb: str, place: int, out: list[bytes]) -> None:
        self._emit(f"response.output_item.{verb}", out, output_index=place, item=self._output[place])

    def _emit(self, kind: str, out: list[bytes], **fields: Any) -> None:
        out.append(encode(kind, dumps({"type": kind, "sequence_number": self._number, **fields})))
        self._number += 1


def error_fields(fault: Fault) -> Item:
    """What an `error` event says: as documented, and, where the SDK looks before it raises, as `error`."""
    error = openai_error(fault)["error"]
    return {"code": fault.code, "message": fault.message, "param": fault.param, "error": error}
