"""Answers of OpenAI Responses, plain and streamed → `Piece`s. No I/O.

Source: `openai.types.responses` of openai 3, https://platform.openai.com/docs/api-reference/responses-streaming and the
recordings. The `type` inside the data decides, not the `event:` line, which OpenRouter and Bedrock leave out.

A stream says everything up to four times: in deltas, when a part is done, when an item is done, and in the last event.
Each item remembers what was passed on, so that nothing comes twice, and what was missed is made up for by the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    CostSeen,
    Ended,
    Fault,
    Faulted,
    Finished,
    Other,
    OtherDelta,
    Piece,
    RefusalDelta,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    Usage,
    UsageSeen,
)
from llmlens.wire.accumulate import reply_of
from llmlens.wire.faults import STATUS_OF_TYPE, fault_of_body, fault_of_error, fault_of_json
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, loads
from llmlens.wire.reading import SseReader
from llmlens.wire.sse import Event
from llmlens.wire.stated_cost import stated_cost_usd

NAME = "openai.responses"
CALLS = frozenset({"function_call", "custom_tool_call"})
REDACTED = "redacted:"
"""How Anthropic's redacted thinking is told from a signature in `encrypted_content`: no base64 text begins with it."""

# Stem of an event → (what kind of part it is about, the field of its `.done` event that holds the whole).
_TEXTS: Mapping[str, tuple[str, str]] = {
    "response.output_text": ("output_text", "text"),
    "response.refusal": ("refusal", "refusal"),
    "response.reasoning_summary_text": ("summary_text", "text"),
    "response.reasoning_text": ("reasoning_text", "text"),
    "response.function_call_arguments": ("arguments", "arguments"),
    "response.custom_tool_call_input": ("arguments", "input"),
}
_PIECES = {
    "output_text": TextDelta,
    "refusal": RefusalDelta,
    "summary_text": ThinkingDelta,
    "reasoning_text": ThinkingDelta,
}
_Place = tuple[str, int]  # of a text within its item: kind and number


@dataclass(slots=True)
class _Item:
    """An item of the answer, and what of it was passed on. `tool` is the number of a tool call once it has a name."""

    kind: str = ""
    tool: int | None = None
    said: dict[_Place, list[str]] = field(default_factory=dict)
    closed: set[_Place] = field(default_factory=set)
    whole: bool = False


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """The counts in a response's `usage`, which mean what ours do."""
    details_in, details_out = as_dict(raw.get("input_tokens_details")), as_dict(raw.get("output_tokens_details"))
    return Usage(
        input_tokens=as_int(raw.get("input_tokens")),
        output_tokens=as_int(raw.get("output_tokens")),
        cache_read_tokens=as_int(details_in.get("cached_tokens")),
        cache_write_tokens=as_int(details_in.get("cache_write_tokens")),
        reasoning_tokens=as_int(details_out.get("reasoning_tokens")),
    )


