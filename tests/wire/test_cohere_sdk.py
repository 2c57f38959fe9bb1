"""The SDK of Cohere reads what we write in its dialect: answers, streams and errors."""

from typing import Any

import cohere
import httpx
import pytest

from llmlens.records import (
    Choice,
    Fault,
    Faulted,
    Piece,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Usage,
)
from llmlens.wire.accumulate import pieces_of, read_stream
from llmlens.wire.dialects import COHERE_CHAT
from llmlens.wire.json_text import dumps

PARTS = (
    Thinking("I should look."),
    Text("Looking — 日本 😀"),
    ToolCall("c1", "weather", '{"city":"Bern"}'),
    ToolCall("c2", "now", "{}"),
)
ANSWER = Reply("id", None, (Choice(0, PARTS, "tool_calls"),), Usage(100, 50, 30, None, 10))
QUESTION: Any = [{"role": "user", "content": "hi"}]


def client(status: int, body: bytes, kind: str = "application/json") -> Any:
    def respond(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"content-type": kind})

    http = httpx.Client(transport=httpx.MockTransport(respond))
    return cohere.ClientV2("k", base_url="http://t", httpx_client=http, max_retries=0)


def written(*pieces: Piece) -> bytes:
    writer = COHERE_CHAT.stream_writer("id", "m", True)
    return b"".join([*(writer.write([piece]) for piece in pieces), writer.end()])


def test_the_sdk_reads_a_plain_answer() -> None:
    done = client(200, dumps(COHERE_CHAT.build_reply(ANSWER, "m"))).chat(model="m", messages=QUESTION)
    assert (done.id, done.finish_reason, done.message.role) == ("id", "TOOL_CALL", "assistant")
    thinking, text = done.message.content
    assert (thinking.type, thinking.thinking, text.type, text.text) == (
        "thinking", "I should look.", "text", "Looking — 日本 😀",
    )  # fmt: skip
    assert [(c.id, c.function.name, c.function.arguments) for c in done.message.tool_calls] == [
        ("c1", "weather", '{"city":"Bern"}'),
        ("c2", "now", "{}"),
    ]
    assert (done.usage.tokens.input_tokens, done.usage.tokens.output_tokens, done.usage.cached_tokens) == (100, 50, 30)


def test_the_sdk_reads_a_stream() -> None:
    stream_client = client(200, written(*pieces_of(ANSWER)), "text/event-stream")
    seen = list(stream_client.chat_stream(model="m", messages=QUESTION))
    kinds = [event.type for event in seen]
    assert [k for k in kinds if "delta" not in k] == [
        "message-start", "content-start", "content-end", "content-start", "content-end",
        "tool-call-start", "tool-call-end", "tool-call-start", "tool-call-end", "message-end",
    ]  # fmt: skip
    assert seen[0].id == "id"
    contents = [event.delta.message.content for event in seen if event.type == "content-delta"]
    assert ("".join(c.thinking or "" for c in contents), "".join(c.text or "" for c in contents)) == (
        "I should look.", "Looking — 日本 😀",
    )  # fmt: skip
    calls = [event.delta.message.tool_calls for event in seen if event.type == "tool-call-start"]
    assert [(call.id, call.function.name) for call in calls] == [("c1", "weather"), ("c2", "now")]
    end = seen[-1].delta
    assert (end.finish_reason, end.usage.tokens.output_tokens) == ("TOOL_CALL", 50)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"), (401, "UnauthorizedError"), (403, "ForbiddenError"), (404, "NotFoundError"),
        (422, "UnprocessableEntityError"), (429, "TooManyRequestsError"), (500, "InternalServerError"),
        (503, "ServiceUnavailableError"), (529, "core.api_error.ApiError"),
    ],
)  # fmt: skip
def test_the_sdk_raises_its_own_error(status: int, name: str) -> None:
    error = cohere.core.api_error.ApiError if "." in name else getattr(cohere.errors, name)
    with pytest.raises(error) as caught:
        client(status, COHERE_CHAT.fault_body(Fault("too much", "my_type", "budget_exceeded", None, status))).chat(
            model="m", messages=QUESTION
        )
    assert (caught.value.status_code, caught.value.body["message"]) == (status, "too much")
    assert "too much" in str(caught.value)


@pytest.mark.parametrize("by_writer", [True, False])
def test_errors_in_mid_stream_are_told(by_writer: bool) -> None:
    fault = Fault("it broke", "overloaded_error", status=529)
    begun: list[Piece] = [Started("id"), TextDelta("Hel")]
    writer = COHERE_CHAT.stream_writer("id", "m", True)
    body = writer.write(begun)
    assert COHERE_CHAT.fault_event is not None
    body += writer.write([Faulted(fault)]) + writer.end() if by_writer else COHERE_CHAT.fault_event(fault)
    told = read_stream(COHERE_CHAT, [body])
    assert (told.text, told.fault, told.complete) == ("Hel", fault, False)
    end = list(client(200, body, "text/event-stream").chat_stream(model="m", messages=QUESTION))[-1].delta
    assert (end.finish_reason, end.error) == ("ERROR", "it broke")
