"""The real SDKs read what we write: answers, streams and errors of both dialects, translated from the other."""

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from llmlens.records import (
    Choice,
    Ended,
    Fault,
    Faulted,
    Finished,
    Piece,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageSeen,
)
from llmlens.wire.accumulate import pieces_of, read_stream, reply_of
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, OPENAI_CHAT
from llmlens.wire.json_text import dumps
from llmlens.wire.sse import encode

USAGE = Usage(100, 50, 30, 20, 10)
PARTS = (
    Thinking("I should look.", signature="sig=="),
    Text("Looking — 日本 😀"),
    ToolCall("call_1", "weather", '{"city":"Bern"}'),
    ToolCall("call_2", "time", "{}"),
)
REPLY = Reply("id_1", "model-x", (Choice(0, PARTS, "tool_calls"),), USAGE)
QUESTION: Any = [{"role": "user", "content": "hi"}]


def answer(status: int, body: bytes, kind: str = "application/json") -> httpx2.Client:
    def respond(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=body, headers={"content-type": kind})

    return httpx2.Client(transport=httpx2.MockTransport(respond))


def openai_client(status: int, body: bytes, kind: str = "application/json") -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url="http://t/v1", max_retries=0, http_client=answer(status, body, kind))


def anthropic_client(status: int, body: bytes, kind: str = "application/json") -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="k", base_url="http://t", max_retries=0, http_client=answer(status, body, kind))


def streamed(dialect: ChatDialect, pieces: list[Piece], *, usage: bool = True) -> bytes:
    writer = dialect.stream_writer("id_1", "model-x", usage)
    return b"".join([*(writer.write([piece]) for piece in pieces), writer.end()])


def ask_openai(body: bytes) -> Any:
    with openai_client(200, dumps({}), "x").with_options(
        http_client=answer(200, body, "text/event-stream")
    ) as client, client.chat.completions.stream(model="m", messages=QUESTION) as stream:  # fmt: skip
        for _event in stream:
            pass
        return stream.get_final_completion()


def ask_anthropic(body: bytes) -> Any:
    with anthropic_client(200, body, "text/event-stream") as client, client.messages.stream(
        model="m", messages=QUESTION, max_tokens=9
    ) as stream:  # fmt: skip
        for _event in stream:
            pass
        return stream.get_final_message()


def check_openai(done: Any) -> None:
    (choice,) = done.choices
    assert (done.id, done.model, done.object) == ("id_1", "model-x", "chat.completion")
    assert (choice.finish_reason, choice.message.role) == ("tool_calls", "assistant")
    assert choice.message.content == "Looking — 日本 😀"
    assert choice.message.reasoning_content == "I should look."
    calls = [(c.id, c.type, c.function.name, c.function.arguments) for c in choice.message.tool_calls]
    assert calls == [("call_1", "function", "weather", '{"city":"Bern"}'), ("call_2", "function", "time", "{}")]
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (100, 50, 150)
    assert done.usage.prompt_tokens_details.cached_tokens == 30
    assert done.usage.prompt_tokens_details.cache_write_tokens == 20
    assert done.usage.completion_tokens_details.reasoning_tokens == 10


def check_anthropic(done: Any) -> None:
    thinking, text, first, second = done.content
    assert (done.id, done.model, done.role, done.type) == ("id_1", "model-x", "assistant", "message")
    assert (thinking.type, thinking.thinking, thinking.signature) == ("thinking", "I should look.", "sig==")
    assert (text.type, text.text) == ("text", "Looking — 日本 😀")
    assert (first.type, first.id, first.name, first.input) == ("tool_use", "call_1", "weather", {"city": "Bern"})
    assert (second.id, second.input) == ("call_2", {})
    assert (done.stop_reason, done.stop_sequence) == ("tool_use", None)
    assert (done.usage.input_tokens, done.usage.output_tokens) == (50, 50)  # 100 less the cached ones
    assert (done.usage.cache_read_input_tokens, done.usage.cache_creation_input_tokens) == (30, 20)
    assert done.usage.output_tokens_details.thinking_tokens == 10


