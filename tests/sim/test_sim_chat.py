"""The simulated provider's chat dialect: shapes, determinism, limits, counts, streams, refusals."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.catalog import tokens
from llmlens.catalog.simulated import SIM_MODELS
from llmlens.gateway.sim import SimUpstream
from llmlens.gateway.sim.render import split_tokens

QUESTION = "What is the capital of France? The text: Paris is the capital of France. Lyon is a city."
UNKNOWN = "Which river flows through Vienna?"


async def test_every_answer_says_that_it_is_simulated(sim):
    reply = await sim.send("/v1/chat/completions", {"model": "large", "messages": [{"role": "user", "content": "Hi"}]})
    body = json.loads(await reply.body())
    assert reply.headers["x-llmlens-simulated"] == "1"
    assert reply.headers["content-type"] == "application/json"
    assert body["id"].startswith("sim-")
    assert body["system_fingerprint"] == "simulated"
    assert body["object"] == "chat.completion"
    assert body["created"] == 1_700_000_000


async def test_the_same_request_has_the_same_answer_in_another_process_too(sim, make_sim):
    assert await sim.chat(QUESTION) == await make_sim().chat(QUESTION)


async def test_samples_differ_at_temperature_1_and_agree_at_0(sim):
    warm = {await sim.text(UNKNOWN, sample=i) for i in range(20)}
    cold = {await sim.text(UNKNOWN, sample=i, temperature=0) for i in range(20)}
    assert len(warm) > 1
    assert len(cold) == 1


async def test_the_stream_flags_do_not_change_the_answer(sim):
    events, _ = await sim.stream(UNKNOWN, sample=3, stream_options={"include_usage": True})
    text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
    assert text == await sim.text(UNKNOWN, sample=3)


async def test_key_order_does_not_change_the_answer(sim):
    message = {"content": UNKNOWN, "role": "user"}
    one = await sim.send("/chat/completions", {"messages": [message], "model": "large", "top_p": 1})
    two = await sim.send(
        "/chat/completions", {"top_p": 1, "model": "sim/large", "messages": [{"role": "user", "content": UNKNOWN}]}
    )
    assert json.loads(await one.body())["choices"] == json.loads(await two.body())["choices"]


async def test_n_choices(sim):
    _, body = await sim.chat(UNKNOWN, n=8)
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert [choice["index"] for choice in body["choices"]] == list(range(8))
    assert len(set(texts)) > 1
    assert body["usage"]["completion_tokens"] == sum(tokens.count(text, "sim") for text in texts)
    _, cold = await sim.chat(UNKNOWN, n=3, temperature=0)
    assert len({choice["message"]["content"] for choice in cold["choices"]}) == 1


async def test_usage_is_counted_as_openai_documents_it(sim):
    _, body = await sim.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}], "echo")
    own = sum(tokens.count(text, "sim") for text in ("system", "Be brief.", "user", "Hello"))
    assert body["usage"] == {
        "prompt_tokens": own + 2 * 3 + 3,
        "completion_tokens": 1,
        "total_tokens": own + 2 * 3 + 3 + 1,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_token_limit_cuts(sim, name):
    _, body = await sim.chat("one two three four five six", "echo", **{name: 3})
    assert body["choices"][0]["message"]["content"] == "one two three"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 3
    _, whole = await sim.chat("one two three", "echo", **{name: 3})
    assert whole["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("stop", "text"), [("three", "one two "), (["five", "two"], "one "), ([], "one two three"), ("one", "")]
)
async def test_stop_sequences_cut(sim, stop, text):
    _, body = await sim.chat("one two three", "echo", stop=stop)
    assert body["choices"][0]["message"]["content"] == text
    assert body["choices"][0]["finish_reason"] == "stop"


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80), st.integers(1, 40))
def test_a_stream_says_what_the_plain_answer_says(text, limit):
    """For any text, emoji and broken graphemes too, cut anywhere."""

    async def both():
        upstream = SimUpstream(speed=0)
        body = {"model": "echo", "messages": [{"role": "user", "content": text}], "max_tokens": limit}
        plain = await upstream.send(path="/chat/completions", body=json.dumps(body).encode())
        stream = await upstream.send(path="/chat/completions", body=json.dumps({**body, "stream": True}).encode())
        return json.loads(await plain.body()), (await stream.body()).decode()

    plain, raw = asyncio.run(both())
    frames = [json.loads(f.removeprefix("data: ")) for f in raw.split("\n\n") if f and f != "data: [DONE]"]
    streamed = "".join(f["choices"][0]["delta"].get("content") or "" for f in frames)
    assert streamed == plain["choices"][0]["message"]["content"]
    assert text.startswith(streamed)
    assert frames[-1]["choices"][0]["finish_reason"] == plain["choices"][0]["finish_reason"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_token_pieces_join_to_the_text(text):
    assert "".join(split_tokens(text)) == text


async def test_a_stream_begins_with_a_role_and_ends_with_usage_and_a_mark(sim):
    events, raw = await sim.stream("one two", "echo", stream_options={"include_usage": True}, n=2)
    assert raw.endswith(b"data: [DONE]\n\n")
    assert [e["choices"][0]["delta"].get("role") for e in events[:2]] == ["assistant", "assistant"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 4
    assert all(e["usage"] is None for e in events[:-1])
    assert all(e["object"] == "chat.completion.chunk" for e in events)
    assert {e["id"] for e in events} == {events[0]["id"]}


async def test_a_stream_without_the_option_has_no_usage(sim):
    events, _ = await sim.stream("one two", "echo")
    assert all("usage" not in e for e in events)


async def test_parts_and_images_are_read(sim):
    content = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "two"},
    ]
    _, body = await sim.chat([{"role": "user", "content": content}], "echo")
    _, plain = await sim.chat("one\ntwo", "echo")
    assert body["choices"][0]["message"]["content"] == "one\ntwo"
    assert body["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"] + 85


async def test_models_are_listed(sim):
    for path in ("/v1/models", "/models", "/models?limit=3"):
        listed = json.loads(await (await sim.send(path)).body())
        assert [row["id"] for row in listed["data"]] == list(SIM_MODELS)
    one = json.loads(await (await sim.send("/v1/models/large")).body())
    assert one["id"] == "large"


@pytest.mark.parametrize("path", ["/v1/responses", "/images", "/", "", "/v1", "/models/nope", "/chat"])
async def test_other_paths_are_404(sim, path):
    reply = await sim.send(path, {})
    assert reply.status == 404
    assert json.loads(await reply.body())["error"]["code"] == "unknown_url"


USER = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"not json", 400, None),
        (b"", 400, None),
        (b"[]", 400, None),
        (b'{"model": "\xff"}', 400, None),
        ({"messages": USER}, 400, "model"),
        ({"model": 3, "messages": USER}, 400, "model"),
        ({"model": "gpt-9", "messages": USER}, 404, "model"),
        ({"model": "embed", "messages": USER}, 400, "model"),
        ({"model": "large"}, 400, "messages"),
        ({"model": "large", "messages": []}, 400, "messages"),
        ({"model": "large", "messages": "Hi"}, 400, "messages"),
        ({"model": "large", "messages": ["Hi"]}, 400, "messages.[0]"),
        ({"model": "large", "messages": [{"role": "king", "content": "Hi"}]}, 400, "messages.[0].role"),
        ({"model": "large", "messages": [{"role": "user"}]}, 400, "messages.[0]"),
        ({"model": "large", "messages": [{"role": "user", "content": 3}]}, 400, "messages.[0].content"),
        ({"model": "large", "messages": [{"role": "user", "content": [{"type": "smell"}]}]}, 400,
         "messages.[0].content.[0].type"),
        ({"model": "large", "messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400,
         "messages.[0].content.[0].text"),
        ({"model": "large", "messages": USER, "temperature": 3}, 400, "temperature"),
        ({"model": "large", "messages": USER, "temperature": "hot"}, 400, "temperature"),
        ({"model": "large", "messages": USER, "max_tokens": 0}, 400, "max_tokens"),
        ({"model": "large", "messages": USER, "max_tokens": 1.5}, 400, "max_tokens"),
        ({"model": "large", "messages": USER, "n": 0}, 400, "n"),
        ({"model": "large", "messages": USER, "n": True}, 400, "n"),
        ({"model": "large", "messages": USER, "stop": list("abcde")}, 400, "stop"),
        ({"model": "large", "messages": USER, "stop": 3}, 400, "stop"),
        ({"model": "large", "messages": USER, "stream": "yes"}, 400, "stream"),
        ({"model": "large", "messages": USER, "stream_options": {}}, 400, "stream_options"),
        ({"model": "large", "messages": USER, "tools": []}, 400, "tools"),
        ({"model": "large", "messages": USER, "tools": [{"type": "x"}]}, 400, "tools[0]"),
        ({"model": "large", "messages": USER, "tool_choice": "auto"}, 400, "tool_choice"),
        ({"model": "large", "messages": USER, "tools": [TOOL], "tool_choice": "g"}, 400, "tool_choice"),
        ({"model": "large", "messages": USER, "response_format": {"type": "xml"}}, 400, "response_format"),
        ({"model": "large", "messages": USER, "response_format": {"type": "json_schema"}}, 400, "response_format"),
        ({"model": "large", "messages": USER, "response_format": {"type": "json_object"}}, 400, "messages"),
    ],
)  # fmt: skip
async def test_wrong_requests_are_refused_in_openais_shape(sim, body, status, param):
    reply = await sim.send("/chat/completions", body)
    error = json.loads(await reply.body())["error"]
    assert (reply.status, error["param"]) == (status, param)
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert reply.headers["x-llmlens-simulated"] == "1"


async def test_a_prompt_beyond_the_context_is_refused(sim):
    status, body = await sim.chat("word " * 130_000)
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["messages", "temperature", "n", "stop", "tools", "tool_choice", "response_format", "max_tokens", "stream_options"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(FIELDS, ANYTHING, max_size=3), st.sampled_from(["large", "echo", "embed"]))
def test_no_json_body_breaks_it(fields, model):
    """Whatever is in the fields: an answer or a refusal, never an exception."""

    async def ask():
        upstream = SimUpstream(speed=0)
        body = {"model": model, "messages": [{"role": "user", "content": "json: 3 plus 4?"}], **fields}
        chat = await upstream.send(path="/chat/completions", body=json.dumps(body).encode())
        vectors = await upstream.send(
            path="/embeddings", body=json.dumps({**body, "input": fields.get("stop")}).encode()
        )
        return chat.status, await chat.body(), vectors.status, await vectors.body()

    one, _, two, _ = asyncio.run(ask())
    assert {one, two} <= {200, 400, 404}
