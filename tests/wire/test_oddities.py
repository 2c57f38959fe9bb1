"""Examples of what real providers do (ODDITIES.md), each in the few bytes that matter."""

from typing import Any

import pytest

from llmlens.records import Fault, Other, Reply, Text, Thinking, ToolCall, Usage
from llmlens.wire.accumulate import read_stream
from llmlens.wire.dialects import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_EMBEDDINGS, RAW
from llmlens.wire.json_text import dumps

DONE = b"data: [DONE]\n\n"


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + dumps({"id": "x", "model": "m", "choices": [choice], **more}) + b"\n\n"


def chat(*chunks: bytes) -> Reply:
    return read_stream(OPENAI_CHAT, chunks)


def call(**fields: Any) -> dict[str, Any]:
    return {"tool_calls": [fields]}


def function(name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    return {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}


TWO_CALLS = (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"))


@pytest.mark.parametrize(
    "chunks",
    [
        # OpenAI: numbered, in pieces
        [
            call(index=0, id="a", type="function", function=function("f", "")),
            call(index=0, function=function(None, '{"x"')),
            call(index=0, function=function(None, ":1}")),
            call(index=1, id="b", type="function", function=function("g", "{}")),
        ],
        # Mistral: neither index nor type; Groq, xAI, Z.ai: whole calls, all in one delta
        [
            {
                "tool_calls": [
                    {"id": "a", "function": function("f", '{"x":1}')},
                    {"id": "b", "function": function("g", "{}")},
                ]
            }
        ],
        [call(id="a", function=function("f", '{"x":1}')), call(id="b", function=function("g", "{}"))],
        # no index, and the continuation has no id either
        [
            call(id="a", function=function("f", '{"x"')),
            call(function=function(None, ":1}")),
            call(id="b", function=function("g", "{}")),
        ],
        # every call says index 0
        [call(index=0, id="a", function=function("f", '{"x":1}')), call(index=0, id="b", function=function("g", "{}"))],
        # id and name in every delta
        [
            call(index=0, id="a", function=function("f", '{"x"')),
            call(index=0, id="a", function=function("f", ":1}")),
            call(index=1, id="b", function=function("g", "{}")),
        ],
        # arguments as an object, index as text
        [
            call(index="0", id="a", function=function("f", {"x": 1})),
            call(index="1", id="b", function=function("g", {})),
        ],
    ],
)
def test_tool_calls_in_every_dress(chunks: list[dict[str, Any]]) -> None:
    reply = chat(*(chunk(delta) for delta in chunks), chunk({}, "tool_calls"), DONE)
    assert reply.tool_calls == TWO_CALLS
    assert reply.complete


def test_finish_reason_twice_with_content_between() -> None:
    reply = chat(chunk({"content": "a"}, "tool_calls"), chunk({"content": "b"}), chunk({}, "stop"), DONE)
    assert (reply.text, reply.finish_reason, len(reply.parts)) == ("ab", "stop", 1)


def test_no_done_is_whole_after_a_finish_reason_only() -> None:
    assert chat(chunk({"content": "a"}), chunk({}, "stop")).complete
    assert not chat(chunk({"content": "a"})).complete
    assert not chat(b": hello\n\n").complete
    assert chat(chunk({"content": "a"}), b"data: [DONE]").complete  # no newline after it


def test_usage_in_odd_places() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    null = {"usage": None}
    for last in (
        chunk({}, "stop", usage=usage),
        chunk({}, "stop", x_groq={"usage": usage}),
        chunk({}, "stop", usage=usage) * 2,
    ):
        reply = chat(chunk({"content": "a"}, **null), last, chunk({}, **null), DONE)
        assert reply.usage == Usage(3, 2)
    only = b"data: " + dumps({"choices": [], "usage": usage}) + b"\n\n"
    assert chat(chunk({"content": "a"}), b'data: {"id":"","model":""}\n\n', only, DONE).usage == Usage(3, 2)
    zero = {**usage, "prompt_tokens_details": {"cached_tokens": 0}}
    assert chat(chunk({}, "stop", usage=zero), DONE).usage.cache_read_tokens == 0


def counts(prompt: int, completion: int, total: int, **details: int) -> dict[str, Any]:
    counted = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    name = "prompt_tokens_details" if "audio_tokens" in details else "completion_tokens_details"
    return {**counted, name: details}


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (counts(9, 1, 15, reasoning_tokens=5), Usage(9, 6, reasoning_tokens=5)),  # xAI: proven to be outside
        (counts(9, 6, 15, reasoning_tokens=5), Usage(9, 6, reasoning_tokens=5)),  # OpenAI has it inside
        (counts(9, 6, 15, reasoning_tokens=99), Usage(9, 6, reasoning_tokens=99)),  # OpenRouter, another tokenizer
        (counts(4, 6, 30, audio_tokens=20), Usage(24, 6)),  # Mistral has audio outside
        ({"prompt_tokens": 9, "completion_tokens": 6, "prompt_cache_hit_tokens": 8}, Usage(9, 6, 8)),
        ({"prompt_tokens": 9.0, "completion_tokens": "6", "cached_tokens": True}, Usage(9)),
    ],
)  # fmt: skip
def test_counts_mean_the_same_everywhere(raw: dict[str, Any], usage: Usage) -> None:
    body = {"choices": [{"message": {"content": "x"}}], "usage": raw}
    assert OPENAI_CHAT.read_reply(200, dumps(body)).usage == usage


