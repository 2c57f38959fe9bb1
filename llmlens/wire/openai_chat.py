"""The dialect of OpenAI chat completions. No I/O.

Source: https://platform.openai.com/docs/api-reference/chat and the recordings of twenty look-alikes.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.records import Fault
from llmlens.wire.dialect import Asked, ChatDialect
from llmlens.wire.faults import openai_error, openai_fault_body
from llmlens.wire.fields import asked_of
from llmlens.wire.json_text import dumps
from llmlens.wire.openai_read import ChatReader, read_reply
from llmlens.wire.openai_request import build_request, parse_request, prompt_texts
from llmlens.wire.openai_write import ChatWriter, build_reply
from llmlens.wire.sse import encode


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return asked_of(body, "max_completion_tokens", "max_tokens")


def fault_event(fault: Fault) -> bytes:
    """An error in mid-stream: the SDK raises at a chunk that has `error`."""
    return encode(None, dumps(openai_error(fault)))


OPENAI_CHAT = ChatDialect(
    name="openai.chat",
    operation="chat",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=openai_fault_body,
    prompt_texts=prompt_texts,
    stream_reader=ChatReader,
    fault_event=fault_event,
    end_marks=(b"\ndata: [DONE]", b"\ndata:[DONE]"),
    parse_request=parse_request,
    build_request=build_request,
    build_reply=build_reply,
    stream_writer=ChatWriter,
    call_path=lambda _model, _stream: "/chat/completions",
)
