"""Chat requests are known by their shape: whatever a dialect can say is read as that dialect reads it, or counts alike."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.token_count import count_request
from llmlens.errors import WireError
from llmlens.records import ChatRequest, Message, Text, Tool, ToolCall, ToolResult
from llmlens.wire.any_chat import chat_dialect_of, read_chat
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import CHAT, DIALECTS, OPENAI_CHAT, OPENAI_RESPONSES
from tests.catalog.recordings import recordings

RECORDED = [
    row for row in recordings()
    if isinstance(DIALECTS.get(row["dialect"]), ChatDialect) and isinstance(row["request"]["body"], dict)
]  # fmt: skip
# Ollama's own field at its OpenAI door, which passes over it.
SENT_TO_THE_OTHER_DOOR = "ollama.openai_chat.sync.test-agent-image-input.87caca1c"
ASKED = ChatRequest(
    "m",
    (
        Message("system", (Text("be nice"),)),
        Message("user", (Text("hello"),)),
        Message("assistant", (ToolCall("c1", "weather", '{"city":"Bern"}'),)),
        Message("tool", (ToolResult("c1", (Text("sunny"),)),)),
        Message("assistant", (Text("It is sunny."),)),
    ),
    tools=(Tool("weather", "Look it up", {"type": "object", "properties": {"city": {"type": "string"}}}),),
)


def counted(parse, body):
    """The count of `body`; None where it is no request."""
    try:
        return count_request(replace(parse(body), model="gpt-4o"))
    except WireError:
        return None


@pytest.mark.skipif(not RECORDED, reason="no recordings beside this checkout")
def test_every_recorded_request_counts_as_in_its_own_dialect():
    different = []
    for row in RECORDED:
        body, own = row["request"]["body"], DIALECTS[row["dialect"]]
        if counted(read_chat, body) != counted(own.parse_request, body):
            different.append((row["id"], chat_dialect_of(body).name))
    assert different == [(SENT_TO_THE_OTHER_DOOR, "ollama.chat")]
    assert len(RECORDED) > 200


@pytest.mark.parametrize("dialect", [*CHAT.values(), OPENAI_RESPONSES], ids=lambda dialect: dialect.name)
def test_what_a_dialect_writes_is_read_as_its_own(dialect):
    body, _dropped = dialect.build_request(ASKED)
    assert counted(read_chat, body) == counted(dialect.parse_request, body)
    assert read_chat(body).tools[0].name == "weather"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"messages": [{"role": "user", "content": "x"}]}, "openai.chat"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "openai.chat"),
        ({"messages": [], "system": "x"}, "anthropic.messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "anthropic.messages"),
        ({"messages": [], "tools": [{"name": "f", "input_schema": {}}]}, "anthropic.messages"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "bedrock.converse"),
        ({"messages": [], "system": [{"text": "x"}]}, "bedrock.converse"),
        ({"messages": [{"role": "user", "content": "x", "images": ["AA"]}]}, "ollama.chat"),
        ({"messages": [], "documents": ["x"]}, "cohere.chat_v2"),
        ({"messages": [{"role": "tool", "content": [{"type": "document", "document": {}}]}]}, "cohere.chat_v2"),
        ({"input": "x"}, "openai.responses"),
        ({"previous_response_id": "r"}, "openai.responses"),
        ({"contents": []}, "gemini.generate"),
    ],
)
def test_marks(body, name):
    assert chat_dialect_of(body).name == name


WORDS = st.sampled_from([
    "messages", "contents", "input", "system", "tools", "role", "content", "type", "text", "source", "input_schema", "documents",
    "images", "toolConfig", "options", "parts",
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(WORDS, JSON, max_size=5))
def test_nothing_but_a_wire_error_is_raised(body):
    assert isinstance(chat_dialect_of(body), ChatDialect)
    with suppress(WireError):
        assert read_chat(body).messages is not None


def test_a_request_without_any_mark_is_openais():
    assert chat_dialect_of({}) is OPENAI_CHAT