def test_content_that_is_a_list() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    reply = chat(
        chunk({"content": [thought]}),
        chunk({"content": [{"type": "text", "text": "4"}]}),
        chunk({"content": "2"}),
        DONE,
    )
    assert reply.parts == (Thinking("hm"), Text("42"))


def test_message_beside_delta_does_not_double_the_text() -> None:
    choice = {"index": 0, "delta": {"content": "b"}, "message": {"content": "ab"}}
    both = b"data: " + dumps({"choices": [choice]}) + b"\r\n\r\n"
    assert chat(chunk({"content": "a"}), both).text == "ab"
    plain = {"choices": [{**choice, "delta": {"content": ""}, "finish_reason": "stop"}]}
    assert OPENAI_CHAT.read_reply(200, b"  \n" + dumps(plain)).text == "ab"


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        (
            b'event: error\ndata: {"error":{"message":"m","code":"c","status_code":400}}\n\n',
            Fault("m", None, "c", None, 400),
        ),
        (b'data: {"error":{"message":"m","code":502}}\n\n', Fault("m", None, "502", None, 502)),
        (
            b'data: {"choices":[{"index":0,"delta":{},"error":{"message":"m","code":502}}]}\n\n',
            Fault("m", None, "502", None, 502),
        ),
        (b'data: {"error":"m"}\n\n', Fault("m")),
        (b'data: {"object":"error","message":"m","type":"t","code":"3505"}\n\n', Fault("m", "t", "3505")),
        (b'event: error\ndata: {"message":"m"}\n\n', Fault("m")),
    ],
)
def test_errors_in_mid_stream(event: bytes, fault: Fault) -> None:
    reply = chat(chunk({"content": "Hel"}), event, DONE)
    assert (reply.text, reply.fault, reply.complete) == ("Hel", fault, False)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"detail":"Invalid API Key"}', Fault("Invalid API Key", status=401)),
        (b'{"error":"model not found"}', Fault("model not found", status=401)),
        (b'{"code":"c","error":"m"}', Fault("m", None, "c", None, 401)),
        (b'{"id":"1","message":"invalid api token"}', Fault("invalid api token", status=401)),
        (b'{"Message":"denied"}', Fault("denied", status=401)),
        (
            b'[{"error":{"code":401,"message":"m","status":"UNAUTHENTICATED"}}]',
            Fault("m", "UNAUTHENTICATED", "401", None, 401),
        ),
        (b'{"success":false,"errors":[{"code":10000,"message":"m"}]}', Fault("m", None, "10000", None, 401)),
        (b"<html>no</html>", Fault("<html>no</html>", status=401)),
        (b"", Fault("HTTP 401 with an empty body", status=401)),
        (
            b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}',
            Fault("m", "overloaded_error", status=401),
        ),
    ],
)
def test_error_bodies_of_every_shape(body: bytes, fault: Fault) -> None:
    for dialect in (OPENAI_CHAT, ANTHROPIC_MESSAGES, OPENAI_EMBEDDINGS, ANTHROPIC_COUNT_TOKENS, RAW):
        assert dialect.read_reply(401, body).fault == fault


