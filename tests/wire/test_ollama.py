"""Ollama: what can be said in it survives the journey there and back, what cannot is named, and its oddities are read."""

import json

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
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolDelta,
    Usage,
)
from llmlens.wire.accumulate import pieces_of, read_stream
from llmlens.wire.dialects import (
    ANTHROPIC_MESSAGES,
    COHERE_CHAT,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_GENERATE,
    OPENAI_CHAT,
)
from llmlens.wire.json_text import dumps
from tests.wire.test_translate import SCHEMAS, Body, lost, openai_bodies, replies, said, translated

NAME_LOST = "response_format.json_schema.name"
PNG = "iVBORw0KGgoAAAANSUhEUg=="
INLINE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def parts_of(body: Body) -> list[Body]:
    return [part for m in body["messages"] if isinstance(m["content"], list) for part in m["content"]]


def losses(body: Body) -> set[str]:
    """What of an OpenAI request Ollama cannot be told."""
    choice = body.get("tool_choice", "auto")
    found = {
        "thinking.signature": any("thinking_blocks" in m for m in body["messages"]),
        "document": any(part["type"] == "file" for part in parts_of(body)),
        "image.url": any(part.get("image_url", {}).get("url") == "https://x/y.png" for part in parts_of(body)),
        "tools": choice == "none",
        "tools.strict": choice != "none" and any(tool["function"]["strict"] for tool in body.get("tools", ())),
        "tool_choice": choice not in ("auto", "none"),
        "parallel_tool_calls": "parallel_tool_calls" in body,
        "user": "user" in body,
        "reasoning_effort": body.get("reasoning_effort") in ("minimal", "xhigh", "max"),
        NAME_LOST: "response_format" in body,
    }
    return {name for name, is_lost in found.items() if is_lost}


def sayable(body: Body) -> Body:
    """The request without what Ollama cannot be told: one text a turn, then images, inline."""
    kept = {k: v for k, v in body.items() if k not in ("user", "parallel_tool_calls", "tool_choice")}
    if "tools" in kept:
        functions = [{k: v for k, v in tool["function"].items() if k != "strict"} for tool in kept["tools"]]
        kept["tools"] = [{"type": "function", "function": function} for function in functions]
    if kept.get("reasoning_effort") in ("minimal", "xhigh", "max"):
        kept["reasoning_effort"] = "low"
    kept["messages"] = [{k: v for k, v in m.items() if k != "thinking_blocks"} for m in kept["messages"]]
    for message in kept["messages"]:
        if isinstance(message["content"], list):
            texts = [part for part in message["content"] if part["type"] == "text"]
            message["content"] = [*texts[:1], *[INLINE] * (len(message["content"]) - len(texts[:1]))]
    return kept


@settings(max_examples=70)
@given(openai_bodies())
def test_what_openai_says_and_ollama_cannot_is_named(body: Body) -> None:
    assert set(translated(body, OPENAI_CHAT, OLLAMA_CHAT)[1]) == losses(body)


@settings(max_examples=70)
@given(openai_bodies().map(sayable))
def test_openai_to_ollama_and_back(body: Body) -> None:
    there, dropped = translated(body, OPENAI_CHAT, OLLAMA_CHAT)
    assert set(dropped) <= {NAME_LOST}
    assert there["stream"] is ("stream" in body)  # which left out would mean true
    assert translated(there, OLLAMA_CHAT, OPENAI_CHAT) == (body, [])


