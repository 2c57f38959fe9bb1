"""Answers of Cohere chat v2, plain and streamed → `Piece`s. No I/O.

Source: `cohere.v2.types` of cohere 7 and https://docs.cohere.com/v2/docs/streaming. The `type` inside the data decides.
Plans (`tool_plan`) and citations are `Other` parts, `{"type": "tool_plan", …}` and `{"type": "citations", …}`: the one
is neither text nor thinking, the other points into the text. In a stream they come in its midst, and are put last.
"""

from collections.abc import Callable, Mapping
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
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, clean, dumps, loads
from llmlens.wire.reading import SseReader
from llmlens.wire.sse import Event

NAME = "cohere.chat_v2"
PLAN = "tool_plan"
CITATIONS = "citations"


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """The counts in `usage` (v2) or `meta` (v1). What is billed counts only where an old answer states nothing else."""
    tokens = as_dict(raw.get("tokens"))
    counted = tokens or as_dict(raw.get("billed_units"))
    return Usage(
        input_tokens=as_int(counted.get("input_tokens")),
        output_tokens=as_int(counted.get("output_tokens")),
        cache_read_tokens=as_int(raw.get("cached_tokens")),
        reasoning_tokens=as_int(tokens.get("reasoning_tokens")),
    )


def ending(raw: Mapping[str, Any], usage: Usage) -> list[Piece]:
    """What an answer ends with; `raw` has `finish_reason`, and `error` where it failed under status 200."""
    reason = as_str(raw.get("finish_reason"))
    out: list[Piece] = [Finished(reason)]
    if usage:
        out.append(UsageSeen(usage))
    error = raw.get("error") or ("the answer ended with ERROR" if reason == "ERROR" else None)
    out.append(Faulted(fault_of_error(error, outer=raw)) if error else Ended())
    return out


class ChatReader(SseReader):
    """Reads a stream of v2 events. The answer is whole at `message-end`; the `[DONE]` that follows says no more."""

    def __init__(self) -> None:
        super().__init__()
        self._plan: list[str] = []
        self._citations: list[Any] = []
        self._call = -1  # number of the last tool call

    def _event(self, event: Event, out: list[Piece]) -> None:
        try:
            data = as_dict(loads(event.data))
        except WireError:
            return  # `[DONE]`, or cut off by the end of the stream
        kind = as_str(data.get("type")) or event.name
        step = _STEPS.get(kind)
        if step is not None:
            step(self, data, out)
        elif kind in ("error", "message") and (fault := fault_of_json(data)):  # "message": nothing names the event
            out.append(Faulted(fault))

    def _finish(self, out: list[Piece]) -> None:
        self._last(out)

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)

    def answer(self, raw: dict[str, Any], out: list[Piece]) -> None:
        """Append what a whole plain answer says."""
        out.append(Started(as_str(raw.get("id"))))
        self._message(as_dict(raw.get("message")), out)
        self._last(out)
        out += ending(raw, usage_of(as_dict(raw.get("usage"))))

    def _start(self, data: dict[str, Any], out: list[Piece]) -> None:
        out.append(Started(as_str(data.get("id"))))
        self._message(_message(data), out)

    def _message(self, message: dict[str, Any], out: list[Piece]) -> None:
        content = message.get("content")
        for block in [{"text": content}] if isinstance(content, str) else as_list(content):
            self._block(as_dict(block), out)
        self._plan.append(_text(message.get(PLAN)))
        for call in as_list(message.get("tool_calls")):
            self._open_call(self._call + 1, as_dict(call), out)
        self._citations += as_list(message.get(CITATIONS))

    def _content(self, data: dict[str, Any], out: list[Piece]) -> None:
        self._block(as_dict(_message(data).get("content")), out)

    def _block(self, block: dict[str, Any], out: list[Piece]) -> None:
        if text := _text(block.get("thinking")):
            out.append(ThinkingDelta(text))
        if text := _text(block.get("text")):
            out.append(TextDelta(text))

    def _plan_delta(self, data: dict[str, Any], _out: list[Piece]) -> None:
        self._plan.append(_text(_message(data).get(PLAN)))

    def _call_start(self, data: dict[str, Any], out: list[Piece]) -> None:
        number = as_int(data.get("index"))
        self._open_call(self._call + 1 if number is None else number, _called(data), out)

    def _open_call(self, number: int, call: dict[str, Any], out: list[Piece]) -> None:
        self._call = number
        function = as_dict(call.get("function"))
        arguments = _arguments(function)
        out.append(ToolDelta(number, as_str(call.get("id")), as_str(function.get("name")), arguments))

    def _call_delta(self, data: dict[str, Any], out: list[Piece]) -> None:
        number = as_int(data.get("index"))
        arguments = _arguments(as_dict(_called(data).get("function")))
        out.append(ToolDelta(max(self._call, 0) if number is None else number, arguments=arguments))

    def _citation(self, data: dict[str, Any], _out: list[Piece]) -> None:
        if citation := as_dict(_message(data).get(CITATIONS)):
            self._citations.append(citation)

    def _end(self, data: dict[str, Any], out: list[Piece]) -> None:
        delta = as_dict(data.get("delta"))
        self._last(out)
        out += ending(delta, usage_of(as_dict(delta.get("usage"))))

    def _last(self, out: list[Piece]) -> None:
        """Append the plan and the citations, once."""
        if plan := clean("".join(self._plan)):
            out.append(OtherDelta(plan_part(plan)))
        if self._citations:
            out.append(OtherDelta(citations_part(self._citations)))
        self._plan, self._citations = [], []


_STEPS: Mapping[str, Callable[[ChatReader, dict[str, Any], list[Piece]], None]] = {
    "message-start": ChatReader._start,
    "content-start": ChatReader._content,
    "content-delta": ChatReader._content,
    "tool-plan-delta": ChatReader._plan_delta,
    "tool-call-start": ChatReader._call_start,
    "tool-call-delta": ChatReader._call_delta,
    "citation-start": ChatReader._citation,
    "message-end": ChatReader._end,
}


def plan_part(text: str) -> Other:
    """What the model means to do with its tools."""
    return Other(NAME, {"type": PLAN, PLAN: text})


def citations_part(citations: list[Any]) -> Other:
    """Which part of the text comes from where."""
    return Other(NAME, {"type": CITATIONS, CITATIONS: citations})


def _message(data: Mapping[str, Any]) -> dict[str, Any]:
    return as_dict(as_dict(data.get("delta")).get("message"))


def _called(data: Mapping[str, Any]) -> dict[str, Any]:
    return as_dict(_message(data).get("tool_calls"))


def _arguments(function: Mapping[str, Any]) -> str:
    raw = function.get("arguments")
    return dumps(raw).decode() if isinstance(raw, dict) else _text(raw)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no chat answer becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    raw = as_dict(value)
    if not isinstance(raw.get("message"), dict):
        return Reply(fault=fault_of_json(value), complete=False)
    out: list[Piece] = []
    ChatReader().answer(raw, out)
    return reply_of(out)
