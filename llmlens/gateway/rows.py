"""Raw facts of a call → rows of the log: what was answered, what it took, what it cost.

Pure but for the tokenizer's lazy loading; runs in the writer's thread, and once more on the loop for a plain answer's
cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from llmlens.errors import WireError
from llmlens.gateway.reading import GENERATES, WHOLE_OR_NOT, reply_of
from llmlens.gateway.record import SIMULATED, Finished, Record, decode
from llmlens.records import Attempt, Fault, LoggedCall, Outcome, Reply, Usage
from llmlens.store import CacheEntry, Rows
from llmlens.wire import headers as names
from llmlens.wire.billing import Billing, billing_of
from llmlens.wire.content_coding import decoded
from llmlens.wire.dialect import Dialect
from llmlens.wire.dialects import DIALECTS
from llmlens.wire.json_text import as_dict, loads

ZERO = Decimal(0)


@dataclass(slots=True)
class RowMaker:
    """`prices` are the user's own rows, `listed` is the price list in force."""

    prices: Mapping[str, PriceOverride]
    max_bytes: int
    providers: Mapping[str, Provider]
    listed: PriceList

    def of_payload(self, payload: bytes) -> Rows:
        """From the journal, after a crash."""
        return self.rows(decode(payload), None)

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
                reply, first_token_s = reply_of(done, dialect, chunks)
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
            return usage, "estimated" if names.ESTIMATED in done.hints else "provider"
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


def _json(body: bytes) -> Mapping[str, Any] | None:
    try:
        return as_dict(loads(body))
    except WireError:
        return None


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
