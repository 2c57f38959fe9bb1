"""Bedrock: frames are read in any split and never wrongly, and Converse keeps what it shares with other dialects."""

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from struct import pack
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.records import ChatRequest, Choice, Fault, Faulted, Other, Reply, Text, TextDelta, Thinking, Usage
from llmlens.wire.accumulate import read_stream
from llmlens.wire.aws_event_stream import Decoder, Frame, encode, whole
from llmlens.wire.bedrock_faults import fault_with_headers, reply_with_headers
from llmlens.wire.dialect import ChatDialect, Dialect
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, BEDROCK_INVOKE, OPENAI_CHAT, dialect_for
from llmlens.wire.json_text import dumps
from tests.wire.test_fuzz import BLOCKS, VALUES, assert_same
from tests.wire.test_translate import Body, openai_bodies, replies, said, translated

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"


# ── frames ────────────────────────────────────────────────────────────────────────────────────────────────────────

HEADERS = st.dictionaries(
    st.text(max_size=20),
    st.text(max_size=30) | st.binary(max_size=30) | st.booleans() | st.integers(-(2**63), 2**63 - 1),
    max_size=5,
)
FRAMES = st.lists(st.builds(Frame, HEADERS, st.binary(max_size=60)), max_size=5)


def decoded(chunks: Iterable[bytes], decoder: Decoder | None = None) -> tuple[list[Frame], str | None]:
    """(the frames, the error after them)."""
    decoder, frames = decoder or Decoder(), []
    try:
        for chunk in chunks:
            frames += decoder.feed(chunk)
        decoder.end()
    except WireError as e:
        return frames, str(e)
    return frames, None


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(FRAMES, st.lists(st.integers(0, 2000), max_size=8))
def test_frames_are_read_back_in_any_split(frames: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode(frame.headers, frame.payload) for frame in frames)
    assert decoded(split(data, cuts)) == (frames, None)
    assert decoded(data[i : i + 1] for i in range(len(data))) == (frames, None)


@given(FRAMES, st.integers(0, 2000), st.integers(1, 255), st.lists(st.integers(0, 2000), max_size=4))
def test_a_changed_byte_is_never_read_as_a_frame(frames: list[Frame], place: int, flip: int, cuts: list[int]) -> None:
    data = bytearray(b"".join(encode(frame.headers, frame.payload) for frame in frames))
    if not data:
        return
    data[place % len(data)] ^= flip
    got, error = decoded([bytes(data)])
    assert got == frames[: len(got)]
    assert len(got) < len(frames)
    assert decoded(split(bytes(data), cuts)) == (got, error)


@given(FRAMES, st.integers(0, 2000))
def test_whole_frames_are_counted(frames: list[Frame], cut: int) -> None:
    ends = [0]
    for frame in frames:
        ends.append(ends[-1] + len(encode(frame.headers, frame.payload)))
    data = b"".join(encode(frame.headers, frame.payload) for frame in frames)[:cut]
    assert whole(data) == max(end for end in ends if end <= len(data))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_give_frames_or_one_error(data: bytes, cuts: list[int]) -> None:
    assert decoded(split(data, cuts)) == decoded([data])


def test_frames_are_bounded_before_they_are_held() -> None:
    frame = encode({}, b"x" * 200)
    frames, error = decoded([frame[:12]], Decoder(max_frame_bytes=100))
    assert frames == []
    assert error is not None
    assert "larger than 100 bytes" in error
    with pytest.raises(WireError, match="cannot be written"):
        encode({"x" * 300: 1}, b"")
    with pytest.raises(WireError, match="cannot be written"):
        encode({"x": 2**64}, b"")


def test_a_frame_with_a_header_that_lies_is_an_error() -> None:
    head = b"\x01a\x07\x00\x09bc"  # says nine bytes of text, and holds two
    prelude = pack("!II", 16 + len(head), len(head))
    frame = prelude + pack("!I", crc32(prelude)) + head
    frames, error = decoded([frame + pack("!I", crc32(frame))])
    assert (frames, error) == ([], "a header of an event stream frame is longer than all of them together")


# ── requests there and back ───────────────────────────────────────────────────────────────────────────────────────


