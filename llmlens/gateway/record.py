"""What is kept of a call: raw facts while it runs (`Record`), and one journal payload when it ends (`Finished`).

Decoding the answer is not done on the caller's time: the journal holds the raw bytes, and the writer's thread turns
them into rows (`rows.py`). Secrets are struck out here, where the log is written.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate

import msgspec

from llmlens.errors import Denied
from llmlens.gateway.call import Call
from llmlens.records import Fault, Outcome, Reply
from llmlens.wire.dialect import Dialect

SIMULATED = "sim"
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


def decode(payload: bytes) -> Finished:
    """The facts in a journal payload. Raises msgspec.DecodeError."""
    return _decoder.decode(payload)


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
