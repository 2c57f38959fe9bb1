"""Law: what real providers sent is read as the recordings say, whole, byte by byte and in any split."""

import gzip
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlens.records import Message, Other, Refusal, Reply, Text, Thinking, ToolCall, ToolResult
from llmlens.wire import ANTHROPIC_MESSAGES, DIALECTS, OPENAI_CHAT, ChatDialect
from llmlens.wire.accumulate import pieces_of, read_stream
from llmlens.wire.json_text import dumps

Row = dict[str, Any]


def shared() -> Path | None:
    """The folder with the recordings: LLMLENS_SHARED, or a `shared` beside a parent of this file."""
    if named := os.environ.get("LLMLENS_SHARED"):
        return Path(named)
    return next((p / "shared" for p in Path(__file__).resolve().parents if (p / "shared/data/traffic").is_dir()), None)


def rows(name: str) -> list[Row]:
    root = shared()
    if root is None or not (path := root / "data/traffic" / name).is_file():
        return []
    with gzip.open(path, "rt") as lines:
        return [row for row in map(json.loads, lines) if row["dialect"] in DIALECTS]


ROWS = [*rows("recorded.jsonl.gz"), *rows("documented_errors.jsonl.gz")]
STREAMS = [row for row in ROWS if row["stream"] and row["expect"]["kind"] == "completion"]

pytestmark = pytest.mark.skipif(not ROWS, reason="no recordings beside this checkout")


def ids(row: Row) -> str:
    return str(row["id"])


def bytewise(body: bytes) -> Iterator[bytes]:
    return (body[i : i + 1] for i in range(len(body)))


def splits(body: bytes, seed: str) -> Iterator[bytes]:
    source = random.Random(seed)
    start = 0
    while start < len(body):
        size = source.choice((1, 2, 7, 60, 500, 4000))
        yield body[start : start + size]
        start += size


def parsed(call: ToolCall) -> Any:
    try:
        return json.loads(call.arguments)
    except ValueError:
        return None