def fitted(body: Body) -> Body:
    """`body` with images and names that Bedrock takes."""
    body = json.loads(json.dumps(body).replace("https://x/y.png", "data:image/png;base64,AAAA"))
    parts = [p for m in body["messages"] if isinstance(m["content"], list) for p in m["content"]]
    for number, part in enumerate(p for p in parts if p["type"] == "file"):
        part["file"]["filename"] = f"report [{number}]"
    return body


def neutral(dialect: ChatDialect, body: Body) -> ChatRequest:
    """What `body` asks for; model and streaming are in Bedrock's path, and a user is nowhere."""
    asked = dialect.parse_request(body)
    return replace(asked, model="", stream=False, stream_usage=False, user=None)


def kept(asked: ChatRequest) -> ChatRequest:
    """What of `asked` Converse can say to Claude."""
    choice = asked.tool_choice
    asked = replace(asked, top_p=asked.top_p if asked.temperature is None else None)  # it takes one of the two
    called = any(type(p).__name__ == "ToolCall" for m in asked.messages for p in m.parts)
    if choice is not None and choice.mode == "none":
        return replace(asked, tool_choice=None, tools=asked.tools if called else (), parallel_tool_calls=None)
    if choice is not None and choice.mode != "auto":
        return replace(asked, parallel_tool_calls=None)
    return asked


LOST = {"user", "tools", "tool_choice", "parallel_tool_calls", "top_p"}


@settings(max_examples=70)
@given(openai_bodies())
def test_openai_to_converse_and_back(body: Body) -> None:
    body = {**fitted(body), "model": CLAUDE}
    there, dropped = translated(body, OPENAI_CHAT, BEDROCK_CONVERSE)
    assert set(dropped) <= LOST
    back, lost = translated(there, BEDROCK_CONVERSE, OPENAI_CHAT)
    assert lost == []
    asked, again = neutral(OPENAI_CHAT, body), neutral(OPENAI_CHAT, back)
    if not asked.tools:
        again = replace(again, tools=())  # Bedrock wants those that were called
    assert again == kept(asked)
    roles = [message["role"] for message in there["messages"]]
    assert all(one != two for one, two in pairwise(roles))
    # its own requests it rebuilds as they were
    assert translated({**there, "model": CLAUDE}, BEDROCK_CONVERSE, BEDROCK_CONVERSE) == (there, [])


@settings(max_examples=70)
@given(openai_bodies())
def test_anthropic_to_converse_and_back(body: Body) -> None:
    body = translated({**fitted(body), "model": CLAUDE}, OPENAI_CHAT, ANTHROPIC_MESSAGES)[0]
    there, dropped = translated(body, ANTHROPIC_MESSAGES, BEDROCK_CONVERSE)
    assert set(dropped) <= LOST
    back, lost = translated({**there, "model": CLAUDE}, BEDROCK_CONVERSE, ANTHROPIC_MESSAGES)
    assert lost == []
    asked, again = neutral(ANTHROPIC_MESSAGES, body), neutral(ANTHROPIC_MESSAGES, back)
    if not asked.tools:
        again = replace(again, tools=())
    assert again == kept(asked)


@given(replies(), st.booleans(), st.booleans())
def test_answers_survive_converse(reply: Reply, first: bool, second: bool) -> None:
    usage = replace(reply.usage, reasoning_tokens=None)  # it does not count them, and its answers have no id
    wanted = replace(reply, response_id=None, usage=usage)
    for other in (OPENAI_CHAT, ANTHROPIC_MESSAGES):
        back = said(other, said(BEDROCK_CONVERSE, reply, stream=first), stream=second)
        assert back == said(other, wanted, stream=second)


@given(replies())
def test_a_stream_and_the_plain_answer_are_one(reply: Reply) -> None:
    assert said(BEDROCK_CONVERSE, reply, stream=True) == said(BEDROCK_CONVERSE, reply, stream=False)


def test_why_an_answer_ended_is_in_the_detail() -> None:
    reply = Reply("i", "m", (Choice(0, (Text("x"),), "incomplete", None, "content_filter"),))
    for stream in (False, True):
        assert said(BEDROCK_CONVERSE, reply, stream=stream).choices[0].finish_reason == "content_filtered"


