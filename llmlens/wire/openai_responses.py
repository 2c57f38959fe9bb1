"""The dialect of OpenAI Responses. No I/O.

Source: https://platform.openai.com/docs/api-reference/responses and the recordings of five others that offer it.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.records import Fault
from llmlens.wire.dialect import Asked, ChatDialect
from llmlens.wire.faults import openai_fault_body
from llmlens.wire.fields import asked_of
from llmlens.wire.json_text import dumps
from llmlens.wire.openai_responses_build import build_request
from llmlens.wire.openai_responses_read import NAME, ResponsesReader, read_reply
from llmlens.wire.openai_responses_request import parse_request, prompt_texts
from llmlens.wire.openai_responses_write import ResponsesWriter, build_reply, error_fields
from llmlens.wire.sse import encode


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return asked_of({k: body.get(k) for k in ("model", "stream", "max_output_tokens")}, "max_output_tokens")


def fault_event(fault: Fault) -> bytes:
    """An error in mid-stream: the SDK raises at an event that has `error`."""
    return encode("error", dumps({"type": "error", "sequence_number": 0, **error_fields(fault)}))


OPENAI_RESPONSES = ChatDialect(
    name=NAME,
    operation="chat",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=openai_fault_body,
    prompt_texts=prompt_texts,
    stream_reader=ResponsesReader,
    fault_event=fault_event,
    # OpenRouter's last event. The others end with `response.completed`, which repeats the whole answer: its first bytes
    # are no sign that the rest of it is there, so their streams end with the connection.
    end_marks=(b"\ndata: [DONE]", b"\ndata:[DONE]"),
    parse_request=parse_request,
    build_request=build_request,
    build_reply=build_reply,
    stream_writer=ResponsesWriter,
    call_path=lambda _model, _stream: "/responses",
)
