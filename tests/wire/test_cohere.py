"""Cohere: what can be said in it survives the journey there and back, what cannot is named, and its oddities are read."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.records import (
    Choice,
    Ended,
    Fault,
    Finished,
    Piece,
    Reply,
    Text,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
)
from llmlens.wire.accumulate import pieces_of, read_stream, reply_of
from llmlens.wire.cohere_read import citations_part, plan_part
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, COHERE_CHAT, OPENAI_CHAT
from llmlens.wire.json_text import dumps
from llmlens.wire.sse import encode
from tests.wire.test_translate import WORDS, Body, lost, openai_bodies, replies, said, translated

PDF = "file"
NAME_LOST = "response_format.json_schema.name"


def parts_of(body: Body) -> list[Body]:
    return [part for m in body["messages"] if isinstance(m["content"], list) for part in m["content"]]


def strict_of(body: Body) -> set[bool]:
    return {tool["function"]["strict"] for tool in body.get("tools", ())}


def losses(body: Body) -> set[str]:
    """What of an OpenAI request Cohere cannot be told."""
    found = {
        "thinking.signature": any("thinking_blocks" in m for m in body["messages"]),
        "document": any(part["type"] == PDF for part in parts_of(body)),
        "tools.strict": len(strict_of(body)) == 2,
        "tool_choice.name": isinstance(body.get("tool_choice"), dict),
        "parallel_tool_calls": "parallel_tool_calls" in body,
        "user": "user" in body,
        "top_p": not 0.01 <= body.get("top_p", 0.5) <= 0.99,
        NAME_LOST: "response_format" in body,
    }
    return {name for name, is_lost in found.items() if is_lost}


def sayable(body: Body) -> Body:
    """The request without what Cohere cannot be told."""
    kept = {k: v for k, v in body.items() if k not in ("user", "parallel_tool_calls")}
    if kept.get("tool_choice") == "auto" or isinstance(kept.get("tool_choice"), dict):
        del kept["tool_choice"]  # "auto" is what none means
    if "top_p" in kept:
        kept["top_p"] = min(max(kept["top_p"], 0.01), 0.99)
    if len(strict_of(body)) == 2:
        kept["tools"] = [{**t, "function": {**t["function"], "strict": True}} for t in kept["tools"]]
    kept["messages"] = [{k: v for k, v in m.items() if k != "thinking_blocks"} for m in kept["messages"]]
    image = {"type": "image_url", "image_url": {"url": "https://x/z.png"}}
    for message in kept["messages"]:
        if isinstance(message["content"], list):
            message["content"] = [image if part["type"] == PDF else part for part in message["content"]]
    return kept


@settings(max_examples=70)
@given(openai_bodies())
def test_what_openai_says_and_cohere_cannot_is_named(body: Body) -> None:
    assert set(translated(body, OPENAI_CHAT, COHERE_CHAT)[1]) == losses(body)


@settings(max_examples=70)
@given(openai_bodies().map(sayable))
def test_openai_to_cohere_and_back(body: Body) -> None:
    there, dropped = translated(body, OPENAI_CHAT, COHERE_CHAT)
    assert set(dropped) <= {NAME_LOST}
    back, lost_again = translated(there, COHERE_CHAT, OPENAI_CHAT)
    assert lost_again == []
    assert back == body


@settings(max_examples=70)
@given(openai_bodies().map(sayable))
def test_anthropic_to_cohere_and_back(body: Body) -> None:
    for message in body["messages"]:
        message.pop("reasoning_content", None)  # Anthropic takes back only thinking that it signed
    body, _ = translated(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    there, dropped = translated(body, ANTHROPIC_MESSAGES, COHERE_CHAT)
    assert dropped == []
    assert translated(there, COHERE_CHAT, ANTHROPIC_MESSAGES) == (body, [])


DOCUMENTS = st.lists(
    WORDS | st.builds(lambda text, title: {"data": {"text": text, "title": title}}, WORDS, WORDS),
    min_size=1,
    max_size=2,
)
CITATIONS = st.lists(st.fixed_dictionaries({"start": st.integers(0, 9), "text": WORDS}), min_size=1, max_size=2)


@st.composite
def cohere_bodies(draw: st.DrawFn) -> Body:
    body, _ = translated(draw(openai_bodies()), OPENAI_CHAT, COHERE_CHAT)
    for message in body["messages"]:
        if message["role"] == "assistant" and draw(st.booleans()):
            message |= {"tool_plan": draw(WORDS), "citations": draw(CITATIONS)}
        elif message["role"] == "user":
            message["content"] = message["content"] or "?"  # documents alone would become the text of the turn
    numbers = {"k": st.integers(0, 500), "seed": st.integers(), "presence_penalty": st.floats(0, 1)}
    return body | draw(st.fixed_dictionaries({}, optional={"documents": DOCUMENTS, **numbers}))


@settings(max_examples=70)
@given(cohere_bodies())
def test_cohere_rebuilds_its_own_requests(body: Body) -> None:
    assert translated(body, COHERE_CHAT, COHERE_CHAT) == (body, [])
    assert COHERE_CHAT.read_request(body).max_output_tokens == body["max_tokens"]


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def narrowed(reply: Reply) -> Reply:
    """`reply` as Cohere can give it: no model, no signatures, no filter, no cache writes."""
    (choice,) = reply.choices
    parts = tuple(Thinking(p.text) if isinstance(p, Thinking) else p for p in choice.parts)
    words = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "COMPLETE"}
    usage = reply.usage
    counts = Usage(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, None, usage.reasoning_tokens)
    return Reply("id", None, (Choice(0, parts, words[str(choice.finish_reason)]),), counts)


OURS = st.tuples(WORDS.map(plan_part), CITATIONS.map(citations_part))


@given(replies(), OURS)
def test_a_stream_and_the_plain_answer_say_all_that_cohere_can(reply: Reply, ours: tuple[Any, ...]) -> None:
    (choice,) = narrowed(reply).choices
    full = Reply("id", None, (Choice(0, choice.parts + ours, choice.finish_reason),), narrowed(reply).usage)
    assert said(COHERE_CHAT, full, stream=True) == said(COHERE_CHAT, full, stream=False) == full
    assert said(COHERE_CHAT, reply, stream=True) == said(COHERE_CHAT, reply, stream=False) == narrowed(reply)


@given(replies(), st.booleans())
def test_answers_survive_cohere(reply: Reply, stream: bool) -> None:
    there = said(COHERE_CHAT, reply, stream=stream)
    back = said(OPENAI_CHAT, there, stream=not stream)
    assert back.choices[0].parts == narrowed(reply).parts
    assert back.usage == narrowed(reply).usage
    if reply.finish_reason != "content_filter":
        assert back.finish_reason == reply.finish_reason


@given(replies(), st.integers(1, 40))
def test_every_split_of_what_is_written_is_the_same(reply: Reply, size: int) -> None:
    writer = COHERE_CHAT.stream_writer("id", "m", True)
    body = writer.write(pieces_of(reply)) + writer.end()
    assert read_stream(COHERE_CHAT, [body[i : i + size] for i in range(0, len(body), size)]) == narrowed(reply)


# ── what is lost, what is moved, what is wrong ────────────────────────────────────────────────────────────────────


def user(*content: Body) -> Body:
    return {"messages": [{"role": "user", "content": list(content)}]}


def block(source: Body, **fields: Any) -> Body:
    return {"type": "document", "source": source, **fields}


TEXT = {"type": "text", "media_type": "text/plain", "data": "Rain."}
SAY = {"type": "text", "text": "Weather?"}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"n": 2, "logprobs": True, "store": True}, {"n", "logprobs", "store"}),
        ({"presence_penalty": -1, "frequency_penalty": 2}, {"presence_penalty", "frequency_penalty"}),
        ({"presence_penalty": 1, "seed": 3, "top_k": 7, "n": 1}, set()),
        ({"stop": list("abcdef")}, {"stop"}),
        ({"reasoning_effort": "enormous"}, {"reasoning_effort"}),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"messages": [{"role": "user", "name": "bob", "content": "x"}]}, {"messages.name"}),
        (user({"type": "input_audio", "input_audio": {}}), {"input_audio"}),
    ],
)
def test_what_cohere_cannot_carry_is_named(body: Body, names: set[str]) -> None:
    assert lost(body, OPENAI_CHAT, COHERE_CHAT) == names


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (user(block(TEXT), SAY), set()),
        (user(SAY, block(TEXT)), {"document.position"}),
        (user(block({"type": "url", "url": "https://x/y.pdf"}), SAY), {"document"}),
        (user(block(TEXT, title="t")), {"document.name"}),
        (user({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}), {"cache_control"}),
        (user({"type": "tool_result", "tool_use_id": "a", "is_error": True}), {"tool_result.is_error"}),
        (user({"type": "tool_result", "tool_use_id": "a", "content": [block(TEXT, title="t")]}), set()),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "low"}},
            {"reasoning_effort"},
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
            {"redacted_thinking"},
        ),
    ],
)
def test_what_cohere_cannot_carry_of_anthropic_is_named(body: Body, names: set[str]) -> None:
    assert lost({"max_tokens": 9, **body}, ANTHROPIC_MESSAGES, COHERE_CHAT) == names


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"safety_mode": "OFF", "priority": 3}, {"safety_mode", "priority"}),
        ({"thinking": {"type": "enabled"}}, {"thinking"}),
        ({"strict_tools": True}, {"strict_tools"}),
        ({"documents": ["x"]}, set()),  # they are all that the user says
        (
            {**user(SAY), "documents": [{"id": "d1", "data": {"text": "x", "url": "u"}}]},
            {"document.id", "document.url"},
        ),
        (
            {"messages": [{"role": "assistant", "tool_plan": "p", "citations": [{"start": 0}]}]},
            {"tool_plan", "citations"},
        ),
    ],
)
def test_what_only_cohere_knows_is_named(body: Body, names: set[str]) -> None:
    assert lost(body, COHERE_CHAT, ANTHROPIC_MESSAGES) == names


def test_documents_go_where_each_keeps_them() -> None:
    body = {"model": "m", "documents": ["Rain.", {"data": {"temperature": 3}}], **user(SAY)}
    there, _ = translated(body, COHERE_CHAT, ANTHROPIC_MESSAGES)
    first, second, question = there["messages"][0]["content"]
    assert (first["source"]["data"], second["source"]["data"]) == ("Rain.", '{"temperature":3}')
    assert question == SAY
    back, _ = translated(there, ANTHROPIC_MESSAGES, COHERE_CHAT)
    assert back["documents"] == ["Rain.", '{"temperature":3}']
    file = {"filename": "a.txt", "file_data": "data:text/plain;base64,UmFpbi4="}
    built, _ = translated({"model": "m", **user({"type": "file", "file": file}, SAY)}, OPENAI_CHAT, COHERE_CHAT)
    assert built["documents"] == [{"data": {"text": "Rain.", "title": "a.txt"}}]
    assert built["messages"] == [{"role": "user", "content": "Weather?"}]


def test_effort_is_a_budget() -> None:
    ask: Body = {"model": "m", "messages": []}
    built = translated({**ask, "reasoning_effort": "high"}, OPENAI_CHAT, COHERE_CHAT)[0]
    assert built["thinking"] == {"type": "enabled", "token_budget": 16384}
    assert translated({**ask, "reasoning_effort": "none"}, OPENAI_CHAT, COHERE_CHAT)[0]["thinking"] == {
        "type": "disabled"
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": ["hi"]},
        {"messages": [{"role": "CHATBOT", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [], "tool_choice": "SOMETIMES"},
        {"messages": [], "stop_sequences": [1]},
        {"messages": [], "documents": [1]},
        {"messages": [], "p": "high"},
    ],
)
def test_wrong_requests_say_what_is_wrong(body: Body) -> None:
    with pytest.raises(WireError, match=r"'|must"):
        COHERE_CHAT.parse_request({"model": "m", **body})


def test_all_that_a_model_reads_is_counted() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [SAY, {"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "assistant", "tool_plan": "plan", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "document", "document": {"data": {"x": "deep"}}}]},
    ]
    texts = COHERE_CHAT.prompt_texts({"messages": messages, "documents": ["doc"], "tools": [{"name": "f"}]})
    assert texts[:2] == ["Weather?", "plan"]
    assert all(any(word in text for text in texts) for word in ("arguments", "deep", "doc", "name"))


# ── what the API is known to do ───────────────────────────────────────────────────────────────────────────────────


def events(*datas: Body, named: bool = True) -> bytes:
    return b"".join(encode(str(d["type"]) if named else None, dumps(d)) for d in datas)


def delta(kind: str, message: Body, index: int = 0) -> Body:
    return {"type": kind, "index": index, "delta": {"message": message}}


PLAN = delta("tool-plan-delta", {"tool_plan": "Look it up."})
CALL = delta("tool-call-start", {"tool_calls": {"id": "c", "function": {"name": "now", "arguments": ""}}})
END = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"billed_units": {"input_tokens": 7.0}}}}


@pytest.mark.parametrize("named", [True, False])
def test_the_type_in_the_data_decides(named: bool) -> None:
    reply = read_stream(COHERE_CHAT, [events(PLAN, CALL, END, named=named) + b"data: [DONE]\n\n"])
    assert reply.parts == (ToolCall("c", "now", ""), plan_part("Look it up."))
    assert (reply.text, reply.reasoning_text, reply.finish_reason) == (None, None, "TOOL_CALL")
    assert reply.usage == Usage(input_tokens=7)
    assert reply.complete


def test_arguments_stay_as_they_came() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "null"}}
    body = dumps({"id": "x", "message": {"tool_calls": [call]}, "finish_reason": "TOOL_CALL"})
    assert COHERE_CHAT.read_reply(200, body).tool_calls == (ToolCall("c", "now", "null"),)


def test_a_cut_stream_keeps_what_it_said() -> None:
    reply = read_stream(COHERE_CHAT, [events(PLAN, CALL)])
    assert reply.parts == (ToolCall("c", "now", ""), plan_part("Look it up."))
    assert not reply.complete


def test_a_citation_in_mid_text_does_not_split_it() -> None:
    cited = delta("citation-start", {"citations": {"start": 0, "end": 2}})
    texts = [delta("content-delta", {"content": {"text": text}}) for text in ("Hel", "lo")]
    reply = read_stream(COHERE_CHAT, [events(texts[0], cited, {"type": "citation-end"}, texts[1], END)])
    assert reply.parts == (Text("Hello"), citations_part([{"start": 0, "end": 2}]))


@pytest.mark.parametrize("plain", [True, False])
def test_an_error_under_status_200(plain: bool) -> None:
    failed = {"finish_reason": "ERROR", "error": "no tools", "error_type": "INVALID_TOOL_GENERATION"}
    body = dumps({"id": "x", "message": {}, **failed}) if plain else events({"type": "message-end", "delta": failed})
    reply = COHERE_CHAT.read_reply(200, body) if plain else read_stream(COHERE_CHAT, [body])
    assert reply.fault == Fault("no tools", "INVALID_TOOL_GENERATION")
    assert (reply.finish_reason, reply.complete) == ("ERROR", False)


def test_errors_are_read_in_their_shape() -> None:
    fault = COHERE_CHAT.read_reply(429, b'{"id":"x","message":"slow down","error_type":"RATE"}').fault
    assert fault == Fault("slow down", "RATE", status=429)
    (seen,) = [read_stream(COHERE_CHAT, [b'event: error\ndata: {"id":"x","message":"gone"}\n\n'])]
    assert seen.fault is not None
    assert (seen.fault.message, seen.complete) == ("gone", False)


def test_calls_whose_deltas_alternate_keep_their_numbers() -> None:
    pieces: list[Piece] = [
        ToolDelta(0, "a", "f", '{"x":'), ToolDelta(3, "b", "g", '{"y"'), ToolDelta(0, arguments="1}"),
        ToolDelta(3, arguments=":2}"), ThinkingDelta(redacted="xx"), Finished("stop"), Ended(),
    ]  # fmt: skip
    writer = COHERE_CHAT.stream_writer("id", "m", True)
    assert read_stream(COHERE_CHAT, [writer.write(pieces)]).tool_calls == reply_of(pieces).tool_calls
