"""Gemini: what it can say survives every journey, in both framings, and what others cannot carry is named."""

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.records import (
    ChatRequest,
    Choice,
    Document,
    Fault,
    Image,
    Message,
    Other,
    Reply,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from llmlens.wire.accumulate import pieces_of, read_stream
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.dialects import (
    ANTHROPIC_MESSAGES,
    GEMINI_COUNT_TOKENS,
    GEMINI_EMBEDDINGS,
    GEMINI_GENERATE,
    OPENAI_CHAT,
)
from llmlens.wire.gemini_build import PLACEHOLDER
from llmlens.wire.gemini_path import call_path, read_path
from llmlens.wire.gemini_schema import json_schema
from llmlens.wire.json_array import JsonArray
from llmlens.wire.json_text import dumps
from tests.wire.test_sdks import streamed
from tests.wire.test_translate import ARGUMENTS, NAMES, SCHEMAS, WORDS, openai_bodies, optional, replies
from tests.wire.test_translate import said as said_in

Body = dict[str, Any]


# ── laws: requests ────────────────────────────────────────────────────────────────────────────────────────────────


SIGNED = optional(thoughtSignature=st.sampled_from(["c2ln", "c2lnMg=="]))
TEXTS = st.builds(lambda text, signed: {"text": text, **signed}, WORDS, SIGNED)
THOUGHTS = st.builds(lambda text, signed: {"text": text, "thought": True, **signed}, WORDS, SIGNED)
SEALED = st.sampled_from([
    {"text": "", "thought": True, "thoughtSignature": "c2VhbGVk"},
    {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c2ln"},
    {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
])  # fmt: skip
MEDIA = st.sampled_from([
    {"inlineData": {"mimeType": "image/jpeg", "data": "AAAA"}},
    {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
    {"inlineData": {"mimeType": "text/plain", "data": "aGVsbG8="}},
    {"fileData": {"mimeType": "image/png", "fileUri": "https://x/y"}},
    {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://x/y"}},
    {"fileData": {"mimeType": "video/mp4", "fileUri": "https://x/y"}},
])  # fmt: skip
CALLS = st.builds(
    lambda name, args, signed, number: {
        "functionCall": {**({"id": f"id_{number}"} if number else {}), "name": name, "args": args}, **signed
    },
    NAMES, ARGUMENTS, SIGNED, st.integers(0, 1),
)  # fmt: skip
OUTPUTS = st.builds(lambda name, text: {name: text}, st.sampled_from(["output", "error"]), WORDS) | st.dictionaries(
    NAMES, st.integers(-9, 9) | WORDS, min_size=1, max_size=2
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Body]:
    contents: list[Body] = []
    for number in range(draw(st.integers(0, 3))):
        contents.append({"role": "user", "parts": draw(st.lists(WORDS.map(lambda w: {"text": w}) | MEDIA, min_size=1))})
        calls = draw(st.lists(CALLS, max_size=3, unique_by=lambda c: c["functionCall"]["name"]))
        for n, call in enumerate(calls):
            if "id" in call["functionCall"]:
                call["functionCall"] = {**call["functionCall"], "id": f"id_{number}_{n}"}
        contents.append({"role": "model", "parts": [*draw(st.lists(THOUGHTS | SEALED | TEXTS, min_size=1)), *calls]})
        if calls:
            answers = [{k: c["functionCall"][k] for k in ("id", "name") if k in c["functionCall"]} for c in calls]
            parts = [{"functionResponse": {**answer, "response": draw(OUTPUTS)}} for answer in answers]
            contents.append({"role": "user", "parts": parts})
    return [*contents, {"role": "user", "parts": [{"text": draw(WORDS)}]}]


CONFIGS = optional(
    maxOutputTokens=st.integers(1, 9999),
    temperature=st.floats(0, 2),
    topP=st.floats(0, 1),
    topK=st.integers(1, 40),
    stopSequences=st.lists(NAMES, min_size=1, max_size=5),
    seed=st.integers(0, 99),
    candidateCount=st.integers(1, 3),
    presencePenalty=st.floats(-2, 2),
    frequencyPenalty=st.floats(-2, 2),
    thinkingConfig=st.just({"thinkingBudget": 0})
    | st.integers(1, 99_999).map(lambda n: {"thinkingBudget": n, "includeThoughts": True}),
)
FORMATS = st.sampled_from([{}, {"responseMimeType": "text/plain"}, {"responseMimeType": "application/json"}]) | (
    SCHEMAS.map(lambda schema: {"responseMimeType": "application/json", "responseJsonSchema": schema})
)
TOOLS = st.dictionaries(NAMES, st.tuples(WORDS, SCHEMAS), min_size=1, max_size=3)


@st.composite
def gemini_bodies(draw: st.DrawFn) -> Body:
    """Requests in the form that we write; other ways to say the same are tested by example."""
    body: Body = {"contents": draw(conversations())}
    if draw(st.booleans()):
        body["systemInstruction"] = {"parts": draw(st.lists(WORDS.map(lambda w: {"text": w}), min_size=1, max_size=2))}
    if draw(st.booleans()):
        tools = draw(TOOLS)
        declared = [{"name": n, "description": d, "parametersJsonSchema": s} for n, (d, s) in tools.items()]
        body["tools"] = [{"functionDeclarations": declared}]
        one = {"mode": "ANY", "allowedFunctionNames": [next(iter(tools))]}
        modes = st.sampled_from([{"mode": "AUTO"}, {"mode": "ANY"}, {"mode": "NONE"}, one])
        body |= draw(optional(toolConfig=modes.map(lambda mode: {"functionCallingConfig": mode})))
    if config := draw(CONFIGS) | draw(FORMATS):
        body["generationConfig"] = config
    return body


def journey(body: Body, source: ChatDialect, target: ChatDialect, model: str = "m") -> tuple[Body, list[str]]:
    """`body` in another dialect; the model comes from the path where it stands there."""
    built, dropped = target.build_request(replace(source.parse_request(body), model=model, stream=False))
    return json.loads(dumps(built)), dropped


@settings(max_examples=100)
@given(gemini_bodies())
def test_gemini_rebuilds_its_own_requests(body: Body) -> None:
    assert journey(body, GEMINI_GENERATE, GEMINI_GENERATE) == (body, [])


def sayable(body: Body) -> Body:
    """An OpenAI body without what Gemini has no place for."""
    dull = ("user", "parallel_tool_calls", "stream", "stream_options")
    kept = json.loads(dumps({k: v for k, v in body.items() if k not in dull}))
    for tool in kept.get("tools", ()):
        del tool["function"]["strict"]
    for message in kept["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "file":
                part["file"]["filename"] = "document"
    return kept


ONE_WAY = {"response_format.json_schema.name", "document.name"}


@settings(max_examples=70)
@given(openai_bodies().map(sayable))
def test_openai_to_gemini_and_back(body: Body) -> None:
    there, dropped = journey(body, OPENAI_CHAT, GEMINI_GENERATE)
    assert set(dropped) <= ONE_WAY
    assert journey(there, GEMINI_GENERATE, OPENAI_CHAT) == (body, [])


@settings(max_examples=70)
@given(openai_bodies().map(sayable))
def test_anthropic_to_gemini_and_back(body: Body) -> None:
    body, _ = journey(body, OPENAI_CHAT, ANTHROPIC_MESSAGES)
    there, dropped = journey(body, ANTHROPIC_MESSAGES, GEMINI_GENERATE)
    assert set(dropped) <= ONE_WAY
    untitled = json.loads(dumps(body).replace(b',"title":"document"', b""))
    assert journey(there, GEMINI_GENERATE, ANTHROPIC_MESSAGES) == (untitled, [])


# ── laws: answers ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(replies(), st.booleans(), st.booleans())
def test_answers_survive_gemini(reply: Reply, first: bool, second: bool) -> None:
    there = said_in(GEMINI_GENERATE, reply, stream=first)
    back = said_in(OPENAI_CHAT, there, stream=second)
    assert back == replace(reply, usage=replace(reply.usage, cache_write_tokens=None))
    assert said_in(GEMINI_GENERATE, there, stream=second) == there


@given(replies())
def test_a_stream_and_the_plain_answer_are_one(reply: Reply) -> None:
    assert said_in(GEMINI_GENERATE, reply, stream=True) == said_in(GEMINI_GENERATE, reply, stream=False)


def as_array(body: bytes, between: bytes = b"\n,\r\n") -> bytes:
    """A stream of events as the JSON array that comes without `alt=sse`."""
    return b"[" + between.join(event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event) + b"]\n"


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(body) + 1) for place in places} | {0, len(body)})
    return [body[a:b] for a, b in pairwise(ends)]


@given(replies(), st.lists(st.integers(0, 5000), max_size=8), st.sampled_from([b",", b",\r\n", b"\n,\r\n"]))
def test_both_framings_in_any_split_say_the_same(reply: Reply, places: list[int], between: bytes) -> None:
    events = streamed(GEMINI_GENERATE, pieces_of(reply))
    array = as_array(events, between)
    whole = read_stream(GEMINI_GENERATE, [events])
    assert whole.complete
    assert read_stream(GEMINI_GENERATE, cut(events.replace(b"\n\n", b"\r\n\r\n"), places)) == whole
    assert read_stream(GEMINI_GENERATE, cut(array, places)) == whole
    assert read_stream(GEMINI_GENERATE, (array[i : i + 1] for i in range(len(array)))) == whole
    assert GEMINI_GENERATE.read_reply(200, array) == whole


@settings(max_examples=50)
@given(
    st.lists(st.dictionaries(WORDS, st.recursive(WORDS | st.none(), st.lists, max_leaves=5))),
    st.lists(st.integers(0, 500)),
)
def test_an_array_comes_apart_where_it_was_joined(elements: list[Any], places: list[int]) -> None:
    reader = JsonArray()
    out = [json.loads(text) for part in cut(dumps(elements), places) for text in reader.feed(part)]
    assert out == elements


def test_an_array_has_a_bound() -> None:
    reader = JsonArray(max_element_bytes=10)
    assert reader.feed(b'[{"a":1}, {"a":2}, {"a":1') == [b'{"a":1}', b'{"a":2}']
    assert reader.feed(b"1234") == []
    with pytest.raises(WireError, match="larger than 10"):
        reader.feed(b"5")


# ── answers by example ────────────────────────────────────────────────────────────────────────────────────────────


def candidate(*parts: Body, **fields: Any) -> Body:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **fields}]}


