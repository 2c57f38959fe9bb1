"""Answers → Cohere chat v2, plain and streamed. No I/O.

Source: `cohere.v2.types` of cohere 7. Cohere has one choice, names no model, and signs no thinking.
"""

from collections.abc import Iterable
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
from llmlens.wire.cohere_build import tool_call
from llmlens.wire.cohere_faults import ending_delta
from llmlens.wire.cohere_read import CITATIONS, NAME, PLAN
from llmlens.wire.finish import COHERE_WORDS, finish_word
from llmlens.wire.json_text import as_list, dumps
from llmlens.wire.sse import encode


def build_reply(reply: Reply, _model: str) -> dict[str, Any]:
    """`reply` as a chat answer."""
    choice = reply.choices[0] if reply.choices else Choice()
    tools = [p for p in choice.parts if isinstance(p, ToolCall)]
    message: dict[str, Any] = {"role": "assistant"}
    if content := [block for p in choice.parts if (block := _block(p)) is not None]:
        message["content"] = content
    if tools:
        message["tool_calls"] = [tool_call(call, number) for number, call in enumerate(tools)]
    for part in choice.parts:
        if isinstance(part, Other) and part.dialect == NAME:
            message.update({k: v for k, v in part.value.items() if k in (PLAN, CITATIONS)})
    word = finish_word(choice.finish_reason, COHERE_WORDS, has_tools=bool(tools), detail=choice.finish_detail)
    return {
        "id": reply.response_id or "",
        "finish_reason": word,
        "message": message,
        "usage": usage_body(reply.usage),
    }


def _block(part: Part) -> dict[str, Any] | None:
    if isinstance(part, Text | Refusal):
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking) and part.redacted is None:
        return {"type": "thinking", "thinking": part.text}
    return None


def usage_body(usage: Usage) -> dict[str, Any]:
    """`usage` in Cohere's shape, without `billed_units`, which only Cohere knows."""
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
    tokens = {k: v for k, v in counts.items() if v is not None}
    body: dict[str, Any] = {"tokens": tokens} if tokens else {}
    return body if usage.cache_read_tokens is None else {**body, "cached_tokens": usage.cache_read_tokens}


class ChatWriter:
    """Writes a stream of v2 events.

    Blocks and calls are closed before the next one opens. Deltas of a call that is closed already still carry its
    number, which is how the protocol tells calls apart.
    """

    def __init__(self, answer_id: str, _model: str, _include_usage: bool) -> None:
        self._id = answer_id
        self._begun = False
        self._closed = False
        self._block = -1  # number of the last content block
        self._open: str | None = None  # kind of the open block, or "tool"
        self._calls: dict[int, int] = {}  # piece's number → ours
        self._call = -1  # our number of the open call
        self._citation = -1
        self._reason: str | None = None
        self._detail: str | None = None
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
        if self._closed:
            return b""
        word = finish_word(self._reason, COHERE_WORDS, has_tools=bool(self._calls), detail=self._detail)
        out: list[bytes] = []
        self._end({"finish_reason": word, "usage": usage_body(self._usage)}, out)
        return b"".join(out)

    def _piece(self, piece: Piece, out: list[bytes]) -> None:
        if isinstance(piece, UsageSeen):
            self._usage = overlay(piece.usage, self._usage)
        elif isinstance(piece, Faulted):
            self._end(ending_delta(piece.fault), out)
        elif isinstance(piece, Ended):
            out.append(self.end())
        elif getattr(piece, "choice", 0) == 0:
            self._begin(out)
            self._say(piece, out)

    def _say(self, piece: Piece, out: list[bytes]) -> None:
        if isinstance(piece, TextDelta | RefusalDelta):
            self._content("text", piece.text, out)
        elif isinstance(piece, ThinkingDelta):
            self._content("thinking", piece.text if piece.redacted is None else "", out)
        elif isinstance(piece, ToolDelta):
            self._tool(piece, out)
        elif isinstance(piece, Finished):
            self._reason = piece.reason or self._reason
            self._detail = piece.detail or self._detail
        elif isinstance(piece, OtherDelta) and piece.part.dialect == NAME:
            self._other(piece.part, out)

    def _content(self, kind: str, text: str, out: list[bytes]) -> None:
        if not text:
            return
        if self._open != kind:
            self._close(out)
            self._open, self._block = kind, self._block + 1
            self._message(out, "content-start", self._block, {"content": {"type": kind, kind: ""}})
        self._message(out, "content-delta", self._block, {"content": {kind: text}})

    def _tool(self, piece: ToolDelta, out: list[bytes]) -> None:
        number = self._calls.get(piece.index)
        if number is None:
            self._close(out)
            number = self._calls[piece.index] = self._call = len(self._calls)
            self._open = "tool"
            call = tool_call(ToolCall(piece.id, piece.name or "", ""), number)
            self._message(out, "tool-call-start", number, {"tool_calls": call})
        if piece.arguments:
            call = {"function": {"arguments": piece.arguments}}
            self._message(out, "tool-call-delta", number, {"tool_calls": call})

    def _other(self, part: Other, out: list[bytes]) -> None:
        if isinstance(plan := part.value.get(PLAN), str):
            self._message(out, "tool-plan-delta", None, {PLAN: plan})
        for citation in as_list(part.value.get(CITATIONS)):
            self._citation += 1
            self._message(out, "citation-start", self._citation, {CITATIONS: citation})
            self._emit(out, "citation-end", index=self._citation)

    def _begin(self, out: list[bytes]) -> None:
        if self._begun:
            return
        self._begun = True
        message = {"role": "assistant", "content": [], PLAN: "", "tool_calls": [], CITATIONS: []}
        self._emit(out, "message-start", id=self._id, delta={"message": message})

    def _close(self, out: list[bytes]) -> None:
        if self._open == "tool":
            self._emit(out, "tool-call-end", index=self._call)
        elif self._open is not None:
            self._emit(out, "content-end", index=self._block)
        self._open = None

    def _end(self, delta: dict[str, Any], out: list[bytes]) -> None:
        self._begin(out)
        self._close(out)
        self._closed = True
        self._emit(out, "message-end", delta=delta)
        out.append(encode(None, b"[DONE]"))

    def _message(self, out: list[bytes], kind: str, index: int | None, message: dict[str, Any]) -> None:
        place = {} if index is None else {"index": index}
        self._emit(out, kind, **place, delta={"message": message})

    def _emit(self, out: list[bytes], kind: str, **fields: Any) -> None:
        out.append(encode(kind, dumps({"type": kind, **fields})))
