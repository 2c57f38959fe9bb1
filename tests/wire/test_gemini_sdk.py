"""google-genai reads what we write, plain and streamed, sync and async, and we read what it asks."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from llmlens.records import (
    Choice,
    Ended,
    Fault,
    Faulted,
    Finished,
    Piece,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolDelta,
    ToolResult,
    Usage,
)
from llmlens.wire.accumulate import pieces_of, read_stream
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, CHAT, GEMINI_GENERATE, dialect_for
from llmlens.wire.gemini_path import read_path
from llmlens.wire.json_text import dumps
from tests.wire.test_sdks import streamed

USAGE = Usage(100, 50, 30, None, 10)
PARTS = (
    Thinking("I should look.", signature="c2ln"),
    Text("Looking — 日本 😀"),
    ToolCall("call_1", "weather", '{"city":"Bern"}', "c2lnMg=="),
    ToolCall(None, "time", ""),
)
REPLY = Reply("id_1", "model-x", (Choice(0, PARTS, "tool_calls"),), USAGE)
Respond = Callable[[httpx2.Request], httpx2.Response]


def client(respond: Respond) -> genai.Client:
    options = types.HttpOptions(
        base_url="http://t",
        retry_options=types.HttpRetryOptions(attempts=1),
        httpx_client=httpx2.Client(transport=httpx2.MockTransport(respond)),
        httpx_async_client=httpx2.AsyncClient(transport=httpx2.MockTransport(respond)),
    )
    return genai.Client(api_key="k", http_options=options)


def answering(body: bytes, kind: str = "application/json", status: int = 200) -> genai.Client:
    return client(lambda _request: httpx2.Response(status, content=body, headers={"content-type": kind}))


def joined(chunks: list[Any]) -> tuple[list[Any], Any]:
    """(all parts, the last chunk)."""
    contents = [chunk.candidates[0].content for chunk in chunks if chunk.candidates]
    return [part for content in contents if content for part in content.parts or []], chunks[-1]


def check(chunks: list[Any]) -> None:
    (thought, text, first, second), last = joined(chunks)
    assert (last.response_id, last.model_version) == ("id_1", "model-x")
    assert (thought.text, thought.thought, thought.thought_signature) == ("I should look.", True, b"sig")
    assert (text.text, text.thought) == ("Looking — 日本 😀", None)
    assert (first.function_call.id, first.function_call.name) == ("call_1", "weather")
    assert (first.function_call.args, first.thought_signature) == ({"city": "Bern"}, b"sig2")
    assert (second.function_call.id, second.function_call.name, second.function_call.args) == (None, "time", {})
    assert last.candidates[0].finish_reason is types.FinishReason.STOP
    usage = last.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (100, 40, 10)
    assert (usage.cached_content_token_count, usage.total_token_count) == (30, 150)


def test_the_sdk_reads_a_plain_answer() -> None:
    body = dumps(GEMINI_GENERATE.build_reply(REPLY, "model-x"))
    check([answering(body).models.generate_content(model="m", contents="hi")])


async def test_the_sdk_reads_a_plain_answer_async() -> None:
    body = dumps(GEMINI_GENERATE.build_reply(REPLY, "model-x"))
    check([await answering(body).aio.models.generate_content(model="m", contents="hi")])


def test_the_sdk_reads_a_stream() -> None:
    body = streamed(GEMINI_GENERATE, pieces_of(REPLY))
    check(list(answering(body, GEMINI_GENERATE.writes).models.generate_content_stream(model="m", contents="hi")))


async def test_the_sdk_reads_a_stream_async() -> None:
    body = streamed(GEMINI_GENERATE, pieces_of(REPLY))
    chunks = await answering(body, GEMINI_GENERATE.writes).aio.models.generate_content_stream(model="m", contents="hi")
    check([chunk async for chunk in chunks])


@pytest.mark.parametrize("family", ["openai", "anthropic"])
def test_the_sdk_reads_the_answers_of_others(family: str) -> None:
    source = CHAT[family]
    parts = tuple(replace(p, id=p.id or "call_2", signature=None) if isinstance(p, ToolCall) else p for p in PARTS)
    there = replace(REPLY, choices=(Choice(0, parts, "tool_calls"),))
    reply = read_stream(source, [streamed(source, pieces_of(there))])
    body = streamed(GEMINI_GENERATE, pieces_of(reply))
    (thought, text, first, second), last = joined(
        list(answering(body, GEMINI_GENERATE.writes).models.generate_content_stream(model="m", contents="hi"))
    )
    assert (thought.text, thought.thought_signature, text.text) == ("I should look.", b"sig", "Looking — 日本 😀")
    assert [p.function_call.id for p in (first, second)] == ["call_1", "call_2"]
    assert last.usage_metadata.total_token_count == 150


def test_tool_deltas_that_alternate_and_several_candidates() -> None:
    pieces: list[Piece] = [
        Started("id_1", "m"),
        ToolDelta(0, "a", "f", '{"x":'),
        ToolDelta(1, "b", "g", '{"y"'),
        TextDelta("between"),
        ToolDelta(0, arguments="1}"),
        ToolDelta(1, arguments=":2}"),
        TextDelta("other", 1),
        Finished("tool_calls"),
        Finished("length", None, 1),
        Ended(),
    ]
    body = streamed(GEMINI_GENERATE, pieces)
    *_, last = answering(body, GEMINI_GENERATE.writes).models.generate_content_stream(model="m", contents="hi")
    first, second = last.candidates
    assert [part.function_call.args for part in first.content.parts] == [{"x": 1}, {"y": 2}]
    assert (second.index, second.finish_reason) == (1, types.FinishReason.MAX_TOKENS)


def test_a_blocked_prompt_is_shown_as_one() -> None:
    body = dumps(GEMINI_GENERATE.build_reply(Reply("i", "m", (Choice(finish_detail="SAFETY"),)), "m"))
    answer = answering(body).models.generate_content(model="m", contents="hi")
    assert answer.prompt_feedback is not None
    assert answer.prompt_feedback.block_reason is types.BlockedReason.SAFETY


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (400, errors.ClientError, "INVALID_ARGUMENT"),
        (401, errors.ClientError, "UNAUTHENTICATED"),
        (404, errors.ClientError, "NOT_FOUND"),
        (413, errors.ClientError, "INVALID_ARGUMENT"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (529, errors.ServerError, "UNAVAILABLE"),
    ],
)
async def test_the_sdk_raises_its_own_errors(status: int, kind: type[errors.APIError], word: str) -> None:
    fault = Fault("it broke", "overloaded_error", "budget_exceeded", "model", status, 2)
    body = GEMINI_GENERATE.fault_body(fault)
    with pytest.raises(kind) as caught:
        answering(body, status=status).models.generate_content(model="m", contents="hi")
    with pytest.raises(kind) as again:
        await answering(body, status=status).aio.models.generate_content(model="m", contents="hi")
    for error in (caught.value, again.value):
        assert (error.code, error.status, error.message) == (status, word, "it broke")
        info, retry = error.details["error"]["details"]
        assert (info["reason"], info["metadata"], retry["retryDelay"]) == (
            "budget_exceeded",
            {"param": "model"},
            "2.000s",
        )


@pytest.mark.parametrize("by_writer", [True, False])
async def test_errors_in_mid_stream_raise(*, by_writer: bool) -> None:
    fault = Fault("it broke", "overloaded_error")
    writer = GEMINI_GENERATE.stream_writer("i", "m", True)
    body = writer.write([Started("i", "m"), TextDelta("Hel")])
    assert GEMINI_GENERATE.fault_event is not None
    body += writer.write([Faulted(fault)]) + writer.end() if by_writer else GEMINI_GENERATE.fault_event(fault)
    with pytest.raises(errors.ServerError, match="it broke"):
        list(answering(body, GEMINI_GENERATE.writes).models.generate_content_stream(model="m", contents="hi"))
    chunks = await answering(body, GEMINI_GENERATE.writes).aio.models.generate_content_stream(model="m", contents="hi")
    with pytest.raises(errors.ServerError, match="it broke"):
        [chunk async for chunk in chunks]
    seen = read_stream(GEMINI_GENERATE, [body])
    assert (seen.text, seen.complete) == ("Hel", False)
    assert seen.fault is not None
    assert (seen.fault.message, seen.fault.status) == ("it broke", 529)


# ── what the SDK asks ─────────────────────────────────────────────────────────────────────────────────────────────


def get_weather(city: str, days: int = 1) -> str:
    """The weather.

    Args:
        city: where
    """
    return f"{city}: sun for {days}"


def asked(ask: Callable[[genai.Client], Any]) -> tuple[ChatDialect, httpx2.Request, Any]:
    """(dialect, request, body) of the last call that `ask` makes; the model always answers REPLY without its calls."""
    seen: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        body = dumps(GEMINI_GENERATE.build_reply(replace(REPLY, choices=(Choice(0, PARTS[:2], "stop"),)), "m"))
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    ask(client(respond))
    dialect = dialect_for("gemini", seen[-1].url.path)
    assert isinstance(dialect, ChatDialect)
    return dialect, seen[-1], json.loads(seen[-1].content)


def test_requests_the_sdk_makes_are_parsed() -> None:
    config = types.GenerateContentConfig(
        system_instruction="sys",
        temperature=0.5,
        max_output_tokens=9000,
        stop_sequences=["x"],
        tools=[get_weather],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.AUTO)),
        thinking_config=types.ThinkingConfig(thinking_budget=2048, include_thoughts=True),
        response_mime_type="application/json",
        response_schema={"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
    )  # fmt: skip
    image = types.Part.from_bytes(data=b"\0\0\0", mime_type="image/png")
    contents: Any = [types.Content(role="user", parts=[types.Part(text="hi"), image])]
    dialect, request, body = asked(
        lambda c: c.models.generate_content(model="gemini-2.5-flash", contents=contents, config=config)
    )
    assert read_path(request.url.path) == ("gemini-2.5-flash", False)
    read = dialect.read_request(body)
    assert (read.max_output_tokens, read.n) == (9000, 1)
    parsed = dialect.parse_request(body)
    assert parsed.extra == {"tools.functionDeclarations.responseJsonSchema": {"type": "string"}}
    built, dropped = ANTHROPIC_MESSAGES.build_request(replace(parsed, model="claude-sonnet-4-5"))
    assert dropped == [*parsed.extra, "temperature"]  # not while thinking
    assert built["messages"][0]["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert (built["system"], built["stop_sequences"], built["tool_choice"]) == ("sys", ["x"], {"type": "auto"})
    assert built["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert built["tools"][0]["input_schema"]["properties"]["city"] == {"type": "string"}
    assert built["output_config"]["format"]["schema"]["properties"] == {"a": {"type": "string"}}


def test_a_chat_with_function_calls_is_sent_back_as_it_came() -> None:
    """The SDK calls the function itself and sends the whole conversation, with signatures, again."""
    answers = [
        replace(
            REPLY, choices=(Choice(0, (*PARTS[:2], ToolCall(None, "get_weather", '{"city":"Bern"}', "c2ln")), "stop"),)
        ),
        replace(REPLY, choices=(Choice(0, (Text("done"),), "stop"),)),
    ]
    seen: list[Any] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        seen.append(json.loads(request.content))
        body = dumps(GEMINI_GENERATE.build_reply(answers[len(seen) - 1], "m"))
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    config = types.GenerateContentConfig(tools=[get_weather])
    answer = client(respond).models.generate_content(model="m", contents="weather?", config=config)
    assert answer.text == "done"
    _user, said, told = GEMINI_GENERATE.parse_request(seen[1]).messages
    assert said.parts == (*PARTS[:2], ToolCall("gemini_call_0", "get_weather", '{"city":"Bern"}', "c2ln"))
    assert told.parts == (ToolResult("gemini_call_0", (Text('{"result":"Bern: sun for 1"}'),)),)


def test_embeddings_and_counts_of_the_sdk() -> None:
    paths: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.path)
        body = json.loads(request.content)
        name = dialect_for("gemini", request.url.path).name
        assert dialect_for("gemini", request.url.path).prompt_texts(body) == ["a", "b"]
        answer = {"totalTokens": 3} if name == "gemini.count_tokens" else {"embeddings": [{"values": [1.0]}] * 2}
        return httpx2.Response(200, content=dumps(answer), headers={"content-type": "application/json"})

    with_answers = client(respond)
    contents: Any = ["a", "b"]
    assert with_answers.models.count_tokens(model="m", contents=contents).total_tokens == 3
    assert len(with_answers.models.embed_content(model="e", contents=contents).embeddings or []) == 2
    assert [read_path(path) for path in paths] == [("m", False), ("e", False)]
