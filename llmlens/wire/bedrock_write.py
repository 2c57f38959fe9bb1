"""Answers → Amazon Bedrock Converse, plain and streamed. No I/O.

Source: the shapes `ConverseResponse` and `ConverseStreamOutput` of `bedrock-runtime` in botocore. Where a count is
unknown it says 0, since the shape needs numbers; `latencyMs` is 0, since this layer has no clock.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from llmlens.records import (
    Choice,
    Faulted,
    Other,
    OtherDelta,
    Part,
    Piece,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolDelta,
)
from llmlens.wire.anthropic_read import NAME as ANTHROPIC
from llmlens.wire.anthropic_write import MessagesWriter, tool_id, tool_input, usage_body
from llmlens.wire.aws_event_stream import encode
from llmlens.wire.bedrock_faults import fault_event
from llmlens.wire.bedrock_read import NAME
from llmlens.wire.finish import BEDROCK_WORDS, finish_word
from llmlens.wire.json_text import as_dict, as_list, as_str, dumps, loads
from llmlens.wire.sse import Decoder


def build_reply(reply: Reply, _model: str) -> dict[str, Any]:
    """`reply` as an answer of Converse, which names no model; the first choice only, Converse has no others."""
    choice = reply.choices[0] if reply.choices else Choice()
    tools = any(isinstance(p, ToolCall) for p in choice.parts)
    word = finish_word(choice.finish_reason, BEDROCK_WORDS, has_tools=tools, detail=choice.finish_detail)
    content = [block for n, part in enumerate(choice.parts) if (block := build_part(part, n)) is not None]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": word or "end_turn",
        **_details(choice.stop_sequence),
        "usage": _usage(usage_body(reply.usage)),
        "metrics": {"latencyMs": 0},
    }


def build_part(part: Part, number: int) -> dict[str, Any] | None:
    """The block that says `part`, number `number`; None for what no answer of Converse can say."""
    if isinstance(part, Text | Refusal):
        # a refusal is plain text here; its stopReason says what it is
        return {"text": part.text}
    if isinstance(part, Thinking):
        return {"reasoningContent": thought(part)}
    if isinstance(part, ToolCall):
        call_id = short_id(part.id, number)
        return {"toolUse": {"toolUseId": call_id, "name": part.name, "input": tool_input(part)}}
    return dict(part.value) if isinstance(part, Other) and part.dialect == NAME else None


def thought(part: Thinking) -> dict[str, Any]:
    """The content of a reasoning block."""
    if part.redacted is not None:
        return {"redactedContent": _blob(part.redacted)}
    signature = {} if part.signature is None else {"signature": part.signature}
    return {"reasoningText": {"text": part.text, **signature}}


def short_id(call_id: str | None, number: int) -> str:
    """An id of a tool call that Bedrock accepts: 64 letters, digits, `_` or `-`; ids differ at their ends."""
    return tool_id(call_id, number)[-64:]


def _blob(text: str) -> str:
    """`text` as it is where it is base64, as a blob must be; else encoded."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return base64.b64encode(text.encode("utf-8", "replace")).decode()
    return text


def _details(stop_sequence: str | None) -> dict[str, Any]:
    return {} if stop_sequence is None else {"additionalModelResponseFields": {"stop_sequence": stop_sequence}}


def _usage(counts: Mapping[str, Any]) -> dict[str, int]:
    """Anthropic's counts in Bedrock's words: both leave cached tokens out of the input."""
    names = {"input_tokens": "inputTokens", "output_tokens": "outputTokens",
             "cache_read_input_tokens": "cacheReadInputTokens",
             "cache_creation_input_tokens": "cacheWriteInputTokens"}  # fmt: skip
    usage = {ours: counts[name] for name, ours in names.items() if name in counts}
    return {**usage, "totalTokens": sum(usage.values())}


