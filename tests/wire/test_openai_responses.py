"""OpenAI Responses: what it can say survives every journey, and what others cannot carry is named."""

import base64
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.records import (
    Document,
    Image,
    Message,
    Other,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmlens.wire.accumulate import pieces_of, read_stream
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_RESPONSES, dialect_for
from llmlens.wire.finish import OPENAI_WORDS, finish_word
from llmlens.wire.json_text import dumps
from tests.wire.test_sdks import streamed
from tests.wire.test_translate import ARGUMENTS, NAMES, SCHEMAS, WORDS, openai_bodies, optional, replies, translated
from tests.wire.test_translate import said as said_in

Body = dict[str, Any]


# ── laws: requests ────────────────────────────────────────────────────────────────────────────────────────────────


def text(kind: str, words: str) -> Body:
    return {"type": kind, "text": words}


MEDIA = st.sampled_from([
    {"type": "input_image", "image_url": "https://x/y.png"},
    {"type": "input_image", "image_url": "data:image/jpeg;base64,AAAA", "detail": "high"},
    {"type": "input_image", "file_id": "file-1"},
    {"type": "input_file", "file_url": "https://x/y.pdf"},
    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
    {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="},
])  # fmt: skip
INPUTS = WORDS | st.lists(WORDS.map(lambda w: text("input_text", w)) | MEDIA, min_size=2, max_size=3)
SAID = st.lists(
    WORDS.map(lambda w: text("output_text", w)) | WORDS.map(lambda w: {"type": "refusal", "refusal": w}), min_size=1
)
SEALED = st.builds(
    lambda words, sealed: {
        "type": "reasoning",
        "summary": [text("summary_text", words)] if words else [],
        "encrypted_content": sealed,
    },
    st.just("") | WORDS,
    NAMES,
)


def message(role: str, content: Any) -> Body:
    return {"type": "message", "role": role, "content": content}


CALLS = st.builds(
    lambda i, name, args: {"type": "function_call", "call_id": i, "name": name, "arguments": dumps(args).decode()},
    NAMES, NAMES, ARGUMENTS,
)  # fmt: skip
RESULTS = st.builds(lambda i, out: {"type": "function_call_output", "call_id": i, "output": out}, NAMES, INPUTS)
ITEMS = st.lists(
    INPUTS.map(lambda c: message("user", c))
    | INPUTS.map(lambda c: message("developer", c))
    | SAID.map(lambda c: message("assistant", c))
    | SEALED
    | CALLS
    | RESULTS,
    max_size=7,
)


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """Requests as `build_request` writes them: nothing is kept, thinking comes back sealed, `strict` is said."""
    items = draw(ITEMS)
    body: Body = {"model": "m", "input": items, "store": draw(st.booleans())}
    body |= draw(
        optional(
            instructions=WORDS,
            stream=st.just(True),
            max_output_tokens=st.integers(16, 10**6),
            temperature=st.floats(0, 2),
            top_p=st.floats(0, 1),
            user=WORDS,
            metadata=st.dictionaries(NAMES, WORDS, min_size=1),
            prompt_cache_key=WORDS,
            service_tier=st.sampled_from(["flex", "priority"]),
            reasoning=st.fixed_dictionaries(
                {"effort": st.sampled_from(["none", "minimal", "high"])},
                optional={"summary": st.sampled_from(["concise", "detailed"])},
            ),
        )
    )
    if draw(st.booleans()):
        schema = {"type": "json_schema", "name": draw(NAMES), "schema": draw(SCHEMAS), "strict": draw(st.booleans())}
        formats = st.sampled_from([schema, {"type": "json_object"}, {"type": "text"}])
        body["text"] = draw(st.fixed_dictionaries({"format": formats}, optional={"verbosity": st.just("low")}))
    if names := draw(st.lists(NAMES, max_size=2, unique=True)):
        body["tools"] = [
            {"type": "function", "name": name, "parameters": draw(st.none() | SCHEMAS), "strict": draw(st.booleans())}
            for name in names
        ]
        choices = st.sampled_from(["auto", "none", "required", {"type": "function", "name": names[0]}])
        body |= draw(optional(tool_choice=choices, parallel_tool_calls=st.booleans()))
    if "reasoning" in body or any(item["type"] == "reasoning" for item in items):
        body["include"] = ["reasoning.encrypted_content"]
    return body


@given(bodies())
def test_a_request_is_rebuilt_as_it_was(body: Body) -> None:
    assert translated(body, OPENAI_RESPONSES, OPENAI_RESPONSES) == (body, [])


@settings(max_examples=70)
@given(openai_bodies())
def test_chat_to_responses_and_back(body: Body) -> None:
    there, dropped = translated(body, OPENAI_CHAT, OPENAI_RESPONSES)
    assert dropped == (["stop"] if "stop" in body else [])
    assert there["store"] is False
    back, lost = translated(there, OPENAI_RESPONSES, OPENAI_CHAT)
    assert lost == []
    assert back == {k: v for k, v in body.items() if k != "stop"}


@settings(max_examples=70)
@given(openai_bodies())
def test_anthropic_to_responses_and_back(body: Body) -> None:
    here, _ = translated(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    there, dropped = translated(here, ANTHROPIC_MESSAGES, OPENAI_RESPONSES)
    assert dropped == (["stop"] if "stop_sequences" in here else [])
    back, _named = translated(there, OPENAI_RESPONSES, ANTHROPIC_MESSAGES)
    assert back == {k: v for k, v in here.items() if k != "stop_sequences"}


# ── laws: answers ─────────────────────────────────────────────────────────────────────────────────────────────────


def said(reply: Reply, *, stream: bool) -> Reply:
    return said_in(OPENAI_RESPONSES, reply, stream=stream)


def chat_word(reply: Reply) -> str | None:
    """How a chat completion calls the end of a response."""
    choice, has_tools = reply.choices[0], bool(reply.tool_calls)
    return finish_word(choice.finish_reason, OPENAI_WORDS, has_tools=has_tools, detail=choice.finish_detail)


@given(replies(), st.booleans())
def test_answers_survive(reply: Reply, stream: bool) -> None:
    there = said(reply, stream=stream)
    assert (there.parts, there.usage, there.response_id, there.model) == (reply.parts, reply.usage, "id", "m")
    assert chat_word(there) == reply.finish_reason
    assert there.complete
    assert said(there, stream=not stream) == there


@given(replies(), st.booleans(), st.sampled_from([OPENAI_CHAT, ANTHROPIC_MESSAGES]))
def test_answers_survive_the_journey_and_back(reply: Reply, stream: bool, dialect: ChatDialect) -> None:
    here = said_in(dialect, reply, stream=stream)
    back = said_in(dialect, said(here, stream=stream), stream=not stream)
    assert (back.parts, back.usage) == (here.parts, here.usage)
    if reply.finish_reason != "content_filter":
        assert back == here


@given(replies())
def test_a_stream_and_the_plain_answer_are_one(reply: Reply) -> None:
    assert said(reply, stream=True) == said(reply, stream=False)


@given(replies(), st.data())
def test_what_events_left_out_is_made_up_for_once(reply: Reply, data: st.DataObject) -> None:
    """Any events may be missing, but for the last one."""
    *events, last = streamed(OPENAI_RESPONSES, pieces_of(reply)).split(b"\n\n")[:-1]
    kept = [event for event in events if data.draw(st.booleans())]
    seen = read_stream(OPENAI_RESPONSES, [event + b"\n\n" for event in (*kept, last)])
    assert (seen.text, seen.reasoning_text, seen.usage) == (reply.text, reply.reasoning_text, reply.usage)
    assert sorted(c.id or "" for c in seen.tool_calls) == [c.id for c in reply.tool_calls]
    assert {c.id: c for c in seen.tool_calls} == {c.id: c for c in reply.tool_calls}
    assert seen.complete


@given(replies(), st.lists(st.integers(0, 5000), max_size=8))
def test_any_split_is_the_same(reply: Reply, cuts: list[int]) -> None:
    body = streamed(OPENAI_RESPONSES, pieces_of(reply))
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    parts = [body[a:b] for a, b in pairwise(places)]
    assert read_stream(OPENAI_RESPONSES, parts) == read_stream(OPENAI_RESPONSES, [body])


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


def parse(**fields: Any) -> Any:
    return OPENAI_RESPONSES.parse_request({"model": "m", "input": "x", **fields})


def test_the_turns_of_a_conversation() -> None:
    items: list[Body] = [
        {"role": "user", "content": "a"},  # the type may be left out
        {"type": "reasoning", "id": "rs_1", "summary": [text("summary_text", "t")], "encrypted_content": "e"},
        message("assistant", [text("output_text", "b")]),
        {"type": "function_call", "id": "fc", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "2", "name": "g", "input": "4 + 4"},
        {"type": "function_call_output", "call_id": "1", "output": [text("input_text", "r"), {"type": "input_image", "image_url": "u"}]},
        {"type": "custom_tool_call_output", "call_id": "2", "output": "8"},
        message("assistant", "c"),
        message("assistant", "d"),
        message("developer", "e"),
    ]  # fmt: skip
    parsed = parse(instructions="i", input=items)
    called = (Thinking("t", "e"), Text("b"), ToolCall("1", "f", "{}"), ToolCall("2", "g", "4 + 4"))
    assert parsed.messages == (
        Message("system", (Text("i"),)),
        Message("user", (Text("a"),)),
        Message("assistant", called),
        Message("tool", (ToolResult("1", (Text("r"), Image("u"))),)),
        Message("tool", (ToolResult("2", (Text("8"),)),)),
        Message("assistant", (Text("c"),)),
        Message("assistant", (Text("d"),)),
        Message("developer", (Text("e"),)),
    )
    assert parsed.extra == {}
    assert parse(input="hi").messages == (Message("user", (Text("hi"),)),)
    assert parse(input=None, previous_response_id="r").messages == ()


def test_media_of_a_message() -> None:
    plain = base64.b64encode("grüezi".encode()).decode()
    parts = [
        {"type": "input_image", "image_url": "https://x", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA"},
        {"type": "input_file", "file_url": "https://y"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
        {"type": "input_file", "filename": "a.txt", "file_data": f"data:text/plain;base64,{plain}"},
        {"type": "input_file", "filename": "b.txt", "file_data": "data:text/plain;base64,/w=="},
        {"type": "input_file", "file_id": "f"},
    ]
    assert parse(input=[message("user", parts)]).messages[0].parts == (
        Image("https://x", detail="low"),
        Image(None, "AA", "image/png"),
        Document("https://y"),
        Document(data="AA", media_type="application/pdf", name="a.pdf"),
        Document(text="grüezi", media_type="text/plain", name="a.txt"),
        Document(data="/w==", media_type="text/plain", name="b.txt"),
        Other("openai.responses", {"type": "input_file", "file_id": "f"}),
    )


IN_CHAT_TOO = {"metadata", "service_tier", "store", "text.verbosity"}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"previous_response_id": "r", "conversation": "c", "prompt": {"id": "p"}},
         {"previous_response_id", "conversation", "prompt"}),
        ({"background": True, "truncation": "auto", "service_tier": "flex", "store": True, "metadata": {"a": "b"}},
         {"background", "truncation", "service_tier", "store", "metadata"}),
        ({"background": False, "truncation": "disabled", "service_tier": "auto", "store": False, "metadata": {},
          "conversation": None, "top_logprobs": 0, "stream_options": {"include_obfuscation": False}}, set()),
        ({"include": ["reasoning.encrypted_content"]}, set()),
        ({"include": ["file_search_call.results", "reasoning.encrypted_content"]}, {"include"}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, set()),
        ({"reasoning": {"summary": "detailed", "context": "all_turns"}}, {"reasoning.summary", "reasoning.context"}),
        ({"text": {"verbosity": "low"}, "top_logprobs": 2, "max_tool_calls": 3},
         {"text.verbosity", "top_logprobs", "max_tool_calls"}),
        ({"tools": [{"type": "web_search"}, {"type": "custom", "name": "x"}]}, {"tools.web_search", "tools.custom"}),
        ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, {"tools.defer_loading"}),
        ({"tool_choice": {"type": "file_search"}}, {"tool_choice.file_search"}),
        ({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, {"tool_choice.allowed_tools"}),
        ({"input": [{"type": "item_reference", "id": "i"}, {"id": "j"}]}, {"input.item_reference"}),
        ({"input": [{"type": "web_search_call", "id": "i"}, {"type": "reasoning", "id": "rs", "summary": []}]},
         {"input.web_search_call", "input.reasoning"}),
        ({"input": [{**message("assistant", "x"), "phase": "commentary"}]}, {"input.phase"}),
        ({"input": [message("user", [{"type": "input_image", "file_id": "f"}])]}, {"input_image"}),
        ({"temperature": 0.5, "user": "u", "parallel_tool_calls": True, "max_output_tokens": 20}, set()),
    ],
)  # fmt: skip
def test_what_others_cannot_carry_is_named(body: Body, names: set[str]) -> None:
    asked = {"model": "m", "input": "x", **body}
    assert set(translated(asked, OPENAI_RESPONSES, ANTHROPIC_MESSAGES)[1]) == names
    assert set(translated(asked, OPENAI_RESPONSES, OPENAI_CHAT)[1]) == names - IN_CHAT_TOO


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"n": 2, "seed": 1, "stop": "x", "top_k": 3}, {"n", "seed", "stop", "top_k"}),
        ({"presence_penalty": 1, "frequency_penalty": 0, "n": 1}, {"presence_penalty"}),
        ({"logprobs": True, "logit_bias": {}}, {"logprobs", "logit_bias"}),
        ({"messages": [{"role": "user", "name": "bob", "content": "x"}]}, {"messages.name"}),
        ({"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]}, {"reasoning_content"}),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, {"input_audio"}),
        ({"store": True, "metadata": {"a": "b"}, "service_tier": "flex", "verbosity": "low"}, set()),
        ({"service_tier": "standard_only"}, {"service_tier"}),
    ],
)
def test_what_responses_cannot_carry_is_named(body: Body, names: set[str]) -> None:
    there, dropped = translated({"model": "m", "messages": [], **body}, OPENAI_CHAT, OPENAI_RESPONSES)
    assert set(dropped) == names
    if "store" in body:
        assert (there["store"], there["metadata"], there["service_tier"]) == (True, {"a": "b"}, "flex")
        assert there["text"] == {"verbosity": "low"}


