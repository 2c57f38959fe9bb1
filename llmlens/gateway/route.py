"""Where a call goes, and how often it is tried: model → target → request, then send, wait, send again.

A retry happens only before the first byte of the answer has been passed on. Wait hints, in this order:
`retry-after-ms`, `x-ms-retry-after-ms`, `retry-after`; without one, exponential backoff with full jitter
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from time import monotonic
from typing import cast

import msgspec

from llmlens.catalog.providers import Provider
from llmlens.errors import BadRequest, SettingsError, UpstreamFailed, UpstreamTimeout, WireError
from llmlens.gateway.call import CACHEABLE, Call, target_of, url_of, with_model
from llmlens.gateway.counting import ORIGIN as COUNTING
from llmlens.gateway.counting import CountingUpstream, counting_request
from llmlens.gateway.record import Record
from llmlens.gateway.sign import Credentials, find_credentials, region_of, sign, signed_headers
from llmlens.gateway.upstream import Incoming, Outgoing, Upstream
from llmlens.records import Secret, Target
from llmlens.wire import headers as names
from llmlens.wire.content_coding import accepted
from llmlens.wire.dialect import ChatDialect, CountDialect, Dialect
from llmlens.wire.dialects import CHAT, DIALECTS
from llmlens.wire.json_text import dumps

# 529 is Anthropic's "overloaded"; RFC 9110 does not define it.
RETRYABLE = frozenset({408, 429, 500, 502, 503, 504, 529})
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0

SAFE = frozenset({"GET", "HEAD"})

HOP_BY_HOP = frozenset({
    "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    "proxy-authenticate", "proxy-authorization",
})  # fmt: skip
# Not the provider's business, or set anew: cookies belong to the dashboard, Host and length to the new connection.
NOT_SENT = HOP_BY_HOP | {"host", "content-length", "cookie", "origin", "referer", "accept-encoding", "cache-control",
                         "expect", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}  # fmt: skip
CREDENTIALS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key"})
NOT_RETURNED = frozenset(name.encode() for name in HOP_BY_HOP | {"content-length"})
ANTHROPIC_VERSION = "2023-06-01"
LOOK_AGAIN_S = 60.0  # for AWS credentials that were not there: asking may take seconds


class Leg(msgspec.Struct, frozen=True):
    """A call prepared for one target. `dialect` is the provider's; where it is not the caller's, it is translated."""

    target: Target
    provider: Provider
    dialect: Dialect
    outgoing: Outgoing
    dropped: list[str]
    origin: str
    path: str
    secret: str | None  # in the headers; to be struck out of the log
    signed: bool = False  # each try is signed with the gateway's own AWS credentials
    estimated: bool = False  # the provider is not asked: the gateway counts the tokens itself


@dataclass(slots=True)
class Router:
    """`secret_of(provider)` gives the gateway's own key for it; `sleep` and `jitter` are handed in for the tests."""

    providers: Mapping[str, Provider]
    http: Upstream
    simulated: Upstream
    secret_of: Callable[[Provider], Secret | None]
    max_attempts: int = 3
    max_retry_wait_s: float = 30.0
    deadline_s: float = 1800.0  # of a call, over all its tries; later ones are not begun
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    counting: Upstream = field(default_factory=CountingUpstream)
    _aws: Credentials | None = field(default=None, init=False)
    _aws_missing: str = field(default="", init=False)
    _aws_again_s: float = field(default=0.0, init=False)  # when to look for them, on the monotonic clock

    def leg(self, call: Call) -> Leg:
        """Prepare `call` for its target.

        Raises:
            ModelUnknown, BadRequest: no provider serves it, or not in a way that can be translated.
        """
        target = target_of(call, self.providers)
        provider = self.providers[target.provider]
        if isinstance(call.dialect, CountDialect) and call.provider is None and not provider.offers(call.dialect.name):
            return _estimate(call, call.dialect, target, provider)
        dialect = self._dialect(call, provider)
        if dialect is call.dialect:
            body, dropped = call.body, cast("list[str]", [])
            if call.json is not None and call.json.get("model") and call.provider is None:
                body = with_model(body, call.json, target.model)
            headers = {k: v for k, v in call.headers.items()
                       if k not in NOT_SENT and k not in CREDENTIALS and not k.startswith(names.PREFIX)}  # fmt: skip
        else:
            body, dropped = _translated(call, dialect, target.model)
            headers = {"content-type": "application/json"}
            headers |= {k: call.headers[k] for k in ("user-agent", "traceparent") if k in call.headers}
        # What is translated must be read here, piece by piece.
        wanted = call.headers.get("accept-encoding") if dialect is call.dialect else None
        headers["accept-encoding"] = accepted(wanted)
        if provider.dialect == "anthropic":
            headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
        secret = self._authorize(headers, call, provider)
        signed = secret is None and provider.dialect == "bedrock"
        url = url_of(provider, call, dialect, target.model)
        origin, path = _split(url)
        return Leg(
            target, provider, dialect, Outgoing(call.method, url, headers, body), dropped, origin, path, secret, signed
        )

    async def send(self, call: Call, leg: Leg, record: Record, sample: int) -> "Answering":
        """Send until an answer comes that is not worth another try; the last one is given as it is.

        Raises:
            UpstreamFailed, UpstreamTimeout: no answer came at all.
            BadRequest: tokens that the gateway was to count itself cannot be known.
        """
        if leg.estimated:
            return await _answering(await self.counting.send(leg.outgoing))
        upstream = self.simulated if leg.provider.simulated else self.http
        out = leg.outgoing
        outgoing = Outgoing(out.method, out.url, out.headers, out.body, sample) if sample else out
        for attempt in range(1, self.max_attempts + 1):
            began_s = call.age_s()
            try:
                sent = await self._signed(outgoing, call) if leg.signed else outgoing
                incoming = await upstream.send(sent)
                answering = await _answering(incoming)
            except UpstreamFailed as failure:
                self._note(record, leg, None, str(failure), began_s, call)
                # A provider that is silent may still be at work, and paid; a raw POST may have made something.
                silent = isinstance(failure, UpstreamTimeout)
                if attempt == self.max_attempts or silent or not (call.cacheable or call.method in SAFE):
                    raise
                wait_s: float | None = None
            else:
                again = incoming.status in RETRYABLE and attempt < self.max_attempts
                again = again and (call.cacheable or call.method in SAFE) and call.age_s() < self.deadline_s
                wait_s = retry_after_s(incoming.headers) if again else None
                self._note(record, leg, incoming.status, None, began_s, call)
                if not again or (wait_s or 0.0) > self.max_retry_wait_s:
                    return answering
                incoming.close()
            waiting_s = wait_s if wait_s is not None else self._backoff_s(attempt)
            await self.sleep(waiting_s)
            record.upstream_s += waiting_s
        raise AssertionError("the loop returns or raises")

    def _dialect(self, call: Call, provider: Provider) -> Dialect:
        if call.provider is not None or provider.offers(call.dialect.name):
            return call.dialect
        if call.dialect.operation == "chat":
            return _chat_of(provider)
        if call.dialect.operation in CACHEABLE:
            raise BadRequest(
                f"{provider.name!r} offers no {call.dialect.operation} in the {call.dialect.name} dialect",
                param="model",
            )
        return call.dialect

    def _authorize(self, headers: dict[str, str], call: Call, provider: Provider) -> str | None:
        """Put a key into `headers`; gives it. The gateway's own if the user's row names one; else the caller's, where
        it is meant for this provider; else the gateway's from its environment."""
        ours = self.secret_of(provider)
        theirs = call.caller_credential if _meant_for(call, provider) else None
        key = ours.reveal() if ours and (provider.own_key or not theirs) else theirs
        if not key or provider.simulated:
            return None
        if theirs == key and call.provider is not None:  # in the header the SDK chose
            headers |= {k: v for k, v in call.headers.items() if k in CREDENTIALS}
            covered = signed_headers(key) - {"host", "content-length"}  # those two are made as they were
            headers |= {k: v for k, v in call.headers.items() if k in covered}
        elif provider.auth in ("bearer", "none"):
            headers["authorization"] = f"Bearer {key}"
        else:
            headers[provider.auth] = key
        return key

    async def _signed(self, request: Outgoing, call: Call) -> Outgoing:
        """With the signature of the gateway's own AWS credentials. A call by Bedrock's own door goes out as it is where
        there are none: Bedrock says what it lacks.

        Raises:
            BadRequest: the gateway chose Bedrock, and has no credentials for it.
        """
        if monotonic() > self._aws_again_s:
            try:
                self._aws, self._aws_missing = await asyncio.to_thread(find_credentials), ""
                self._aws_again_s = inf  # they renew themselves
            except SettingsError as error:
                self._aws, self._aws_missing = None, str(error)
                self._aws_again_s = monotonic() + LOOK_AGAIN_S
        if self._aws is None:
            if call.provider is None:
                raise BadRequest(self._aws_missing)
            return request
        region = region_of(request.url) or "us-east-1"
        headers = sign(request.headers, request.method, request.url, request.body, region, self._aws)
        return Outgoing(request.method, request.url, headers, request.body)

    def _note(
        self, record: Record, leg: Leg, status: int | None, error: str | None, began_s: float, call: Call
    ) -> None:
        took_s = call.age_s() - began_s
        record.upstream_s += took_s
        record.attempts.append((leg.target.provider, leg.target.model or None, status, error, began_s, took_s))

    def _backoff_s(self, attempt: int) -> float:
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1))
        return longest * (0.5 + 0.5 * self.jitter())