@settings(max_examples=70)
@given(openai_bodies().map(sayable))
def test_anthropic_to_ollama_and_back(body: Body) -> None:
    for message in body["messages"]:
        message.pop("reasoning_content", None)  # Anthropic takes back only thinking that it signed
    if (effort := body.pop("reasoning_effort", None)) and effort != "none":
        body |= {"model": "claude-opus-4-8", "reasoning_effort": effort}  # where effort is a word
    body, _ = translated(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    there, dropped = translated(body, ANTHROPIC_MESSAGES, OLLAMA_CHAT)
    assert dropped == []
    assert translated(there, OLLAMA_CHAT, ANTHROPIC_MESSAGES) == (body, [])


@st.composite
def ollama_bodies(draw: st.DrawFn) -> Body:
    body, _ = translated(draw(openai_bodies()), OPENAI_CHAT, OLLAMA_CHAT)
    numbers = {"top_k": st.integers(0, 99), "seed": st.integers(), "frequency_penalty": st.floats(-2, 2)}
    body["options"] |= draw(st.fixed_dictionaries({}, optional=numbers))
    wishes = {"format": st.just("json") | SCHEMAS, "think": st.sampled_from([False, "low", "medium", "high"])}
    return body | draw(st.fixed_dictionaries({}, optional=wishes))


@settings(max_examples=70)
@given(ollama_bodies())
def test_ollama_rebuilds_its_own_requests(body: Body) -> None:
    assert translated(body, OLLAMA_CHAT, OLLAMA_CHAT) == (body, [])
    assert OLLAMA_CHAT.read_request(body).max_output_tokens == body["options"]["num_predict"]


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def narrowed(reply: Reply) -> Reply:
    """`reply` as Ollama can give it: no id, no signatures, two counts, and "stop" for most endings."""
    (choice,) = reply.choices
    parts = tuple(Thinking(p.text) if isinstance(p, Thinking) else p for p in choice.parts)
    word = "length" if choice.finish_reason == "length" else "stop"
    return Reply(None, "m", (Choice(0, parts, word),), Usage(reply.usage.input_tokens, reply.usage.output_tokens))


@given(replies())
def test_a_stream_and_the_plain_answer_say_all_that_ollama_can(reply: Reply) -> None:
    assert said(OLLAMA_CHAT, reply, stream=True) == said(OLLAMA_CHAT, reply, stream=False) == narrowed(reply)


@given(replies(), st.booleans())
def test_answers_survive_ollama(reply: Reply, stream: bool) -> None:
    there = said(OLLAMA_CHAT, reply, stream=stream)
    back = said(OPENAI_CHAT, there, stream=not stream)
    assert (back.choices[0].parts, back.usage) == (narrowed(reply).parts, narrowed(reply).usage)
    if reply.finish_reason != "content_filter":
        assert back.finish_reason == reply.finish_reason


@given(replies(), st.integers(1, 40))
def test_every_split_of_what_is_written_is_the_same(reply: Reply, size: int) -> None:
    writer = OLLAMA_CHAT.stream_writer("id", "m", True)
    body = writer.write(pieces_of(reply)) + writer.end()
    assert read_stream(OLLAMA_CHAT, [body[i : i + size] for i in range(0, len(body), size)]) == narrowed(reply)


# ── what is lost, what is moved, what is wrong ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"n": 2, "logprobs": True, "store": True}, {"n", "logprobs", "store"}),
        ({"presence_penalty": -1, "seed": 3, "top_k": 7, "n": 1, "stop": list("abcdefg")}, set()),
        ({"response_format": {"type": "text"}, "reasoning_effort": "none"}, set()),
        ({"messages": [{"role": "user", "name": "bob", "content": "x"}]}, {"messages.name"}),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, {"input_audio"}),
        ({"messages": [{"role": "user", "content": [{**INLINE, "image_url": {"url": "https://x", "detail": "low"}}]}]},
         {"image.url", "image_url.detail"}),
    ],
)  # fmt: skip
def test_what_ollama_cannot_carry_is_named(body: Body, names: set[str]) -> None:
    assert lost(body, OPENAI_CHAT, OLLAMA_CHAT) == names


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ([{"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": [IMAGE]}],
         {"tool_result.is_error", "tool_result.image"}),
        ([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}], {"cache_control"}),
        ([{"type": "document", "source": {"type": "text", "data": "x"}}], {"document"}),
        ([IMAGE], set()),
    ],
)  # fmt: skip
def test_what_ollama_cannot_carry_of_anthropic_is_named(content: list[Body], names: set[str]) -> None:
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    assert lost(body, ANTHROPIC_MESSAGES, OLLAMA_CHAT) == names


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"keep_alive": "5m", "logprobs": True}, {"keep_alive", "logprobs"}),
        ({"options": {"num_ctx": 4096, "mirostat": 1, "num_predict": -1}}, {"options.num_ctx", "options.mirostat"}),
        ({"think": True}, {"think"}),
        ({"format": "", "options": {}, "tools": [], "keep_alive": None, "think": None}, set()),
    ],
)
def test_what_only_ollama_knows_is_named(body: Body, names: set[str]) -> None:
    assert lost(body, OLLAMA_CHAT, OPENAI_CHAT) == names


