"""The dialect of Gemini's generateContent, at Google AI and at Vertex, and its token counter. No I/O.

Source: https://ai.google.dev/api/generate-content and /api/tokens.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import WireError
from llmlens.records import ChatRequest, Fault, Reply, Usage
from llmlens.wire.dialect import SSE, Asked, ChatDialect, CountDialect
from llmlens.wire.fields import dict_field, int_field, text_field
from llmlens.wire.gemini_build import build_request
from llmlens.wire.gemini_faults import fault_of_body, fault_of_json, gemini_error, gemini_fault_body
from llmlens.wire.gemini_fields import camel
from llmlens.wire.gemini_path import call_path, read_path
from llmlens.wire.gemini_read import NAME, GenerateReader, read_reply
from llmlens.wire.gemini_request import parse_request, prompt_texts
from llmlens.wire.gemini_write import GenerateWriter, build_reply
from llmlens.wire.json_text import as_dict, as_int, dumps, loads
from llmlens.wire.raw import passed_through
from llmlens.wire.sse import encode


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type. Model and streaming are in the path."""
    config = camel(dict_field(camel(body), "generationConfig"))
    return Asked(
        model=text_field(body, "model"),
        max_output_tokens=int_field(config, "maxOutputTokens"),
        n=int_field(config, "candidateCount") or 1,
    )


def fault_event(fault: Fault) -> bytes:
    """An error in mid-stream: the SDK raises at a response that begins with `error`."""
    return encode(None, dumps(gemini_error(fault)))


def read_count(status: int, body: bytes) -> Reply:
    """The answer of countTokens; the count is in `usage.input_tokens`. Never raises."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    raw = as_dict(value)
    count, cached = as_int(raw.get("totalTokens")), as_int(raw.get("cachedContentTokenCount"))
    fault = fault_of_json(value) if count is None else None
    return Reply(usage=Usage(count, None, cached), fault=fault, complete=count is not None)


def counted_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts to count. Never raises."""
    return prompt_texts(_counted(body))


def counted_request(body: Mapping[str, Any]) -> ChatRequest:
    """The request whose input is to be counted. Raises WireError."""
    return parse_request(_counted(body))


def _counted(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The contents to count, or a whole request in their place."""
    raw = camel(body)
    return as_dict(raw.get("generateContentRequest")) or raw


GEMINI_GENERATE = ChatDialect(
    name=NAME,
    operation="chat",
    read_request=read_request,
    read_path=read_path,
    read_reply=read_reply,
    fault_body=gemini_fault_body,
    prompt_texts=prompt_texts,
    stream_reader=GenerateReader,
    stream_types=SSE | {"application/json"},
    fault_event=fault_event,
    parse_request=parse_request,
    build_request=build_request,
    build_reply=build_reply,
    stream_writer=GenerateWriter,
    call_path=call_path,
)

GEMINI_COUNT_TOKENS = CountDialect(
    name="gemini.count_tokens",
    operation="count_tokens",
    read_request=lambda body: Asked(model=text_field(body, "model")),
    read_path=read_path,
    read_reply=read_count,
    fault_body=gemini_fault_body,
    prompt_texts=counted_texts,
    parse_request=counted_request,
    build_count=lambda n_tokens: {"totalTokens": n_tokens},
)

RAW_GEMINI = passed_through("raw", "raw", gemini_fault_body)