def test_what_anthropic_says_of_results_and_thinking() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": "no"}
    body: Body = {"messages": [{"role": "user", "content": [result]}], "max_tokens": 9000}
    body |= {"thinking": {"type": "enabled", "budget_tokens": 8192}}
    there, dropped = translated(body, ANTHROPIC_MESSAGES, OPENAI_RESPONSES)
    assert dropped == ["tool_result.is_error"]
    assert there["input"] == [{"type": "function_call_output", "call_id": "a", "output": "no"}]
    # a budget shows its thinking; so must the translated call
    assert there["reasoning"] == {"effort": "medium", "summary": "auto"}
    assert there["include"] == ["reasoning.encrypted_content"]
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}]
    there, dropped = translated({"messages": [], "system": blocks}, ANTHROPIC_MESSAGES, OPENAI_RESPONSES)
    assert there["input"] == [message("system", [text("input_text", "a"), text("input_text", "b")])]
    assert dropped == ["cache_control"]


def test_functions_are_not_strict_unless_said() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    there, _ = translated({"model": "m", "messages": [], "tools": [tool]}, OPENAI_CHAT, OPENAI_RESPONSES)
    assert there["tools"] == [{"type": "function", "name": "f", "parameters": None, "strict": False}]


def test_some_of_the_tools_become_all_of_them() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}
    assert parse(tool_choice=choice).tool_choice == ToolChoice("required")