def test_openai_reads_a_plain_answer() -> None:
    client = openai_client(200, dumps(OPENAI_CHAT.build_reply(REPLY, "model-x")))
    check_openai(client.chat.completions.create(model="m", messages=QUESTION))


def test_openai_reads_a_stream() -> None:
    check_openai(ask_openai(streamed(OPENAI_CHAT, pieces_of(REPLY))))


def test_anthropic_reads_a_plain_answer() -> None:
    client = anthropic_client(200, dumps(ANTHROPIC_MESSAGES.build_reply(REPLY, "model-x")))
    check_anthropic(client.messages.create(model="m", messages=QUESTION, max_tokens=9))


def test_anthropic_reads_a_stream() -> None:
    check_anthropic(ask_anthropic(streamed(ANTHROPIC_MESSAGES, pieces_of(REPLY))))


def test_a_stream_translated_twice_still_says_the_same() -> None:
    there = read_stream(ANTHROPIC_MESSAGES, [streamed(ANTHROPIC_MESSAGES, pieces_of(REPLY))])
    check_openai(ask_openai(streamed(OPENAI_CHAT, pieces_of(there))))
    back = read_stream(OPENAI_CHAT, [streamed(OPENAI_CHAT, pieces_of(there))])
    check_anthropic(ask_anthropic(streamed(ANTHROPIC_MESSAGES, pieces_of(back))))


def test_tool_deltas_that_alternate_become_whole_blocks() -> None:
    mixed: list[Piece] = [
        Started("id_1", "m"),
        ToolDelta(0, "a", "f", '{"x":'),
        ToolDelta(1, "b", "g", '{"y"'),
        TextDelta("between"),
        ToolDelta(0, arguments="1}"),
        ToolDelta(1, arguments=":2}"),
        Finished("tool_calls"),
        Ended(),
    ]
    done = ask_anthropic(streamed(ANTHROPIC_MESSAGES, mixed))
    assert [b.input for b in done.content if b.type == "tool_use"] == [{"x": 1}, {"y": 2}]
    assert [b.text for b in done.content if b.type == "text"] == ["between"]
    assert done.stop_reason == "tool_use"


def test_refusals_and_several_choices() -> None:
    pieces: list[Piece] = [
        RefusalDelta("No."),
        TextDelta("b", 1),
        Finished("stop"),
        Finished("tool_use", None, 1),
        Ended(),
    ]
    done = ask_openai(streamed(OPENAI_CHAT, pieces, usage=False))
    assert done.choices[0].message.refusal == "No."
    assert (done.choices[1].message.content, done.choices[1].finish_reason) == ("b", "tool_calls")
    assert done.usage is None
    message = ask_anthropic(streamed(ANTHROPIC_MESSAGES, pieces))
    assert [b.text for b in message.content] == ["No."]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("end_turn", "stop_sequence", "max_tokens", "refusal", "pause_turn", "model_context_window_exceeded"),
         ("stop", "stop", "length", "content_filter", "stop", "length")),
        (("stop", "STOP", "eos", "something_new"), ("stop",) * 4),
    ],
)  # fmt: skip
def test_finish_reasons_in_openai_words(words: tuple[str, ...], expected: tuple[str, ...]) -> None:
    replies = [Reply("i", "m", (Choice(0, (Text("x"),), word),)) for word in words]
    built = [OPENAI_CHAT.build_reply(reply, "m")["choices"][0]["finish_reason"] for reply in replies]
    assert tuple(built) == expected


def test_a_plain_stop_after_tool_calls_tells_agents_to_go_on() -> None:
    reply = Reply("i", "m", (Choice(0, (ToolCall("a", "f", "{}"),), "stop"),))
    assert ANTHROPIC_MESSAGES.build_reply(reply, "m")["stop_reason"] == "tool_use"
    assert OPENAI_CHAT.build_reply(reply, "m")["choices"][0]["finish_reason"] == "tool_calls"


OPENAI_ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    529: openai.InternalServerError,
}


