"""The dialects of Anthropic Messages and its token counter. No I/O.

Source: https://docs.claude.com/en/api/messages and /messages-count-tokens.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import WireError
from llmlens.records import Fault, Reply, Usage
from llmlens.wire.anthropic_build import build_request
from llmlens.wire.anthropic_read import NAME, MessagesReader, read_reply
from llmlens.wire.anthropic_request import parse_request, prompt_texts
from llmlens.wire.anthropic_write import MessagesWriter, build_reply
from llmlens.wire.dialect import Asked, ChatDialect, CountDialect
from llmlens.wire.faults import anthropic_error, anthropic_fault_body, fault_of_body, fault_of_json
from llmlens.wire.fields import asked_of
from llmlens.wire.gemini_path import read_path
from llmlens.wire.json_text import as_dict, as_int, dumps, loads
from llmlens.wire.sse import encode


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return asked_of({k: body.get(k) for k in ("model", "stream", "max_tokens")}, "max_tokens")


def fault_event(fault: Fault) -> bytes:
    """An error in mid-stream: the SDK raises at `event: error`."""
    return encode("error", dumps(anthropic_error(fault)))


def read_count(status: int, body: bytes) -> Reply:
    """The answer of count_tokens; the count is in `usage.input_tokens`. Never raises."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    count = as_int(as_dict(value).get("input_tokens"))
    fault = fault_of_json(value) if count is None else None
    return Reply(usage=Usage(input_tokens=count), fault=fault, complete=count is not None)


ANTHROPIC_MESSAGES = ChatDialect(
    name=NAME,
    operation="chat",
    read_request=read_request,
    read_path=read_path,  # Vertex: …/publishers/anthropic/models/{m}:rawPredict
    read_reply=read_reply,
    fault_body=anthropic_fault_body,
    prompt_texts=prompt_texts,
    stream_reader=MessagesReader,
    fault_event=fault_event,
    end_marks=(b"\nevent: message_stop", b"\nevent:message_stop"),
    parse_request=parse_request,
    build_request=build_request,
    build_reply=build_reply,
    stream_writer=MessagesWriter,
    call_path=lambda _model, _stream: "/messages",
)

ANTHROPIC_COUNT_TOKENS = CountDialect(
    name="anthropic.count_tokens",
    operation="count_tokens",
    read_request=read_request,
    read_reply=read_count,
    fault_body=anthropic_fault_body,
    prompt_texts=prompt_texts,
    parse_request=parse_request,
    build_count=lambda n_tokens: {"input_tokens": n_tokens},
)
