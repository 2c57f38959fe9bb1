"""What is kept of a call: raw facts while it runs (`Record`), one journal payload when it ends, rows later.

Decoding the answer is not done on the caller's time: the journal holds the raw bytes, and the writer's thread turns
them into rows (`rows_of`). Secrets are struck out here, where the log is written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from struct import pack
from typing import Any

import msgspec

from llmlens.catalog.price_list import PriceList
from llmlens.catalog.prices import Priced, PriceOverride, price
from llmlens.catalog.providers import Provider
from llmlens.catalog.tokens import count
from llmlens.errors import Denied, WireError
from llmlens.gateway.call import Call
from llmlens.records import CONTENT_PIECES, Attempt, Fault, LoggedCall, Outcome, Reply, Usage
from llmlens.store import CacheEntry, Rows
from llmlens.wire import DIALECTS
from llmlens.wire.accumulate import Accumulator
from llmlens.wire.billing import Billing, billing_of
from llmlens.wire.content_coding import decoded
from llmlens.wire.dialect import Dialect
from llmlens.wire.json_text import as_dict, loads

SIMULATED = "sim"
GENERATES = frozenset({"chat", "text_completion"})
WHOLE_OR_NOT = GENERATES | {"embeddings"}
MASK = b"*"
MIN_SECRET_CHARS = 8  # shorter ones would strike out ordinary words


class Finished(msgspec.Struct, array_like=True, kw_only=True):
    """The raw facts of one call, in the form the journal keeps. Times in seconds since `started_at`."""

    call_id: str
    started_at: datetime
    outcome: Outcome
    dialect: str
    upstream_dialect: str | None
    method: str
    path: str
    model_asked: str | None
    stream: bool
    key_id: str | None
    user_name: str | None
    team: str | None
    where: tuple[str | None, str | None, int | None, str | None, str | None, str | None, bool | None]
    client: str | None
    traceparent: str | None
    tags: str | None
    request_body: bytes
    provider: str | None
    model_sent: str | None
    dropped: list[str]
    attempts: list[tuple[str, str | None, int | None, str | None, float, float]]
    http_status: int | None  # as the caller saw it
    upstream_status: int | None
    response_type: str | None
    encoding: str | None
    chunks: list[bytes]
    chunk_times_s: list[float]
    fault: tuple[str, str | None, str | None, str | None, float | None] | None
    latency_s: float
    overhead_s: float | None
    retry_after_s: float | None
    cache: str | None
    cache_key: bytes | None
    sample: int | None
    cached_from: str | None
    expires_at: datetime | None
    stored: bool  # the answer may be replayed from the log
    hints: dict[str, str] = {}  # headers that tell what the body does not


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Finished)


@dataclass(slots=True)
class Record:
    """One call while it runs. Whoever handles the call fills it in; `finish` freezes it."""

    call: Call
    provider: str | None = None
    model_sent: str | None = None
    upstream_dialect: Dialect | None = None
    dropped: list[str] = field(default_factory=list)
    attempts: list[tuple[str, str | None, int | None, str | None, float, float]] = field(default_factory=list)
    http_status: int | None = None
    upstream_status: int | None = None
    response_type: str | None = None
    encoding: str | None = None
    hints: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    chunk_times_s: list[float] = field(default_factory=list)
    logged_bytes: int = 0
    truncated: bool = False
    fault: Fault | None = None
    retry_after_s: float | None = None
    cache: str | None = None
    cache_key: bytes | None = None
    sample: int | None = None
    cached_from: str | None = None
    upstream_s: float = 0.0  # spent waiting for the provider
    overhead_s: float | None = None  # the gateway's own part of the time until the answer began
    secrets: tuple[str, ...] = ()
    reply: Reply | None = None  # where the answer was read already
    latency_s: float | None = None  # fixed by the first `finish`

    def chunk(self, data: bytes, max_bytes: int) -> None:
        """One piece of the answer went by. Past `max_bytes` it is no longer kept, and the row says so."""
        self.logged_bytes += len(data)
        if self.logged_bytes > max_bytes:
            self.truncated = True
            return
        self.chunks.append(data)
        self.chunk_times_s.append(self.call.age_s())

    def denied(self, denial: Denied) -> None:
        """The gateway itself answers, with an error."""
        self.http_status = denial.status
        self.retry_after_s = denial.retry_after_s
        self.fault = Fault(str(denial), denial.type, denial.code, denial.param, denial.status, denial.retry_after_s)

    def finish(self, outcome: Outcome, *, stored: bool = False, expires_at: datetime | None = None) -> Finished:
        """The facts so far, for the journal."""
        call, fault, where = self.call, self.fault, self.call.where
        latency_s = self.latency_s = self.latency_s or call.age_s()
        return Finished(
            call_id=call.id,
            started_at=call.started_at,
            outcome=outcome,
            dialect=call.dialect.name,
            upstream_dialect=self.upstream_dialect.name if self.upstream_dialect else None,
            method=call.method,
            path=call.path,
            model_asked=call.asked.model,
            stream=call.asked.stream,
            key_id=call.principal.key_id,
            user_name=call.principal.user,
            team=call.principal.team,
            where=(where.notebook, where.cell_id, where.execution_count, where.cell_sha, where.run_id,
                   where.git_commit, where.git_dirty),
            client=call.headers.get("user-agent"),
            traceparent=call.headers.get("traceparent"),
            tags=call.tags,
            request_body=call.body,
            provider=self.provider,
            model_sent=self.model_sent,
            dropped=self.dropped,
            attempts=self.attempts,
            http_status=self.http_status,
            upstream_status=self.upstream_status,
            response_type=self.response_type,
            encoding=self.encoding,
            chunks=self.chunks,
            chunk_times_s=self.chunk_times_s,
            fault=(fault.message, fault.type, fault.code, fault.param, fault.retry_after_s) if fault else None,
            latency_s=latency_s,
            overhead_s=self.overhead_s,
            retry_after_s=self.retry_after_s,
            cache=self.cache,
            cache_key=self.cache_key,
            sample=self.sample,
            cached_from=self.cached_from,
            expires_at=expires_at,
            stored=stored,
            hints=self.hints,
        )  # fmt: skip


def encode(finished: Finished) -> bytes:
    """The journal payload."""
    return _encoder.encode(finished)


def strike_out(finished: Finished, secrets: Iterable[str]) -> bool:
    """Mask every occurrence of a secret in `finished`, byte for byte, so that chunks keep their lengths.

    Gives whether there was one: then whatever was read from the bytes before is not fit for the log.
    """
    before = (finished.request_body, finished.chunks, finished.fault)
    for secret in secrets:
        if len(secret) < MIN_SECRET_CHARS:
            continue
        needle = secret.encode()
        mask = MASK * len(needle)
        finished.request_body = finished.request_body.replace(needle, mask)
        if len(finished.chunks) == 1:
            finished.chunks = [finished.chunks[0].replace(needle, mask)]
        elif finished.chunks and needle in (whole := b"".join(finished.chunks)):
            whole = whole.replace(needle, mask)
            ends = list(accumulate(len(c) for c in finished.chunks))
            finished.chunks = [whole[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        if finished.fault and secret in finished.fault[0]:
            finished.fault = (finished.fault[0].replace(secret, mask.decode()), *finished.fault[1:])
    return before != (finished.request_body, finished.chunks, finished.fault)


@dataclass(slots=True)
class RowMaker:
    """Raw facts → rows. Pure but for the tokenizer's lazy loading; runs in the writer's thread."""

    prices: Mapping[str, PriceOverride]
    max_bytes: int
    providers: Mapping[str, Provider]
    listed: PriceList

    def of_payload(self, payload: bytes) -> Rows:
        """From the journal, after a crash."""
        return self.rows(_decoder.decode(payload), None)

    def rows(self, done: Finished, reply: Reply | None) -> Rows:
        """`reply` where the answer was read already."""
        dialect = DIALECTS[done.upstream_dialect or done.dialect]
        read = self._read(done, dialect, reply)
        usage, usage_source = self._usage(done, dialect, read.reply)
        priced = self.priced(done, read, usage)
        hit = done.cache == "hit"
        reply = read.reply
        fault = read.fault
        body = None if hit or not done.chunks else b"".join(read.chunks)
        where = done.where
        call = LoggedCall(
            call_id=done.call_id,
            started_at=done.started_at,
            outcome=read.outcome,
            operation=dialect.operation,
            key_id=done.key_id,
            user_name=done.user_name,
            team=done.team,
            notebook=where[0],
            cell_id=where[1],
            execution_count=where[2],
            cell_sha=where[3],
            run_id=where[4],
            git_commit=where[5],
            git_dirty=where[6],
            client=done.client,
            traceparent=done.traceparent,
            tags=done.tags,
            dialect=done.dialect,
            method=done.method,
            path=done.path,
            model_asked=done.model_asked,
            stream=done.stream,
            request_body=done.request_body or None,
            provider=done.provider,
            model_sent=done.model_sent,
            upstream_dialect=done.upstream_dialect,
            dropped=msgspec.json.encode(done.dropped).decode() if done.dropped else None,
            attempts=len(done.attempts),
            simulated=done.provider == SIMULATED,
            http_status=done.http_status,
            response_id=reply.response_id,
            model_served=reply.model,
            text=reply.text,
            reasoning_text=reply.reasoning_text,
            refusal=reply.refusal,
            tool_calls=_tool_calls(reply),
            finish_reason=reply.finish_reason,
            n_choices=len(reply.choices) or None,
            n_vectors=reply.n_vectors,
            dimensions=reply.dimensions,
            response_type=done.response_type,
            response_body=body,
            chunk_timeline=_timeline(read.chunks, done.chunk_times_s) if done.stream and not hit else None,
            error_type=fault.type if fault else None,
            error_code=fault.code if fault else None,
            error_message=fault.message if fault else None,
            error_param=fault.param if fault else None,
            retry_after_s=fault.retry_after_s if done.retry_after_s is None and fault else done.retry_after_s,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            usage_source=usage_source,
            cost_usd=ZERO if hit else priced.cost_usd if priced else None,
            price_source=priced.source if priced else None,
            latency_s=done.latency_s,
            first_token_s=read.first_token_s,
            overhead_s=done.overhead_s,
            cache=done.cache,  # type: ignore[arg-type]
            cache_key=done.cache_key.hex() if done.cache_key else None,
            sample=done.sample,
            cached_from=done.cached_from,
            saved_usd=priced.cost_usd if hit and priced else None,
            stated_cost_usd=None if hit else reply.stated_cost_usd,
            finish_detail=reply.choices[0].finish_detail if reply.choices else None,
        )
        return Rows(call, tuple(Attempt(*a) for a in done.attempts), _cache_entry(done, body))

    def priced(self, done: Finished, read: "_Read", usage: Usage) -> Priced | None:
        """What the provider charges for this answer; None where that is unknown. Errors and denials cost nothing
        that we know of, so theirs is None too unless the provider counted tokens."""
        if not done.provider or not usage:
            return None
        billing = billing_of(b"".join(read.chunks), done.request_body)
        return self._price(done.provider, done.model_sent, read.reply, usage, done.started_at, billing)

    def cost_usd(self, record: Record, reply: Reply) -> Decimal | None:
        """What a plain answer costs, for its header: 0 on a hit."""
        if record.cache == "hit":
            return ZERO
        if not record.provider or not reply.usage:
            return None
        billing = billing_of(b"".join(record.chunks), record.call.body) if record.encoding is None else Billing()
        priced = self._price(
            record.provider, record.model_sent, reply, reply.usage, record.call.started_at, billing
        )  # fmt: skip
        return priced.cost_usd if priced else None

    def _price(
        self, provider: str, model: str | None, reply: Reply, usage: Usage, at: datetime, billing: Billing
    ) -> Priced | None:
        return price(
            self.providers.get(provider, provider), model or reply.model or "", usage, at, self.prices,
            served=reply.model, listed=self.listed, kind=billing.kind, counts=billing.counts,
        )  # fmt: skip

    def _read(self, done: Finished, dialect: Dialect, reply: Reply | None) -> "_Read":
        outcome, chunks, first_token_s = done.outcome, done.chunks, None
        fault = Fault(done.fault[0], done.fault[1], done.fault[2], done.fault[3]) if done.fault else None
        if reply is None:
            try:
                chunks = decoded(done.encoding, done.chunks, self.max_bytes)
                reply, first_token_s = _reply(done, dialect, chunks)
            except WireError as error:
                reply, fault = Reply(complete=False), fault or Fault(str(error), "wire_error")
        fault = fault or reply.fault
        if outcome == "complete":
            if fault is not None or (done.http_status or 0) >= 400:
                outcome = "error"
            elif not reply.complete and dialect.operation in WHOLE_OR_NOT:
                outcome = "incomplete"
        return _Read(reply, outcome, chunks, first_token_s, fault)

    def _usage(self, done: Finished, dialect: Dialect, reply: Reply) -> tuple[Usage, Any]:
        usage = reply.usage
        # A provider's count of an answer that broke off covers what had come when it last counted, or nothing.
        partial = done.stream and not reply.complete and bool(reply.choices)
        if usage and not partial:
            return usage, "provider"
        if dialect.operation not in GENERATES or not reply.choices:
            return usage, None
        asked = _json(done.request_body)
        if asked is None:
            return usage, None
        texts = DIALECTS[done.dialect].prompt_texts(asked)
        model = done.model_sent or done.model_asked or ""
        answer = [reply.text or "", reply.reasoning_text or "", *(c.arguments for c in reply.tool_calls)]
        n_output = sum(count(t, model) for t in answer)
        n_input = usage.input_tokens if usage.input_tokens is not None else sum(count(t, model) for t in texts)
        return replace(usage, input_tokens=n_input, output_tokens=max(n_output, usage.output_tokens or 0)), "estimated"


@dataclass(frozen=True, slots=True)
class _Read:
    reply: Reply
    outcome: Outcome
    chunks: list[bytes]
    first_token_s: float | None
    fault: Fault | None


ZERO = Decimal(0)


def is_stream(content_type: str | None, dialect: Dialect, *, asked: bool) -> bool:
    """Whether an answer of `dialect` comes in pieces; JSON does only where a stream was `asked` for."""
    if not content_type or dialect.stream_reader is None:
        return False
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in dialect.stream_types and (asked or media_type != "application/json")


def is_events(content_type: str | None) -> bool:
    """Whether it says that server-sent events come, whatever the dialect."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "text/event-stream"


