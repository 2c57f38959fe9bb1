"""The dialect of Cohere chat v2. No I/O.

Source: https://docs.cohere.com/v2/reference/chat.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.wire.cohere_build import build_request
from llmlens.wire.cohere_faults import fault_body, fault_event
from llmlens.wire.cohere_read import NAME, ChatReader, read_reply
from llmlens.wire.cohere_request import parse_request, prompt_texts
from llmlens.wire.cohere_write import ChatWriter, build_reply
from llmlens.wire.dialect import Asked, ChatDialect
from llmlens.wire.fields import asked_of


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return asked_of({k: body.get(k) for k in ("model", "stream", "max_tokens")}, "max_tokens")


COHERE_CHAT = ChatDialect(
    name=NAME,
    operation="chat",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=fault_body,
    prompt_texts=prompt_texts,
    stream_reader=ChatReader,
    fault_event=fault_event,
    end_marks=(b"\nevent: message-end", b"\nevent:message-end"),
    parse_request=parse_request,
    build_request=build_request,
    build_reply=build_reply,
    stream_writer=ChatWriter,
    call_path=lambda _model, _stream: "/v2/chat",
)