def facts(reply: Reply) -> Row:
    """What `expect` of a completion states, from our Reply. None and "" are one, as in the recordings."""
    usage, blocks = reply.usage, [p for p in reply.parts if isinstance(p, Other)]
    hidden = ["redacted_thinking" for p in reply.parts if isinstance(p, Thinking) and p.redacted is not None]
    return {
        "response_id": reply.response_id,
        "model": reply.model,
        "text": reply.text or "",
        "reasoning_text": reply.reasoning_text or "",
        "refusal": reply.refusal,
        "tool_calls": [(call.id, call.name, parsed(call)) for call in reply.tool_calls],
        "other_items": sorted([str(p.value.get("type")) for p in blocks] + hidden),
        "finish_reason": reply.finish_reason,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def expected(row: Row) -> Row:
    expect = row["expect"]
    wanted = {k: expect.get(k) for k in facts(Reply())}
    wanted["tool_calls"] = [(t["id"], t["name"], t["arguments"]) for t in expect["tool_calls"]]
    wanted["other_items"] = sorted(
        str(item["type"] if isinstance(item, dict) else item) for item in expect["other_items"] or []
    )
    wanted["text"], wanted["reasoning_text"] = wanted["text"] or "", wanted["reasoning_text"] or ""
    return wanted


def check(row: Row, reply: Reply) -> None:
    expect = row["expect"]
    skipped = set(expect.get("ambiguous") or ())
    got, want = facts(reply), expected(row)
    assert {k: v for k, v in got.items() if k not in skipped} == {k: v for k, v in want.items() if k not in skipped}
    if "stop_sequence" in expect and row["dialect"] == "anthropic.messages":
        assert reply.choices[0].stop_sequence == expect["stop_sequence"]
    if expect.get("choices"):
        assert len(reply.choices) == len(expect["choices"])
    if expect.get("stream_complete") is not None:
        assert reply.complete is expect["stream_complete"]
    if error := expect.get("stream_error"):
        check_fault(reply, {f"error_{k}": error.get(k) for k in ("message", "type", "code", "param")})


def check_fault(reply: Reply, expect: Row) -> None:
    fault = reply.fault
    assert fault is not None
    assert not reply.complete
    code = expect["error_code"]
    assert (fault.type, fault.code) == (expect["error_type"], None if code is None else str(code))
    assert fault.param == expect["error_param"]
    if expect["error_message"] is not None:
        assert fault.message == expect["error_message"]


def read(row: Row) -> Reply:
    return DIALECTS[row["dialect"]].read_reply(row["response"]["status"], row["response"]["body"].encode())


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_streams_in_every_split(row: Row) -> None:
    dialect, body = DIALECTS[row["dialect"]], row["response"]["body"].encode()
    whole = read_stream(dialect, [body])
    check(row, whole)
    assert read_stream(dialect, splits(body, row["id"])) == whole
    if len(body) < 20_000:
        assert read_stream(dialect, bytewise(body)) == whole


@pytest.mark.parametrize("row", [r for r in ROWS if r not in STREAMS], ids=ids)
def test_plain_answers(row: Row) -> None:
    reply, expect = read(row), row["expect"]
    if expect["kind"] in ("error", "error_in_200"):
        check_fault(reply, expect)
        assert reply.fault is not None
        assert reply.fault.retry_after_s is None
    elif expect["kind"] == "completion":
        check(row, reply)
        assert reply.complete is (reply.fault is None)  # one has an error inside its choice
    else:
        assert reply.usage.input_tokens == expect["input_tokens"]
        assert reply.complete
    if expect["kind"] == "embedding":
        assert (reply.model, reply.n_vectors) == (expect["model"], expect["n_vectors"])
        assert reply.dimensions == expect["dimensions"]


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_requests_are_understood(row: Row) -> None:
    dialect, body = DIALECTS[row["dialect"]], row["request"]["body"]
    asked = dialect.read_request(body)
    assert asked.model == body.get("model")
    assert isinstance(dialect.prompt_texts(body), list)


CHAT_ROWS = [
    row for row in ROWS if isinstance(DIALECTS[row["dialect"]], ChatDialect) and row["expect"]["kind"] == "completion"
]


@pytest.mark.parametrize("row", CHAT_ROWS, ids=ids)
def test_recordings_translate(row: Row) -> None:
    """What a provider accepted can be asked of the other dialect, and its answer be told in both."""
    source = OPENAI_CHAT if row["dialect"] == "openai.chat" else ANTHROPIC_MESSAGES
    other = ANTHROPIC_MESSAGES if source is OPENAI_CHAT else OPENAI_CHAT
    asked = source.parse_request(row["request"]["body"])
    body, _dropped = other.build_request(asked)
    again = other.parse_request(json.loads(dumps(body)))
    assert spoken(again.messages) == spoken(asked.messages)
    assert [tool.name for tool in again.tools] == [tool.name for tool in asked.tools]
    reply = read_stream(source, [row["response"]["body"].encode()])
    for dialect in (OPENAI_CHAT, ANTHROPIC_MESSAGES):
        writer = dialect.stream_writer("id", "m", True)
        streamed = read_stream(dialect, [writer.write(pieces_of(reply)), writer.end()])
        plain = dialect.read_reply(200, dumps(dialect.build_reply(reply, "m")))
        for told in (streamed, plain):
            assert (told.text or "") == (reply.text or "") + (
                (reply.refusal or "") if dialect is not OPENAI_CHAT else ""
            )
            assert (told.reasoning_text, len(told.tool_calls)) == (reply.reasoning_text, len(reply.tool_calls))
            if reply.usage.output_tokens is not None and reply.fault is None:
                assert told.usage.output_tokens == reply.usage.output_tokens


def spoken(messages: tuple[Message, ...]) -> list[str]:
    """The texts of a conversation in order, system texts first (they move to the front)."""

    def texts(message: Message) -> list[str]:
        inner = [part for p in message.parts for part in (p.parts if isinstance(p, ToolResult) else (p,))]
        return [p.text for p in inner if isinstance(p, Text | Refusal) and p.text]

    first = [text for m in messages if m.role in ("system", "developer") for text in texts(m)]
    return first + [text for m in messages if m.role not in ("system", "developer") for text in texts(m)]
