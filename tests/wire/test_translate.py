"""Translation keeps what both dialects can say, there and back, and names what it leaves behind."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.records import Choice, Reply, Text, Thinking, ToolCall, Usage
from llmlens.wire.accumulate import pieces_of, read_stream, reply_of
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, GEMINI_GENERATE, OPENAI_CHAT
from llmlens.wire.json_text import dumps

Body = dict[str, Any]

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = st.text("abcXYZ019_-", min_size=1, max_size=8)
SCHEMAS = st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(NAMES, st.just({}))})
ARGUMENTS = st.dictionaries(NAMES, st.integers() | WORDS | st.none() | st.lists(st.booleans()), max_size=3)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    return st.fixed_dictionaries({}, optional=fields)


def text_part(text: str) -> Body:
    return {"type": "text", "text": text}


IMAGES = st.sampled_from([
    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
])  # fmt: skip
SAID = WORDS | st.lists(WORDS.map(text_part) | IMAGES, min_size=2, max_size=4)


@st.composite
def turns(draw: st.DrawFn) -> list[Body]:
    """A conversation that alternates, as both dialects need it; every tool call gets its result."""
    messages: list[Body] = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    for number in range(draw(st.integers(0, 3))):
        messages.append({"role": "user", "content": draw(SAID)})
        message: Body = {"role": "assistant", "content": draw(WORDS)}
        thought = draw(st.none() | WORDS)
        if thought is not None:
            block = {"type": "thinking", "thinking": thought, "signature": "sig"}
            message.update(reasoning_content=thought, thinking_blocks=[block])
        calls = draw(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3))
        if calls:
            message["tool_calls"] = [
                {
                    "id": f"c{number}_{n}",
                    "type": "function",
                    "function": {"name": name, "arguments": dumps(args).decode()},
                }
                for n, (name, args) in enumerate(calls)
            ]
            message["content"] = draw(st.none() | WORDS)
        messages.append(message)
        messages += [
            {"role": "tool", "tool_call_id": f"c{number}_{n}", "content": draw(WORDS)} for n in range(len(calls))
        ]
        if calls:
            messages.append({"role": "assistant", "content": draw(WORDS)})
    return [*messages, {"role": "user", "content": draw(SAID)}]


@st.composite
def openai_bodies(draw: st.DrawFn) -> Body:
    """Chat completion requests of which Messages can carry every word."""
    body: Body = {"model": "m", "messages": draw(turns()), "max_tokens": draw(st.integers(1, 200_000))}
    body |= draw(
        optional(
            temperature=st.floats(0, 1),
            top_p=st.floats(0, 1),
            stop=st.lists(NAMES, min_size=1, max_size=4),
            user=WORDS,
            stream=st.just(True),
        )
    )
    if "stream" in body:
        body["stream_options"] = {"include_usage": True}  # a Messages stream always states its usage
    if tools := draw(st.dictionaries(NAMES, st.tuples(WORDS, SCHEMAS, st.booleans()), max_size=3)):
        body["tools"] = [
            {"type": "function", "function": {"name": n, "description": d, "parameters": s, "strict": strict}}
            for n, (d, s, strict) in tools.items()
        ]
        one = {"type": "function", "function": {"name": next(iter(tools))}}
        body |= draw(optional(tool_choice=st.sampled_from(["auto", "none", "required", one])))
        if draw(st.booleans()) and body.get("tool_choice") not in (None, "none"):
            body["parallel_tool_calls"] = False
    if draw(st.booleans()):
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "response", "schema": draw(SCHEMAS)}}
    # what Claude does not take while it thinks
    free = not body.keys() & {"temperature", "top_p"} and body.get("tool_choice", "auto") in ("auto", "none")
    if free and draw(st.booleans()):
        body["max_tokens"] = 150_000
        body["reasoning_effort"] = draw(st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]))
    return body


def translated(body: Body, source: ChatDialect, target: ChatDialect) -> tuple[Body, list[str]]:
    built, dropped = target.build_request(source.parse_request(body))
    return json.loads(dumps(built)), dropped


@settings(max_examples=70)
@given(openai_bodies())
def test_openai_to_anthropic_and_back(body: Body) -> None:
    there, dropped = translated(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    assert set(dropped) <= {"response_format.json_schema.name"}
    back, lost = translated(there, ANTHROPIC_MESSAGES, OPENAI_CHAT)
    assert lost == []
    assert back == body
    roles = [message["role"] for message in there["messages"]]
    assert all(one != two for one, two in pairwise(roles))
    assert roles[0] == "user"


@settings(max_examples=70)
@given(openai_bodies())
def test_a_dialect_rebuilds_its_own_requests(body: Body) -> None:
    assert translated(body, OPENAI_CHAT, OPENAI_CHAT) == (body, [])
    there, _ = translated(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    assert translated(there, ANTHROPIC_MESSAGES, ANTHROPIC_MESSAGES) == (there, [])
    # and a second journey changes nothing more
    back, _ = translated(there, ANTHROPIC_MESSAGES, OPENAI_CHAT)
    assert translated(back, OPENAI_CHAT, ANTHROPIC_MESSAGES)[0] == there


COUNTS = st.integers(0, 10**6)
USAGES = st.builds(
    lambda fresh, read, write, out, thought: Usage(fresh + read + write, out + thought, read, write, thought),
    COUNTS, COUNTS, COUNTS, COUNTS, COUNTS,
)  # fmt: skip


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Answers that both dialects can say: thinking, then text, then tool calls."""
    parts: list[Any] = [Thinking(draw(WORDS), draw(st.sampled_from([None, "sig"])))] if draw(st.booleans()) else []
    parts += [Text(draw(WORDS))] if draw(st.booleans()) else []
    calls = draw(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3))
    parts += [ToolCall(f"c{n}", name, dumps(args).decode()) for n, (name, args) in enumerate(calls)]
    word = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    return Reply("id", "m", (Choice(0, tuple(parts), word),), draw(USAGES))