def answer_of(record: Record, dialect: Dialect, max_bytes: int) -> Reply:
    """What the answer says that `record` has seen so far."""
    try:
        return _reply(record, dialect, decoded(record.encoding, record.chunks, max_bytes))[0]
    except WireError as error:
        return Reply(complete=False, fault=Fault(str(error), "wire_error"))


def _reply(done: Finished | Record, dialect: Dialect, chunks: list[bytes]) -> tuple[Reply, float | None]:
    status = done.upstream_status or done.http_status or 0
    if not chunks:
        return Reply(complete=status == 200 and dialect.operation == "raw"), None
    asked = done.stream if isinstance(done, Finished) else done.call.asked.stream
    if dialect.stream_reader is None or not is_stream(done.response_type, dialect, asked=asked):
        return with_hints(dialect.read_reply(status, b"".join(chunks)), dialect, done.hints), None
    reader, seen, first_token_s = dialect.stream_reader(), Accumulator(), None
    for chunk, at_s in zip(chunks, done.chunk_times_s, strict=True):
        pieces = reader.feed(chunk)
        if first_token_s is None and any(isinstance(p, CONTENT_PIECES) for p in pieces):
            first_token_s = at_s
        seen.add(pieces)
    seen.add(reader.end())
    return with_hints(seen.reply(), dialect, done.hints), first_token_s


def _json(body: bytes) -> Mapping[str, Any] | None:
    try:
        return as_dict(loads(body))
    except WireError:
        return None


def with_hints(reply: Reply, dialect: Dialect, hints: Mapping[str, str]) -> Reply:
    """`reply` with what only the headers of the answer say."""
    return dialect.from_headers(reply, hints) if hints and dialect.from_headers else reply


def _tool_calls(reply: Reply) -> str | None:
    calls = reply.tool_calls
    if not calls:
        return None
    return msgspec.json.encode([{"id": c.id, "name": c.name, "arguments": c.arguments} for c in calls]).decode()


def _timeline(chunks: list[bytes], times_s: list[float]) -> bytes:
    return b"".join(pack("<If", end, at) for end, at in zip(accumulate(map(len, chunks)), times_s, strict=True))


def _cache_entry(done: Finished, body: bytes | None) -> CacheEntry | None:
    if not done.stored or done.cache_key is None or body is None:
        return None
    now = done.started_at + timedelta(seconds=done.latency_s)
    return CacheEntry(done.cache_key, done.call_id, now, done.expires_at, len(body))
