"""Answers of Gemini's generateContent, plain and streamed → `Piece`s. No I/O.

Source: https://ai.google.dev/api/generate-content and `google.genai.types` of google-genai 3. A stream is a sequence of
whole GenerateContentResponses: as server-sent events (`alt=sse`), else as one JSON array.

A signature has no text of its own: what rides on a text part becomes a `Thinking` with no text right behind it. A
thought with a signature and no text is one that nobody can read.
"""

from collections.abc import Mapping
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
    UsageSeen,
)
from llmlens.wire.accumulate import reply_of
from llmlens.wire.gemini_faults import fault_of_body, fault_of_json
from llmlens.wire.gemini_partial import PartialCall
from llmlens.wire.gemini_signature import opened
from llmlens.wire.gemini_usage import usage_of
from llmlens.wire.json_array import JsonArray
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, is_int, loads
from llmlens.wire.reading import SPACE, SseReader
from llmlens.wire.sse import Event

NAME = "gemini.generate"
_NO_REASONS = frozenset({"0", "FINISH_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"})
# What is said about a part, beside what the part is.
_MARKS = frozenset({"thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"})


def kind_of(part: Mapping[str, Any]) -> str | None:
    """Which of its fields says what `part` is: "text", "functionCall", "inlineData" …"""
    return next((name for name in part if name not in _MARKS), None)


class GenerateReader(SseReader):
    """Reads a stream in either framing.

    There is no end mark: the answer is whole when the connection closes after every candidate named its finish reason,
    or after the prompt was blocked. Of the usage the last statement counts, as a whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self._array: JsonArray | None = None
        self._started = Started()
        self._open: dict[int, bool] = {}  # candidate → finish reason still awaited
        self._calls: dict[int, int] = {}  # candidate → calls so far
        self._partial: dict[int, PartialCall] = {}  # candidate → the call whose arguments come in pieces
        self._usage: dict[str, Any] = {}
        self._faulted = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take the next bytes; return the pieces they completed.

        Raises:
            WireError: one event, one element, or a plain body grew past MAX_EVENT_BYTES.
        """
        if not self._sniffed and chunk.lstrip(SPACE)[:1] == b"[":
            self._sniffed, self._array = True, JsonArray()
        if self._array is None:
            return super().feed(chunk)
        out: list[Piece] = []
        for element in self._array.feed(chunk):
            self._json(element, out)
        return out

    def _event(self, event: Event, out: list[Piece]) -> None:
        self._json(event.data, out)

    def _json(self, text: bytes | str, out: list[Piece]) -> None:
        try:
            value = loads(text)
        except WireError:
            return  # cut off by the end of the stream
        for chunk in value if isinstance(value, list) else [value]:  # errors may come in a list
            self.response(as_dict(chunk), out)

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)

    def response(self, response: dict[str, Any], out: list[Piece]) -> None:
        """Append what one GenerateContentResponse says."""
        started = Started(as_str(response.get("responseId")), as_str(response.get("modelVersion")))
        if started not in (self._started, Started()):
            self._started = started
            out.append(started)
        for position, candidate in enumerate(as_list(response.get("candidates"))):
            self._candidate(as_dict(candidate), position, out)
        blocked = _word(as_dict(response.get("promptFeedback")).get("blockReason"))
        if blocked and not self._open:
            self._open[0] = False
            out.append(Finished(None, detail=blocked))
        self._usage = as_dict(response.get("usageMetadata")) or self._usage
        if response.get("error") and (fault := fault_of_json(response)):
            self._faulted = True
            out.append(Faulted(fault))

    def _candidate(self, candidate: dict[str, Any], position: int, out: list[Piece]) -> None:
        index = as_int(candidate.get("index"))
        index = position if index is None else index  # 0 is left out on the wire (proto3)
        self._open.setdefault(index, True)
        for part in as_list(as_dict(candidate.get("content")).get("parts")):
            self._part(as_dict(part), index, out)
        if reason := _word(candidate.get("finishReason")):
            self._open[index] = False
            self._close_call(index, out)
            out.append(Finished(reason, choice=index))

    def _part(self, part: dict[str, Any], index: int, out: list[Piece]) -> None:
        kind, signature = kind_of(part), opened(as_str(part.get("thoughtSignature")))
        if kind == "functionCall":
            self._call(as_dict(part["functionCall"]), signature, index, out)
        elif kind not in ("text", None):
            out.append(OtherDelta(Other(NAME, part), index))
        else:
            text = part.get("text")
            out += _said(text if isinstance(text, str) else "", signature, index, thought=part.get("thought") is True)

    def _call(self, call: dict[str, Any], signature: str | None, index: int, out: list[Piece]) -> None:
        name, goes_on = as_str(call.get("name")), call.get("willContinue") is True
        if name or index not in self._partial:
            self._close_call(index, out)
            number = self._calls.get(index, 0)
            self._calls[index] = number + 1
            arguments = "" if goes_on else _dumped(call.get("args"))
            out.append(ToolDelta(number, as_str(call.get("id")), name, arguments, index, signature))
            if not goes_on:
                return
            self._partial[index] = PartialCall(number)
        self._partial[index].add(as_list(call.get("partialArgs")))
        if not goes_on:
            self._close_call(index, out)

    def _close_call(self, index: int, out: list[Piece]) -> None:
        if partial := self._partial.pop(index, None):
            out.append(ToolDelta(partial.number, arguments=_dumped(partial.arguments), choice=index))

    def _finish(self, out: list[Piece]) -> None:
        for index in sorted(self._partial):
            self._close_call(index, out)
        if usage := usage_of(self._usage):
            out.append(UsageSeen(usage))
        if self._open and not any(self._open.values()) and not self._faulted:
            out.append(Ended())

    def whole(self, responses: list[Any], *, plain: bool) -> Reply:
        """The answer that `responses` are together. A `plain` one is whole, whatever it says of its end."""
        out: list[Piece] = []
        for response in responses:
            self.response(as_dict(response), out)
        self._finish(out)
        return reply_of([*out, Ended()] if plain else out)


def _said(text: str, signature: str | None, index: int, *, thought: bool) -> list[Piece]:
    if thought and signature and not text:
        return [ThinkingDelta(redacted=signature, choice=index)]
    if thought:
        return [ThinkingDelta(text, signature, None, index)]
    pieces: list[Piece] = [TextDelta(text, index)]
    return [*pieces, ThinkingDelta("", signature, None, index)] if signature else pieces


def _word(value: object) -> str | None:
    """The word of an enum, or its number as text (`$alt=json;enum-encoding=int`)."""
    word = str(value) if is_int(value) else as_str(value)
    return None if word in _NO_REASONS else word


def _dumped(value: object) -> str:
    try:
        return dumps(value if isinstance(value, dict) else {}).decode()
    except WireError:
        return "{}"  # nested too deep to be written


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer, or a whole stream as a JSON array; never raises."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    if isinstance(value, list):
        return GenerateReader().whole(value, plain=False)
    response = as_dict(value)
    if not any(name in response for name in ("candidates", "promptFeedback", "usageMetadata")):
        return Reply(fault=fault_of_json(value), complete=False)
    return GenerateReader().whole([response], plain=True)
