"""The official SDK reads the Responses answers, streams and errors that we write, sync and async."""

import json
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel

from llmlens.records import (
    Choice,
    Ended,
    Fault,
    Faulted,
    Finished,
    Other,
    OtherDelta,
    Piece,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolDelta,
    UsageSeen,
)
from llmlens.wire.accumulate import pieces_of, read_stream, reply_of
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, OPENAI_RESPONSES
from llmlens.wire.json_text import dumps
from tests.wire.test_openai_responses import message, said
from tests.wire.test_sdks import PARTS, QUESTION, REPLY, USAGE, openai_client, streamed


def ask(body: bytes, **more: Any) -> tuple[list[Any], Any]:
    """(the events of the stream, the final response as the SDK puts it together)."""
    with openai_client(200, body, "text/event-stream") as client, client.responses.stream(
        model="m", input="hi", **more
    ) as stream:  # fmt: skip
        return list(stream), stream.get_final_response()


def check(done: Any) -> None:
    thought, words, first, second = done.output
    assert (done.id, done.model, done.object, done.status) == ("id_1", "model-x", "response", "completed")
    assert [part.text for part in thought.summary] == ["I should look."]
    assert thought.encrypted_content == "sig=="
    assert done.output_text == words.content[0].text == "Looking — 日本 😀"
    assert (first.type, first.call_id, first.name, first.arguments) == (
        "function_call",
        "call_1",
        "weather",
        '{"city":"Bern"}',
    )
    assert (second.call_id, second.arguments, second.status) == ("call_2", "{}", "completed")
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (100, 50, 150)
    assert done.usage.input_tokens_details.cached_tokens == 30
    assert done.usage.input_tokens_details.cache_write_tokens == 20
    assert done.usage.output_tokens_details.reasoning_tokens == 10


def test_the_sdk_reads_a_plain_answer() -> None:
    client = openai_client(200, dumps(OPENAI_RESPONSES.build_reply(REPLY, "model-x")))
    check(client.responses.create(model="m", input="hi"))


def test_the_sdk_reads_a_stream() -> None:
    events, done = ask(streamed(OPENAI_RESPONSES, pieces_of(REPLY)))
    check(done)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta",
        "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert kinds.count("output_item.added") == len(done.output)
    with openai_client(200, streamed(OPENAI_RESPONSES, pieces_of(REPLY)), "text/event-stream") as client:
        raw: list[Any] = list(client.responses.create(model="m", input="hi", stream=True))
    assert [event.item for event in raw if event.type == "response.output_item.done"] == raw[-1].response.output


async def test_the_async_sdk_reads_both() -> None:
    bodies = [streamed(OPENAI_RESPONSES, pieces_of(REPLY)), dumps(OPENAI_RESPONSES.build_reply(REPLY, "model-x"))]

    def respond(request: httpx2.Request) -> httpx2.Response:
        plain = not json.loads(request.content).get("stream")
        kind = "application/json" if plain else "text/event-stream"
        return httpx2.Response(200, content=bodies[plain], headers={"content-type": kind})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    async with openai.AsyncOpenAI(api_key="k", base_url="http://t/v1", max_retries=0, http_client=http) as client:
        check(await client.responses.create(model="m", input="hi"))
        async with client.responses.stream(model="m", input="hi") as stream:
            check(await stream.get_final_response())
        events = [event async for event in await client.responses.create(model="m", input="hi", stream=True)]
        last: Any = events[-1]
        check(last.response)


def test_tool_deltas_that_alternate_stay_apart() -> None:
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
    body = streamed(OPENAI_RESPONSES, mixed)
    _events, done = ask(body)
    assert [item.arguments for item in done.output if item.type == "function_call"] == ['{"x":1}', '{"y":2}']
    assert done.output_text == "between"
    assert read_stream(OPENAI_RESPONSES, [body]).parts == reply_of(mixed).parts