def stream(*responses: Body) -> bytes:
    return b"".join(b"data: " + dumps(response) + b"\r\n\r\n" for response in responses)


def test_an_answer_is_whole_when_every_candidate_ended() -> None:
    one, two = candidate({"text": "a"}), {"candidates": [{"index": 1, "finishReason": "STOP"}]}
    assert not read_stream(GEMINI_GENERATE, [stream(one, two)]).complete
    assert read_stream(GEMINI_GENERATE, [stream(one, two, candidate(finishReason=2))]).complete
    assert read_stream(GEMINI_GENERATE, [stream(one, candidate(finishReason="STOP"))[:-30]]).complete is False
    reasons = [c.finish_reason for c in read_stream(GEMINI_GENERATE, [stream(two, candidate(finishReason=2))]).choices]
    assert reasons == ["2", "STOP"]


def test_candidates_without_a_number_are_counted() -> None:
    body = {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"} for text in "ab"]}
    reply = GEMINI_GENERATE.read_reply(200, dumps(body))
    assert [(choice.index, choice.parts) for choice in reply.choices] == [(0, (Text("a"),)), (1, (Text("b"),))]


def test_the_last_usage_counts_as_a_whole() -> None:
    first = {"usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4, "thoughtsTokenCount": 5}}
    last = {"usageMetadata": {"promptTokenCount": 9, "toolUsePromptTokenCount": 1}, **candidate(finishReason="STOP")}
    assert read_stream(GEMINI_GENERATE, [stream(first, last)]).usage == Usage(10, 0)


def test_signatures_find_their_way_back() -> None:
    said = [
        {"text": "thought", "thought": True},
        {"text": "a", "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2lnMg=="},
        {"functionCall": {"name": "f", "args": {"x": 1}}},
    ]
    reply = GEMINI_GENERATE.read_reply(200, dumps(candidate(*said, finishReason="STOP")))
    assert reply.parts == (
        Thinking("thought"),
        Text("a"),
        Thinking("", "c2ln"),
        ToolCall(None, "f", "{}", "c2lnMg=="),
        ToolCall(None, "f", '{"x":1}'),
    )
    assert GEMINI_GENERATE.build_reply(reply, "m")["candidates"][0]["content"]["parts"] == said
    parts = [{"text": "a"}, {"text": "b"}, {"text": "", "thoughtSignature": "c2ln"}]
    late = read_stream(GEMINI_GENERATE, [stream(*(candidate(part) for part in parts), candidate(finishReason="STOP"))])
    assert late.parts == (Text("ab"), Thinking("", "c2ln"))


def test_a_blocked_prompt_is_an_answer_that_was_filtered() -> None:
    body = {"promptFeedback": {"blockReason": "MODEL_ARMOR"}, "usageMetadata": {"trafficType": "ON_DEMAND"}}
    for reply in (GEMINI_GENERATE.read_reply(200, dumps(body)), read_stream(GEMINI_GENERATE, [stream(body)])):
        assert (reply.choices, reply.complete) == ((Choice(finish_detail="MODEL_ARMOR"),), True)
        assert not reply.usage
        for again in (True, False):
            assert said_in(GEMINI_GENERATE, reply, stream=again).choices == reply.choices
    cut_off = Reply("i", "m", (Choice(0, (Text("a"),), None, None, "content_filter"),))
    for again in (True, False):
        told = said_in(GEMINI_GENERATE, cut_off, stream=again)
        assert (told.text, told.finish_reason, told.complete) == ("a", "SAFETY", True)


def test_arguments_in_pieces_become_whole() -> None:
    def call(*pieces: Body, **fields: Any) -> Body:
        return candidate({"functionCall": {"partialArgs": list(pieces), **fields}})

    responses = [
        call(name="f", willContinue=True),
        call({"jsonPath": "$.place", "stringValue": "New ", "willContinue": True}, willContinue=True),
        call({"jsonPath": "$.place", "stringValue": "Delhi"}, willContinue=True),
        call(
            {"jsonPath": "$.days[0].n", "numberValue": 3}, {"jsonPath": "$.off", "boolValue": False}, willContinue=True
        ),
        candidate({"functionCall": {}}),
        candidate({"functionCall": {"name": "g", "args": {}}}, finishReason="STOP"),
    ]
    reply = read_stream(GEMINI_GENERATE, [stream(*responses)])
    first, second = reply.tool_calls
    assert json.loads(first.arguments) == {"place": "New Delhi", "days": [{"n": 3}], "off": False}
    assert (first.name, second) == ("f", ToolCall(None, "g", "{}"))


def test_what_only_gemini_knows_is_kept_as_it_came() -> None:
    code = {"executableCode": {"code": "1"}, "thoughtSignature": "c2ln"}
    reply = GEMINI_GENERATE.read_reply(200, dumps(candidate(code, finishReason="STOP")))
    assert reply.parts == (Other("gemini.generate", code),)
    assert GEMINI_GENERATE.build_reply(reply, "m")["candidates"][0]["content"]["parts"] == [code]
    assert OPENAI_CHAT.build_reply(reply, "m")["choices"][0]["message"]["content"] is None


ERROR = {
    "error": {
        "code": 429,
        "message": "slow down",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "48.5s"}],
    }
}


