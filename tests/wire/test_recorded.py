"""Law: what real providers sent is read as the recordings say, whole, byte by byte and in any split."""

import base64
import gzip
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlens.records import Message, Other, Refusal, Reply, Text, Thinking, ToolCall, ToolResult
from llmlens.wire.accumulate import pieces_of, read_stream
from llmlens.wire.bedrock_faults import reply_with_headers
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
from llmlens.wire.gemini_read import kind_of
from llmlens.wire.json_text import dumps

Row = dict[str, Any]

# One path, whoever's model answers there.
ALIASES = {"bedrock.invoke_other": "bedrock.invoke"}
# Blocks that the recordings state elsewhere (Cohere's plan), or nowhere (its citations).
APART = {"tool_plan", "citations"}

# Counts that the wire states (`usageMetadata`) and `expect` does not.
OVERLOOKED = {"gemini.embeddings.sync.emini-embedding-2-embeds-an-image-alongside-text.f173965b": 261}


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
        found = [row | {"dialect": ALIASES.get(row["dialect"], row["dialect"])} for row in map(json.loads, lines)]
    return [row for row in found if row["dialect"] in DIALECTS]


def body_of(row: Row) -> bytes:
    """The bytes of the answer; AWS event streams are recorded as base64."""
    answer = row["response"]
    return base64.b64decode(answer["body_base64"]) if "body_base64" in answer else answer["body"].encode()


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


def kind(block: Other) -> str:
    """What the recordings call a block; those of Bedrock and Gemini have no `type`."""
    if block.dialect == "gemini.generate":
        return str(kind_of(block.value))
    name, value = next(iter(block.value.items()))
    if block.dialect != "bedrock.converse":
        return str(block.value.get("type"))
    return f"{value['type']}:{value['name']}" if name == "toolUse" else str(name)


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
        "other_items": sorted([kind(p) for p in blocks if kind(p) not in APART] + hidden),
        "tool_plan": next((p.value["tool_plan"] for p in blocks if kind(p) == "tool_plan"), None),
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
    if isinstance(wanted["finish_reason"], int):  # Gemini's enum in numbers
        wanted["finish_reason"] = str(wanted["finish_reason"])
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
        # one ends properly, with an error
        assert reply.complete is (expect["stream_complete"] and not expect.get("stream_error"))
    error = expect.get("stream_error")
    if isinstance(error, str):  # Cohere
        assert reply.fault is not None
        assert reply.fault.message == error
    elif error:
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
    reply = DIALECTS[row["dialect"]].read_reply(row["response"]["status"], body_of(row))
    return reply_with_headers(reply, row["response"]["headers"]) if row["dialect"].startswith("bedrock") else reply


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_streams_in_every_split(row: Row) -> None:
    dialect, body = DIALECTS[row["dialect"]], body_of(row)
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
        assert reply.fault.retry_after_s == expect.get("retry_delay_body_s")
    elif expect["kind"] == "completion":
        check(row, reply)
        assert reply.complete is (reply.fault is None)  # one has an error inside its choice
    else:
        assert reply.usage.input_tokens == OVERLOOKED.get(row["id"], expect["input_tokens"])
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


TARGETS: list[ChatDialect] = [
    OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, COHERE_CHAT, GEMINI_GENERATE,
    OLLAMA_CHAT,
]  # fmt: skip
# Where a refusal is text.
NO_REFUSALS = (ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, COHERE_CHAT, GEMINI_GENERATE, OLLAMA_CHAT)


@pytest.mark.parametrize("row", CHAT_ROWS, ids=ids)
def test_recordings_translate(row: Row) -> None:
    """What a provider accepted can be asked of the other dialects, and its answer be told in each."""
    source = DIALECTS[row["dialect"]]
    assert isinstance(source, ChatDialect)
    asked = source.parse_request(row["request"]["body"])
    for other in (dialect for dialect in TARGETS if dialect is not source):
        body, dropped = other.build_request(asked)
        again = other.parse_request(json.loads(dumps(body)))
        assert spoken(again.messages) == spoken(asked.messages)
        offered = [] if "tools" in dropped else [tool.name for tool in asked.tools]
        if offered or other is not BEDROCK_CONVERSE:  # which wants the tools that were called, offered or not
            assert [tool.name for tool in again.tools] == offered
    reply = read_stream(source, [body_of(row)])
    for dialect in TARGETS:
        writer = dialect.stream_writer("id", "m", True)
        streamed = read_stream(dialect, [writer.write(pieces_of(reply)), writer.end()])
        plain = dialect.read_reply(200, dumps(dialect.build_reply(reply, "m")))
        for told in (streamed, plain):
            assert (told.text or "") == (reply.text or "") + ((reply.refusal or "") if dialect in NO_REFUSALS else "")
            assert (told.reasoning_text, len(told.tool_calls)) == (reply.reasoning_text, len(reply.tool_calls))
            if None not in (reply.usage.input_tokens, reply.usage.output_tokens) and reply.fault is None:
                assert told.usage.output_tokens == reply.usage.output_tokens


def spoken(messages: tuple[Message, ...]) -> str:
    """The texts of a conversation in order, system texts first (they move to the front). Where one text ends and the
    next begins is not looked at: Ollama has one text a turn."""

    def texts(message: Message) -> list[str]:
        inner = [part for p in message.parts for part in (p.parts if isinstance(p, ToolResult) else (p,))]
        return [p.text for p in inner if isinstance(p, Text | Refusal) and p.text]

    first = [text for m in messages if m.role in ("system", "developer") for text in texts(m)]
    rest = [text for m in messages if m.role not in ("system", "developer") for text in texts(m)]
    return "\n\n".join(first + rest)