def said(dialect: ChatDialect, reply: Reply, *, stream: bool) -> Reply:
    """`reply` written in `dialect` and read again."""
    if not stream:
        return dialect.read_reply(200, dumps(dialect.build_reply(reply, "m")))
    writer = dialect.stream_writer("id", "m", True)
    return read_stream(dialect, [*(writer.write([piece]) for piece in pieces_of(reply)), writer.end()])


@given(replies())
def test_pieces_give_the_reply_back(reply: Reply) -> None:
    assert reply_of(pieces_of(reply)) == reply


@given(replies(), st.booleans(), st.booleans())
def test_answers_survive_both_dialects(reply: Reply, first: bool, second: bool) -> None:
    there = said(ANTHROPIC_MESSAGES, reply, stream=first)
    back = said(OPENAI_CHAT, there, stream=second)
    assert back == reply
    assert said(OPENAI_CHAT, reply, stream=first) == reply


@given(replies())
def test_a_stream_and_the_plain_answer_are_one(reply: Reply) -> None:
    for dialect in (OPENAI_CHAT, ANTHROPIC_MESSAGES):
        assert said(dialect, reply, stream=True) == said(dialect, reply, stream=False)


def lost(body: Body, source: ChatDialect = OPENAI_CHAT, target: ChatDialect = ANTHROPIC_MESSAGES) -> set[str]:
    return set(translated({"model": "m", "messages": [], **body}, source, target)[1])


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"seed": 1, "logprobs": True, "n": 2}, {"seed", "logprobs", "n"}),
        ({"presence_penalty": 0.5, "frequency_penalty": 0}, {"presence_penalty"}),
        ({"temperature": 1.5}, {"temperature"}),
        ({"response_format": {"type": "json_object"}}, {"response_format"}),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, {"tools.custom"}),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, {"input_audio"}),
        ({"messages": [{"role": "user", "name": "bob", "content": "x"}]}, {"messages.name"}),
        ({"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]}, {"reasoning_content"}),
        ({"stop": [" ", "x"]}, {"stop"}),
        ({"store": False, "metadata": {}}, {"store", "metadata"}),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, {"tool_choice.allowed_tools"}),
        ({"n": 1, "user": "u", "parallel_tool_calls": True}, set()),
    ],
)
def test_what_anthropic_cannot_carry_is_named(body: Body, names: set[str]) -> None:
    assert lost(body) == names


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"top_k": 5}, {"top_k"}),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, {"tools.web_search_20250305"}),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}, {"cache_control"}),
        ({"stop_sequences": list("abcde")}, {"stop"}),
        ({"container": "c"}, {"container"}),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "u"}}]}]},
            {"document.url"},
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": True}]}
                ]
            },
            {"tool_result.is_error"},
        ),
        ({"thinking": {"type": "adaptive"}}, {"thinking"}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, set()),
    ],
)
def test_what_openai_cannot_carry_is_named(body: Body, names: set[str]) -> None:
    assert lost({"max_tokens": 9, **body}, ANTHROPIC_MESSAGES, OPENAI_CHAT) == names