@pytest.mark.parametrize(
    "body",
    [dumps(ERROR), dumps([ERROR]), stream(candidate({"text": "a"}), ERROR), dumps([candidate({"text": "a"}), ERROR])],
    ids=["bare", "in a list", "in mid-stream", "in mid-array"],
)
def test_errors_in_the_place_of_a_stream(body: bytes) -> None:
    reply = read_stream(GEMINI_GENERATE, (body[i : i + 1] for i in range(len(body))))
    assert not reply.complete
    assert reply.fault == Fault("slow down", None, "429", None, 429, 48.5)
    assert reply.text in (None, "a")
    for dialect in (GEMINI_GENERATE, GEMINI_EMBEDDINGS, GEMINI_COUNT_TOKENS):
        assert dialect.read_reply(429, dumps([ERROR])).fault == reply.fault
    assert json.loads(GEMINI_GENERATE.fault_body(reply.fault))["error"]["details"][-1]["retryDelay"] == "48.500s"


def test_embeddings_and_counts() -> None:
    vectors = {"values": [1.5, 2, 3]}
    one = GEMINI_EMBEDDINGS.read_reply(200, dumps({"embedding": vectors, "usageMetadata": {"promptTokenCount": 4}}))
    assert (one.n_vectors, one.dimensions, one.usage, one.complete) == (1, 3, Usage(4), True)
    assert GEMINI_EMBEDDINGS.read_reply(200, dumps({"embeddings": [vectors] * 2})).n_vectors == 2
    counted = [{"embeddings": {**vectors, "statistics": {"token_count": n}}} for n in (2, 3)]
    many = GEMINI_EMBEDDINGS.read_reply(200, dumps({"predictions": counted}))
    assert (many.n_vectors, many.dimensions, many.usage) == (2, 3, Usage(5))
    images = GEMINI_EMBEDDINGS.read_reply(200, b'{"predictions":[{"bytesBase64Encoded":"AA"}]}')
    assert (images.n_vectors, images.complete) == (None, True)
    assert not GEMINI_EMBEDDINGS.read_reply(200, b'{"x":1}').complete
    body = {"requests": [{"content": {"parts": [{"text": "a"}]}}], "instances": [{"content": "b"}]}
    assert GEMINI_EMBEDDINGS.prompt_texts(body) == ["a", "b"]
    assert GEMINI_COUNT_TOKENS.read_reply(200, b'{"totalTokens":7}').usage == Usage(7)
    nested = {"generateContentRequest": {"contents": [{"parts": [{"text": "a"}]}]}}
    assert GEMINI_COUNT_TOKENS.prompt_texts(nested) == ["a"]