def messages(*events: dict[str, Any]) -> Reply:
    return read_stream(ANTHROPIC_MESSAGES, [b"data: " + dumps(event) + b"   \n\n" for event in events])


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def test_tool_use_without_a_delta_has_no_arguments() -> None:
    tool = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    assert messages(start(0, **tool), stop(0)).tool_calls == (ToolCall("a", "f", "{}"),)
    whole = {**tool, "input": {"x": 1}}
    assert messages(start(0, **whole), stop(0)).tool_calls == (ToolCall("a", "f", '{"x":1}'),)
    pieces = [delta(0, type="input_json_delta", partial_json=part) for part in ("", '{"y"', ":2}")]
    assert messages(start(0, **tool), *pieces, stop(0)).tool_calls == (ToolCall("a", "f", '{"y":2}'),)


def test_server_tools_are_kept_as_they_came() -> None:
    use: dict[str, Any] = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    result: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    parts = [
        start(0, **use),
        delta(0, type="input_json_delta", partial_json='{"query":"x"}'),
        stop(0),
        start(1, **result),
        stop(1),
    ]
    streamed = messages(*parts, {"type": "message_stop"})
    blocks = [{**use, "input": {"query": "x"}}, result]
    assert streamed.parts == tuple(Other("anthropic.messages", block) for block in blocks)
    plain = {"type": "message", "content": blocks, "stop_reason": None}
    assert ANTHROPIC_MESSAGES.read_reply(200, dumps(plain)).parts == streamed.parts


def test_usage_of_later_events_replaces_what_the_start_said() -> None:
    first = {"input_tokens": 727, "output_tokens": 1, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 0}
    begin = {"type": "message_start", "message": {"id": "i", "model": "m", "usage": first}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    assert messages(begin, end).usage == Usage(737, 9, 10, 0)
    late = {**end, "usage": {"input_tokens": 1595, "output_tokens": 9, "cache_read_input_tokens": None}}
    assert messages(begin, late, {"type": "message_stop"}).usage == Usage(1605, 9, 10, 0)
    assert not messages(begin, late).complete


def test_vectors_are_counted_without_being_read() -> None:
    for vector, size in (([0.5, 1, -2e-3], 3), ("AACAPwAAAEA=", 2), ([], 0)):
        body = {"data": [{"embedding": vector}, {"embedding": vector}], "model": "e", "usage": {"prompt_tokens": 4}}
        reply = OPENAI_EMBEDDINGS.read_reply(200, dumps(body))
        assert (reply.n_vectors, reply.dimensions, reply.usage) == (2, size, Usage(4))
    assert OPENAI_EMBEDDINGS.read_reply(200, b'{"error":{"message":"m"}}').fault == Fault("m")


def test_prompt_texts_hold_every_word_of_the_prompt() -> None:
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "one"}]}, {"role": "user", "content": "two"}]
    }
    assert OPENAI_CHAT.prompt_texts(body) == ["one", "two"]
    assert ANTHROPIC_MESSAGES.prompt_texts({"system": "zero", **body}) == ["zero", "one", "two"]
    assert OPENAI_EMBEDDINGS.prompt_texts({"input": ["a", "b"]}) == ["a", "b"]
    assert OPENAI_EMBEDDINGS.prompt_texts({"input": [[1, 2]]}) == []
