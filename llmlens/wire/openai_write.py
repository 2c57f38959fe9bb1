"""Answers → OpenAI chat completions, plain and streamed. No I/O.

Source: `openai.types.chat` of openai 3. Reasoning goes into `reasoning_content`, as most compatible servers do; where
it carries a signature, `thinking_blocks` (LiteLLM's name) holds it too, so that a client which sends the message back
can go on. The signature of a tool call is where Google's own OpenAI endpoint has it.
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
from llmlens.wire.faults import openai_error
from llmlens.wire.finish import OPENAI_WORDS, finish_word
from llmlens.wire.json_text import dumps
from llmlens.wire.openai_usage import usage_body
from llmlens.wire.sse import encode


def build_reply(reply: Reply, model: str) -> dict[str, Any]:
    """`reply` as a chat completion that shows `model`."""
    return {
        "id": reply.response_id or "",
        "object": "chat.completion",
        "created": reply.created_s or 0,
        "model": model,
        "choices": [_choice(choice) for choice in reply.choices],
        "usage": usage_body(reply.usage),
    }


def _choice(choice: Choice) -> dict[str, Any]:
    tools = [p for p in choice.parts if isinstance(p, ToolCall)]
    return {
        "index": choice.index,
        "message": _message(choice, tools),
        "logprobs": None,
        "finish_reason": finish_word(
            choice.finish_reason, OPENAI_WORDS, has_tools=bool(tools), detail=choice.finish_detail
        ),
    }


def _message(choice: Choice, tools: list[ToolCall]) -> dict[str, Any]:
    texts = [p.text for p in choice.parts if isinstance(p, Text)]
    refusals = [p.text for p in choice.parts if isinstance(p, Refusal)]
    thoughts = [p for p in choice.parts if isinstance(p, Thinking)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    message.update(thinking_fields(thoughts))
    if tools:
        message["tool_calls"] = [tool_call(part, number) for number, part in enumerate(tools)]
    return message


def thinking_fields(thoughts: list[Thinking]) -> dict[str, Any]:
    """The fields of a message that carry `thoughts`."""
    fields: dict[str, Any] = {}
    if text := "".join(p.text for p in thoughts):
        fields["reasoning_content"] = text
    if any(p.signature is not None or p.redacted is not None for p in thoughts):
        fields["thinking_blocks"] = [_thinking_block(p) for p in thoughts]
    return fields


def _thinking_block(thought: Thinking) -> dict[str, Any]:
    if thought.redacted is not None:
        return {"type": "redacted_thinking", "data": thought.redacted}
    block = {"type": "thinking", "thinking": thought.text}
    return block if thought.signature is None else {**block, "signature": thought.signature}


def tool_call(part: ToolCall, number: int) -> dict[str, Any]:
    """A tool call in a message. One without an id gets `call_<number>`: tool results must name it."""
    function = {"name": part.name, "arguments": part.arguments}
    return {"id": part.id or f"call_{number}", "type": "function", "function": function, **signed(part.signature)}


def signed(signature: str | None) -> dict[str, Any]:
    """The field of a tool call that carries its `signature`.

    Source: https://ai.google.dev/gemini-api/docs/thought-signatures (OpenAI compatibility)
    """
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


class ChatWriter:
    """Writes a stream of chat completion chunks; finish reasons and usage are held until the end is known."""

    def __init__(self, answer_id: str, model: str, include_usage: bool) -> None:
        self._head: dict[str, Any] = {"id": answer_id, "object": "chat.completion.chunk", "created": 0, "model": model}
        self._include_usage = include_usage
        self._begun: set[int] = set()
        self._thought: dict[int, list[str]] = {}  # choice → what was thought and not yet signed
        self._blocks: dict[int, int] = {}  # choice → thinking blocks so far
        self._tools: dict[int, set[int]] = {}  # choice → calls that were opened
        self._reasons: dict[int, str | None] = {}
        self._details: dict[int, str | None] = {}
        self._usage = Usage()
        self._closed = False

    def write(self, pieces: Iterable[Piece]) -> bytes:
        """The chunks that say `pieces`."""
        return b"".join(self._piece(piece) for piece in pieces if not self._closed)

    def end(self) -> bytes:
        """Finish chunks, usage if asked for, and `[DONE]`. Nothing after an error, which ended the stream itself."""
        if self._closed:
            return b""
        self._closed = True
        out = []
        for choice in sorted(self._begun | set(self._reasons)) or [0]:
            if choice not in self._begun:
                out.append(self._delta(choice, {}))
            word = finish_word(
                self._reasons.get(choice),
                OPENAI_WORDS,
                has_tools=choice in self._tools,
                detail=self._details.get(choice),
            )
            out.append(self._chunk([{"index": choice, "delta": {}, "logprobs": None, "finish_reason": word}]))
        if self._include_usage and (usage := usage_body(self._usage)) is not None:
            out.append(self._chunk([], usage))
        out.append(b"data: [DONE]\n\n")
        return b"".join(out)

    def _piece(self, piece: Piece) -> bytes:
        if isinstance(piece, TextDelta):
            return self._delta(piece.choice, {"content": piece.text})
        if isinstance(piece, ThinkingDelta):
            return self._thinking(piece)
        if isinstance(piece, ToolDelta):
            return self._tool(piece)
        if isinstance(piece, RefusalDelta):
            return self._delta(piece.choice, {"refusal": piece.text})
        return self._state(piece)

    def _state(self, piece: Piece) -> bytes:
        if isinstance(piece, Started):
            self._head["created"] = piece.created_s or self._head["created"]
        elif isinstance(piece, Finished):
            self._reasons[piece.choice] = piece.reason or self._reasons.get(piece.choice)
            self._details[piece.choice] = piece.detail or self._details.get(piece.choice)
        elif isinstance(piece, UsageSeen):
            self._usage = overlay(piece.usage, self._usage)
        elif isinstance(piece, Faulted):
            self._closed = True
            return encode(None, dumps(openai_error(piece.fault)))
        elif isinstance(piece, Ended):
            return self.end()
        return b""  # of Started our own id and model are shown; OtherDelta: nothing here can say it

    def _thinking(self, piece: ThinkingDelta) -> bytes:
        """The block comes with its proof, and then has the whole text: clients join deltas, and send back the block."""
        delta: dict[str, Any] = {}
        thought = self._thought.setdefault(piece.choice, [])
        thought.append(piece.text)
        if piece.signature is not None or piece.redacted is not None:
            text = piece.text if piece.redacted is not None else "".join(thought)
            number = self._blocks[piece.choice] = self._blocks.get(piece.choice, -1) + 1
            block = _thinking_block(Thinking(text, piece.signature, piece.redacted))
            delta["thinking_blocks"] = [{"index": number, **block}]  # by which the SDK joins lists
            thought.clear()
        if piece.text:
            delta["reasoning_content"] = piece.text
        return self._delta(piece.choice, delta)

    def _tool(self, piece: ToolDelta) -> bytes:
        opened = self._tools.setdefault(piece.choice, set())
        function: dict[str, Any] = {"arguments": piece.arguments}
        call: dict[str, Any] = {"index": piece.index, "function": function, **signed(piece.signature)}
        if piece.index not in opened:
            opened.add(piece.index)
            call.update(id=piece.id or f"call_{piece.index}", type="function")
            function["name"] = piece.name or ""
        return self._delta(piece.choice, {"tool_calls": [call]})

    def _delta(self, choice: int, delta: dict[str, Any]) -> bytes:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = {"role": "assistant", "content": None, **delta}
        return self._chunk([{"index": choice, "delta": delta, "logprobs": None, "finish_reason": None}])

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = {**self._head, "choices": choices}
        if self._include_usage:
            chunk["usage"] = usage
        return encode(None, dumps(chunk))
