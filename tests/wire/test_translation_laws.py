"""Laws of translation over all pairs: what a dialect says arrives in the other or is named; and it comes back."""

import json
from base64 import b64encode
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.records import ChatRequest, Text, Thinking, ToolCall
from llmlens.wire.call_proof import proofs_apart, proofs_joined
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import (
    ANTHROPIC_MESSAGES,
    BEDROCK_CONVERSE,
    COHERE_CHAT,
    DIALECTS,
    GEMINI_GENERATE,
    OLLAMA_CHAT,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
)
from llmlens.wire.gemini_signature import enclosed, opened
from llmlens.wire.json_text import dumps
from llmlens.wire.openai_shared import SHARED, VERBOSITY
from tests.wire.facts import facts, missing
from tests.wire.test_gemini import gemini_bodies
from tests.wire.test_openai_responses import bodies as responses_bodies
from tests.wire.test_translate import NAMES, WORDS, Body, openai_bodies, optional, translated

# ── what is asked ─────────────────────────────────────────────────────────────────────────────────────────────────

MARK = {"type": "ephemeral"}
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


@st.composite
def chat_bodies(draw: st.DrawFn) -> Body:
    """Chat completion requests with what other dialects do not have."""
    body = draw(openai_bodies())
    body["model"] = draw(st.sampled_from(["m", "gpt-5.2", "claude-sonnet-4-5"]))
    body |= draw(
        optional(
            seed=st.integers(0, 99),
            n=st.integers(1, 3),
            top_k=st.integers(1, 40),
            presence_penalty=st.floats(-2, 2),
            frequency_penalty=st.floats(-2, 2),
            logit_bias=st.just({"50256": -100}),
            metadata=st.just({"a": "b"}),
            service_tier=st.sampled_from(["flex", "auto"]),
            verbosity=st.just("low"),
        )
    )
    if draw(st.booleans()):
        body["messages"].insert(0, {"role": "developer", "content": draw(WORDS)})
    if draw(st.booleans()):
        image = {"type": "image_url", "image_url": {"url": "https://x/z.png", "detail": "high"}}
        body["messages"].append({"role": "user", "content": [image, {"type": "text", "text": draw(WORDS)}]})
    for message in body["messages"]:
        for call in message.get("tool_calls", ())[:1]:
            call.update(draw(st.sampled_from([{}, SIGNED])))
    return body


@st.composite
def anthropic_bodies(draw: st.DrawFn) -> Body:
    """Messages requests with what other dialects do not have."""
    model = draw(st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-8"]))
    body, _ = translated({**draw(openai_bodies()), "model": model}, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    body |= draw(optional(top_k=st.integers(1, 40), container=st.just("c"), service_tier=st.just("standard_only")))
    if draw(st.booleans()):
        body["system"] = [{"type": "text", "text": draw(WORDS), "cache_control": MARK}]
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_result" and draw(st.booleans()):
                block["is_error"] = True
    sealed = {"type": "redacted_thinking", "data": "c2VhbGVk"}
    link = {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}, "title": "t"}
    said = {"type": "text", "text": draw(WORDS)}
    if draw(st.booleans()):
        body["messages"] += [
            {"role": "assistant", "content": [sealed, {"type": "text", "text": draw(WORDS)}]},
            {"role": "user", "content": [draw(st.sampled_from([link, plain])), said]},
        ]
    return body


ASKED = {
    OPENAI_CHAT.name: (OPENAI_CHAT, chat_bodies()),
    OPENAI_RESPONSES.name: (OPENAI_RESPONSES, responses_bodies()),
    ANTHROPIC_MESSAGES.name: (ANTHROPIC_MESSAGES, anthropic_bodies()),
    GEMINI_GENERATE.name: (GEMINI_GENERATE, gemini_bodies()),
}
# Dialect → models of which it says things in different ways.
TARGETS = {
    OPENAI_CHAT.name: ("m", "gpt-5.2"),
    OPENAI_RESPONSES.name: ("m",),
    ANTHROPIC_MESSAGES.name: ("m", "claude-sonnet-4-5", "claude-opus-4-8"),
    GEMINI_GENERATE.name: ("m", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-pro-preview"),
    COHERE_CHAT.name: ("m",),
    OLLAMA_CHAT.name: ("m",),
    BEDROCK_CONVERSE.name: ("m", "anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-lite-v1:0"),
}
PAIRS = [pair for pair in product(ASKED, TARGETS) if pair[0] != pair[1]]


def read(dialect: ChatDialect, body: Any, model: str) -> ChatRequest:
    """What `body` asks for; some name model and stream in the path."""
    return replace(dialect.parse_request(json.loads(dumps(body))), model=model)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=60)
@given(data=st.data())
def test_nothing_is_lost_in_silence_and_it_comes_back(source: str, target: str, data: st.DataObject) -> None:
    home, bodies = ASKED[source]
    other = DIALECTS[target]
    assert isinstance(other, ChatDialect)
    asked, model = home.parse_request(data.draw(bodies)), data.draw(st.sampled_from(TARGETS[target]))
    there, dropped = other.build_request(replace(asked, model=model))
    arrived = read(other, there, model)
    before = facts(asked)
    if target == BEDROCK_CONVERSE.name and before.get("effort") == "none":
        del before["effort"]  # most of its models think only when asked to
    assert missing(before, facts(arrived), dropped) == {}
    # what has no place in any other dialect is named, or was carried under its own name
    carried = {*SHARED, *VERBOSITY, "reasoning.summary"}
    assert asked.extra.keys() - set(dropped) <= carried
    # and home again, as far as home can say it at all, without what was left behind
    sayable = facts(read(home, home.build_request(asked)[0], asked.model))
    back, _ = home.build_request(replace(arrived, model=asked.model))
    again = read(home, back, asked.model)
    unsigned = ["reasoning_content"] if "thinking.signature" in dropped else []  # which is not taken back
    assert missing({k: v for k, v in sayable.items() if k in before}, facts(again), [*dropped, *unsigned]) == {}


@pytest.mark.parametrize("source", ASKED)
@settings(max_examples=60)
@given(data=st.data())
def test_a_dialect_says_again_what_it_said(source: str, data: st.DataObject) -> None:
    home, bodies = ASKED[source]
    asked = home.parse_request(data.draw(bodies))
    back, dropped = home.build_request(asked)
    assert missing(facts(asked), facts(read(home, back, asked.model)), dropped) == {}


# ── proofs in the places of others ────────────────────────────────────────────────────────────────────────────────

CALLS = st.builds(ToolCall, NAMES, NAMES, st.just("{}"), st.none() | NAMES)
SAID = st.lists(CALLS | WORDS.map(Text) | WORDS.map(Thinking) | st.builds(Thinking, WORDS, NAMES), max_size=5)


@given(SAID)
def test_proofs_of_calls_are_joined_as_they_were_apart(parts: list[Any]) -> None:
    assert list(proofs_joined(proofs_apart(parts))) == parts


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.binary().map(lambda raw: b64encode(raw).decode()))
def test_signatures_survive_googles_client(signature: str) -> None:
    part = types.Part.model_validate({"text": "x", "thoughtSignature": enclosed(signature)})
    back = json.loads(part.model_dump_json(by_alias=True, exclude_none=True)).get("thoughtSignature", "")
    assert opened(back) == signature
