"""An answer on its way to the caller: whole or streamed, from the provider or from the cache, translated or not."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from typing import cast

import msgspec

from llmlens.errors import Denied, InternalError, UpstreamFailed, WireError
from llmlens.gateway.books import Books
from llmlens.gateway.cache import Stored, replay_parts
from llmlens.gateway.call import Call
from llmlens.gateway.caller import Caller
from llmlens.gateway.reading import GENERATES, answer_of, is_events, is_stream, with_hints
from llmlens.gateway.record import SIMULATED, Record
from llmlens.gateway.route import NOT_RETURNED, Answering, Leg
from llmlens.records import Fault, LoggedCall, OtherDelta, Outcome, Piece, Reply, Started, ToolDelta
from llmlens.wire import headers as names
from llmlens.wire.accumulate import pieces_of, reply_of
from llmlens.wire.content_coding import decoded
from llmlens.wire.dialect import ChatDialect, StreamReader, StreamWriter

AFTER_MARK_S = 0.05
"""How long a provider may keep the line open after its end mark; nothing of the answer comes after it."""

MAX_HELD_BYTES = 64 * 1024

Headers = list[tuple[bytes, bytes]]
JSON: Headers = [(b"content-type", b"application/json")]
STILL_RUNNING = ("queued", "in_progress")  # a Responses call in the background: the answer is not there yet
BROKE_OFF = Fault("the provider broke off its answer", "api_error", "incomplete")
RECEIPT_FIELDS = (
    "call_id", "outcome", "provider", "model_served", "simulated", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source", "cost_usd", "price_source",
    "latency_s", "first_token_s", "cache", "sample", "cached_from", "saved_usd", "finish_reason", "attempts", "dropped",
)  # fmt: skip


async def relay(answering: Answering, leg: Leg, caller: Caller, books: Books) -> None:
    """Pass on what the provider answers."""
    record, incoming = books.record, answering.incoming
    record.upstream_status = incoming.status
    for name, value in incoming.headers:
        if name == b"content-type":
            record.response_type = value.decode("latin-1")
        elif name == b"content-encoding":
            record.encoding = value.decode("latin-1")
    if telling := leg.dialect.telling_headers:
        headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in incoming.headers)
        record.hints = {name: value for name, value in headers if name in telling}
    record.retry_after_s = answering.retry_after_s
    call = books.call
    streams = is_stream(record.response_type, leg.dialect, asked=call.asked.stream) or is_events(record.response_type)
    if incoming.status >= 400 and leg.dialect is not call.dialect:
        streams = False  # Google says that errors are streams
    if streams or (call.dialect.operation == "raw" and not answering.known_length):
        await _stream(incoming.status, incoming.headers, answering.chunks(), leg, caller, books)
        return
    began_s = books.call.age_s()
    body = await answering.whole(books.house.max_answer_bytes)
    record.upstream_s += books.call.age_s() - began_s
    await _whole(incoming.status, incoming.headers, body, leg, caller, books)


async def replay(stored: Stored, leg: Leg, caller: Caller, books: Books) -> None:
    """Answer from the cache: a stream event by event, as a stream."""
    record = books.record
    record.upstream_status, record.response_type = 200, stored.content_type
    headers = [(b"content-type", stored.content_type.encode("latin-1"))]
    if stored.stream:
        await _stream(200, headers, _each(replay_parts(stored.body)), leg, caller, books)
    else:
        await _whole(200, headers, stored.body, leg, caller, books)


async def refuse(denial: Denied, caller: Caller, books: Books) -> None:
    """An error of our own, in the caller's dialect: as a body, or as an event where a stream has begun."""
    dialect, record = books.call.dialect, books.record
    record.denied(denial)
    fault = cast("Fault", record.fault)
    if caller.begun:
        record.http_status = record.upstream_status
        books.close("incomplete")
        if dialect.fault_event and books.call.asked.stream:
            await caller.end(dialect.fault_event(fault))
        # Else the answer is left unfinished, so that the server drops the connection: the caller must see the break.
        return
    books.close("error" if isinstance(denial, UpstreamFailed | InternalError) else "denied")
    body = dialect.fault_body(fault)
    headers = [*JSON, *_ours(books, None), (b"content-length", str(len(body)).encode())]
    if denial.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, round(denial.retry_after_s))).encode()))
    await caller.begin(denial.status, headers)
    await caller.end(body)


