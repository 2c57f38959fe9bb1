"""What servers of OpenAI Responses do, each in the few events that matter: nothing is lost, nothing comes twice."""

from typing import Any

import pytest

from llmlens.records import Choice, Fault, Other, Reply, Text, Thinking, ToolCall, Usage
from llmlens.wire.accumulate import read_stream
from llmlens.wire.dialects import OPENAI_RESPONSES
from llmlens.wire.json_text import dumps
from tests.wire.test_openai_responses import Body, text


def event(kind: str, **fields: Any) -> bytes:
    return b"data: " + dumps({"type": kind, **fields}) + b"\n\n"


def read(*events: bytes) -> Reply:
    return read_stream(OPENAI_RESPONSES, events)


def completed(*output: Body, **fields: Any) -> bytes:
    response = {"id": "r", "model": "m", "status": "completed", "output": [*output], **fields}
    return event(f"response.{response['status']}", response=response)


def spoken(words: str, item_id: str = "msg_1") -> Body:
    return {"type": "message", "id": item_id, "role": "assistant", "content": [text("output_text", words)]}


def added(index: int, item: Body) -> bytes:
    return event("response.output_item.added", output_index=index, item=item)


def delta(words: str, output_index: int = 0, content_index: int = 0) -> bytes:
    place = {"output_index": output_index, "content_index": content_index}
    return event("response.output_text.delta", delta=words, **place)


def item_done(index: int, item: Body) -> bytes:
    return event("response.output_item.done", output_index=index, item=item)


DONE = b"data: [DONE]\n\n"
EMPTY: Body = {"type": "message", "id": "msg_1", "content": []}


def test_the_last_event_alone_says_everything() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    reply = read(completed(spoken("hi"), call, usage={"input_tokens": 3, "output_tokens": 2}), DONE)
    assert reply == Reply("r", "m", (Choice(0, (Text("hi"), ToolCall("c", "f", "{}")), "completed"),), Usage(3, 2))


@pytest.mark.parametrize(
    "events",
    [
        [added(0, EMPTY), delta("he"), delta("llo"), item_done(0, spoken("hello")), completed(spoken("hello"))],
        [added(0, EMPTY), delta("he"), item_done(0, spoken("hello")), completed(spoken("hello"))],
        [added(0, EMPTY), delta("he"), completed(spoken("hello"))],
        [delta("hello"), completed(spoken("hello"))],  # never announced
        [added(0, EMPTY), delta("hello"), completed(spoken("hello", "other_id"))],
        [added(0, EMPTY), delta("hello", 0, 7), item_done(0, spoken("hello"))],  # Bedrock numbers parts over all items
        [added(3, EMPTY), delta("hello", 3), completed(spoken("hello"))],  # known by its id
        [added(0, EMPTY), delta("hello"), completed(spoken(" hello"))],  # tidied up at the end
        [event("response.output_text.done", output_index=0, text="hello"), completed(spoken("hello"))],
        [delta("he"), event("response.output_text.done", text="hello"), event("response.output_text.done", text="x")],
        [added(0, EMPTY), delta("hello"), completed()],  # an output left empty (Codex)
    ],
)
def test_nothing_comes_twice(events: list[bytes]) -> None:
    assert read(*events).parts == (Text("hello"),)


def test_a_part_that_was_missed_is_told_from_one_that_was_not() -> None:
    whole = {**EMPTY, "content": [text("output_text", "one "), text("output_text", "two")]}
    reply = read(added(0, EMPTY), delta("two", 0, 1), completed(whole))
    assert reply.text == "twoone "  # late, but there
    tidied = {**EMPTY, "content": [text("output_text", "One "), text("output_text", "two")]}
    assert read(added(0, EMPTY), delta("one ", 0, 0), delta("two", 0, 1), completed(tidied)).text == "one two"


def test_a_call_that_was_not_announced_waits_for_its_name() -> None:
    arguments = event("response.function_call_arguments.delta", output_index=0, delta='{"x":1}')
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"x":1}'}
    assert read(arguments, item_done(0, call), completed(call)).parts == (ToolCall("c", "f", '{"x":1}'),)


def test_custom_tools_are_calls_with_text() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "4 + 4"}
    pieces = [event("response.custom_tool_call_input.delta", output_index=0, delta=part) for part in ("4 +", " 4")]
    whole = ToolCall("c", "f", "4 + 4")
    assert read(added(0, {**call, "input": ""}), *pieces, completed(call)).parts == (whole,)
    plain = {"object": "response", "status": "completed", "output": [call]}
    assert OPENAI_RESPONSES.read_reply(200, dumps(plain)).parts == (whole,)


