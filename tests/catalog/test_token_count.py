"""Counts of whole requests: what OpenAI's models state for plain text is counted to the token, the rest is estimated."""

import base64
import re
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.encodings import image_rule, tables, text_rule
from llmlens.catalog.image_size import size_of, size_of_base64
from llmlens.catalog.image_tokens import image_tokens, tokens_of_size
from llmlens.catalog.token_count import count_messages, count_request, count_text, tool_tokens
from llmlens.catalog.tokens import count
from llmlens.records import (
    ChatRequest,
    Document,
    Image,
    Message,
    Other,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from llmlens.wire.dialects import DIALECTS
from tests.catalog.recordings import recordings

HELLO = Message("user", (Text("hello"),))

# ── recorded requests ─────────────────────────────────────────────────────────────────────────────────────────────


def requests(exact):
    """Recorded requests to OpenAI's models that are counted exactly, or estimated, by the name of the served model."""
    for row in recordings():
        if row["provider"] not in ("openai", "azure") or row["dialect"] not in ("openai.chat", "openai.responses"):
            continue
        stated = row["expect"].get("input_tokens")
        if row["fidelity"] in ("verbatim", "json_reserialised") and stated and row["expect"]["kind"] == "completion":
            asked = replace(
                DIALECTS[row["dialect"]].parse_request(row["request"]["body"]), model=row["expect"]["model"]
            )
            counted = count_request(asked)
            if counted.input_tokens is not None and counted.estimated is not exact:
                yield row["id"], stated, counted


PLAIN, ESTIMATED = list(requests(exact=True)), list(requests(exact=False))


@pytest.mark.skipif(not PLAIN, reason="no recordings beside this checkout")
def test_plain_requests_are_counted_to_the_token():
    assert [(row, stated, counted) for row, stated, counted in PLAIN if counted.input_tokens != stated] == []
    assert len(PLAIN) >= 22


@pytest.mark.skipif(not ESTIMATED, reason="no recordings beside this checkout")
def test_requests_with_tools_are_estimated_near_enough():
    """The median is within a tenth. Models that reason add some 80 tokens of their own to tools, which no page states."""
    off = sorted(abs(counted.input_tokens - stated) / stated for _row, stated, counted in ESTIMATED)
    assert off[len(off) // 2] < 0.1
    assert len(off) >= 20


# ── the sum ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "tokens", "estimated"),
    [
        ("gpt-4o", 8, False),
        ("openai/gpt-4.1-nano", 8, False),
        ("gpt-3.5-turbo", 8, False),
        ("o3", 7, False),
        ("gpt-5.6-sol", 7, False),
        ("gpt-4o-search-preview", 8, True),
        ("gpt-oss-120b", 8, True),
        ("claude-opus-5", 8, True),
        ("", 8, True),
    ],
)
def test_a_message_has_an_overhead(model, tokens, estimated):
    counted = count_messages([HELLO], model)
    assert (counted.input_tokens, counted.estimated) == (tokens, estimated)
    assert counted.encoding in counted.how


def test_a_name_costs_itself_and_one_more():
    named = Message("user", (Text("hello"),), name="alice")
    assert count_messages([named], "gpt-4o").input_tokens == 8 + count("alice", "gpt-4o") + 1


def test_no_message_is_the_head_of_the_reply():
    assert count_messages([], "gpt-4o").input_tokens == 3


def test_text_alone_has_no_overhead():
    assert count_text("hello", "gpt-4o").input_tokens == 1
    assert not count_text("hello", "gpt-4o").estimated
    assert not count_text("hello", "text-embedding-3-small").estimated
    assert count_text("hello", "mistral-large").estimated


def test_the_cookbooks_own_example_of_tools():
    """OpenAI cookbook, "How to count tokens with tiktoken", section 7: gpt-4o states 101, gpt-4 and gpt-3.5 105."""
    parameters = {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    }
    tool = Tool("get_current_weather", "Get the current weather in a given location", parameters)
    messages = [
        Message("system", (Text("You are a helpful assistant that can answer to questions about the weather."),)),
        Message("user", (Text("What's the weather like in San Francisco?"),)),
    ]
    for model, stated in (("gpt-4o", 101), ("gpt-4o-mini", 101), ("gpt-4", 105), ("gpt-3.5-turbo", 105)):
        counted = count_messages(messages, model, [tool])
        assert (counted.input_tokens, counted.estimated) == (stated, True)


@given(st.recursive(st.none() | st.text(max_size=4), lambda inner: st.dictionaries(
    st.sampled_from(["properties", "items", "enum", "type", "description", "$defs", "x"]), inner | st.lists(inner))))  # fmt: skip
def test_any_schema_is_counted(schema):
    parameters = schema if isinstance(schema, dict) else {"properties": schema}
    assert tool_tokens([Tool("f", None, parameters)], "gpt-4o") > 0


def test_nested_schemas_are_counted_on():
    flat = {"properties": {"a": {"type": "object"}}}
    deep = {"properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}}
    listed = {"properties": {"a": {"type": "array", "items": deep}}}
    sizes = [tool_tokens([Tool("f", None, schema)], "gpt-4o") for schema in (flat, deep, listed)]
    assert sizes == sorted(set(sizes))


def test_calls_and_results_are_estimated():
    call = Message("assistant", (ToolCall("c", "f", '{"x": 1}'),))
    result = Message("tool", (ToolResult("c", (Text("2"),)),))
    counted = count_messages([HELLO, call, result], "gpt-4o")
    assert counted.estimated
    assert counted.input_tokens > count_messages([HELLO], "gpt-4o").input_tokens + 8


@pytest.mark.parametrize(
    "part", [Image(url="https://x/a.png"), Document(data="JVBERi0x"), Other("openai.chat", {"type": "input_audio"})]
)
def test_what_cannot_be_known_is_not_guessed(part):
    counted = count_messages([Message("user", (Text("hello"), part))], "gpt-4o")
    assert (counted.input_tokens, counted.at_least, counted.estimated) == (None, 8, True)
    assert "unknown" in counted.how


def test_tools_of_the_providers_own_are_unknown():
    asked = ChatRequest("gpt-4o", (HELLO,), extra={"tools.web_search": [{}], "store": True})
    counted = count_request(asked)
    assert (counted.input_tokens, counted.at_least) == (None, 8)
    assert "tools.web_search" in counted.how


def test_a_schema_for_the_answer_is_estimated():
    asked = ChatRequest("gpt-4o", (HELLO,), response_format=ResponseFormat("schema", schema={"type": "object"}))
    assert count_request(asked).input_tokens > 8
    assert count_request(asked).estimated


# ── images ────────────────────────────────────────────────────────────────────────────────────────────────────────


def png(width, height):
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + struct.pack(">II", width, height) + b"\x08\x02"


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height)


def jpeg(width, height):
    exif = b"\xff\xe1" + struct.pack(">H", 20_002) + b"\x00" * 20_000
    return b"\xff\xd8" + exif + b"\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" * 10


def webp(width, height):
    return b"RIFF\x00\x00\x00\x00WEBPVP8 \x00\x00\x00\x00\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)


def webp_lossless(width, height):
    bits = (width - 1) | (height - 1) << 14
    return b"RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + struct.pack("<I", bits) + bytes(9)


def webp_extended(width, height):
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + size


KINDS = [png, gif, jpeg, webp, webp_lossless, webp_extended]


@given(st.sampled_from(KINDS), st.integers(1, 16_000), st.integers(1, 16_000))
def test_the_size_is_read_from_the_head(kind, width, height):
    content = kind(width, height)
    assert size_of(content) == (width, height)
    assert size_of_base64(base64.b64encode(content).decode()) == (width, height)


@given(st.sampled_from(KINDS), st.data())
def test_no_cut_or_changed_head_raises(kind, data):
    content = bytearray(kind(640, 480))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = size_of(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert found is None or min(found) >= 0


@given(st.text())
def test_any_text_may_stand_where_base64_should(text):
    assert size_of_base64(text) is None or text


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # The examples of OpenAI's page
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-4o-mini", (1024, 1024), "auto", 2833 + 4 * 5667),
        ("gpt-5", (1024, 1024), "high", 70 + 4 * 140),
        ("o1", (300, 300), "high", 225),
        ("gpt-4.1-mini", (1024, 1024), "auto", 1659),  # 1024 x 1.62
        ("gpt-5-mini", (1800, 2400), "auto", 2353),  # 1452 patches
        ("o4-mini", (1024, 1024), "high", 1762),
        ("gpt-5.6-sol", (4096, 4096), "auto", 128 * 128),
        ("gpt-5.4", (1024, 1024), "original", 1024),
        ("gpt-5.4", (1024, 1024), "low", 256),
        # Those of Anthropic's, in both tiers
        ("claude-sonnet-4-5", (1000, 1000), "auto", 1296),
        ("claude-opus-4-6", (1920, 1080), "auto", 1560),
        ("claude-opus-4-7", (1920, 1080), "auto", 2691),
        ("claude-opus-5", (3840, 2160), "auto", 4784),
        ("anthropic/claude-sonnet-5", (3024, 1964), "auto", 4760),
        ("claude-opus-4-8", (4032, 3024), "auto", 4740),
        ("claude-haiku-4-5", (1, 8000), "auto", 56),
        # Google's
        ("gemini-2.5-flash", (384, 384), "auto", 258),
        ("gemini-2.5-flash", (960, 540), "auto", 6 * 258),
        ("gemini-3.1-pro", (10, 10), "auto", 1120),
        ("gemini-3.1-pro", (10, 10), "low", 280),
    ],
)
def test_images_by_the_providers_own_examples(model, size, detail, tokens):
    assert tokens_of_size(image_rule(model), size, detail) == tokens
    image = Image(data=base64.b64encode(png(*size)).decode(), media_type="image/png", detail=detail)
    assert image_tokens(image, model) == tokens