# ── paths ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "model", "streams"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", False),
        ("/models/a%40b%3Ac:streamGenerateContent", "a@b:c", True),
        ("/v1beta/tunedModels/mine:generateContent", "tunedModels/mine", False),
        ("/v1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent", "m", True),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-3-7@2025:rawPredict", "claude-3-7@2025", False),
        ("/v1/publishers/anthropic/models/claude-3-7@2025:streamRawPredict", "claude-3-7@2025", True),
        ("/v1/projects/p/locations/l/endpoints/12:generateContent", "endpoints/12", False),
        ("/v1/messages", None, None),
        ("/host:80/v1/messages", None, None),
        (":generateContent", None, False),
    ],
)
def test_paths_say_model_and_streaming(path: str, model: str | None, streams: bool | None) -> None:
    assert read_path(path) == (model, streams)


@given(st.text(min_size=1).filter(lambda m: "/" not in m), st.booleans())
def test_paths_lead_back_to_the_model(model: str, streams: bool) -> None:
    assert read_path(call_path(model, streams).partition("?")[0]) == (model, streams)
    assert read_path(call_path(f"tunedModels/{model}", streams).partition("?")[0]) == (f"tunedModels/{model}", streams)


# ── requests by example ───────────────────────────────────────────────────────────────────────────────────────────