def test_a_stream_is_what_a_client_gets_that_says_nothing() -> None:
    for dialect in (OLLAMA_CHAT, OLLAMA_GENERATE):
        assert dialect.read_request({"model": "m"}).stream
        assert dialect.read_request({"model": "m", "stream": None}).stream
        assert not dialect.read_request({"model": "m", "stream": False}).stream
    assert translated({"model": "m", "messages": []}, OLLAMA_CHAT, OPENAI_CHAT)[0]["stream"] is True
    assert OLLAMA_CHAT.read_request({"model": "m", "options": {"num_predict": -2}}).max_output_tokens is None


def test_calls_without_ids_get_some_and_results_find_them() -> None:
    def called(name: str) -> Body:
        return {"function": {"name": name, "arguments": {"x": 1}}}

    messages = [
        {"role": "assistant", "content": "", "tool_calls": [called("f"), called("g")]},
        {"role": "tool", "tool_name": "g", "content": "of g"},
        {"role": "tool", "content": "of f"},
        {"role": "assistant", "content": "", "tool_calls": [{**called("f"), "id": "mine"}]},
        {"role": "tool", "tool_call_id": "mine", "content": "of f again"},
    ]
    body = {"model": "m", "messages": messages}
    built = translated(body, OLLAMA_CHAT, OPENAI_CHAT)[0]["messages"]
    first, second = (call["id"] for call in built[0]["tool_calls"])
    assert first != second
    assert [m["tool_call_id"] for m in built if m["role"] == "tool"] == [second, first, "mine"]
    assert built[0]["tool_calls"][0]["function"]["arguments"] == '{"x":1}'
    back = translated({"model": "m", "messages": built}, OPENAI_CHAT, OLLAMA_CHAT)[0]["messages"]
    assert [m["tool_name"] for m in back if m["role"] == "tool"] == ["g", "f", "f"]
    assert translated(body, OLLAMA_CHAT, COHERE_CHAT)[1] == []


def test_a_turn_has_one_text() -> None:
    content = [{"type": "text", "text": t} for t in ("a", "", "b")]
    body = {"model": "m", "messages": [{"role": "developer", "content": content}]}
    assert translated(body, OPENAI_CHAT, OLLAMA_CHAT)[0]["messages"] == [{"role": "system", "content": "a\n\nb"}]


def test_effort_is_the_nearest_word() -> None:
    words = {"minimal": "low", "low": "low", "medium": "medium", "max": "high", "none": False, "xhigh": "high"}
    ask: Body = {"model": "m", "messages": []}
    built = {w: translated({**ask, "reasoning_effort": w}, OPENAI_CHAT, OLLAMA_CHAT)[0]["think"] for w in words}
    assert built == words
    budget = {**ask, "max_tokens": 20_000, "thinking": {"type": "enabled", "budget_tokens": 8192}}
    assert translated(budget, ANTHROPIC_MESSAGES, OLLAMA_CHAT)[0]["think"] == "medium"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": ["hi"]},
        {"messages": [{"role": "bot", "content": "x"}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"messages": [{"role": "user", "images": [1]}]},
        {"messages": [], "stream": "yes"},
        {"messages": [], "format": "xml"},
        {"messages": [], "options": {"stop": [1]}},
        {"messages": [], "options": {"temperature": "hot"}},
        {"messages": [], "options": 3},
    ],
)
def test_wrong_requests_say_what_is_wrong(body: Body) -> None:
    with pytest.raises(WireError, match=r"'|must"):
        OLLAMA_CHAT.parse_request({"model": "m", **body})


def test_all_that_a_model_reads_is_counted() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "thinking": "t", "tool_calls": [call]}]
    assert OLLAMA_CHAT.prompt_texts({"messages": messages, "format": "json"}) == [
        "q", "t", '[{"function":{"name":"f","arguments":{}}}]', '"json"',
    ]  # fmt: skip
    assert OLLAMA_GENERATE.prompt_texts({"prompt": "p", "system": "s"}) == ["s", "p"]
    assert OLLAMA_EMBED.prompt_texts({"input": ["a", "b"]}) == ["a", "b"]
    assert OLLAMA_EMBED.prompt_texts({"prompt": "a"}) == ["a"]