async def _whole(status: int, headers: Headers, body: bytes, leg: Leg, caller: Caller, books: Books) -> None:
    call, record = books.call, books.record
    record.chunk(body, books.house.max_answer_bytes)
    record.http_status = status
    try:
        plain = b"".join(decoded(record.encoding, [body], books.house.max_answer_bytes)) if record.encoding else body
        reply = record.reply = with_hints(leg.dialect.read_reply(status, plain), leg.dialect, record.hints)
    except WireError as error:
        reply, plain = Reply(fault=Fault(str(error), "wire_error"), complete=False), b""
    if leg.dialect is not call.dialect:
        completed = Completed(call)
        status, body = _translated(reply, status, leg, completed, record.retry_after_s)
        record.dropped = [*record.dropped, *completed.lost]
        written = cast("ChatDialect", call.dialect).writes if call.asked.stream and status < 400 else "application/json"
        headers = [(b"content-type", written.encode()), *_waits(headers, reply.fault)]
        record.http_status = status
    stored = None
    kept = status == 200 and reply.complete and reply.fault is None and reply.finish_reason not in STILL_RUNNING
    if kept and record.cache == "miss":
        stored = Stored(call.id, record.response_type or "application/json", leg.dialect.name, plain, stream=False)
    out = [*_returned(headers), *_ours(books, reply), (b"content-length", str(len(body)).encode())]
    if call.receipt:
        out.append((names.RECEIPT.encode(), _receipt(await books.receipt("complete"))))
    books.close("complete", stored)
    await caller.begin(status, out)
    await caller.end(body)


async def _stream(
    status: int, headers: Headers, chunks: AsyncIterator[bytes], leg: Leg, caller: Caller, books: Books
) -> None:
    """Every piece goes on as it comes; the last one after the row is in the journal."""
    call, record = books.call, books.record
    limit = books.house.max_answer_bytes
    translation = None
    if leg.dialect is not call.dialect:
        if record.encoding is not None:
            raise UpstreamFailed(f"{leg.target.provider} compressed a stream although it was asked not to")
        translation = Translation.of(leg, call)
        headers = [(b"content-type", cast("ChatDialect", call.dialect).writes.encode())]
    record.http_status = status
    await caller.begin(status, [*_returned(headers), *_ours(books, None)])
    last, tail, marks = b"", b"\n", leg.dialect.end_marks
    events = WholeEvents() if translation is None and marks and record.encoding is None else None
    ended = False
    async for chunk in chunks:
        record.chunk(chunk, limit)
        out = translation.feed(chunk) if translation else events.feed(chunk) if events else chunk
        ended = any(mark in tail + chunk for mark in marks)
        if ended:
            last = out
            break
        tail = chunk[-32:]
        if out:
            await caller.write(out)
    if ended and record.encoding is None:
        rest = await _rest(chunks, record, limit)
        last += translation.feed(rest) if translation else events.feed(rest) if events else rest
    last += await _closing(ended, leg, translation, events.held if events else b"", books)
    await caller.end(last)


