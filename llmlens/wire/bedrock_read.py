"""Answers of Amazon Bedrock Converse, plain and streamed → `Piece`s. No I/O.

Source: the shapes `ConverseResponse` and `ConverseStreamOutput` of `bedrock-runtime` in botocore.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    Ended,
    Fault,
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
from llmlens.wire.accumulate import pieces_of, reply_of
from llmlens.wire.aws_event_stream import Decoder, Frame
from llmlens.wire.bedrock_faults import fault_of, fault_of_frame
from llmlens.wire.faults import fault_of_json
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, loads
from llmlens.wire.sse import MAX_EVENT_BYTES

NAME = "bedrock.converse"


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """The counts in `usage`. Bedrock's `inputTokens` leaves cached tokens out; ours has them in."""
    read = _first(raw, "cacheReadInputTokens", "cacheReadInputTokenCount")
    write = _first(raw, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    fresh = as_int(raw.get("inputTokens"))
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=as_int(raw.get("outputTokens")),
        cache_read_tokens=read,
        cache_write_tokens=write,
    )


def _first(raw: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := as_int(raw.get(name))) is not None), None)


class FrameReader:
    """Base of the `StreamReader`s over AWS event streams.

    Bytes that are none end the answer with a Fault. A server may answer a streaming request with plain JSON: no frame
    begins with `{` or `[`, which would make it two gigabytes long, so the whole body is read as a plain answer then.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._sniffed = False
        self._over = False  # ended or faulted
        self._body: list[bytes] | None = None
        self._size = 0

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take the next bytes; return the pieces they completed.

        Raises:
            WireError: a plain body grew past MAX_EVENT_BYTES.
        """
        if not self._sniffed:
            chunk = chunk.lstrip(b" \t\r\n")  # no frame begins so
            self._sniffed = bool(chunk)
            self._body = [] if chunk[:1] in (b"{", b"[") else None
        if self._body is not None:
            self._hold(chunk)
            return []
        out: list[Piece] = []
        if not self._over:
            try:
                frames = self._decoder.feed(chunk)
            except WireError as e:
                self._fail(Fault(str(e), type="wire_error"), out)
                return out
            for frame in frames:
                self._read(frame, out)
        return out

    def end(self) -> list[Piece]:
        """The connection is closed: return what was still held back."""
        if self._body is not None:
            body, self._body = b"".join(self._body), []
            return pieces_of(self._plain(body)) if body else []
        out: list[Piece] = []
        if not self._over:
            try:
                self._decoder.end()
            except WireError as e:
                self._fail(Fault(str(e), type="wire_error"), out)
                return out
            self._finish(out)
        return out

    def _hold(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_EVENT_BYTES:
            raise WireError(f"plain body larger than {MAX_EVENT_BYTES} bytes")
        if self._body is not None:
            self._body.append(chunk)

    def _read(self, frame: Frame, out: list[Piece]) -> None:
        if self._over:
            return
        if frame.text(":message-type") in ("exception", "error"):
            self._fail(fault_of_frame(frame), out)
        else:
            self._event(frame, out)

    def _fail(self, fault: Fault, out: list[Piece]) -> None:
        self._over = True
        out.append(Faulted(fault))

    def _event(self, frame: Frame, out: list[Piece]) -> None:
        """Append the pieces of one event to `out`; never raises."""
        raise NotImplementedError

    def _finish(self, out: list[Piece]) -> None:
        """Append what the end of the connection itself says."""

    def _plain(self, body: bytes) -> Reply:
        """Read a plain answer."""
        raise NotImplementedError


# ── content ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Block:
    """A content block being streamed.

    `tool` is the number of a tool call and `said` whether it has arguments; `other` is a block that nobody else knows,
    `json` its input in pieces; `citations` belong to a text.
    """

    tool: int | None = None
    said: bool = False
    other: dict[str, Any] | None = None
    json: list[str] = field(default_factory=list)
    citations: list[Any] = field(default_factory=list)


class Conversation:
    """The events of a Converse stream, by name → pieces. Nova sends the same ones under InvokeModel."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._tools = 0
        self.stopped = False

    def event(self, name: str, data: dict[str, Any], out: list[Piece]) -> None:
        """Append the pieces of the event `name` to `out`; never raises."""
        step = _STEPS.get(name)
        if step is not None:
            step(self, data, out)

    def answer(self, value: Mapping[str, Any], out: list[Piece]) -> None:
        """Append what a plain answer says."""
        message = as_dict(as_dict(value.get("output")).get("message"))
        out.append(Started())
        for block in as_list(message.get("content")):
            self._whole(as_dict(block), out)
        self._stop(dict(value), out)
        self._metadata(dict(value), out)

    def _whole(self, raw: dict[str, Any], out: list[Piece]) -> None:
        kind = next(iter(raw), "")
        value = as_dict(raw[kind]) if raw else {}
        if kind == "text":
            out.append(TextDelta(_text(raw["text"])))
        elif kind == "reasoningContent":
            self._reason(value, out)
        elif kind == "toolUse" and value.get("type") != "server_tool_use":
            arguments = _dumped(value.get("input"))
            out.append(ToolDelta(self._tools, as_str(value.get("toolUseId")), as_str(value.get("name")), arguments))
            self._tools += 1
        elif kind == "citationsContent":
            self._cited(value, out)
        elif raw:
            out.append(OtherDelta(Other(NAME, raw)))

    def _cited(self, value: dict[str, Any], out: list[Piece]) -> None:
        """A stream says the text of a citation as text; so does this."""
        texts = [as_dict(part).get("text") for part in as_list(value.get("content"))]
        out.extend(TextDelta(text) for text in texts if isinstance(text, str))
        rest = {k: v for k, v in value.items() if k != "content" and v}
        if rest or not texts:
            out.append(OtherDelta(Other(NAME, {"citationsContent": rest})))

    def _reason(self, value: dict[str, Any], out: list[Piece]) -> None:
        """A whole block (`reasoningText`) or a delta: the same fields, one level up."""
        inner = as_dict(value.get("reasoningText")) or value
        redacted = value.get("redactedContent")
        if isinstance(redacted, str):
            out.append(ThinkingDelta(redacted=redacted))
        else:
            out.append(ThinkingDelta(_text(inner.get("text")), as_str(inner.get("signature"))))

    # ── events ──

    def _start(self, _data: dict[str, Any], out: list[Piece]) -> None:
        out.append(Started())

    def _block_start(self, data: dict[str, Any], out: list[Piece]) -> None:
        index, start = as_int(data.get("contentBlockIndex")) or 0, as_dict(data.get("start"))
        self._close(index, out)
        tool = as_dict(start.get("toolUse"))
        if tool and tool.get("type") != "server_tool_use":
            self._blocks[index] = _Block(tool=self._tools)
            out.append(ToolDelta(self._tools, as_str(tool.get("toolUseId")), as_str(tool.get("name"))))
            self._tools += 1
        elif start:
            kind = next(iter(start))
            self._blocks[index] = _Block(other={kind: dict(as_dict(start[kind]))})

    def _delta(self, data: dict[str, Any], out: list[Piece]) -> None:
        index, delta = as_int(data.get("contentBlockIndex")) or 0, as_dict(data.get("delta"))
        block = self._blocks.setdefault(index, _Block())
        if isinstance(delta.get("text"), str):
            out.append(TextDelta(delta["text"]))
        elif "reasoningContent" in delta:
            self._reason(as_dict(delta["reasoningContent"]), out)
        elif "citation" in delta:
            block.citations.append(delta["citation"])
        elif block.tool is not None:
            text = _text(as_dict(delta.get("toolUse")).get("input"))
            if text:
                block.said = True
                out.append(ToolDelta(block.tool, arguments=text))
        elif block.other is not None:
            _extend(block, delta)

    def _block_stop(self, data: dict[str, Any], out: list[Piece]) -> None:
        self._close(as_int(data.get("contentBlockIndex")) or 0, out)

    def _close(self, index: int, out: list[Piece]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.tool is not None and not block.said:
            out.append(ToolDelta(block.tool, arguments="{}"))  # a tool without parameters
        if block.other is not None:
            if block.json and (tool := block.other.get("toolUse")) is not None:
                tool["input"] = _loaded("".join(block.json))
            out.append(OtherDelta(Other(NAME, block.other)))
        if block.citations:
            out.append(OtherDelta(Other(NAME, {"citationsContent": {"citations": block.citations}})))

    def _stop(self, data: dict[str, Any], out: list[Piece]) -> None:
        for index in sorted(self._blocks):
            self._close(index, out)
        if reason := as_str(data.get("stopReason")):
            self.stopped = True
            # there only where the request named it in `additionalModelResponseFieldPaths`
            fields = as_dict(data.get("additionalModelResponseFields"))
            out.append(Finished(reason, as_str(fields.get("stop_sequence"))))

    def _metadata(self, data: dict[str, Any], out: list[Piece]) -> None:
        if usage := usage_of(as_dict(data.get("usage"))):
            out.append(UsageSeen(usage))


_STEPS: Mapping[str, Callable[[Conversation, dict[str, Any], list[Piece]], None]] = {
    "messageStart": Conversation._start,
    "contentBlockStart": Conversation._block_start,
    "contentBlockDelta": Conversation._delta,
    "contentBlockStop": Conversation._block_stop,
    "messageStop": Conversation._stop,
    "metadata": Conversation._metadata,
}


def _extend(block: _Block, delta: dict[str, Any]) -> None:
    """Add a delta to a block that nobody else knows: input of a server's tool, its result, an image."""
    if block.other is None:
        return
    for kind, value in delta.items():
        inner = block.other.get(kind)
        if not isinstance(inner, dict):
            continue
        if kind == "toolUse":
            block.json.append(_text(as_dict(value).get("input")))
        elif isinstance(value, list):
            inner["content"] = [*as_list(inner.get("content")), *value]
        else:
            inner.update(as_dict(value))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dumped(value: object) -> str:
    if isinstance(value, str):
        return value
    return dumps({} if value is None else value).decode()


def _loaded(text: str) -> Any:
    try:
        return loads(text)
    except WireError:
        return text


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────


class ConverseReader(FrameReader):
    """Reads a stream of Converse events. The answer is whole at `metadata`, which follows `messageStop`; where a
    server leaves it out, at the end of the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._said = Conversation()

    def _event(self, frame: Frame, out: list[Piece]) -> None:
        name = frame.text(":event-type")
        try:
            data = as_dict(loads(frame.payload))
        except WireError:
            return
        self._said.event(name, data, out)
        if name == "metadata":
            self._finish(out)

    def _finish(self, out: list[Piece]) -> None:
        if self._said.stopped and not self._over:
            self._over = True
            out.append(Ended())

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no answer of Converse becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    if not isinstance(as_dict(value).get("output"), dict):
        return Reply(fault=fault_of_json(value), complete=False)
    return reply_of([*pieces_of_answer(value), Ended()])


def pieces_of_answer(value: Mapping[str, Any]) -> list[Piece]:
    """What the parsed answer `value` says."""
    out: list[Piece] = []
    Conversation().answer(value, out)
    return out
