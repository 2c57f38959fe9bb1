"""The law of the log: how a stream was cut changes nothing in its row, and it says what the plain answer says."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.price_list import shipped
from llmlens.catalog.providers import load_catalog
from llmlens.gateway.call import Call
from llmlens.gateway.record import Record, encode
from llmlens.gateway.rows import RowMaker
from llmlens.records import Principal, Provenance
from llmlens.wire.dialect import Asked, Dialect
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, OPENAI_CHAT
from tests.gateway.test_answer import BODY, SSE

TOOL = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": "é"}'}}
PLAIN_TOOL = json.dumps({
    "id": "c2", "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "wait…", "tool_calls": [TOOL]}, "finish_reason": "tool_calls"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
}).encode()  # fmt: skip


def openai_stream() -> bytes:
    deltas = [
        {"role": "assistant", "content": "wa"},
        {"content": "it…"},
        {"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "add", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1, '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"b": "é"}'}}]},
    ]
    chunks = [{"id": "c2", "model": "m", "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({"id": "c2", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}
    chunks.append({"id": "c2", "model": "m", "choices": [], "usage": usage})
    data = [b"data: " + json.dumps(c, ensure_ascii=False).encode() + b"\r\n\r\n" for c in chunks]
    return b": a comment\n\n" + b"".join(data) + b"data: [DONE]\n\n"


ANTHROPIC_PLAIN = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "né"}],
    "usage": {"input_tokens": 2, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1, "output_tokens": 3},
}).encode()  # fmt: skip


def anthropic_stream() -> bytes:
    start = json.loads(ANTHROPIC_PLAIN) | {"content": [], "stop_reason": None}
    start["usage"] = start["usage"] | {"output_tokens": 1}
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "ping"},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "n"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "é"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]  # fmt: skip
    lines = [f"event: {e['type']}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n".encode() for e in events]
    return b"".join(lines)


CASES = [
    (OPENAI_CHAT, BODY, SSE),
    (OPENAI_CHAT, PLAIN_TOOL, openai_stream()),
    (ANTHROPIC_MESSAGES, ANTHROPIC_PLAIN, anthropic_stream()),
]
MAKER = RowMaker({}, 1 << 20, load_catalog(), shipped())
NOW = datetime(2026, 11, 24, tzinfo=UTC)
# What depends on how, not on what, was answered.
HOW = {"stream", "chunk_timeline", "first_token_s", "latency_s", "response_type", "response_body", "overhead_s"}


def row(dialect: Dialect, chunks: list[bytes], content_type: str) -> dict[str, object]:
    """The row that these chunks leave, through the journal's encoding and back."""
    call = Call(
        id="id", started_at=NOW, started=0.0, method="POST", path="/p", query="", headers={}, body=b'{"model":"m"}',
        json={"model": "m"}, dialect=dialect, asked=Asked("m", stream=content_type != "application/json"), provider=None,
        principal=Principal("owner"), where=Provenance(), cache_mode="off", sample=None, group=None, ttl_s=None, tags=None,
        receipt=False, caller_credential=None,
    )  # fmt: skip
    record = Record(call, provider="lab", http_status=200, upstream_status=200, response_type=content_type)
    for chunk in chunks:
        record.chunk(chunk, 1 << 20)
    made = asdict(MAKER.of_payload(encode(record.finish("complete"))).call)
    return {name: value for name, value in made.items() if name not in HOW}


@pytest.mark.parametrize(("dialect", "plain", "stream"), CASES)
@given(data=st.data())
def test_any_split_of_a_stream_gives_the_row_of_the_plain_answer(dialect, plain, stream, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=40)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    split = row(dialect, chunks, "text/event-stream")
    assert split == row(dialect, [stream], "text/event-stream")
    assert split == row(dialect, [plain], "application/json")
    assert split["outcome"] == "complete"


@pytest.mark.parametrize(("dialect", "plain", "stream"), CASES)
def test_byte_by_byte(dialect, plain, stream):
    chunks = [stream[i : i + 1] for i in range(len(stream))]
    assert row(dialect, chunks, "text/event-stream") == row(dialect, [plain], "application/json")
