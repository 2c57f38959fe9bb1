"""Law: no bytes make a decoder raise anything but WireError, and no split changes what is read."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.records import Fault, Reply
from llmlens.wire import aws_event_stream
from llmlens.wire.accumulate import pieces_of, read_stream, reply_of
from llmlens.wire.dialect import ChatDialect, Dialect
from llmlens.wire.dialects import DIALECTS, UNKNOWN, dialect_for
from llmlens.wire.json_text import dumps

ALL = [*DIALECTS.values(), UNKNOWN["anthropic"]]
CHATS = [d for d in ALL if isinstance(d, ChatDialect)]

# The words of the dialects, so that random JSON reaches deep into the readers.
KEY_WORDS = (
    "id model choices index delta message content role tool_calls function name arguments input type text thinking"
    " signature data reasoning_content reasoning reasoning_details thinking_blocks refusal finish_reason error code"
    " status usage prompt_tokens completion_tokens total_tokens prompt_tokens_details completion_tokens_details"
    " cached_tokens reasoning_tokens input_tokens output_tokens cache_read_input_tokens content_block partial_json"
    " stop_reason stop_sequence embedding messages system tools tool_choice stop max_tokens stream stream_options"
    " image_url url file file_data source media_type tool_call_id tool_use_id is_error thinking_config output_config"
    " format effort metadata user_id response_format json_schema schema functions function_call parameters"
    " input_schema cache_control custom budget_tokens x_groq errors detail n temperature parallel_tool_calls"
    " input instructions output output_index content_index summary_index item item_id part response summary"
    " encrypted_content call_id incomplete_details reason prompt suffix best_of include store"
    " toolUse toolUseId toolResult reasoningContent reasoningText redactedContent guardContent cachePoint citation"
    " citationsContent citations contentBlockIndex start stopReason inputTokens outputTokens cacheReadInputTokens"
    " bytes s3Location inferenceConfig maxTokens topP stopSequences toolConfig toolSpec inputSchema json toolChoice any"
    " additionalModelRequestFields thinking reasoning_effort outputConfig textFormat structure jsonSchema auto"
    " outputText results generation outputs generations completion embeddings is_finished"
    " tool_plan citations documents document strict_tools token_budget stop_sequences k p usage tokens billed_units meta"
    " event_type generation_id tool_call_delta error_type"
    " contents parts candidates finishReason thought thoughtSignature functionCall functionResponse args inlineData"
    " fileData mimeType fileUri usageMetadata promptTokenCount candidatesTokenCount thoughtsTokenCount promptFeedback"
    " blockReason responseId modelVersion systemInstruction functionDeclarations parametersJsonSchema partialArgs"
    " jsonPath stringValue willContinue generationConfig thinkingConfig thinkingBudget thinkingLevel responseSchema"
    " functionCallingConfig mode allowedFunctionNames properties items anyOf nullable details retryDelay predictions"
    " values statistics requests content embedding totalTokens"
    " options num_predict images done done_reason think tool_name prompt_eval_count eval_count"
)
KEYS = st.sampled_from(KEY_WORDS.split())
VALUE_WORDS = (
    "message_start content_block_start content_block_delta content_block_stop message_delta message_stop error ping"
    " text text_delta thinking thinking_delta redacted_thinking signature_delta tool_use tool_result input_json_delta"
    " server_tool_use image document image_url file base64 url user assistant system tool function developer"
    " json_schema json_object auto any none required tool custom stop tool_calls enabled adaptive low"
    " data:a/b;base64,AA"
    " response.created response.output_item.added response.output_item.done response.output_text.delta"
    " response.output_text.done response.refusal.delta response.reasoning_summary_text.delta"
    " response.function_call_arguments.delta response.function_call_arguments.done response.completed"
    " response.incomplete response.failed message reasoning function_call function_call_output custom_tool_call"
    " output_text input_text summary_text reasoning_text input_image input_file completed incomplete failed"
    " server_tool_use png pdf txt tool_use end_turn"
    " message-start content-start content-delta tool-plan-delta tool-call-start tool-call-delta citation-start"
    " message-end stream-start text-generation tool-calls-chunk tool-calls-generation stream-end ERROR TOOL_CALL"
    " REQUIRED NONE disabled"
    " model STOP MAX_TOKENS SAFETY ANY AUTO OBJECT STRING $.a $.a[0].b application/json image/png text/plain LOW"
)
WORDS = st.sampled_from(VALUE_WORDS.split())
SCALARS = (
    WORDS
    | st.text(max_size=4)
    | st.integers(-2, 3)
    | st.none()
    | st.booleans()
    | st.floats()
    | st.integers(2**70, 2**71)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=8)
TYPED = st.builds(lambda body, kind: {**body, "type": kind}, OBJECTS, WORDS)
CHUNKS = st.builds(lambda delta, end: {"id": "x", "choices": [{"delta": delta, **end}]}, OBJECTS, OBJECTS)


def event(name: str | None, value: Any) -> bytes:
    return (b"" if name is None else b"event: " + name.encode() + b"\n") + b"data: " + dumps(value) + b"\n\n"


EVENTS = st.builds(event, st.none() | st.sampled_from(["error", "message_start"]), VALUES | TYPED | CHUNKS | OBJECTS)
FRAME_NAMES = "messageStart contentBlockStart contentBlockDelta contentBlockStop messageStop metadata chunk x"


def frame(name: str, value: Any, kind: str) -> bytes:
    return aws_event_stream.encode({":event-type": name, ":message-type": kind, ":exception-type": name}, dumps(value))


BLOCKS = st.builds(
    lambda body, start, delta, index: {**body, "start": start, "delta": delta, "contentBlockIndex": index},
    OBJECTS, OBJECTS, OBJECTS, st.integers(0, 2),
)  # fmt: skip
FRAMES = st.builds(
    frame, st.sampled_from(FRAME_NAMES.split()), BLOCKS | VALUES, st.sampled_from(["event"] * 9 + ["exception"])
)
BODIES = st.lists(EVENTS | st.binary(max_size=30) | st.just(b"data: [DONE]\n\n"), max_size=8).map(b"".join)
BODIES |= st.lists(FRAMES | FRAMES | FRAMES | st.binary(max_size=20), max_size=8).map(b"".join)
NESTED = st.builds(
    lambda message, kind, end: {"type": kind, "event_type": kind, "delta": {"message": message, **end}},
    OBJECTS, WORDS, OBJECTS,
)  # fmt: skip
SAID = st.builds(
    lambda body, message, done: {**body, "message": message, "done": done}, OBJECTS, OBJECTS, st.booleans()
)
LINES = st.sampled_from([b"", b" ", b"data:"]).flatmap(
    lambda head: (SAID | NESTED | TYPED | VALUES).map(lambda value: head + dumps(value) + b"\n")
)
BODIES |= st.lists(LINES | LINES | st.binary(max_size=20) | st.just(b"\r\n"), max_size=8).map(b"".join)
BODIES |= st.lists(st.builds(event, st.none(), NESTED), max_size=8).map(b"".join)
CANDIDATES = st.builds(
    lambda body, parts, end: {**body, "candidates": [{"content": {"parts": parts}, **end}]},
    OBJECTS, st.lists(OBJECTS, max_size=3), OBJECTS,
)  # fmt: skip
BODIES |= st.lists(st.builds(event, st.none(), CANDIDATES), max_size=8).map(b"".join)
BODIES |= st.builds(
    lambda items, between, cut: (b"[" + between.join(items) + b"]")[: cut or None],
    st.lists((CANDIDATES | VALUES).map(dumps), max_size=6), st.sampled_from([b",", b"\n,\r\n", b""]), st.integers(-3, 0),
)  # fmt: skip
FEW = settings(max_examples=50)
dialects = pytest.mark.parametrize("dialect", ALL, ids=lambda d: str(d.name))
chats = pytest.mark.parametrize("dialect", CHATS, ids=lambda d: str(d.name))


@chats
@FEW
@given(BODIES, st.lists(st.integers(0, 3000), max_size=12))
def test_any_bytes_as_a_stream(dialect: ChatDialect, body: bytes, cuts: list[int]) -> None:
    whole = read_stream(dialect, [body])
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    assert_same(read_stream(dialect, [body[a:b] for a, b in pairwise(places)]), whole)
    assert_same(read_stream(dialect, [body[i : i + 1] for i in range(len(body))]), whole)
    check_writable(whole)


def assert_same(one: Reply, two: Reply) -> None:
    assert repr(one) == repr(two)  # by repr, since a NaN inside is never equal to itself


def check_writable(reply: Reply) -> None:
    """Whatever was read can be logged and written again in every dialect."""
    for text in (reply.text, reply.reasoning_text, reply.refusal, reply.model, reply.response_id):
        assert text is None or text.encode()
    for dialect in CHATS:
        dumps(dialect.build_reply(reply, "m"))
        writer = dialect.stream_writer("i", "m", True)
        body = writer.write(pieces_of(reply)) + writer.end()
        assert read_stream(dialect, [body]).complete is (reply.fault is None)
    assert_same(reply_of(pieces_of(reply)), reply)


@dialects
@FEW
@given(st.binary(max_size=80) | (VALUES | TYPED | CHUNKS | OBJECTS).map(dumps), st.sampled_from([200, 400, 529]))
def test_any_bytes_as_an_answer(dialect: Dialect, body: bytes, status: int) -> None:
    reply = dialect.read_reply(status, body)
    assert (reply.fault is not None) >= (status >= 400)
    assert isinstance(reply.complete, bool)
    if reply.fault is not None:
        assert reply.fault.message.encode()
        assert isinstance(dialect.fault_body(reply.fault), bytes)


@chats
@FEW
@given(CHUNKS | TYPED | OBJECTS)
def test_any_json_as_an_answer_can_be_written(dialect: ChatDialect, value: Any) -> None:
    check_writable(dialect.read_reply(200, dumps(value)))


REQUESTS = st.builds(
    lambda body, messages: {**body, "model": "m", "messages": messages, "contents": messages},
    OBJECTS,
    st.lists(st.builds(lambda body, role: {**body, "role": role}, OBJECTS, WORDS), max_size=4),
)


@dialects
@FEW
@given(OBJECTS | REQUESTS)
def test_any_json_as_a_request(dialect: Dialect, body: Mapping[str, Any]) -> None:
    assert all(isinstance(text, str) for text in dialect.prompt_texts(body))
    with suppress(WireError):
        dialect.read_request(body)
    if not isinstance(dialect, ChatDialect):
        return
    with suppress(WireError):
        parsed = dialect.parse_request(body)
        for target in CHATS:
            built, dropped = target.build_request(parsed)
            dumps(built)
            assert len(set(dropped)) == len(dropped)


@dialects
@FEW
@given(
    st.builds(
        Fault, st.text(), st.none() | st.text(), st.none() | st.text(), st.none() | st.text(), st.none() | st.just(404)
    )
)
def test_faults_are_read_back(dialect: Dialect, fault: Fault) -> None:
    seen = dialect.read_reply(404, dialect.fault_body(fault)).fault
    assert seen is not None
    if fault.message and fault.message.isascii():
        assert seen.message == fault.message
    if dialect.name.startswith("gemini."):  # where it is the status
        assert fault.status is None or seen.code == str(fault.status)
    elif not dialect.name.startswith("bedrock."):  # whose errors have none
        assert seen.code == (fault.code or None)


def test_paths_find_their_dialect() -> None:
    found = {
        ("openai", "/v1/chat/completions"): "openai.chat",
        ("openai", "/openai/deployments/x/chat/completions/"): "openai.chat",
        ("openai", "/v1/embeddings"): "openai.embeddings",
        ("openai", "/v1/models"): "openai.models",
        ("openai", "/v1/models/gpt-4o"): "raw",
        ("openai", "/v1/threads/t/messages"): "raw",
        ("anthropic", "/v1/messages"): "anthropic.messages",
        ("anthropic", "/v1/messages/count_tokens"): "anthropic.count_tokens",
        ("anthropic", "/v1/messages/batches"): "raw",
        ("cohere", "/v2/chat"): "cohere.chat_v2",
        ("cohere", "/v1/chat"): "cohere.chat_v1",
        ("cohere", "/v1/embed"): "cohere.embed",
        ("cohere", "/v2/embed"): "cohere.embed",
        ("cohere", "/compatibility/v1/chat/completions"): "openai.chat",
        ("cohere", "/v2/rerank"): "raw",
        ("ollama", "/api/chat"): "ollama.chat",
        ("ollama", "/api/generate"): "ollama.generate",
        ("ollama", "/api/embed"): "ollama.embed",
        ("ollama", "/api/embeddings"): "ollama.embed",
        ("ollama", "/v1/chat/completions"): "openai.chat",
        ("ollama", "/api/tags"): "raw",
        ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent"): "gemini.generate",
        ("gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent"): "gemini.generate",
        ("gemini", "/v1beta/models/gemini-2.5-flash:countTokens"): "gemini.count_tokens",
        ("gemini", "/v1beta/models/gemini-embedding-001:batchEmbedContents"): "gemini.embeddings",
        ("gemini", "/v1/projects/p/locations/l/publishers/google/models/m:predict"): "gemini.embeddings",
        ("gemini", "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict"): "anthropic.messages",
        ("gemini", "/v1/publishers/anthropic/models/m:streamRawPredict"): "anthropic.messages",
        ("gemini", "/v1/publishers/anthropic/models/count-tokens:rawPredict"): "anthropic.count_tokens",
        ("gemini", "/v1beta/openai/chat/completions"): "openai.chat",
        ("gemini", "/v1beta/cachedContents"): "raw",
    }
    assert {key: dialect_for(*key).name for key in found} == found
    assert b'"type":"error"' in dialect_for("anthropic", "/x").fault_body(Fault("m"))
    with pytest.raises(WireError, match="known: openai, anthropic"):
        dialect_for("gopher", "/")


def test_a_split_emoji_is_whole_again() -> None:
    chunk = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'
    reply = read_stream(DIALECTS["openai.chat"], [chunk % b"\\ud83d", chunk % b"\\ude00", chunk % b"\\ud83d"])
    assert reply.text == "😀�"


def test_plain_json_in_the_place_of_a_stream_is_read() -> None:
    for dialect in CHATS:
        reply = read_stream(dialect, [b'\n {"er', b'ror": {"message": "no streams here", "code": 501}}'])
        assert reply.fault is not None
        assert (reply.fault.message, reply.fault.code, reply.fault.status) == ("no streams here", "501", 501)
        assert not reply.complete
