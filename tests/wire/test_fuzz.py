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
from llmlens.wire import DIALECTS, UNKNOWN, ChatDialect, Dialect, dialect_for
from llmlens.wire.accumulate import pieces_of, read_stream, reply_of
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
)
KEYS = st.sampled_from(KEY_WORDS.split())
VALUE_WORDS = (
    "message_start content_block_start content_block_delta content_block_stop message_delta message_stop error ping"
    " text text_delta thinking thinking_delta redacted_thinking signature_delta tool_use tool_result input_json_delta"
    " server_tool_use image document image_url file base64 url user assistant system tool function developer"
    " json_schema json_object auto any none required tool custom stop tool_calls enabled adaptive low"
    " data:a/b;base64,AA"
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
BODIES = st.lists(EVENTS | st.binary(max_size=30) | st.just(b"data: [DONE]\n\n"), max_size=8).map(b"".join)
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
    lambda body, messages: {**body, "model": "m", "messages": messages},
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