def test_an_image_behind_a_url_is_known_only_where_its_size_does_not_matter():
    assert image_tokens(Image(url="https://x/a.png", detail="low"), "gpt-4o") == 85
    assert image_tokens(Image(url="https://x/a.png"), "gemini-3-pro") == 1120
    assert image_tokens(Image(url="https://x/a.png"), "gpt-4o") is None
    assert image_tokens(Image(data="AAAA"), "gpt-4o") is None
    assert image_tokens(Image(data=base64.b64encode(png(9, 9)).decode()), "llama-3.2-vision") is None


@given(
    st.sampled_from([m.replace("*", "x") for row in tables()["images"] for m in row["models"] if "[" not in m]),
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.sampled_from(["auto", "low", "high", "original", "nonsense"]),
)
def test_every_rule_gives_a_bounded_count(model, width, height, detail):
    rule = image_rule(model)
    tokens = tokens_of_size(rule, (width, height), detail)
    assert tokens > 0
    if rule.max_tokens:
        assert tokens <= rule.max_tokens
    if (budget := rule.max_patches.get(detail)) is not None:
        assert tokens <= budget * rule.multiplier + 1


def test_every_row_says_where_it_is_from():
    for row in (*tables()["text"], *tables()["images"]):
        assert row["source"]
        assert row["checked"]
        rule = text_rule if "encoding" in row else image_rule
        for pattern in row["models"]:
            assert rule(re.sub(r"\[(.).*?\]", r"\1", pattern).replace("*", "")) is not None
