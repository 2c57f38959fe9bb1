"""Answers of Anthropic Messages, plain and streamed → `Piece`s. No I/O.

Source: https://docs.claude.com/en/api/messages-streaming and `anthropic.types` of anthropic 2. The `type` inside the
data decides, not the `event:` line, which some servers leave out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    Ended,
    Faulted,
    Finished,
    Other,
    OtherDelta,
    Piece,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    Usage,
    UsageSeen,
)
from llmlens.wire.accumulate import reply_of
from llmlens.wire.faults import fault_of_body, fault_of_error, fault_of_json
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, loads
from llmlens.wire.reading import SseReader
from llmlens.wire.sse import Event

NAME = "anthropic.messages"


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """The counts in a message's `usage`. Anthropic's `input_tokens` leaves cached tokens out; ours has them in."""
    read, write = as_int(raw.get("cache_read_input_tokens")), as_int(raw.get("cache_creation_input_tokens"))
    fresh = as_int(raw.get("input_tokens"))
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=as_int(raw.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=as_int(as_dict(raw.get("output_tokens_details")).get("thinking_tokens")),
    )


@dataclass(slots=True)
class _Block:
    """A content block being streamed.

    `tool` is the number of a tool call, `other` a block nobody else knows, `json` the input that came in deltas (of a
    tool call, whose deltas are passed on at once, only whether there was any).
    """

    tool: int | None = None
    input: Any = None
    other: dict[str, Any] | None = None
    json: list[str] = field(default_factory=list)


class MessagesReader(SseReader):
    """Reads a stream of Messages events. The answer is whole at `message_stop`."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, _Block] = {}
        self._tools = 0
        self._usage: dict[str, Any] = {}
        self._over = False

    def _event(self, event: Event, out: list[Piece]) -> None:
        try:
            value = loads(event.data)
        except WireError:
            return  # cut off by the end of the stream
        data = as_dict(value)
        step = _STEPS.get(str(data.get("type") or event.name))
        if step is not None:
            step(self, data, out)
        elif data.get("error"):
            self._error(data, out)

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)

    def message(self, message: dict[str, Any], out: list[Piece]) -> None:
        """Append what a message object says: whole (a plain answer) or as it starts."""
        out.append(Started(as_str(message.get("id")), as_str(message.get("model"))))
        for number, block in enumerate(as_list(message.get("content"))):
            self._open(number, as_dict(block), out)
            self._close(number, out)
        self._ending(message, out)

    def _start(self, data: dict[str, Any], out: list[Piece]) -> None:
        self.message(as_dict(data.get("message")), out)

    def _block_start(self, data: dict[str, Any], out: list[Piece]) -> None:
        self._open(as_int(data.get("index")) or 0, as_dict(data.get("content_block")), out)

    def _block_stop(self, data: dict[str, Any], out: list[Piece]) -> None:
        self._close(as_int(data.get("index")) or 0, out)

    def _open(self, index: int, raw: dict[str, Any], out: list[Piece]) -> None:
        kind = raw.get("type")
        if index in self._blocks:
            self._close(index, out)
        if kind == "text":
            out.append(TextDelta(_text(raw.get("text"))))
        elif kind == "thinking":
            out.append(ThinkingDelta(_text(raw.get("thinking")), as_str(raw.get("signature"))))
        elif kind == "redacted_thinking":
            out.append(ThinkingDelta(redacted=_text(raw.get("data"))))
        elif kind == "tool_use":
            self._blocks[index] = _Block(tool=self._tools, input=raw.get("input"))
            out.append(ToolDelta(self._tools, as_str(raw.get("id")), as_str(raw.get("name"))))
            self._tools += 1
        elif raw:
            self._blocks[index] = _Block(other=dict(raw))

    def _delta(self, data: dict[str, Any], out: list[Piece]) -> None:
        delta = as_dict(data.get("delta"))
        kind = delta.get("type")
        if kind == "text_delta":
            out.append(TextDelta(_text(delta.get("text"))))
        elif kind == "thinking_delta":
            out.append(ThinkingDelta(_text(delta.get("thinking"))))
        elif kind == "signature_delta":
            out.append(ThinkingDelta(signature=as_str(delta.get("signature"))))
        elif block := self._blocks.get(as_int(data.get("index")) or 0):
            self._block_delta(block, delta, out)

    def _block_delta(self, block: _Block, delta: dict[str, Any], out: list[Piece]) -> None:
        if delta.get("type") == "input_json_delta":
            text = _text(delta.get("partial_json"))
            if text and (block.other is not None or not block.json):
                block.json.append(text)
            if text and block.tool is not None:
                out.append(ToolDelta(block.tool, arguments=text))
        elif block.other is not None:
            # e.g. compaction_delta; citations belong to text blocks and are not kept
            block.other.update({k: v for k, v in delta.items() if k != "type"})

    def _close(self, index: int, out: list[Piece]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.tool is not None:
            if not block.json:
                # no delta means that the start said it all, usually {}
                whole = block.input if isinstance(block.input, str) else _dumped(block.input)
                out.append(ToolDelta(block.tool, arguments=whole))
        elif block.other is not None:
            if block.json:
                block.other["input"] = _loaded("".join(block.json))
            out.append(OtherDelta(Other(NAME, block.other)))

    def _ending(self, raw: dict[str, Any], out: list[Piece]) -> None:
        """What a plain message and a `message_delta` say of the end."""
        if reason := as_str(raw.get("stop_reason")):
            out.append(Finished(reason, as_str(raw.get("stop_sequence"))))
        self._count(raw, out)

    def _count(self, raw: dict[str, Any], out: list[Piece]) -> None:
        if usage := as_dict(raw.get("usage")):
            # each event states totals so far; a null or absent count leaves the former one
            self._usage.update({k: v for k, v in usage.items() if v is not None})
            out.append(UsageSeen(usage_of(self._usage)))

    def _message_delta(self, data: dict[str, Any], out: list[Piece]) -> None:
        self._ending({**as_dict(data.get("delta")), "usage": data.get("usage")}, out)

    def _stop(self, _data: dict[str, Any], out: list[Piece]) -> None:
        for index in sorted(self._blocks):
            self._close(index, out)
        if not self._over:
            self._over = True
            out.append(Ended())

    def _error(self, data: dict[str, Any], out: list[Piece]) -> None:
        self._over = True
        out.append(Faulted(fault_of_error(data.get("error") or data)))


_STEPS = {
    "message_start": MessagesReader._start,
    "content_block_start": MessagesReader._block_start,
    "content_block_delta": MessagesReader._delta,
    "content_block_stop": MessagesReader._block_stop,
    "message_delta": MessagesReader._message_delta,
    "message_stop": MessagesReader._stop,
    "error": MessagesReader._error,
}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dumped(value: object) -> str:
    return dumps(value if isinstance(value, dict) else {}).decode()


def _loaded(text: str) -> Any:
    try:
        return loads(text)
    except WireError:
        return text


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no message becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    message = as_dict(value)
    if message.get("type") == "error" or "content" not in message:
        return Reply(fault=fault_of_json(value), complete=False)
    out: list[Piece] = []
    MessagesReader().message(message, out)
    return reply_of([*out, Ended()])
