"""The SDK of Ollama reads what we write in its dialect: answers, streams and errors."""

import json
from typing import Any

import httpx
import ollama
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
from llmlens.wire.dialects import OLLAMA_CHAT, OPENAI_CHAT
from llmlens.wire.json_text import dumps
from tests.wire.test_ollama import INLINE, PNG
from tests.wire.test_translate import Body

PARTS = (Thinking("I should look."), Text("Looking — 日本 😀"), ToolCall("c1", "weather", '{"city":"Bern"}'))
ANSWER = Reply("id", "m", (Choice(0, PARTS, "tool_calls"),), Usage(100, 50, 30, None, 10))
QUESTION: Any = [{"role": "user", "content": "hi", "images": [PNG]}]


def streamed(*pieces: Piece) -> bytes:
    writer = OLLAMA_CHAT.stream_writer("id", "m", True)
    return b"".join([*(writer.write([piece]) for piece in pieces), writer.end()])


def client(status: int, body: bytes, seen: list[Body] | None = None) -> Any:
    def respond(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(json.loads(request.content))
        return httpx.Response(status, content=body, headers={"content-type": "application/x-ndjson"})

    return ollama.Client("http://t", transport=httpx.MockTransport(respond))


def check(message: Any, last: Any) -> None:
    assert (message["content"], message["thinking"]) == ("Looking — 日本 😀", "I should look.")
    assert [(c.function.name, c.function.arguments) for c in message["tool_calls"]] == [("weather", {"city": "Bern"})]
    assert (last.model, last.done, last.done_reason) == ("m", True, "stop")
    assert (last.prompt_eval_count, last.eval_count) == (100, 50)


def test_the_sdk_reads_a_plain_answer() -> None:
    seen: list[Body] = []
    done = client(200, dumps(OLLAMA_CHAT.build_reply(ANSWER, "m")), seen).chat("m", QUESTION)
    check(done.message, done)
    asked = OLLAMA_CHAT.parse_request(seen[0])
    assert (asked.stream, OPENAI_CHAT.build_request(asked)[1]) == (False, [])
    assert OPENAI_CHAT.build_request(asked)[0]["messages"][0]["content"][1] == INLINE


def test_the_sdk_reads_a_stream() -> None:
    parts = list(client(200, streamed(*pieces_of(ANSWER))).chat("m", QUESTION, stream=True))
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    texts = {k: "".join(part.message.get(k) or "" for part in parts) for k in ("content", "thinking")}
    check({**texts, "tool_calls": calls}, parts[-1])


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
@pytest.mark.parametrize("stream", [True, False])
def test_the_sdk_raises_its_own_error(status: int, stream: bool) -> None:
    body = OLLAMA_CHAT.fault_body(Fault("too much", "my_type", "budget_exceeded", None, status))
    with pytest.raises(ollama.ResponseError, match="too much") as caught:
        list(client(status, body).chat("m", QUESTION, stream=stream))
    assert (caught.value.error, caught.value.status_code) == ("too much", status)


@pytest.mark.parametrize("by_writer", [True, False])
def test_errors_in_mid_stream_raise(by_writer: bool) -> None:
    fault = Fault("it broke", "overloaded_error", status=529)
    writer = OLLAMA_CHAT.stream_writer("id", "m", True)
    body = writer.write([Started("id"), TextDelta("Hel")])
    assert OLLAMA_CHAT.fault_event is not None
    body += writer.write([Faulted(fault)]) + writer.end() if by_writer else OLLAMA_CHAT.fault_event(fault)
    told = read_stream(OLLAMA_CHAT, [body])
    assert (told.text, told.fault, told.complete) == ("Hel", fault, False)
    with pytest.raises(ollama.ResponseError, match="it broke"):
        list(client(200, body).chat("m", QUESTION, stream=True))