async def _closing(ended: bool, leg: Leg, translation: "Translation | None", held: bytes, books: Books) -> bytes:
    """Close the books; give what is still to be sent."""
    call, record = books.call, books.record
    body = b"".join(record.chunks)
    last = translation.end() if translation else held
    if translation:
        record.dropped = [*record.dropped, *translation.completed.lost]
    sound = record.cache == "hit" or (ended and b'"error"' not in body and record.encoding is None)
    if not sound and leg.dialect.operation in GENERATES:
        reply = answer_of(record, leg.dialect, books.house.max_answer_bytes)
        sound = reply.complete and reply.fault is None
        if not reply.complete and reply.fault is None:
            record.fault = BROKE_OFF
            if call.provider is None and call.dialect.fault_event and record.encoding is None:
                # Without this a cut stream looks like a whole one. A provider's own door gives its own bytes only.
                last = call.dialect.fault_event(BROKE_OFF)
    stored = None
    if sound and record.cache == "miss" and record.http_status == 200 and not record.truncated:
        if record.encoding is not None:
            body = b"".join(decoded(record.encoding, [body], books.house.max_answer_bytes))
        stored = Stored(call.id, record.response_type or "text/event-stream", leg.dialect.name, body, stream=True)
    outcome: Outcome = "incomplete" if record.fault is BROKE_OFF else "complete"
    if call.receipt and is_events(record.response_type):
        last += names.RECEIPT_COMMENT + _receipt(await books.receipt(outcome)) + b"\n\n"
    books.close(outcome, stored)
    return last


async def _rest(chunks: AsyncIterator[bytes], record: Record, limit: int) -> bytes:
    parts = []
    try:
        async with asyncio.timeout(AFTER_MARK_S):
            async for chunk in chunks:
                record.chunk(chunk, limit)
                parts.append(chunk)
    except (TimeoutError, UpstreamFailed):
        pass  # the answer is whole; how the provider hangs up does not matter
    return b"".join(parts)


@dataclass(slots=True)
class WholeEvents:
    """Passes a stream on event by event: what is held is of no use to the caller yet, and if the stream breaks off
    there, an error event can still be written."""

    held: bytes = b""

    def feed(self, chunk: bytes) -> bytes:
        """All whole events so far. An event over MAX_HELD_BYTES goes out in pieces."""
        if not self.held and chunk.endswith(b"\n\n"):
            return chunk
        data = self.held + chunk
        ends = (at + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (at := data.rfind(mark)) >= 0)
        end = max(ends, default=len(data) if len(data) > MAX_HELD_BYTES else 0)
        self.held = data[end:]
        return data[:end]


# ── translation ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Translation:
    """A stream of the provider's dialect → one of the caller's."""

    reader: StreamReader
    writer: StreamWriter
    completed: "Completed"

    @classmethod
    def of(cls, leg: Leg, call: Call) -> "Translation":
        source = leg.dialect
        if source.stream_reader is None:
            raise UpstreamFailed(f"{source.name} has no streams")
        return cls(source.stream_reader(), _writer(call, leg), Completed(call))

    def feed(self, chunk: bytes) -> bytes:
        """The bytes for the caller that `chunk` completes; may be none."""
        return self.writer.write(self.completed.pieces(self.reader.feed(chunk))) if chunk else b""

    def end(self) -> bytes:
        """What was held back, and the end of the stream."""
        return self.writer.write(self.completed.pieces(self.reader.end())) + self.writer.end()


@dataclass(slots=True)
class Completed:
    """Adds to an answer what dialects must say and not every provider does: when it was made, and ids of tool calls.

    The ids are this call's own, so that no two in a conversation are alike.
    """

    call: Call
    lost: dict[str, None] = field(default_factory=dict, init=False)  # names of blocks that only the provider knows
    _begun: bool = field(default=False, init=False)
    _named: set[tuple[int, int]] = field(default_factory=set, init=False)

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """`pieces` of the answer, with what they lack."""
        for piece in pieces:
            if not self._begun:
                self._begun = True
                yield Started(None, None, int(self.call.started_at.timestamp()))
            if isinstance(piece, ToolDelta) and (piece.choice, piece.index) not in self._named:
                self._named.add((piece.choice, piece.index))
                made_up = f"call_{self.call.id[-12:]}_{piece.choice}_{piece.index}"
                piece = replace(piece, id=piece.id or made_up)
            if isinstance(piece, OtherDelta):
                kind = piece.part.value.get("type") or next(iter(piece.part.value), "other")
                self.lost[f"answer.{kind}"] = None
            yield piece


