"""Answers → Anthropic messages, plain and streamed. No I/O.

Source: `anthropic.types` of anthropic 2. `usage` needs two numbers there; where a count is unknown it says 0, which
only happens for upstreams that state no usage at all.
"""

from collections.abc import Iterable
from typing import Any

from llmlens.errors import WireError
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
from llmlens.wire.anthropic_read import NAME
from llmlens.wire.call_proof import proof, proofs_apart
from llmlens.wire.faults import anthropic_error
from llmlens.wire.finish import ANTHROPIC_WORDS, finish_word
from llmlens.wire.json_text import dumps, loads
from llmlens.wire.sse import encode


def build_reply(reply: Reply, model: str) -> dict[str, Any]:
    """`reply` as a message that shows `model`; the first choice only, Anthropic has no others."""
    choice = reply.choices[0] if reply.choices else Choice()
    parts = list(proofs_apart(choice.parts))
    tools = any(isinstance(p, ToolCall) for p in parts)
    return {
        "id": reply.response_id or "",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [block for n, part in enumerate(parts) if (block := _block(part, n)) is not None],
        "stop_reason": finish_word(choice.finish_reason, ANTHROPIC_WORDS, has_tools=tools, detail=choice.finish_detail),
        "stop_sequence": choice.stop_sequence,
        "usage": usage_body(reply.usage),
    }


def usage_body(usage: Usage) -> dict[str, Any]:
    """`usage` in Anthropic's meaning: `input_tokens` without the cached ones."""
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    if read is not None and usage.input_tokens is not None:
        read = min(read, usage.input_tokens)  # a few servers count more; the sum must stay true
    body: dict[str, Any] = {
        "input_tokens": max(0, (usage.input_tokens or 0) - (read or 0) - (write or 0)),
        "output_tokens": usage.output_tokens or 0,
    }
    optional = {"cache_read_input_tokens": read, "cache_creation_input_tokens": write}
    body.update({k: v for k, v in optional.items() if v is not None})
    if usage.reasoning_tokens is not None:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return body


def _block(part: Part, number: int) -> dict[str, Any] | None:
    if isinstance(part, Text | Refusal):
        # a refusal is plain text here; its stop_reason says what it is
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        return thinking_block(part)
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": tool_id(part.id, number), "name": part.name, "input": tool_input(part)}
    return dict(part.value) if isinstance(part, Other) and part.dialect == NAME else None


def thinking_block(part: Thinking) -> dict[str, Any]:
    """A thinking block. Without a signature it is shown, but cannot be sent back to Anthropic."""
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}


def tool_id(call_id: str | None, number: int) -> str:
    """An id that Anthropic accepts (letters, digits, `_`, `-`); one without gets `toolu_<number>`."""
    if not call_id:
        return f"toolu_{number}"
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_-" else "_" for c in call_id)


def tool_input(call: ToolCall) -> dict[str, Any]:
    """The arguments as the object that Anthropic needs; what is no JSON object is kept under `arguments`."""
    if not call.arguments.strip():
        return {}
    try:
        value = loads(call.arguments)
    except WireError:
        return {"arguments": call.arguments}
    if isinstance(value, dict):
        return value
    return {} if value is None else {"arguments": value}