def test_refusals_and_texts_are_parts_of_one_message() -> None:
    pieces: list[Piece] = [TextDelta("Hm. "), RefusalDelta("No"), RefusalDelta("."), TextDelta("x", 1), Ended()]
    events, done = ask(streamed(OPENAI_RESPONSES, pieces))
    (item,) = done.output
    assert [part.to_dict() for part in item.content] == [
        {"type": "output_text", "text": "Hm. ", "annotations": [], "logprobs": [], "parsed": None},
        {"type": "refusal", "refusal": "No."},
    ]
    assert [e.content_index for e in events if e.type == "response.refusal.delta"] == [1, 1]
    parts = (Text("Hm. "), Refusal("No."))
    plain = OPENAI_RESPONSES.build_reply(Reply("i", "m", (Choice(0, parts, "stop"),)), "m")
    assert OPENAI_RESPONSES.read_reply(200, dumps(plain)).parts == parts


@pytest.mark.parametrize(
    ("reason", "detail", "status", "why"),
    [
        ("length", None, "incomplete", "max_output_tokens"),
        ("max_tokens", None, "incomplete", "max_output_tokens"),
        ("content_filter", None, "incomplete", "content_filter"),
        ("refusal", None, "incomplete", "content_filter"),
        ("incomplete", "content_filter", "incomplete", "content_filter"),
        ("incomplete", "steered", "incomplete", "steered"),
        ("incomplete", None, "incomplete", "max_output_tokens"),
        ("tool_calls", None, "completed", None),
        ("end_turn", None, "completed", None),
        ("queued", None, "queued", None),
        (None, None, "completed", None),
    ],
)
def test_why_an_answer_ended(reason: str | None, detail: str | None, status: str, why: str | None) -> None:
    reply = Reply("i", "m", (Choice(0, (Text("x"),), reason, None, detail),))
    plain = openai_client(200, dumps(OPENAI_RESPONSES.build_reply(reply, "m"))).responses.create(model="m", input="x")
    with openai_client(200, streamed(OPENAI_RESPONSES, pieces_of(reply)), "text/event-stream") as client:
        *_, last = client.responses.create(model="m", input="x", stream=True)
    assert last.type == ("response.incomplete" if status == "incomplete" else "response.completed")
    for done in (plain, last.response):
        assert (done.status, done.usage) == (status, None)
        assert (done.incomplete_details and done.incomplete_details.reason) == why


@pytest.mark.parametrize("by_writer", [True, False])
def test_errors_in_mid_stream_raise(*, by_writer: bool) -> None:
    fault = Fault("it broke", "overloaded_error", status=529)
    writer = OPENAI_RESPONSES.stream_writer("i", "m", True)
    body = writer.write([Started("i", "m"), TextDelta("Hel")])
    assert OPENAI_RESPONSES.fault_event is not None
    if by_writer:
        body += writer.write([Faulted(fault), TextDelta("lost")]) + writer.end()
        assert b"event: response.failed" in body
        assert b"lost" not in body
    else:
        body += OPENAI_RESPONSES.fault_event(fault)
    with pytest.raises(openai.APIError, match="it broke"):
        ask(body)
    seen = read_stream(OPENAI_RESPONSES, [body])
    assert (seen.text, seen.complete) == ("Hel", False)
    assert seen.fault is not None
    assert (seen.fault.message, seen.fault.type, seen.fault.status) == ("it broke", "overloaded_error", 529)


def test_errors_raise_the_exception_of_their_status() -> None:
    body = OPENAI_RESPONSES.fault_body(Fault("too much", code="budget_exceeded", status=429))
    with pytest.raises(openai.RateLimitError, match="too much") as caught:
        openai_client(429, body).responses.create(model="m", input="x")
    assert caught.value.code == "budget_exceeded"