def parse(**body: Any) -> ChatRequest:
    return GEMINI_GENERATE.parse_request({"contents": [], **body})


def build(model: str = "m", **fields: Any) -> tuple[Body, list[str]]:
    fields.setdefault("messages", (Message("user", (Text("x"),)),))
    return GEMINI_GENERATE.build_request(ChatRequest(model, **fields))


def test_snake_case_and_lone_objects_are_understood() -> None:
    request = parse(
        model="models/gemini-2.0-flash",
        system_instruction={"parts": {"text": "sys"}},
        contents={"parts": {"function_call": {"name": "f", "args": {"snake_key": 1}}}, "role": "model"},
        tools={"function_declarations": {"name": "f", "parameters_json_schema": {"my_key": 1}}},
        tool_config={"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
        generation_config={"max_output_tokens": 5, "top_k": 40.0, "thinking_config": {"thinking_level": "LOW"}},
        safety_settings=[{"category": 10, "threshold": 3}],
    )
    assert request.model == "gemini-2.0-flash"
    assert request.messages == (
        Message("system", (Text("sys"),)),
        Message("assistant", (ToolCall("gemini_call_0", "f", '{"snake_key":1}'),)),
    )
    assert (request.tools, request.tool_choice) == ((Tool("f", None, {"my_key": 1}),), ToolChoice("tool", "f"))
    assert (request.max_output_tokens, request.top_k, request.reasoning_effort) == (5, 40, "low")
    assert request.extra == {"safetySettings": [{"category": 10, "threshold": 3}]}


def test_calls_without_ids_are_paired_by_name_and_order() -> None:
    def answer(name: str, n: int, **fields: str) -> Body:
        return {"functionResponse": {"name": name, "response": {"n": n}, **fields}}

    calls = [{"functionCall": {"name": name}} for name in ("f", "g", "f")]
    calls.append({"functionCall": {"name": "f", "id": "own"}})
    answers = [answer("g", 0), answer("f", 1), answer("f", 2, id="own"), answer("f", 3), answer("new", 4)]
    contents = [{"role": "model", "parts": calls}, {"role": "function", "parts": answers}]
    asked, results = parse(contents=contents).messages
    ids = ["gemini_call_0", "gemini_call_1", "gemini_call_2", "own"]
    assert [part.id for part in asked.parts if isinstance(part, ToolCall)] == ids
    told = [part.tool_call_id for part in results.parts if isinstance(part, ToolResult)]
    assert (results.role, told) == ("tool", ["gemini_call_1", "gemini_call_0", "own", "gemini_call_2", "gemini_call_4"])
    body, _ = journey({"contents": contents}, GEMINI_GENERATE, OPENAI_CHAT)
    assert [m.get("tool_call_id") for m in body["messages"][1:]] == told
    body, _ = journey({"contents": contents}, GEMINI_GENERATE, ANTHROPIC_MESSAGES)
    assert [block["tool_use_id"] for block in body["messages"][1]["content"]] == told


def test_googles_schemas_become_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "type": {"type": "STRING", "nullable": True, "example": "a"},
            "b": {"type": 5, "items": {"any_of": [{"type": "INTEGER"}]}, "minItems": "2"},
        },
        "propertyOrdering": ["b"],
        "required": ["b"],
    }
    built = json_schema(schema)
    assert built == {
        "type": "object",
        "properties": {
            "b": {"type": "array", "items": {"anyOf": [{"type": "integer"}]}, "minItems": 2},
            "type": {"type": ["string", "null"], "examples": ["a"]},
        },
        "required": ["b"],
    }
    assert list(built["properties"]) == ["b", "type"]
    assert json_schema(built) == built
    for _ in range(3000):
        schema = {"type": "ARRAY", "items": schema}
    assert json_schema(schema)["type"] == "array"