def _writer(call: Call, leg: Leg) -> StreamWriter:
    """Chat completions state their usage in a stream only where the caller asked for it; the others always do."""
    options = (call.json or {}).get("stream_options")
    usage = bool(isinstance(options, dict) and options.get("include_usage"))
    return cast("ChatDialect", call.dialect).stream_writer(call.id, call.asked.model or leg.target.model, usage)


def _translated(
    reply: Reply, status: int, leg: Leg, completed: Completed, retry_after_s: float | None
) -> tuple[int, bytes]:
    """(status, body) of a plain answer (or a plain error) in the caller's dialect."""
    call = completed.call
    ours = cast("ChatDialect", call.dialect)
    if reply.fault is not None or status >= 400 or not reply.complete:
        if status < 400:  # an error in the place of an answer, or nothing that we understand
            status = (reply.fault and reply.fault.status) or 502
        fault = reply.fault or Fault(f"{leg.target.provider} gave no answer in {leg.dialect.name}", "api_error")
        wait_s = fault.retry_after_s if retry_after_s is None else retry_after_s
        return status, ours.fault_body(replace(fault, status=status, retry_after_s=wait_s))
    pieces = completed.pieces(pieces_of(reply))
    if call.asked.stream:  # a server that does not stream although it was asked to
        writer = _writer(call, leg)
        return status, writer.write(pieces) + writer.end()
    whole = reply_of(pieces)
    shown = replace(whole, response_id=whole.response_id or call.id)
    return status, msgspec.json.encode(ours.build_reply(shown, call.asked.model or leg.target.model))


def _waits(headers: Headers, fault: Fault | None) -> Headers:
    """The provider's headers that say how long to wait, or one that says what its error does (Google)."""
    waits = [(name, value) for name, value in headers if b"retry-after" in name]
    if waits or fault is None or fault.retry_after_s is None:
        return waits
    return [(b"retry-after", str(max(1, ceil(fault.retry_after_s))).encode())]


# ── headers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _returned(headers: Headers) -> Headers:
    return [h for h in headers if h[0] not in NOT_RETURNED and not h[0].startswith(b"x-llmlens-")]


def _ours(books: Books, reply: Reply | None) -> Headers:
    call, record = books.call, books.record
    record.overhead_s = max(0.0, call.age_s() - record.upstream_s)
    out = [
        (b"x-llmlens-call-id", call.id.encode()),
        (b"x-llmlens-cache", (record.cache or "off").encode()),
        (b"x-llmlens-overhead-ms", b"%.3f" % (1000 * record.overhead_s)),
    ]
    if record.provider:
        out.append((b"x-llmlens-provider", record.provider.encode("latin-1", "replace")))
        out.append((b"x-llmlens-attempts", str(len(record.attempts)).encode()))
    if model := (reply and reply.model) or record.model_sent:
        out.append((b"x-llmlens-model", _printable(model)))
    if record.provider == SIMULATED:
        out.append((b"x-llmlens-simulated", b"1"))
    if names.ESTIMATED in record.hints:
        out.append((names.ESTIMATED.encode(), b"1"))
    if record.dropped:
        out.append((b"x-llmlens-dropped", _printable(", ".join(record.dropped))))
    if reply is not None and (cost := books.house.rows.cost_usd(record, reply)) is not None:
        out.append((b"x-llmlens-cost-usd", format(cost, "f").encode()))
    return out


def _printable(text: str) -> bytes:
    """For a header: no control characters, nothing outside Latin-1."""
    return "".join(c if c.isprintable() else "?" for c in text)[:1024].encode("latin-1", "replace")


def _receipt(row: LoggedCall) -> bytes:
    facts = {name: getattr(row, name) for name in RECEIPT_FIELDS}
    facts |= {name: None if facts[name] is None else format(facts[name], "f") for name in ("cost_usd", "saved_usd")}
    facts["dropped"] = msgspec.json.decode(row.dropped) if row.dropped else []
    return msgspec.json.encode(facts)


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