def test_blocks_of_responses_go_through_and_those_of_others_do_not() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    parts = (Other("openai.responses", search), Text("found"), Other("anthropic.messages", {"type": "x"}))
    reply = Reply("i", "m", (Choice(0, parts, "stop"),))
    _events, done = ask(streamed(OPENAI_RESPONSES, pieces_of(reply)))
    assert [item.type for item in done.output] == ["web_search_call", "message"]
    for stream in (True, False):
        assert said(reply, stream=stream).parts == parts[:2]


class City(BaseModel):
    name: str


def test_structured_output_is_parsed_by_the_sdk() -> None:
    pieces: list[Piece] = [TextDelta('{"name":'), TextDelta('"Bern"}'), Finished("stop"), UsageSeen(USAGE), Ended()]
    _events, done = ask(streamed(OPENAI_RESPONSES, pieces), text_format=City)
    assert done.output_parsed == City(name="Bern")


def test_an_agent_gets_its_thinking_back_to_the_provider() -> None:
    """What the SDK sends back in the next turn is parsed into what was answered."""
    answered = openai_client(200, dumps(OPENAI_RESPONSES.build_reply(REPLY, "m"))).responses.create(
        model="m", input="hi"
    )
    seen: list[Any] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        seen.append(json.loads(request.content))
        return httpx2.Response(500)

    http = httpx2.Client(transport=httpx2.MockTransport(respond))
    output: Any = answered.output
    results: Any = [{"type": "function_call_output", "call_id": c.call_id, "output": "42"} for c in output[2:]]
    with pytest.raises(openai.InternalServerError):
        openai.OpenAI(api_key="k", base_url="http://t/v1", max_retries=0, http_client=http).responses.create(
            model="m", input=[*QUESTION, *output, *results], store=False
        )
    parsed = OPENAI_RESPONSES.parse_request(seen[0])
    assert [m.role for m in parsed.messages] == ["user", "assistant", "tool", "tool"]
    assert parsed.messages[1].parts == PARTS
    assert parsed.extra == {}
    body, dropped = ANTHROPIC_MESSAGES.build_request(parsed)
    assert dropped == []
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "I should look.", "signature": "sig=="}


def test_redacted_thinking_comes_back_to_anthropic() -> None:
    reply = Reply("i", "m", (Choice(0, (Thinking("", None, "xyz"), Text("x")), "stop"),))
    for stream in (True, False):
        assert said(reply, stream=stream).parts == reply.parts
    items = OPENAI_RESPONSES.build_reply(reply, "m")["output"]
    there = OPENAI_RESPONSES.parse_request({"model": "m", "input": [message("user", "x"), *items]})
    block = {"type": "redacted_thinking", "data": "xyz"}
    assert ANTHROPIC_MESSAGES.build_request(there)[0]["messages"][1]["content"][0] == block
    assert OPENAI_RESPONSES.build_request(there)[1] == ["redacted_thinking"]


def test_no_mark_ends_a_stream_before_its_last_word() -> None:
    """An event that repeats the answer must not be taken for its end before it is there."""
    body = streamed(OPENAI_RESPONSES, pieces_of(REPLY))
    assert not any(mark in body for mark in OPENAI_RESPONSES.end_marks)
    assert all(mark.startswith(b"\n") for mark in OPENAI_RESPONSES.end_marks)


def test_thinking_arrives_before_its_proof() -> None:
    pieces: list[Piece] = [ThinkingDelta("a"), ThinkingDelta("b"), ThinkingDelta(signature="s"), ThinkingDelta("c")]
    pieces += [ThinkingDelta(redacted="xx"), OtherDelta(Other("x", {})), TextDelta("t"), Finished("stop"), Ended()]
    _events, done = ask(streamed(OPENAI_RESPONSES, pieces))
    assert [item.type for item in done.output] == ["reasoning", "reasoning", "reasoning", "message"]
    seen = read_stream(OPENAI_RESPONSES, [streamed(OPENAI_RESPONSES, pieces)])
    assert seen.parts == (Thinking("ab", "s"), Thinking("c"), Thinking("", None, "xx"), Text("t"))