@pytest.mark.parametrize(
    ("model", "effort", "budget", "config", "names"),
    [
        ("gemini-3.5-flash", "none", None, {"thinkingLevel": "MINIMAL"}, ["reasoning_effort"]),
        ("gemini-3.5-flash", "medium", None, {"thinkingLevel": "MEDIUM"}, []),
        ("gemini-3.1-pro-preview", "minimal", None, {"thinkingLevel": "LOW"}, ["reasoning_effort"]),
        ("google/gemini-4-argon", "max", None, {"thinkingLevel": "HIGH"}, ["reasoning_effort"]),
        ("gemini-3-flash", None, 2048, {"thinkingLevel": "LOW"}, []),
        ("gemini-2.5-flash", "none", None, {"thinkingBudget": 0}, []),
        ("gemini-2.5-flash", "high", None, {"thinkingBudget": 16384}, []),
        ("gemini-2.5-flash-lite", None, 100, {"thinkingBudget": 512}, ["thinking.budget_tokens"]),
        ("gemini-2.5-pro", "none", None, {"thinkingBudget": 128}, ["reasoning_effort"]),
        ("gemini-2.5-pro", "max", None, {"thinkingBudget": 32768}, ["reasoning_effort"]),
        ("gemini-2.5-pro", "high", 200, {"thinkingBudget": 200}, ["reasoning_effort"]),
        ("m", "some", None, None, ["reasoning_effort"]),
        ("m", None, None, None, []),
    ],
)
def test_effort_in_the_words_of_the_model(
    model: str, effort: str | None, budget: int | None, config: Body | None, names: list[str]
) -> None:
    body, dropped = build(model, reasoning_effort=effort, reasoning_budget_tokens=budget)
    got = body.get("generationConfig", {}).get("thinkingConfig")
    assert (got and {k: v for k, v in got.items() if k != "includeThoughts"}, dropped) == (config, names)


