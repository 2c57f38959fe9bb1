"""Answers → Ollama chat, plain and streamed. No I/O.

Source: `ollama._types` of ollama 0.6. Ollama has one choice, gives no ids to answers, and signs no thinking.
"""

from collections.abc import Iterable
from typing import Any

from llmlens.records import (
    Choice,
    Ended,
    Faulted,
    Finished,
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
from llmlens.wire.accumulate import Accumulator, overlay
from llmlens.wire.finish import OLLAMA_WORDS, finish_word
from llmlens.wire.json_text import clean
from llmlens.wire.ndjson import encode
from llmlens.wire.ollama_build import tool_call
from llmlens.wire.ollama_faults import error_fields

EPOCH = "1970-01-01T00:00:00Z"  # `created_at` must be there, and this layer has no clock


def build_reply(reply: Reply, model: str) -> dict[str, Any]:
    """`reply` as a chat answer that shows `model`."""
    choice = reply.choices[0] if reply.choices else Choice()
    tools = [p for p in choice.parts if isinstance(p, ToolCall)]
    texts = [p.text for p in choice.parts if isinstance(p, Text | Refusal)]
    thoughts = [p.text for p in choice.parts if isinstance(p, Thinking)]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if thought := "".join(thoughts):
        message["thinking"] = thought
    if tools:
        message["tool_calls"] = [tool_call(call, number) for number, call in enumerate(tools)]
    return {"model": model, "created_at": EPOCH, "message": message, **_ending(choice, reply.usage, bool(tools))}


def _ending(choice: Choice, usage: Usage, has_tools: bool) -> dict[str, Any]:
    fields = {
        "done_reason": finish_word(
            choice.finish_reason, OLLAMA_WORDS, has_tools=has_tools, detail=choice.finish_detail
        ),
        "prompt_eval_count": usage.input_tokens,
        "eval_count": usage.output_tokens,
    }
    return {"done": True, **{k: v for k, v in fields.items() if v is not None}}


class ChatWriter:
    """Writes a stream of chat lines. Tool calls wait for the end: each must be whole, with its arguments an object."""

    def __init__(self, _answer_id: str, model: str, _include_usage: bool) -> None:
        self._head = {"model": model, "created_at": EPOCH}
        self._calls = Accumulator()
        self._choice = Choice()
        self._usage = Usage()
        self._closed = False

    def write(self, pieces: Iterable[Piece]) -> bytes:
        """The lines that say `pieces`."""
        return b"".join(self._piece(piece) for piece in pieces if not self._closed)

    def end(self) -> bytes:
        """The tool calls and the last line. Nothing after an error, which ended the stream itself."""
        if self._closed:
            return b""
        self._closed = True
        calls = [tool_call(call, number) for number, call in enumerate(self._calls.reply().tool_calls)]
        said = self._line({"content": "", "tool_calls": calls}) if calls else b""
        message = {"role": "assistant", "content": ""}
        last = {**self._head, "message": message, **_ending(self._choice, self._usage, bool(calls))}
        return said + encode(last)

    def _piece(self, piece: Piece) -> bytes:
        if isinstance(piece, UsageSeen):
            self._usage = overlay(piece.usage, self._usage)
        elif isinstance(piece, Faulted):
            self._closed = True
            return encode(error_fields(piece.fault))
        elif isinstance(piece, Ended):
            return self.end()
        elif getattr(piece, "choice", 0) == 0:
            return self._say(piece)
        return b""

    def _say(self, piece: Piece) -> bytes:
        if isinstance(piece, TextDelta | RefusalDelta):
            return self._line({"content": clean(piece.text)}) if piece.text else b""
        if isinstance(piece, ThinkingDelta):
            return self._line({"content": "", "thinking": clean(piece.text)}) if piece.text else b""
        if isinstance(piece, ToolDelta):
            self._calls.add([piece])
        elif isinstance(piece, Finished):
            reason, detail = piece.reason or self._choice.finish_reason, piece.detail or self._choice.finish_detail
            self._choice = Choice(finish_reason=reason, finish_detail=detail)
        return b""

    def _line(self, message: dict[str, Any]) -> bytes:
        return encode({**self._head, "message": {"role": "assistant", **message}, "done": False})