def test_blocks_of_its_own_are_streamed_as_they_are_answered() -> None:
    blocks = [
        {"toolUse": {"toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use", "input": {"query": "x"}}},
        {"toolResult": {"toolUseId": "t", "status": "success", "type": "r", "content": [{"json": {"a": 1}}]}},
        {"citationsContent": {"citations": [{"location": {"web": {"url": "u"}}}]}},
        {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
    ]
    parts = (Text("a"), *(Other("bedrock.converse", block) for block in blocks), Text("b"), Thinking("", None, "AAAA"))
    reply = Reply(None, None, (Choice(0, parts, "end_turn"),), Usage(1, 2))
    assert said(BEDROCK_CONVERSE, reply, stream=True) == reply
    assert said(BEDROCK_CONVERSE, reply, stream=False) == reply


def test_the_text_of_a_citation_is_text() -> None:
    cited = {"citationsContent": {"content": [{"text": "Bern"}], "citations": [{"title": "t"}]}}
    answer = {"output": {"message": {"role": "assistant", "content": [cited]}}, "stopReason": "end_turn", "usage": {}}
    reply = BEDROCK_CONVERSE.read_reply(200, dumps(answer))
    assert (reply.text, len(reply.parts)) == ("Bern", 2)
    asked = BEDROCK_CONVERSE.parse_request({"messages": [{"role": "assistant", "content": [cited]}]})
    assert asked.messages[0].parts == reply.parts


# ── what is left behind, and what is made to fit ──────────────────────────────────────────────────────────────────


def built(model: str = NOVA, **fields: Any) -> tuple[Body, list[str]]:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}
    return translated(body, OPENAI_CHAT, BEDROCK_CONVERSE)


def user(*parts: Body) -> list[Body]:
    return [{"role": "user", "content": list(parts)}]


TOOLS = [{"type": "function", "function": {"name": "f", "description": ""}}]
CALLED = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "tool_calls": [{"id": "a|b" * 40, "function": {"name": "f", "arguments": "[1]"}}]},
    {"role": "tool", "tool_call_id": "a|b" * 40, "content": "y"},
]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"seed": 1, "n": 2, "user": "u", "presence_penalty": 1, "frequency_penalty": 0},
         {"seed", "n", "user", "presence_penalty"}),
        ({"temperature": 1.5}, {"temperature"}),
        ({"stop": ["", "x"]}, {"stop"}),
        ({"response_format": {"type": "json_object"}}, {"response_format"}),
        ({"reasoning_effort": "low"}, {"reasoning_effort"}),
        ({"top_k": 5}, set()),
        ({"top_k": 5, "model": "meta.llama3-1-70b-instruct-v1:0"}, {"top_k"}),
        ({"top_k": 5, "model": CLAUDE}, set()),
        ({"tools": TOOLS, "parallel_tool_calls": False}, {"parallel_tool_calls"}),
        ({"tools": TOOLS, "tool_choice": "none"}, {"tools"}),
        ({"messages": CALLED, "tools": TOOLS, "tool_choice": "none"}, {"tool_choice"}),
        ({"messages": user({"type": "image_url", "image_url": {"url": "https://x/y.png"}})}, {"image.url"}),
        ({"messages": user({"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA"}})},
         {"image.media_type"}),
        ({"messages": user({"type": "file", "file": {"file_data": "data:a/b;base64,AA"}})}, {"document.media_type"}),
        ({"messages": user({"type": "file", "file": {"filename": "a_b.pdf", "file_data": "data:application/pdf;base64,AA"}})},
         {"document.name"}),
        ({"messages": user({"type": "input_audio", "input_audio": {}})}, {"input_audio"}),
        ({"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}], "model": CLAUDE},
         {"reasoning_content"}),
        ({"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]}, set()),
        ({"store": True}, {"store"}),
    ],
)  # fmt: skip
def test_what_converse_cannot_carry_is_named(fields: Body, names: set[str]) -> None:
    assert set(built(**fields)[1]) == names


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"messages": [{"role": "user", "content": [{"guardContent": {"text": {"text": "x"}}}]}]}, {"guardContent"}),
        ({"guardrailConfig": {}, "requestMetadata": {}}, {"guardrailConfig", "requestMetadata"}),
        ({"additionalModelRequestFields": {"x": 1, "top_k": 2}}, {"additionalModelRequestFields", "top_k"}),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "x"}}]}}, {"tools.systemTool"}),
        ({"messages": [{"role": "user", "content": [{"text": "x"}, {"cachePoint": {"type": "default"}}]}]},
         {"cache_control"}),
    ],
)  # fmt: skip
def test_what_openai_cannot_carry_is_named(fields: Body, names: set[str]) -> None:
    assert set(translated({"messages": [], **fields}, BEDROCK_CONVERSE, OPENAI_CHAT)[1]) == names