def test_the_first_proof_of_thinking_is_not_the_last() -> None:
    start: Body = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "early"}
    parts = [text("summary_text", "a"), text("summary_text", "b")]
    whole = {**start, "summary": parts, "encrypted_content": "late"}
    deltas = [
        event("response.reasoning_summary_text.delta", output_index=0, summary_index=n, delta=part["text"])
        for n, part in enumerate(parts)
    ]
    for events in (deltas, deltas[:1], []):
        reply = read(added(0, start), *events, item_done(0, whole), completed(whole))
        assert reply.parts == (Thinking("ab", "late"),)


def test_open_models_show_their_reasoning_text() -> None:
    item = {"type": "reasoning", "summary": [], "content": [text("reasoning_text", "hm")]}
    plain = {"status": "completed", "output": [item, spoken("4")]}
    assert OPENAI_RESPONSES.read_reply(200, dumps(plain)).parts == (Thinking("hm"), Text("4"))
    streamed_text = event("response.reasoning_text.delta", output_index=0, content_index=0, delta="hm")
    assert read(added(0, {**item, "content": []}), streamed_text, completed(item)).parts == (Thinking("hm"),)


FAULT = {"code": "server_error", "message": "m"}


@pytest.mark.parametrize(
    ("events", "fault", "reason"),
    [
        ([event("error", error={"type": "t", "code": "c", "message": "m", "param": None})], Fault("m", "t", "c"), None),
        (
            [event("error", code="rate_limit_exceeded", message="m", param="p")],
            Fault("m", None, "rate_limit_exceeded", "p", 429),
            None,
        ),
        ([completed(status="failed", error=FAULT)], Fault("m", None, "server_error", None, 500), "failed"),
        ([event("error", error={"type": "t", "message": "first"}), completed(status="failed", error=FAULT)],
         Fault("first", "t"), "failed"),
        ([completed(status="failed", error=None)], Fault("the provider gave no message"), "failed"),
        ([b'data: {"error":{"message":"m","code":502}}\n\n', DONE], Fault("m", None, "502", None, 502), None),
        ([b'event: error\ndata: {"message":"m","code":"c"}\n\n'], Fault("m", None, "c"), None),
    ],
)  # fmt: skip
def test_errors_in_a_stream(events: list[bytes], fault: Fault, reason: str | None) -> None:
    reply = read(added(0, EMPTY), delta("Hel"), *events)
    assert (reply.text, reply.fault, reply.complete, reply.finish_reason) == ("Hel", fault, False, reason)


def test_errors_in_a_plain_answer() -> None:
    body: Body = {"object": "response", "status": "failed", "error": FAULT, "output": []}
    reply = OPENAI_RESPONSES.read_reply(200, dumps(body))
    assert (reply.fault, reply.complete, reply.finish_reason) == (
        Fault("m", None, "server_error", None, 500),
        False,
        "failed",
    )
    assert OPENAI_RESPONSES.read_reply(200, b'{"error":{"message":"m"}}').fault == Fault("m")
    assert OPENAI_RESPONSES.read_reply(200, b"<html>") == Reply(complete=False)


def test_a_stream_is_whole_at_its_last_event_only() -> None:
    begun = [event("response.created", response={"id": "r", "model": "m", "status": "queued", "output": []})]
    begun += [added(0, EMPTY), delta("x"), item_done(0, spoken("x"))]
    assert not read(*begun).complete
    assert not read(*begun, DONE).complete  # a proxy's mark does not make it whole
    for status in ("completed", "incomplete", "cancelled"):
        reply = read(*begun, completed(status=status, incomplete_details={"reason": "max_output_tokens"}))
        assert (reply.complete, reply.text, reply.finish_reason) == (True, "x", status)
        assert reply.choices[0].finish_detail == "max_output_tokens"
    assert read(*begun, b'event: response.completed\ndata: {"response":{}}\n\n').complete


def test_what_runs_in_the_background_is_an_answer_without_text() -> None:
    body: Body = {"id": "r", "object": "response", "status": "queued", "model": "m", "output": [], "usage": None}
    reply = OPENAI_RESPONSES.read_reply(200, dumps(body))
    assert (reply.finish_reason, reply.text, reply.complete, bool(reply.usage)) == ("queued", None, True, False)


def test_server_tools_are_kept_as_they_came() -> None:
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"query": "x"}}
    progress = event("response.web_search_call.searching", output_index=0, item_id="ws")
    reply = read(added(0, {**search, "status": "in_progress"}), progress, item_done(0, search), completed(search))
    assert reply.parts == (Other("openai.responses", search),)


def test_the_stated_cost_is_read() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "cost": 0.0021}
    assert str(read(completed(usage=usage)).stated_cost_usd) == "0.0021"
