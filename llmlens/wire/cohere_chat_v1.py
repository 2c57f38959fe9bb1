"""The dialect of Cohere chat v1, which is only logged. No I/O.

Source: https://docs.cohere.com/v1/reference/chat and `cohere.types.streamed_chat_response` of cohere 7. A stream is a
line of JSON per event. Calls have no id; what comes with them as `text` is the plan, and is text in the plain answer.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import WireError
from llmlens.records import Fault, Faulted, Piece, Reply, Started, TextDelta, ToolDelta
from llmlens.wire.accumulate import reply_of
from llmlens.wire.cohere_faults import ending_delta, fault_body
from llmlens.wire.cohere_read import ending, usage_of
from llmlens.wire.dialect import SSE, Asked, Dialect
from llmlens.wire.faults import fault_of_body, fault_of_json
from llmlens.wire.fields import asked_of
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, loads
from llmlens.wire.ndjson import LineReader, encode


class ChatV1Reader(LineReader):
    """Reads a stream of v1 events. The answer is whole at `stream-end`, which repeats all of it."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0  # tool calls seen

    def _object(self, data: dict[str, Any], out: list[Piece]) -> None:
        kind = data.get("event_type")
        if kind == "stream-end":
            self._end(data, out)
        elif kind == "tool-calls-chunk":
            self._chunk(data, out)
        elif kind == "tool-calls-generation":
            self._whole(data.get("tool_calls"), out)
        elif kind == "stream-start":
            out.append(Started(as_str(data.get("generation_id"))))
        elif kind == "text-generation" and isinstance(data.get("text"), str):
            out.append(TextDelta(data["text"]))
        elif kind is None and (fault := fault_of_json(data)):
            out.append(Faulted(fault))
        # search queries and results, citations: not what the model says

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)

    def answer(self, raw: dict[str, Any], out: list[Piece]) -> None:
        """Append what a whole plain answer says."""
        out.append(Started(as_str(raw.get("generation_id"))))
        if isinstance(raw.get("text"), str):
            out.append(TextDelta(raw["text"]))
        self._whole(raw.get("tool_calls"), out)
        out += ending(raw, usage_of(as_dict(raw.get("meta"))))

    def _chunk(self, data: dict[str, Any], out: list[Piece]) -> None:
        if isinstance(data.get("text"), str):
            out.append(TextDelta(data["text"]))
        delta = as_dict(data.get("tool_call_delta"))
        if delta:
            number = as_int(delta.get("index")) or 0
            self._calls = max(self._calls, number + 1)
            arguments = delta.get("parameters")
            name = as_str(delta.get("name"))
            out.append(ToolDelta(number, None, name, arguments if isinstance(arguments, str) else ""))

    def _whole(self, calls: Any, out: list[Piece]) -> None:
        if self._calls:
            return  # said before, in pieces or as a whole
        for call in map(as_dict, as_list(calls)):
            arguments = dumps(as_dict(call.get("parameters"))).decode()
            out.append(ToolDelta(self._calls, None, as_str(call.get("name")), arguments))
            self._calls += 1

    def _end(self, data: dict[str, Any], out: list[Piece]) -> None:
        response = as_dict(data.get("response"))
        out.append(Started(as_str(response.get("generation_id"))))
        self._whole(response.get("tool_calls"), out)
        out += ending({**response, **data}, usage_of(as_dict(response.get("meta"))))


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no chat answer becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    raw = as_dict(value)
    if "text" not in raw and "generation_id" not in raw:
        return Reply(fault=fault_of_json(value), complete=False)
    out: list[Piece] = []
    ChatV1Reader().answer(raw, out)
    return reply_of(out)


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return asked_of({k: body.get(k) for k in ("model", "stream", "max_tokens")}, "max_tokens")


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: preamble, history, message, documents, tools and their results. Never raises."""
    texts = [text for k in ("preamble", "message") if (text := as_str(body.get(k)))]
    turns = map(as_dict, as_list(body.get("chat_history")))
    texts += [text for turn in turns if (text := as_str(turn.get("message")))]
    return texts + [dumps(body[k]).decode() for k in ("documents", "tools", "tool_results") if body.get(k)]


def fault_event(fault: Fault) -> bytes:
    """An error in the middle of a stream."""
    return encode({"is_finished": True, "event_type": "stream-end", **ending_delta(fault)})


COHERE_CHAT_V1 = Dialect(
    name="cohere.chat_v1",
    operation="chat",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=fault_body,
    prompt_texts=prompt_texts,
    stream_reader=ChatV1Reader,
    fault_event=fault_event,
    stream_types=SSE | {"application/stream+json"},
)