def test_claude_thinks_as_anthropic_says() -> None:
    body, dropped = built(CLAUDE, reasoning_effort="low", max_tokens=9000)
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2048}}
    assert built(CLAUDE, top_k=5)[0]["additionalModelRequestFields"] == {"top_k": 5}
    assert built(CLAUDE, reasoning_effort="low", top_k=5)[1] == ["top_k"]
    newer = built("global.anthropic.claude-opus-4-8", reasoning_effort="high")[0]
    assert newer["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}
    assert newer["outputConfig"] == {"effort": "high"}
    assert "inferenceConfig" not in newer  # a limit that nobody asked for would cut the answer
    assert built("openai.gpt-oss-20b-1:0", reasoning_effort="low")[0]["additionalModelRequestFields"] == {
        "reasoning_effort": "low"
    }
    assert dropped == []
    back = translated({**newer, "model": "claude-opus-4-8"}, BEDROCK_CONVERSE, OPENAI_CHAT)
    assert (back[0]["reasoning_effort"], back[1]) == ("high", [])


def test_tools_are_there_where_some_were_called_and_ids_fit() -> None:
    body = built(messages=CALLED)[0]
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["f"]
    call, result = body["messages"][1]["content"][0]["toolUse"], body["messages"][2]["content"][0]["toolResult"]
    assert call["toolUseId"] == result["toolUseId"]
    assert len(call["toolUseId"]) == 64
    assert call["input"] == {"arguments": [1]}
    assert "description" not in built(tools=TOOLS)[0]["toolConfig"]["tools"][0]["toolSpec"]


def test_names_of_documents_are_few_characters_and_differ() -> None:
    file = {"type": "file", "file": {"filename": "Q1_2026 report.pdf", "file_data": "data:application/pdf;base64,AA"}}
    blocks = built(messages=user(file, file, {"type": "text", "text": "x"}))[0]["messages"][0]["content"]
    assert [b["document"]["name"] for b in blocks[:2]] == ["Q1-2026 report", "Q1-2026 report-2"]


def test_plain_documents_are_text() -> None:
    block = {"document": {"format": "md", "name": "n", "source": {"bytes": base64.b64encode("# é".encode()).decode()}}}
    body = {"messages": [{"role": "user", "content": [block]}]}
    source = translated(body, BEDROCK_CONVERSE, ANTHROPIC_MESSAGES)[0]["messages"][0]["content"][0]["source"]
    assert source == {"type": "text", "media_type": "text/plain", "data": "# é"}
    assert translated(body, BEDROCK_CONVERSE, BEDROCK_CONVERSE) == (body, [])
    there = {"document": {"format": "pdf", "name": "n", "source": {"s3Location": {"uri": "s3://b/k"}}}}
    assert translated({"messages": [{"role": "user", "content": [there]}]}, BEDROCK_CONVERSE, OPENAI_CHAT)[1] != []


def test_cache_marks_are_cache_points() -> None:
    text = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = {"model": CLAUDE, "max_tokens": 9, "system": [text], "messages": [{"role": "user", "content": [text]}]}
    there, dropped = translated(body, ANTHROPIC_MESSAGES, BEDROCK_CONVERSE)
    assert there["system"] == [{"text": "x"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert dropped == []
    assert translated({**there, "model": CLAUDE}, BEDROCK_CONVERSE, ANTHROPIC_MESSAGES) == (body, [])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": "x"},
        {"messages": [{"role": "bot", "content": []}]},
        {"messages": [{"role": "user", "content": "x"}]},
        {"messages": [], "inferenceConfig": {"maxTokens": "9"}},
        {"messages": [], "toolConfig": {"tools": [{"toolSpec": {"description": "x"}}]}},
        {"messages": [], "outputConfig": {"textFormat": {"type": "json_schema"}}},
        {"messages": [], "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "[]"}}}}},
    ],
)  # fmt: skip
def test_wrong_requests_say_what_is_wrong(body: Body) -> None:
    with pytest.raises(WireError, match=r"'|must"):
        BEDROCK_CONVERSE.parse_request(body)


# ── paths and errors ──────────────────────────────────────────────────────────────────────────────────────────────


@given(st.text("abcXYZ019-.:/_", min_size=1, max_size=40), st.booleans())
def test_the_path_names_model_and_stream(model: str, stream: bool) -> None:
    path = BEDROCK_CONVERSE.call_path(model, stream)
    assert dialect_for("bedrock", path) is BEDROCK_CONVERSE
    assert BEDROCK_CONVERSE.read_path is not None
    assert BEDROCK_CONVERSE.read_path(path) == (model, stream)
    assert path.count("/") == 3


def test_paths_of_invoke_and_of_nothing() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1"
    read = BEDROCK_INVOKE.read_path
    assert read is not None
    assert read(f"/model/{arn}/invoke") == (arn, False)
    assert read("/model/a%2Fb%3A0/invoke-with-response-stream") == ("a/b:0", True)
    assert read("/model/x/count-tokens") == (None, None)
    assert dialect_for("bedrock", "/model/x/invoke-with-response-stream") is BEDROCK_INVOKE
    assert dialect_for("bedrock", "/guardrail/x/version/1/apply").name == "raw"


def test_the_type_of_an_error_is_in_a_header_or_in_the_body() -> None:
    fault = BEDROCK_CONVERSE.read_reply(429, b'{"message":"Too many"}').fault
    assert fault == Fault("Too many", status=429)
    headers = {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    assert fault_with_headers(fault, headers).type == "ThrottlingException"
    assert fault_with_headers(fault, {}) == fault
    old = BEDROCK_CONVERSE.read_reply(400, b'{"__type":"com.amazon#ValidationException","message":"m"}').fault
    assert old is not None
    assert (old.type, old.message) == ("ValidationException", "m")
    none = BEDROCK_CONVERSE.read_reply(
        404, b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"}}'
    )
    assert none.fault is not None
    assert none.fault.type == "UnknownOperationException"


def test_counts_in_headers_fill_in_for_a_body_without() -> None:
    headers = {f"x-amzn-bedrock-{name}-token-count": n for name, n in (("input", "3"), ("output", "5"))}
    headers["x-amzn-bedrock-cache-read-input-token-count"] = "4"
    reply = BEDROCK_INVOKE.read_reply(200, b'{"outputs":[{"text":"hi","stop_reason":"stop"}]}')
    assert reply_with_headers(reply, headers).usage == Usage(7, 5, 4)
    stated = BEDROCK_INVOKE.read_reply(200, b'{"generation":"hi","prompt_token_count":1,"generation_token_count":2}')
    assert reply_with_headers(stated, headers) == stated


@pytest.mark.parametrize("dialect", [BEDROCK_CONVERSE, BEDROCK_INVOKE], ids=lambda d: str(d.name))
def test_an_exception_in_mid_stream_is_a_fault(dialect: Dialect) -> None:
    assert dialect.fault_event is not None
    event = dialect.fault_event(Fault("slow down", "rate_limit_error", status=429))
    reply = read_stream(dialect, [event, event])
    assert reply.fault == Fault("slow down", "throttlingException", status=429)
    assert not reply.complete
    error = encode({":message-type": "error", ":error-code": "Odd", ":error-message": "m"}, b"")
    assert read_stream(dialect, [error]).fault == Fault("m", "Odd")


def test_a_writer_stops_at_an_error() -> None:
    writer = BEDROCK_CONVERSE.stream_writer("i", "m", True)
    body = writer.write([TextDelta("a"), Faulted(Fault("no")), TextDelta("b")]) + writer.end()
    reply = read_stream(BEDROCK_CONVERSE, [body])
    assert (reply.text, reply.complete) == ("a", False)
    assert reply.fault == Fault("no", "internalServerException", status=500)


@pytest.mark.parametrize("dialect", [BEDROCK_CONVERSE, BEDROCK_INVOKE], ids=lambda d: str(d.name))
def test_a_page_in_the_place_of_a_stream_is_a_fault(dialect: Dialect) -> None:
    for page in (b"<html><body>502 Bad Gateway</body></html>", b"data: {}\n\n event stream of another kind"):
        reply = read_stream(dialect, [page])
        assert reply.fault is not None
        assert "not an AWS event stream" in reply.fault.message
        assert read_stream(dialect, [page[i : i + 1] for i in range(len(page))]) == reply


# ── InvokeModel ───────────────────────────────────────────────────────────────────────────────────────────────────


def chunks(*events: Body) -> bytes:
    """A stream of InvokeModel, with Amazon's counts in its last chunk."""
    metrics = {"inputTokenCount": 7, "outputTokenCount": 9, "invocationLatency": 1, "firstByteLatency": 1}
    bodies = [*events[:-1], {**events[-1], "amazon-bedrock-invocationMetrics": metrics}]
    payloads = (dumps({"bytes": base64.b64encode(dumps(body)).decode(), "p": "abc"}) for body in bodies)
    return b"".join(encode({":event-type": "chunk", ":message-type": "event"}, payload) for payload in payloads)


TITAN = {"inputTextTokenCount": 5, "index": 0, "totalOutputTextTokenCount": None, "completionReason": None}
VENDORS = [
    ({"inputTextTokenCount": 5, "results": [{"tokenCount": 3, "outputText": "hi you", "completionReason": "FINISH"}]},
     [{**TITAN, "outputText": "hi"},
      {**TITAN, "outputText": " you", "totalOutputTextTokenCount": 3, "completionReason": "FINISH"}],
     "FINISH", Usage(5, 3), Usage(5, 3)),
    ({"generation": "hi you", "prompt_token_count": 5, "generation_token_count": 3, "stop_reason": "stop"},
     [{"generation": "hi", "prompt_token_count": 5, "generation_token_count": 1, "stop_reason": None},
      {"generation": " you", "prompt_token_count": None, "generation_token_count": 3, "stop_reason": "stop"}],
     "stop", Usage(5, 3), Usage(5, 3)),
    ({"outputs": [{"text": "hi you", "stop_reason": "length"}]},
     [{"outputs": [{"text": "hi", "stop_reason": None}]}, {"outputs": [{"text": " you", "stop_reason": "length"}]}],
     "length", Usage(), Usage(7, 9)),
    ({"id": "i", "generations": [{"id": "j", "text": "hi you", "finish_reason": "COMPLETE"}], "prompt": "p"},
     [{"text": "hi", "is_finished": False}, {"text": " you", "is_finished": False},
      {"is_finished": True, "finish_reason": "COMPLETE"}],
     "COMPLETE", Usage(), Usage(7, 9)),
    ({"text": "hi you", "generation_id": "i", "finish_reason": "COMPLETE", "chat_history": []},
     [{"event_type": "text-generation", "text": "hi", "is_finished": False},
      {"event_type": "text-generation", "text": " you", "is_finished": False},
      {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE", "response": {"text": "hi you"}}],
     "COMPLETE", Usage(), Usage(7, 9)),
    ({"completion": "hi you", "stop_reason": "stop_sequence", "stop": "\n\nHuman:", "type": "completion"},
     [{"completion": "hi", "stop_reason": None, "type": "completion"},
      {"completion": " you", "stop_reason": "stop_sequence", "stop": "\n\nHuman:", "type": "completion"}],
     "stop_sequence", Usage(), Usage(7, 9)),
    ({"output": {"message": {"role": "assistant", "content": [{"text": "hi you"}]}}, "stopReason": "end_turn",
      "usage": {"inputTokens": 5, "outputTokens": 3}},
     [{"messageStart": {"role": "assistant"}},
      {"contentBlockDelta": {"delta": {"text": "hi"}, "contentBlockIndex": 0}},
      {"contentBlockDelta": {"delta": {"text": " you"}, "contentBlockIndex": 0}},
      {"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "end_turn"}},
      {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 3}}}],
     "end_turn", Usage(5, 3), Usage(5, 3)),
    ({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi you"}, "stop_reason": "stop"}],
      "usage": {"prompt_tokens": 5, "completion_tokens": 3}},
     [{"choices": [{"index": 0, "delta": {"content": "hi"}, "stop_reason": None}]},
      {"choices": [{"index": 0, "delta": {"content": " you"}, "finish_reason": "stop"}]}],
     "stop", Usage(5, 3), Usage(7, 9)),
    ({"choices": [{"text": "hi you", "stop_reason": "length"}]},
     [{"choices": [{"text": "hi", "stop_reason": None}]}, {"choices": [{"text": " you", "stop_reason": "length"}]}],
     "length", Usage(), Usage(7, 9)),
]  # fmt: skip


@pytest.mark.parametrize(("plain", "events", "finish", "usage", "streamed_usage"), VENDORS)
def test_every_vendor_is_known_by_its_shape(
    plain: Body, events: list[Body], finish: str, usage: Usage, streamed_usage: Usage
) -> None:
    answer = BEDROCK_INVOKE.read_reply(200, dumps(plain))
    assert (answer.text, answer.finish_reason, answer.usage, answer.complete) == ("hi you", finish, usage, True)
    data = chunks(*events)
    stream = read_stream(BEDROCK_INVOKE, [data])
    assert (stream.choices, stream.usage, stream.complete) == (answer.choices, streamed_usage, True)
    assert read_stream(BEDROCK_INVOKE, [data[i : i + 1] for i in range(len(data))]) == stream
    cut = read_stream(BEDROCK_INVOKE, [chunks(*events[:1])])
    assert (cut.complete, cut.fault) == (False, None)


def test_embeddings_and_unknown_shapes_of_invoke() -> None:
    titan = BEDROCK_INVOKE.read_reply(200, b'{"embedding":[0.1,0.2],"inputTextTokenCount":4}')
    assert (titan.n_vectors, titan.dimensions, titan.usage.input_tokens) == (1, 2, 4)
    cohere = BEDROCK_INVOKE.read_reply(200, b'{"embeddings":{"float":[[1],[2],[3]]},"id":"i"}')
    assert (cohere.n_vectors, cohere.dimensions) == (3, 1)
    assert BEDROCK_INVOKE.read_reply(200, b'{"images":["AA"],"error":null}') == Reply()
    assert BEDROCK_INVOKE.read_reply(200, b"{").complete is False
    assert BEDROCK_INVOKE.read_reply(200, b'{"message":"no"}').fault == Fault("no")


def test_requests_of_every_vendor_are_counted() -> None:
    bodies: list[Body] = [
        {"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 5}},
        {"prompt": "hi", "max_gen_len": 5},
        {"message": "hi", "chat_history": [], "max_tokens": 5},
        {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"max_new_tokens": 5}},
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "anthropic_version": "bedrock-2023-05-31"},
    ]
    for body in bodies:
        assert BEDROCK_INVOKE.prompt_texts(body) == ["hi"]
        assert BEDROCK_INVOKE.read_request(body).max_output_tokens == 5
    with pytest.raises(WireError, match="max_tokens"):
        BEDROCK_INVOKE.read_request({"max_tokens": "5"})


EVENTS = VALUES | BLOCKS | st.sampled_from([event for vendor in VENDORS for event in vendor[1]])


@settings(max_examples=100)
@given(st.lists(EVENTS | st.binary(max_size=20), max_size=6), st.lists(st.integers(0, 3000), max_size=8))
def test_any_chunks_of_invoke(events: list[Any], cuts: list[int]) -> None:
    bodies = [event if isinstance(event, bytes) else dumps(event) for event in events]
    payloads = [dumps({"bytes": base64.b64encode(body).decode()}) for body in bodies]
    data = b"".join(encode({":event-type": "chunk"}, payload) for payload in payloads)
    reply = read_stream(BEDROCK_INVOKE, [data])
    assert_same(read_stream(BEDROCK_INVOKE, split(data, cuts)), reply)
    for body in bodies:
        assert isinstance(BEDROCK_INVOKE.read_reply(200, body), Reply)