def test_calls_that_no_gemini_made_get_the_placeholder() -> None:
    made = (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    signed = (ToolCall("c", "f", "{}", "c2ln"), ToolCall("d", "f", "{}"))
    messages = (Message("assistant", made), Message("assistant", signed))
    for model, expected in (
        ("gemini-3-flash-preview", [PLACEHOLDER, None, "c2ln", None]),
        ("gemini-2.5-pro", [None, None, "c2ln", None]),
    ):
        body, _ = build(model, messages=messages)
        parts = [part for content in body["contents"] for part in content["parts"]]
        assert [part.get("thoughtSignature") for part in parts] == expected


def test_signatures_of_others_do_not_reach_google() -> None:
    thoughts = (Thinking("hm", "theirs"), Thinking("", None, "theirs"), Thinking("", "c2ln"), Text("a"))
    body, dropped = build("gemini-3-pro", messages=(Message("assistant", thoughts),))
    assert dropped == ["thinking.signature", "redacted_thinking"]
    signature = {"text": "", "thoughtSignature": "c2ln"}
    assert body["contents"][0]["parts"] == [{"text": "hm", "thought": True}, signature, {"text": "a"}]


def test_results_of_tools_are_objects_in_one_content() -> None:
    picture = Image(data="AAAA", media_type="image/png")
    results = (
        ToolResult("a", (Text('{"n":1}'),)),
        ToolResult("b", (Text('{"n": 1}'), picture)),
        ToolResult("c", (), is_error=True),
    )
    calls = Message("assistant", tuple(ToolCall(i, f"f_{i}", "") for i in "ab"))
    messages = (calls, *(Message("tool", (result,)) for result in results), Message("user", (Text("x"),)))
    body, dropped = build(messages=messages)
    assert [content["role"] for content in body["contents"]] == ["model", "user", "user"]
    told = [part["functionResponse"] for part in body["contents"][1]["parts"]]
    assert [(r["id"], r["name"], r["response"]) for r in told] == [
        ("a", "f_a", {"n": 1}),
        ("b", "f_b", {"output": '{"n": 1}'}),
        ("c", "c", {"error": ""}),
    ]
    assert told[1]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
    assert dropped == []
    assert "parts" not in build("gemini-2.5-pro", messages=messages)[0]["contents"][1]["parts"][1]["functionResponse"]
    assert build("gemini-2.5-pro", messages=messages)[1] == ["tool_result.image"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"user": "u"}, {"user"}),
        ({"stop": tuple("abcdef")}, {"stop"}),
        ({"tools": (Tool("f", strict=True),), "parallel_tool_calls": False}, {"tools.strict", "parallel_tool_calls"}),
        ({"messages": (Message("user", (Text("x"),), "bob"),)}, {"messages.name"}),
        ({"messages": (Message("user", (Text("x"),)), Message("system", (Text("y"),)))}, {"messages.system.position"}),
        ({"messages": (Message("user", (Text("x", {"type": "ephemeral"}),)),)}, {"cache_control"}),
        ({"messages": (Message("user", (Image("https://x/y", detail="high"),)),)}, {"image_url.detail"}),
        ({"messages": (Message("user", (Document(text="x", name="a.txt"),)),)}, {"document.name"}),
        ({"messages": (Message("user", (Other("openai.chat", {"type": "input_audio"}),)),)}, {"input_audio"}),
        ({"extra": {"logprobs": True}}, {"logprobs"}),
        ({"n": 2, "seed": 1, "parallel_tool_calls": True, "top_k": 3}, set()),
    ],
)
def test_what_gemini_cannot_carry_is_named(fields: Body, names: set[str]) -> None:
    assert set(build(**fields)[1]) == names


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"safetySettings": [], "cachedContent": "c", "labels": {}}, {"safetySettings", "cachedContent", "labels"}),
        ({"tools": [{"google_search": {}}]}, {"tools.googleSearch"}),
        ({"generationConfig": {"responseModalities": ["TEXT"]}}, {"generationConfig.responseModalities"}),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}},
            {"generationConfig.thinkingConfig.thinkingBudget"},
        ),
        ({"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}}, {"toolConfig.functionCallingConfig.mode"}),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a", "b"]}}},
            {"toolConfig.functionCallingConfig.allowedFunctionNames"},
        ),
        ({"contents": [{"parts": [{"toolCall": {}}]}]}, {"other"}),
    ],
)
def test_what_others_cannot_carry_is_named(body: Body, names: set[str]) -> None:
    assert set(journey({"contents": [], **body}, GEMINI_GENERATE, OPENAI_CHAT)[1]) == names


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contents": "hi"},
        {"contents": [{"role": "bot", "parts": []}]},
        {"contents": [{"parts": ["hi"]}]},
        {"contents": [{"parts": [{"functionCall": {}}]}]},
        {"contents": [], "generationConfig": {"temperature": "hot"}},
        {"contents": [], "tools": [{"functionDeclarations": [{}]}]},
        {"contents": [], "generationConfig": {"stopSequences": [1]}},
    ],
)
def test_wrong_requests_say_what_is_wrong(body: Body) -> None:
    with pytest.raises(WireError, match=r"'|must"):
        GEMINI_GENERATE.parse_request(body)