# ── what the server is known to do ────────────────────────────────────────────────────────────────────────────────


def lines(*values: Body) -> bytes:
    return b"".join(dumps(value) + b"\n" for value in values)


def test_generate_and_old_servers() -> None:
    done = {"model": "m", "response": "", "done": True, "context": [1], "eval_count": 3}
    body = lines({"model": "m", "response": "Hi", "thinking": "t", "done": False}, done)
    reply = read_stream(OLLAMA_GENERATE, [body])
    assert (reply.model, reply.text, reply.reasoning_text, reply.finish_reason) == ("m", "Hi", "t", None)
    assert (reply.usage, reply.complete) == (Usage(output_tokens=3), True)
    assert OLLAMA_GENERATE.read_reply(200, dumps(done | {"response": "Hi", "thinking": "t"})) == reply


def test_an_error_is_a_line() -> None:
    begun = {"model": "m", "message": {"role": "assistant", "content": "Hel"}, "done": False}
    assert OLLAMA_CHAT.fault_event is not None
    for error in (lines({"error": "it broke"}), b'{"error": "it broke"}', OLLAMA_CHAT.fault_event(Fault("it broke"))):
        reply = read_stream(OLLAMA_CHAT, [lines(begun), error])
        assert (reply.text, reply.fault, reply.complete) == ("Hel", Fault("it broke"), False)
    cut = read_stream(OLLAMA_CHAT, [lines(begun), b'{"model":"m","mess'])
    assert (cut.text, cut.fault, cut.complete) == ("Hel", None, False)
    assert OLLAMA_CHAT.read_reply(404, b'{"error":"no model"}').fault == Fault("no model", status=404)


def test_an_indented_answer_in_the_place_of_a_stream() -> None:
    error = json.dumps({"error": {"message": "no", "code": 500}}, indent=2).encode()
    reply = read_stream(OLLAMA_CHAT, [error[i : i + 1] for i in range(len(error))])
    assert reply.fault == Fault("no", code="500", status=500)
    answer = Reply(None, "m", (Choice(0, (Text("Hi"), ToolCall("c", "f", "{}")), "stop"),))
    plain = OLLAMA_CHAT.build_reply(answer, "m")
    assert read_stream(OLLAMA_CHAT, [json.dumps(plain, indent=1).encode()]) == OLLAMA_CHAT.read_reply(200, dumps(plain))
    assert read_stream(OLLAMA_CHAT, [b"<html>\n", b"oops\n"]) == Reply(complete=False)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ({"embeddings": [[1, 2, 3], [4, 5, 6]]}, (2, 3)),
        ({"embedding": [1, 2]}, (1, 2)),  # the older path
        ({"embeddings": []}, (0, None)),
    ],
)
def test_vectors_are_counted(body: Body, shape: tuple[int, int | None]) -> None:
    reply = OLLAMA_EMBED.read_reply(200, dumps({"model": "m", "prompt_eval_count": 4, **body}))
    assert (reply.n_vectors, reply.dimensions) == shape
    assert (reply.model, reply.usage, reply.complete) == ("m", Usage(input_tokens=4), True)


def test_what_has_no_vectors_is_no_answer() -> None:
    assert OLLAMA_EMBED.read_reply(200, b'{"error": "no"}') == Reply(fault=Fault("no"), complete=False)
    assert OLLAMA_EMBED.read_reply(200, b"[]") == Reply(complete=False)
    assert OLLAMA_EMBED.read_reply(200, b"<html>") == Reply(complete=False)


def test_calls_wait_until_they_are_whole() -> None:
    pieces: list[Piece] = [
        ToolDelta(0, "a", "f", '{"x":'), ToolDelta(1, "b", "g"), RefusalDelta("No."), ToolDelta(0, arguments="1}"),
        TextDelta("other", 1), Finished("stop"), Ended(),
    ]  # fmt: skip
    writer = OLLAMA_CHAT.stream_writer("id", "m", True)
    body = b"".join([*(writer.write([piece]) for piece in pieces), writer.end()])
    written = [json.loads(line) for line in body.splitlines()]
    assert [line["done"] for line in written] == [False, False, True]
    assert written[0]["message"]["content"] == "No."
    calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in written[1]["message"]["tool_calls"]]
    assert calls == [("a", "f", {"x": 1}), ("b", "g", {})]
