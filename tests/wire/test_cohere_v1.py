"""Cohere's older chat and its embeddings, which are only logged."""

import json
from typing import Any

import pytest

from llmlens.records import (
    Fault,
    Reply,
    ToolCall,
    Usage,
)
from llmlens.wire.accumulate import read_stream
from llmlens.wire.dialects import COHERE_CHAT_V1, COHERE_EMBED
from llmlens.wire.json_text import dumps
from tests.wire.test_translate import Body


def lines(*values: Body) -> bytes:
    return b"".join(dumps(value) + b"\n" for value in values)


V1_CALL = {"name": "add", "parameters": {"a": 1}}
V1_END = {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"text": "I will.", "tool_calls": [V1_CALL],
          "generation_id": "g", "meta": {"tokens": {"input_tokens": 5, "output_tokens": 6}}}}  # fmt: skip
V1_CHUNKS = [
    {"event_type": "tool-calls-chunk", "text": "I will."},
    {"event_type": "tool-calls-chunk", "tool_call_delta": {"index": 0, "name": "add"}},
    {"event_type": "tool-calls-chunk", "tool_call_delta": {"index": 0, "parameters": '{"a"'}},
    {"event_type": "tool-calls-chunk", "tool_call_delta": {"index": 0, "parameters": ":1}"}},
]


@pytest.mark.parametrize("chunks", [V1_CHUNKS, V1_CHUNKS[:1], []])
@pytest.mark.parametrize("head", [b"", b"data: "])
def test_calls_of_v1_count_once(chunks: list[Body], head: bytes) -> None:
    whole = {"event_type": "tool-calls-generation", "tool_calls": [V1_CALL]}
    start = {"event_type": "stream-start", "generation_id": "g"}
    body = lines(start, *chunks, whole, {"event_type": "search-results", "documents": []}, V1_END)
    reply = read_stream(COHERE_CHAT_V1, [head + line + b"\n" for line in body.splitlines()])
    assert reply.tool_calls == (ToolCall(None, "add", '{"a":1}'),)
    assert (reply.response_id, reply.text) == ("g", "I will." if chunks else None)
    assert (reply.usage, reply.complete) == (Usage(5, 6), True)


def test_the_plain_answer_of_v1_is_that_of_its_stream() -> None:
    plain = COHERE_CHAT_V1.read_reply(200, dumps(V1_END["response"] | {"finish_reason": "COMPLETE"}))
    streamed = read_stream(COHERE_CHAT_V1, [lines({"event_type": "text-generation", "text": "I will."}, V1_END)])
    assert plain == streamed


def test_errors_of_v1() -> None:
    cut = read_stream(COHERE_CHAT_V1, [lines({"event_type": "text-generation", "text": "a"})])
    assert (cut.text, cut.complete, cut.fault) == ("a", False, None)
    assert COHERE_CHAT_V1.fault_event is not None
    told = read_stream(COHERE_CHAT_V1, [COHERE_CHAT_V1.fault_event(Fault("it broke", "X"))])
    assert told.fault == Fault("it broke", "X")
    assert read_stream(COHERE_CHAT_V1, [b'{"message": "bad key"}']).fault == Fault("bad key")
    assert COHERE_CHAT_V1.read_reply(401, b'{"message": "bad key"}').fault == Fault("bad key", status=401)
    texts = COHERE_CHAT_V1.prompt_texts({"message": "m", "preamble": "p", "chat_history": [{"message": "h"}]})
    assert texts == ["p", "m", "h"]


@pytest.mark.parametrize(
    ("embeddings", "shape"),
    [
        ([[1, 2.5, 3], [4, 5, 6]], (2, 3)),
        ({"int8": [[1, 2]]}, (1, 2)),
        ({"float": [], "base64": ["AAAAAAAAgD8="]}, (1, 2)),
        ([], (0, None)),
        ({"float": []}, (0, None)),
    ],
)
def test_vectors_are_counted(embeddings: Any, shape: tuple[int, int | None]) -> None:
    value = {"id": "e", "embeddings": embeddings, "texts": ["\ud83d"], "meta": {"billed_units": {"input_tokens": 4}}}
    for body in (dumps(value | {"texts": ["x"]}), json.dumps(value).encode()):  # the latter is not good UTF-8
        reply = COHERE_EMBED.read_reply(200, body)
        assert (reply.n_vectors, reply.dimensions) == shape
        assert (reply.response_id, reply.usage, reply.complete) == ("e", Usage(input_tokens=4), True)


def test_what_has_no_vectors_is_no_answer() -> None:
    assert COHERE_EMBED.read_reply(200, b'{"message": "no"}') == Reply(fault=Fault("no"), complete=False)
    assert COHERE_EMBED.read_reply(200, b'{"embeddings": 3}') == Reply(complete=False)
    assert COHERE_EMBED.read_reply(200, b"<html>") == Reply(complete=False)
    given = {"texts": ["a"], "inputs": [{"content": [{"type": "text", "text": "b"}, {"type": "image_url"}]}]}
    assert COHERE_EMBED.prompt_texts(given) == ["a", "b"]