@pytest.mark.parametrize("status", OPENAI_ERRORS)
def test_openai_raises_its_own_error(status: int) -> None:
    fault = Fault("too much", "my_type", "budget_exceeded", "model", status)
    client = openai_client(status, OPENAI_CHAT.fault_body(fault))
    with pytest.raises(OPENAI_ERRORS[status]) as caught:
        client.chat.completions.create(model="m", messages=QUESTION)
    assert "too much" in caught.value.message
    assert (caught.value.type, caught.value.code, caught.value.param) == ("my_type", "budget_exceeded", "model")


ANTHROPIC_ERRORS = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    403: (anthropic.PermissionDeniedError, "permission_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    413: (anthropic.APIStatusError, "request_too_large"),
    422: (anthropic.UnprocessableEntityError, "invalid_request_error"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    504: (anthropic.InternalServerError, "timeout_error"),
    529: (anthropic.InternalServerError, "overloaded_error"),
}


@pytest.mark.parametrize("status", ANTHROPIC_ERRORS)
def test_anthropic_raises_its_own_error(status: int) -> None:
    wanted, kind = ANTHROPIC_ERRORS[status]
    client = anthropic_client(
        status, ANTHROPIC_MESSAGES.fault_body(Fault("too much", "x", "budget_exceeded", None, status))
    )
    with pytest.raises(wanted) as caught:
        client.messages.create(model="m", messages=QUESTION, max_tokens=9)
    error: Any = caught.value
    assert (error.type, error.api_message, error.error_code) == (kind, "too much", "budget_exceeded")


@pytest.mark.parametrize("by_writer", [True, False])
def test_errors_in_mid_stream_raise(*, by_writer: bool) -> None:
    fault = Fault("it broke", "overloaded_error", status=529)
    for dialect, ask, error in (
        (OPENAI_CHAT, ask_openai, openai.APIError),
        (ANTHROPIC_MESSAGES, ask_anthropic, anthropic.APIError),
    ):
        writer = dialect.stream_writer("i", "m", True)
        body = writer.write([Started("i", "m"), TextDelta("Hel")])
        assert dialect.fault_event is not None
        body += writer.write([Faulted(fault)]) + writer.end() if by_writer else dialect.fault_event(fault)
        with pytest.raises(error, match="it broke"):
            ask(body)
        seen = read_stream(dialect, [body])
        assert (seen.text, seen.complete) == ("Hel", False)
        assert seen.fault is not None
        assert (seen.fault.message, seen.fault.type, seen.fault.status) == ("it broke", "overloaded_error", 529)


def test_requests_the_sdks_make_are_parsed() -> None:
    seen: list[Any] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        seen.append(json.loads(request.content))
        return httpx2.Response(500)

    http = httpx2.Client(transport=httpx2.MockTransport(respond))
    image: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(openai.InternalServerError):
        openai.OpenAI(api_key="k", base_url="http://t/v1", max_retries=0, http_client=http).chat.completions.create(
            model="m", messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}, image]}], stop="x"
        )  # fmt: skip
    parsed = OPENAI_CHAT.parse_request(seen[0])
    body, dropped = ANTHROPIC_MESSAGES.build_request(parsed)
    assert dropped == []
    assert body["messages"][0]["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert (body["stop_sequences"], body["max_tokens"]) == (["x"], 8192)


def test_thinking_arrives_before_its_signature() -> None:
    pieces: list[Piece] = [ThinkingDelta("a"), ThinkingDelta("b"), ThinkingDelta(signature="s"), ThinkingDelta("c")]
    pieces += [ThinkingDelta(redacted="xx"), TextDelta("t"), Finished("stop"), UsageSeen(USAGE), Ended()]
    done = ask_anthropic(streamed(ANTHROPIC_MESSAGES, pieces))
    assert [b.type for b in done.content] == ["thinking", "thinking", "redacted_thinking", "text"]
    assert [b.thinking for b in done.content[:2]] == ["ab", "c"]
    assert read_stream(OPENAI_CHAT, [streamed(OPENAI_CHAT, pieces)]).parts == reply_of(pieces).parts


def test_one_event_a_line() -> None:
    assert encode("a", "x\ny") == b"event: a\ndata: x\ndata: y\n\n"