class Answering:
    """An answer whose first bytes are there; `first` is empty only where the body is. Read it once."""

    __slots__ = ("first", "incoming")

    def __init__(self, incoming: Incoming, first: bytes) -> None:
        self.incoming, self.first = incoming, first

    @property
    def known_length(self) -> bool:
        """Whether the provider said beforehand how long its answer is."""
        return any(name == b"content-length" for name, _ in self.incoming.headers)

    @property
    def retry_after_s(self) -> float | None:
        """The wait that the provider asks for."""
        return retry_after_s(self.incoming.headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        chunk, read = self.first, self.incoming.read
        while chunk:
            yield chunk
            chunk = await read()

    async def whole(self, max_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFailed where it breaks off or is longer than `max_bytes`."""
        parts, size, read = [self.first], len(self.first), self.incoming.read
        while chunk := await read():
            parts.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                raise UpstreamFailed(f"the answer has more than {max_bytes} bytes (gateway.max_answer_bytes)")
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _estimate(call: Call, dialect: CountDialect, target: Target, provider: Provider) -> Leg:
    """For a provider that has no counter."""
    outgoing = counting_request(dialect, target, call.body)
    path = outgoing.url.removeprefix(COUNTING)
    return Leg(target, provider, dialect, outgoing, [], COUNTING, path, None, estimated=True)


def _chat_of(provider: Provider) -> ChatDialect:
    """What chat calls are translated to: the dialect of its family, or, where it has not that, another that it has."""
    usual = CHAT[provider.dialect]
    others = (dialect for dialect in DIALECTS.values() if isinstance(dialect, ChatDialect))
    return next((dialect for dialect in (usual, *others) if provider.offers(dialect.name)), usual)


def _meant_for(call: Call, provider: Provider) -> bool:
    """Whether the caller's own credential may go to `provider`: it must have been sent with that provider in mind.

    By the unified door a model name picks the provider, while the SDK sends the key of its own home (OpenAI's SDK adds
    OPENAI_API_KEY to every call). That key is for the home, or for a server of the user's that is declared without one.
    """
    if call.provider is not None:
        return True
    named = call.headers.get(names.KEY_OF)
    if named is not None:
        return named == provider.name
    return provider.name == call.dialect.name.partition(".")[0] or (
        provider.key_env is None and provider.source is None
    )


async def _answering(incoming: Incoming) -> Answering:
    try:
        return Answering(incoming, await incoming.read())
    except BaseException:
        incoming.close()
        raise


def retry_after_s(headers: list[tuple[bytes, bytes]]) -> float | None:
    """How long the provider asks to wait; None where it does not say. Never negative."""
    known = {name: value.decode("latin-1").strip() for name, value in headers if b"retry-after" in name}
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"x-ms-retry-after-ms", 0.001), (b"retry-after", 1.0)):
        value = known.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * unit_s)
        except ValueError:
            try:
                return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
            except (ValueError, TypeError):
                continue
    return None


def _translated(call: Call, dialect: Dialect, model: str) -> tuple[bytes, list[str]]:
    if not (isinstance(dialect, ChatDialect) and isinstance(call.dialect, ChatDialect) and call.json is not None):
        raise SettingsError(f"{call.dialect.name} cannot be translated to {dialect.name}")
    try:
        neutral = call.dialect.parse_request(call.json)
    except WireError as error:
        raise BadRequest(str(error)) from error
    body, dropped = dialect.build_request(replace(neutral, model=model, stream=call.asked.stream))
    if dropped and call.headers.get(names.STRICT) == "1":
        raise BadRequest(f"{dialect.name} cannot carry {', '.join(dropped)}, and {names.STRICT} is set")
    return dumps(body if dialect.read_path else {**body, "model": model}), dropped


def _split(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    if not rest:
        return "sim:", url.removeprefix("sim:")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}", (slash + path).partition("?")[0]