@pytest.mark.parametrize(
    "body",
    [
        {"input": None},
        {"input": 3},
        {"input": ["x"]},
        {"input": [{"role": "tool", "content": "x"}]},
        {"input": [{"role": "user", "content": 3}]},
        {"input": [{"type": "function_call_output", "output": "x"}]},
        {"input": [{"type": "function_call", "call_id": "x"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": 3},
        {"include": "all"},
        {"reasoning": "high"},
        {"max_output_tokens": "many"},
        {"text": []},
    ],
)
def test_wrong_requests_say_what_is_wrong(body: Body) -> None:
    with pytest.raises(WireError, match=r"'|must"):
        parse(**body)


def test_prompt_texts_hold_every_word() -> None:
    items = [message("user", [text("input_text", "a")]), {"role": "user", "content": "b"}]
    items += [
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "output": "c"},
    ]
    assert OPENAI_RESPONSES.prompt_texts({"instructions": "i", "input": items}) == ["i", "a", "b", "f", "{}", "c"]
    tools = OPENAI_RESPONSES.prompt_texts({"input": "x", "tools": [{"name": "f"}], "text": {"format": {"a": 1}}})
    assert tools == ["x", '[{"name":"f"}]', '{"a":1}']


def test_paths() -> None:
    found = {
        path: dialect_for("openai", path).name for path in ("/v1/responses", "/openai/responses", "/v1/responses/r")
    }
    assert list(found.values()) == ["openai.responses", "openai.responses", "raw"]
    assert OPENAI_RESPONSES.call_path("m", True) == "/responses"