class ConverseWriter:
    """Writes a Converse stream.

    The events are Anthropic's under other names, and what may follow what is the same, so a `MessagesWriter` decides
    that, and each of its events becomes a frame. Bedrock's own blocks pass through it as blocks of type `NAME`.
    """

    def __init__(self, answer_id: str, model: str, include_usage: bool) -> None:
        self._messages = MessagesWriter(answer_id, model, include_usage)
        self._events = Decoder()
        self._closed = False

    def write(self, pieces: Iterable[Piece]) -> bytes:
        """The frames that say `pieces`."""
        out: list[bytes] = []
        for piece in pieces:
            if self._closed:
                break
            if isinstance(piece, Faulted):
                self._closed = True
                out.append(fault_event(piece.fault))
            elif not (isinstance(piece, OtherDelta) and piece.part.dialect != NAME):
                out += self._frames(self._messages.write([_as_anthropic(piece)]))
        return b"".join(out)

    def end(self) -> bytes:
        """The frames that close the answer. Nothing after an error, which ended the stream itself."""
        return b"" if self._closed else b"".join(self._frames(self._messages.end()))

    def _frames(self, events: bytes) -> list[bytes]:
        frames: list[bytes] = []
        for event in self._events.feed(events):
            data = as_dict(loads(event.data))
            for name, fields in _EVENTS[event.name](data):
                headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
                frames.append(encode(headers, dumps(fields)))
        return frames


def _as_anthropic(piece: Piece) -> Piece:
    if isinstance(piece, OtherDelta):
        return replace(piece, part=Other(ANTHROPIC, {"type": NAME, "block": dict(piece.part.value)}))
    return replace(piece, signature=None) if isinstance(piece, ToolDelta) else piece


# ── Anthropic's events → Converse's ───────────────────────────────────────────────────────────────────────────────

Events = list[tuple[str, dict[str, Any]]]


def _start(_data: dict[str, Any]) -> Events:
    return [("messageStart", {"role": "assistant"})]


def _block_start(data: dict[str, Any]) -> Events:
    index, block = data["index"], as_dict(data["content_block"])
    kind = block["type"]
    if kind == "tool_use":
        start = {"toolUse": {"toolUseId": short_id(block["id"], index), "name": block["name"]}}
        return [("contentBlockStart", {"contentBlockIndex": index, "start": start})]
    if kind == "redacted_thinking":
        return [_delta_of(index, {"reasoningContent": {"redactedContent": _blob(block["data"])}})]
    return _own_block(index, as_dict(block["block"])) if kind == NAME else []


def _own_block(index: int, block: dict[str, Any]) -> Events:
    """A block of Bedrock's own, all at once."""
    kind = next(iter(block), "")
    value = as_dict(block.get(kind))
    if kind == "citationsContent":
        return [_delta_of(index, {"citation": citation}) for citation in as_list(value.get("citations"))]
    content = {"toolUse": "input", "toolResult": "content", "image": "source"}.get(kind)
    if content is None:
        return []  # in no answer
    head = {k: v for k, v in value.items() if k != content}
    said = {kind: value.get(content)}
    if kind == "toolUse":
        said = {kind: {"input": dumps(value.get(content)).decode()}}
    elif kind == "image":
        said = {kind: {"source": value.get(content)}}
    return [("contentBlockStart", {"contentBlockIndex": index, "start": {kind: head}}), _delta_of(index, said)]


def _delta(data: dict[str, Any]) -> Events:
    delta = as_dict(data["delta"])
    kind = delta["type"]
    said: dict[str, Any] = {"text": delta.get("text")}
    if kind == "thinking_delta":
        said = {"reasoningContent": {"text": delta["thinking"]}}
    elif kind == "signature_delta":
        said = {"reasoningContent": {"signature": delta["signature"]}}
    elif kind == "input_json_delta":
        said = {"toolUse": {"input": delta["partial_json"]}}
    return [_delta_of(data["index"], said)]


def _delta_of(index: int, said: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": said}


def _block_stop(data: dict[str, Any]) -> Events:
    return [("contentBlockStop", {"contentBlockIndex": data["index"]})]


def _ending(data: dict[str, Any]) -> Events:
    delta = as_dict(data["delta"])
    reason = finish_word(as_str(delta.get("stop_reason")), BEDROCK_WORDS, has_tools=False) or "end_turn"
    return [
        ("messageStop", {"stopReason": reason, **_details(delta.get("stop_sequence"))}),
        ("metadata", {"usage": _usage(as_dict(data["usage"])), "metrics": {"latencyMs": 0}}),
    ]


_EVENTS: Mapping[str, Callable[[dict[str, Any]], Events]] = {
    "message_start": _start,
    "content_block_start": _block_start,
    "content_block_delta": _delta,
    "content_block_stop": _block_stop,
    "message_delta": _ending,
    "message_stop": lambda _data: [],
}
