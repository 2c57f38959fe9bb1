"""Answers of Ollama's chat and generate, plain and streamed → `Piece`s. No I/O.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md, `ollama._types` of ollama 0.6 and the recordings. A
stream is a line of JSON per token; the last one says `done`. Chat answers in `message`, generate beside it.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    Ended,
    Faulted,
    Finished,
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
from llmlens.wire.faults import fault_of_body, fault_of_json
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, loads
from llmlens.wire.ndjson import MEDIA_TYPE, LineReader

# Some recorders and proxies call the same lines JSON; a plain answer is then read as a stream of one line.
STREAM_TYPES = frozenset({MEDIA_TYPE, "application/json"})


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """The counts. `prompt_eval_count` is missing where older servers found the whole prompt in their cache."""
    return Usage(input_tokens=as_int(raw.get("prompt_eval_count")), output_tokens=as_int(raw.get("eval_count")))


class ChatReader(LineReader):
    """Reads a stream of chat or generate. The answer is whole at `done`."""

    def __init__(self) -> None:
        super().__init__()
        self._model: str | None = None
        self._calls = 0

    def _object(self, data: dict[str, Any], out: list[Piece]) -> None:
        message = _message(data)
        if data.get("error") or message is None:
            if fault := fault_of_json(data):
                out.append(Faulted(fault))
            return
        if self._model is None and (model := as_str(data.get("model"))):
            self._model = model
            out.append(Started(None, model))
        if isinstance(thought := message.get("thinking"), str) and thought:
            out.append(ThinkingDelta(thought))
        if isinstance(text := message.get("content"), str) and text:
            out.append(TextDelta(text))
        for call in as_list(message.get("tool_calls")):
            self._call(as_dict(call), out)
        if data.get("done") is True:
            out.append(Finished(as_str(data.get("done_reason"))))
            if usage := usage_of(data):
                out.append(UsageSeen(usage))
            out.append(Ended())

    def _call(self, call: dict[str, Any], out: list[Piece]) -> None:
        """A call comes whole, with its arguments as an object; its number is not always told."""
        function = as_dict(call.get("function"))
        raw = function.get("arguments")
        arguments = raw if isinstance(raw, str) else dumps(as_dict(raw)).decode()
        out.append(ToolDelta(self._calls, as_str(call.get("id")), as_str(function.get("name")), arguments))
        self._calls += 1

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)


def _message(data: Mapping[str, Any]) -> dict[str, Any] | None:
    message = data.get("message")
    if isinstance(message, dict):
        return message
    if message is None and ("response" in data or data.get("done") is True):
        return {"content": data.get("response"), "thinking": data.get("thinking")}
    return None


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no answer becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    if not isinstance(value, dict):
        return Reply(fault=fault_of_json(value), complete=False)
    out: list[Piece] = []
    ChatReader()._object(value, out)
    return reply_of(out)