def build(model: str, **fields: Any) -> Body:
    messages = [{"role": "user", "content": "x"}]
    return translated({"model": model, "messages": messages, **fields}, OPENAI_CHAT, ANTHROPIC_MESSAGES)[0]


def test_effort_is_a_budget_for_older_models_and_a_word_for_newer_ones() -> None:
    old = build("claude-sonnet-4-5-20250929", reasoning_effort="high")
    assert (old["thinking"], old["max_tokens"]) == ({"type": "enabled", "budget_tokens": 16384}, 16384 + 8192)
    new = build("claude-opus-4-8", reasoning_effort="high")
    assert (new["thinking"], new["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})
    assert build("claude-opus-4-20250514", reasoning_effort="low")["thinking"]["type"] == "enabled"
    assert build("claude-sonnet-5", reasoning_effort="low")["thinking"]["type"] == "adaptive"
    small = build("claude-sonnet-4-5", reasoning_effort="high", max_tokens=4000)
    assert (small["thinking"]["budget_tokens"], small["max_tokens"]) == (2000, 4000)
    assert "thinking" not in build("claude-sonnet-4-5", reasoning_effort="high", max_tokens=1000)


@pytest.mark.parametrize(
    ("model", "fields", "kept", "names"),
    [
        ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ["top_p"]),
        ("claude-3-7-sonnet", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, []),
        ("claude-opus-4-8", {"temperature": 0.5, "top_p": 0.9, "top_k": 3}, {}, ["temperature", "top_p", "top_k"]),
        ("claude-opus-4-8", {"temperature": 1}, {"temperature": 1}, []),
        ("claude-sonnet-4-5", {"reasoning_effort": "low", "top_p": 0.97, "top_k": 3}, {"top_p": 0.97}, ["top_k"]),
        ("claude-sonnet-4-5", {"reasoning_effort": "low", "top_p": 0.9}, {}, ["top_p"]),
    ],
)
def test_claude_is_sampled_only_as_it_allows(model: str, fields: Body, kept: Body, names: list[str]) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}
    built, dropped = translated(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    assert {k: built[k] for k in ("temperature", "top_p", "top_k") if k in built} == kept
    assert dropped == names


def test_claude_does_not_think_before_a_call_that_must_be_made() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    fields: Body = {"tools": tools, "tool_choice": "required", "reasoning_effort": "low", "messages": []}
    built, dropped = translated({"model": "claude-sonnet-4-5", **fields}, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    assert ("thinking" in built, built["tool_choice"], dropped) == (False, {"type": "any"}, ["reasoning_effort"])
    built, dropped = translated({"model": "claude-opus-4-8", **fields}, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    assert ("thinking" in built, built["output_config"], dropped) == (False, {"effort": "low"}, [])


def test_budgets_are_what_claude_takes() -> None:
    def thinks(model: str, budget: int, **config: int) -> tuple[Any, list[str]]:
        config = {"thinkingConfig": {"thinkingBudget": budget}, **config}  # type: ignore[dict-item]
        asked = GEMINI_GENERATE.parse_request({"contents": [], "generationConfig": config})
        body, dropped = ANTHROPIC_MESSAGES.build_request(replace(asked, model=model))
        return body.get("thinking"), dropped

    assert thinks("claude-sonnet-4-5", 4000) == ({"type": "enabled", "budget_tokens": 4000}, [])
    assert thinks("claude-sonnet-4-5", 200)[0] == {"type": "enabled", "budget_tokens": 1024}
    small = thinks("claude-sonnet-4-5", 4000, maxOutputTokens=3000)
    assert small == ({"type": "enabled", "budget_tokens": 1500}, ["thinking.budget_tokens"])
    assert thinks("claude-sonnet-4-5", 4000, maxOutputTokens=50) == (None, ["thinking.budget_tokens"])
    assert thinks("claude-opus-4-8", 4000)[0] == {"type": "adaptive"}


def test_a_late_system_message_moves_to_the_front_unless_the_model_takes_it() -> None:
    messages = [
        {"role": r, "content": c} for r, c in (("system", "a"), ("user", "b"), ("developer", "c"), ("user", "d"))
    ]
    body, dropped = translated({"model": "claude-3-7-sonnet", "messages": messages}, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    assert [block["text"] for block in body["system"]] == ["a", "c"]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["b", "d"]
    assert dropped == ["messages.system.position"]
    body, dropped = translated({"model": "claude-opus-4-8", "messages": messages}, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    assert [m["role"] for m in body["messages"]] == ["user", "system", "user"]
    assert dropped == []


def test_results_of_parallel_calls_become_one_user_turn_before_its_text() -> None:
    calls = [
        {"id": i, "type": "function", "function": {"name": "f", "arguments": a}} for i, a in (("a.1", ""), ("b", "[1]"))
    ]
    messages: list[Body] = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    messages += [{"role": "tool", "tool_call_id": i, "content": i} for i in ("a.1", "b")]
    messages += [{"role": "user", "content": "go on"}]
    body = translated({"model": "m", "messages": messages}, OPENAI_CHAT, ANTHROPIC_MESSAGES)[0]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    uses, results = body["messages"][1]["content"], body["messages"][2]["content"]
    assert [(u["id"], u["input"]) for u in uses] == [("a_1", {}), ("b", {"arguments": [1]})]
    assert [r.get("tool_use_id", r["type"]) for r in results] == ["a_1", "b", "text"]


def test_legacy_functions_are_tools() -> None:
    call = {"name": "f", "arguments": "{}"}
    messages: list[Body] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "function_call": call},
    ]
    messages += [{"role": "function", "name": "f", "content": "42"}]
    body = {"model": "m", "messages": messages, "functions": [{"name": "f"}], "function_call": {"name": "f"}}
    built = translated(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)[0]
    assert built["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert built["tool_choice"] == {"type": "tool", "name": "f"}
    assert built["messages"][1]["content"][0]["id"] == built["messages"][2]["content"][0]["tool_use_id"]


def test_the_output_limit_has_the_name_the_model_knows() -> None:
    body = {"max_tokens": 7, "messages": [{"role": "user", "content": "x"}]}
    names = {"gpt-5.2": "max_completion_tokens", "openai/o3": "max_completion_tokens", "gpt-4o": "max_tokens"}
    names |= {"gpt-oss-20b": "max_tokens", "llama-3.1-8b": "max_tokens"}
    for model, name in names.items():
        assert translated({**body, "model": model}, ANTHROPIC_MESSAGES, OPENAI_CHAT)[0][name] == 7


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": 1},
        {"model": "m", "messages": "hi"},
        {"model": "m", "messages": ["hi"]},
        {"model": "m", "messages": [{"role": "bot", "content": "x"}]},
        {"model": "m", "messages": [{"role": "user", "content": 3}]},
        {"model": "m", "messages": [], "temperature": "hot"},
        {"model": "m", "messages": [], "stream": "yes"},
        {"model": "m", "messages": [], "tools": [{}]},
    ],
)
def test_wrong_requests_say_what_is_wrong(body: Body) -> None:
    for dialect in (OPENAI_CHAT, ANTHROPIC_MESSAGES):
        with pytest.raises(WireError, match=r"'|must"):
            dialect.parse_request(body)