class MessagesWriter:
    """Writes a stream of Messages events.

    Blocks are closed before the next one opens, as the protocol wants. Deltas of another tool call wait until the open
    call's arguments are whole, since a closed block cannot be opened again.
    """

    def __init__(self, answer_id: str, model: str, include_usage: bool) -> None:
        self._id, self._model = answer_id, model  # usage is always part of the protocol
        self._begun = False
        self._closed = False
        self._index = -1  # of the last block
        self._open: type[Part] | None = None
        self._signed = False
        self._tool: int | None = None  # number of the open tool call
        self._json: list[str] = []
        self._waiting: list[Piece] = []
        self._has_tools = False
        self._reason: str | None = None
        self._detail: str | None = None
        self._stop_sequence: str | None = None
        self._usage = Usage()

    def write(self, pieces: Iterable[Piece]) -> bytes:
        """The events that say `pieces`."""
        out: list[bytes] = []
        for piece in pieces:
            if not self._closed:
                self._piece(piece, out)
        return b"".join(out)

    def end(self) -> bytes:
        """The events that close the message. Nothing after an error, which ended the stream itself."""
        out: list[bytes] = []
        self._end(out)
        return b"".join(out)

    def _end(self, out: list[bytes]) -> None:
        if self._closed:
            return
        self._begin(out)
        for piece in self._take():  # whatever their arguments are now, no more will come
            self._say(piece, out)
        self._close(out)
        self._closed = True
        word = finish_word(self._reason, ANTHROPIC_WORDS, has_tools=self._has_tools, detail=self._detail)
        delta = {"stop_reason": word, "stop_sequence": self._stop_sequence}
        self._emit(out, "message_delta", delta=delta, usage=usage_body(self._usage))
        self._emit(out, "message_stop")

    def _piece(self, piece: Piece, out: list[bytes]) -> None:
        if isinstance(piece, UsageSeen):
            self._usage = overlay(piece.usage, self._usage)
        elif isinstance(piece, Faulted):
            self._begin(out)
            self._closed = True
            out.append(encode("error", dumps(anthropic_error(piece.fault))))
        elif isinstance(piece, Ended):
            self._end(out)
        else:
            self._begin(out)
            if getattr(piece, "choice", 0) == 0:  # Anthropic has one choice
                self._content(piece, out)

    def _content(self, piece: Piece, out: list[bytes]) -> None:
        if isinstance(piece, Finished):
            self._reason = piece.reason or self._reason
            self._detail = piece.detail or self._detail
            self._stop_sequence = piece.stop_sequence or self._stop_sequence
        elif isinstance(piece, ToolDelta) and piece.index == self._tool:
            self._arguments(piece.arguments, out)
            if self._waiting and self._whole():
                for waiting in self._take():
                    self._content(waiting, out)
        elif self._tool is not None and not self._whole():
            self._waiting.append(piece)
        else:
            self._say(piece, out)

    def _whole(self) -> bool:
        """The open tool call's arguments are a JSON object."""
        if not self._json or not self._json[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(loads("".join(self._json)), dict)
        except WireError:
            return False

    def _take(self) -> list[Piece]:
        """What waited: the deltas of each call together, in the order the calls began."""
        waiting, self._waiting = self._waiting, []
        calls: dict[int, list[Piece]] = {}
        order: list[list[Piece]] = []
        for piece in waiting:
            if not isinstance(piece, ToolDelta):
                order.append([piece])
            elif piece.index in calls:
                calls[piece.index].append(piece)
            else:
                calls[piece.index] = [piece]
                order.append(calls[piece.index])
        return [piece for group in order for piece in group]

    def _say(self, piece: Piece, out: list[bytes]) -> None:
        if isinstance(piece, TextDelta | RefusalDelta):
            if piece.text:
                self._switch(Text, {"type": "text", "text": ""}, out)
                self._delta(out, type="text_delta", text=piece.text)
        elif isinstance(piece, ThinkingDelta):
            self._thinking(piece, out)
        elif isinstance(piece, ToolDelta):
            if piece.index != self._tool:
                self._call(piece, out)
            self._arguments(piece.arguments, out)
        elif isinstance(piece, OtherDelta) and piece.part.dialect == NAME:
            self._switch(Other, dict(piece.part.value), out)
            self._close(out)

    def _thinking(self, piece: ThinkingDelta, out: list[bytes]) -> None:
        if piece.redacted is not None:
            self._switch(Other, {"type": "redacted_thinking", "data": piece.redacted}, out)
            self._close(out)
            return
        if not piece.text and not piece.signature:
            return
        if self._open is Thinking and self._signed:
            self._close(out)
        self._switch(Thinking, {"type": "thinking", "thinking": "", "signature": ""}, out)
        if piece.text:
            self._delta(out, type="thinking_delta", thinking=piece.text)
        if piece.signature:
            self._signed = True
            self._delta(out, type="signature_delta", signature=piece.signature)

    def _call(self, piece: ToolDelta, out: list[bytes]) -> None:
        self._close(out)
        if piece.signature:
            self._thinking(ThinkingDelta(redacted=proof(piece.signature)), out)
        block_id = tool_id(piece.id, self._index + 1)
        block = {"type": "tool_use", "id": block_id, "name": piece.name or "", "input": {}}
        self._switch(ToolCall, block, out)
        self._tool, self._has_tools = piece.index, True

    def _arguments(self, text: str, out: list[bytes]) -> None:
        if text:
            self._json.append(text)
            self._delta(out, type="input_json_delta", partial_json=text)

    def _switch(self, kind: type[Part], block: dict[str, Any], out: list[bytes]) -> None:
        """Make sure that a block of `kind` is open."""
        if self._open is kind:
            return
        self._close(out)
        self._open, self._index = kind, self._index + 1
        self._emit(out, "content_block_start", index=self._index, content_block=block)

    def _close(self, out: list[bytes]) -> None:
        if self._open is not None:
            self._emit(out, "content_block_stop", index=self._index)
        self._open, self._tool, self._json, self._signed = None, None, [], False

    def _begin(self, out: list[bytes]) -> None:
        if self._begun:
            return
        self._begun = True
        message = build_reply(Reply(response_id=self._id, usage=self._usage), self._model)
        self._emit(out, "message_start", message=message)

    def _delta(self, out: list[bytes], **delta: Any) -> None:
        self._emit(out, "content_block_delta", index=self._index, delta=delta)

    def _emit(self, out: list[bytes], kind: str, **fields: Any) -> None:
        out.append(encode(kind, dumps({"type": kind, **fields})))