class ResponsesReader(SseReader):
    """Reads a stream of Responses events. The answer is whole at the event that ends it, whatever its status."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[int, _Item] = {}  # by `output_index`
        self._of_id: dict[str, _Item] = {}
        self._tools = 0
        self._started = Started()
        self._over = False

    def _event(self, event: Event, out: list[Piece]) -> None:
        try:
            data = as_dict(loads(event.data))
        except WireError:
            return  # `[DONE]`, which some send on top, or cut off by the end of the stream
        kind = str(data.get("type") or event.name)
        stem, _, verb = kind.rpartition(".")
        if step := _STEPS.get(kind):
            step(self, data, out)
        elif stem in _TEXTS:
            self._text(*_TEXTS[stem], verb, data, out)
        elif data.get("error"):
            self._error(data, out)

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)

    def response(self, response: dict[str, Any], out: list[Piece]) -> None:
        """Append what a whole response says that was not said before."""
        self._start(response, out)
        for number, raw in enumerate(as_list(response.get("output"))):
            self._complete(self._known(number, as_dict(raw)), as_dict(raw), out)
        if usage := as_dict(response.get("usage")):
            out.append(UsageSeen(usage_of(usage)))
            if (cost_usd := stated_cost_usd(usage)) is not None:
                out.append(CostSeen(cost_usd))
        if status := as_str(response.get("status")):
            out.append(Finished(status, detail=as_str(as_dict(response.get("incomplete_details")).get("reason"))))
        if response.get("error") or status == "failed":
            out.append(Faulted(_fault(response.get("error") or {})))

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, data: dict[str, Any], out: list[Piece]) -> None:
        self._start(as_dict(data.get("response")), out)

    def _start(self, response: dict[str, Any], out: list[Piece]) -> None:
        started = Started(as_str(response.get("id")), as_str(response.get("model")))
        if started not in (self._started, Started()):
            self._started = started
            out.append(started)

    def _added(self, data: dict[str, Any], out: list[Piece]) -> None:
        raw = as_dict(data.get("item"))
        item = self._items[as_int(data.get("output_index")) or 0] = _Item(str(raw.get("type")))
        if item_id := as_str(raw.get("id")):
            self._of_id[item_id] = item
        self._name(item, raw, out)

    def _done(self, data: dict[str, Any], out: list[Piece]) -> None:
        raw = as_dict(data.get("item"))
        item = self._at(data)
        if item_id := as_str(raw.get("id")):
            self._of_id[item_id] = item
        self._complete(item, raw, out)

    def _text(self, kind: str, whole: str, verb: str, data: dict[str, Any], out: list[Piece]) -> None:
        item = self._at(data)
        number = as_int(data.get("summary_index" if kind == "summary_text" else "content_index")) or 0
        if verb == "delta":
            self._say(item, (kind, number), data.get("delta"), out)
        elif verb == "done":
            self._close(item, (kind, number), data.get(whole), out)

    def _end(self, data: dict[str, Any], out: list[Piece]) -> None:
        response = as_dict(data.get("response"))
        status = str(data.get("type")).removeprefix("response.")
        self.response({**response, "status": response.get("status") or status}, out)
        if not self._over:
            self._over = True
            out.append(Ended())

    def _error(self, data: dict[str, Any], out: list[Piece]) -> None:
        # the documented event has no `error`, the one that is sent has
        out.append(Faulted(_fault(data.get("error") or {k: v for k, v in data.items() if k != "type"})))

    # ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _at(self, data: dict[str, Any]) -> _Item:
        """The item that an event is about; some servers do not announce it."""
        return self._items.setdefault(as_int(data.get("output_index")) or 0, _Item())

    def _known(self, number: int, raw: dict[str, Any]) -> _Item:
        """The item of the stream that item `number` of the whole response is. Ids may have changed in between."""
        if item := self._of_id.get(as_str(raw.get("id")) or ""):
            return item
        item = self._items.get(number)
        return item if item is not None and item.kind in ("", raw.get("type")) else _Item()

    def _complete(self, item: _Item, raw: dict[str, Any], out: list[Piece]) -> None:
        """Pass on what is left of the item, now that `raw` says all of it."""
        if item.whole or not raw:
            return
        item.whole, item.kind = True, str(raw.get("type"))
        if item.kind in CALLS:
            self._name(item, raw, out)
            self._left(item, [{"type": "arguments", "text": raw.get("arguments") or raw.get("input")}], out)
        elif item.kind == "reasoning":
            self._left(item, [*as_list(raw.get("summary")), *as_list(raw.get("content"))], out)
            if sealed := as_str(raw.get("encrypted_content")):
                out.append(_sealed(sealed))
        elif item.kind == "message":
            self._left(item, as_list(raw.get("content")), out)
        else:
            out.append(OtherDelta(Other(NAME, raw)))

    def _left(self, item: _Item, parts: list[Any], out: list[Piece]) -> None:
        """Pass on what the deltas left out of `parts`.

        Order tells which is which, since Bedrock numbers parts over all items. A part that began otherwise in the
        stream counts as said; one that the stream did not have at all does not.
        """
        streamed: dict[str, list[str]] = {}
        for (kind, _), texts in sorted(item.said.items(), reverse=True):
            streamed.setdefault(kind, []).append("".join(texts))
        rests = [_rest(as_dict(part), streamed) for part in parts]
        for part, rest in zip(map(as_dict, parts), rests, strict=True):
            kind, text = _text_of(part)
            if rest is not None:
                self._say(item, (kind, -1), rest, out)
            elif streamed.get(kind):
                streamed[kind].pop()
            elif kind in _PIECES or kind == "arguments":
                self._say(item, (kind, -1), text, out)
            elif part:
                out.append(OtherDelta(Other(NAME, part)))

    def _name(self, item: _Item, raw: dict[str, Any], out: list[Piece]) -> None:
        if item.tool is None and item.kind in CALLS:
            item.tool, self._tools = self._tools, self._tools + 1
            out.append(ToolDelta(item.tool, as_str(raw.get("call_id")), as_str(raw.get("name"))))

    def _say(self, item: _Item, place: _Place, text: Any, out: list[Piece]) -> None:
        if not isinstance(text, str) or not text:
            return
        if place[0] != "arguments":
            out.append(_PIECES[place[0]](text))
        elif item.tool is not None:
            out.append(ToolDelta(item.tool, arguments=text))
        else:
            return  # of a call without a name: the item itself will say it
        item.said.setdefault(place, []).append(text)

    def _close(self, item: _Item, place: _Place, whole: Any, out: list[Piece]) -> None:
        """The part is done: pass on what its deltas left out."""
        if isinstance(whole, str) and whole and place not in item.closed:
            item.closed.add(place)
            said = "".join(item.said.get(place, ()))
            if whole.startswith(said):
                self._say(item, place, whole[len(said) :], out)


_STEPS = {
    "response.created": ResponsesReader._begin,
    "response.queued": ResponsesReader._begin,
    "response.in_progress": ResponsesReader._begin,
    "response.output_item.added": ResponsesReader._added,
    "response.output_item.done": ResponsesReader._done,
    "response.completed": ResponsesReader._end,
    "response.incomplete": ResponsesReader._end,
    "response.failed": ResponsesReader._end,
    "response.cancelled": ResponsesReader._end,
    "error": ResponsesReader._error,
}


def _text_of(part: dict[str, Any]) -> tuple[str, str]:
    """(kind, text) of a part."""
    kind = str(part.get("type"))
    text = part.get("refusal" if kind == "refusal" else "text")
    return kind, text if isinstance(text, str) else ""


def _rest(part: dict[str, Any], streamed: dict[str, list[str]]) -> str | None:
    """What of `part` follows the next text `streamed` of its kind; None where it does not begin with that text."""
    kind, text = _text_of(part)
    waiting = streamed.get(kind)
    return text[len(waiting.pop()) :] if waiting and text.startswith(waiting[-1]) else None


def _sealed(content: str) -> ThinkingDelta:
    if content.startswith(REDACTED):
        return ThinkingDelta(redacted=content.removeprefix(REDACTED))
    return ThinkingDelta(signature=content)


def _fault(error: Any) -> Fault:
    fault = fault_of_error(error)
    # here the code is the word that is the type elsewhere
    return fault if fault.status is not None else replace(fault, status=STATUS_OF_TYPE.get(fault.code or ""))


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no response becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    response = as_dict(value)
    if not isinstance(response.get("output"), list):
        return Reply(fault=fault_of_json(value), complete=False)
    out: list[Piece] = []
    ResponsesReader().response(response, out)
    return reply_of([*out, Ended()])
