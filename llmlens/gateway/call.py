"""One HTTP request → one `Call`: which dialect, which provider, which model, which cell. No I/O.

A call enters by one of three doors, and all three give the same `Call`:

* the origin door: the SDK's own path, with `x-llmlens-origin: https://api.openai.com`
* the native door: `/{provider}/…`, the provider's own path behind its name
* the unified door: `/v1/chat/completions`, `/v1/responses`, `/v1/messages`, `/v1beta/models/…` …; the model names the
  provider
"""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from random import getrandbits
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from llmlens.catalog.providers import Provider, load_catalog, resolve_model
from llmlens.errors import BadRequest, Forbidden, ModelUnknown, WireError
from llmlens.records import CacheMode, Principal, Provenance, Target
from llmlens.wire import headers as names
from llmlens.wire.dialect import Asked, ChatDialect, Dialect
from llmlens.wire.dialects import OPENAI_MODELS, UNKNOWN, dialect_for

CACHE_MODES = ("on", "off", "refresh", "only")
CACHEABLE = frozenset({"chat", "text_completion", "embeddings", "count_tokens"})
NOTHING_ASKED = Asked(model=None)


class Call(msgspec.Struct, frozen=True):
    """One call as it came in. `json` is None where the body is empty or the operation is raw and not JSON."""

    id: str
    started_at: datetime
    started: float  # monotonic seconds
    method: str
    path: str  # as the dialect knows it, without our prefixes
    query: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    json: Mapping[str, Any] | None
    dialect: Dialect
    asked: Asked
    provider: Provider | None  # None: the model decides (the unified door)
    principal: Principal
    where: Provenance
    cache_mode: CacheMode
    sample: int | None  # None: count it
    group: tuple[str, int, int] | None  # (id, k, n): the k-th of n identical calls that were sent at once
    ttl_s: float | None
    tags: str | None
    receipt: bool
    caller_credential: str | None  # a provider key of the caller's own; goes to no provider but the one it named

    @property
    def cacheable(self) -> bool:
        """Whether this is an operation whose answer depends on nothing but the request."""
        return self.method == "POST" and self.dialect.operation in CACHEABLE

    def age_s(self) -> float:
        """Seconds since it came in."""
        return time.monotonic() - self.started


class Door(msgspec.Struct, frozen=True):
    """Where a request came in: the path its dialect knows, and the provider if the door names it."""

    path: str
    provider: Provider | None
    dialect: Dialect


def door_of(method: str, path: str, headers: Mapping[str, str], providers: Mapping[str, Provider]) -> Door:
    """Raises Forbidden for an origin that is no known provider's, ModelUnknown (404) for a path that leads nowhere."""
    origin = headers.get(names.ORIGIN)
    if origin is not None:
        provider = _by_origin(origin, path, providers)
        return Door(path, provider, _dialect(provider.dialect, path, method))
    head, _, rest = path[1:].partition("/")
    if head in ("v1", "v1beta"):
        if path.startswith("/v1/models/") and method != "POST":
            return Door(path, None, OPENAI_MODELS)
        return Door(path, None, _dialect(_family(path), path, method))
    if head in providers and rest:
        provider = providers[head]
        return Door(f"/{rest}", provider, _dialect(provider.dialect, f"/{rest}", method))
    raise ModelUnknown(
        f"nothing is served at {path!r}; use /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, "
        "/v1beta/models/{model}:generateContent, /v1/models or /{provider}/… with one of: "
        + ", ".join(sorted(providers))
    )


def fallback_door(path: str) -> Door:
    """For an answer to a request whose door is not known: the dialect that its path looks like."""
    return Door(path, None, UNKNOWN[_family(path)])


def _family(path: str) -> str:
    """Whose errors a caller of `path` understands."""
    if "/messages" in path:
        return "anthropic"
    return "gemini" if "/v1beta" in path or ":" in path else "openai"


def unread_call(
    call_id: str, method: str, door: Door, headers: Mapping[str, str], body: bytes, principal: Principal
) -> Call:
    """A call that could not be read, for its row in the log."""
    return Call(
        id=call_id, started_at=datetime.now(UTC), started=time.monotonic(), method=method, path=door.path, query="",
        headers=headers, body=body, json=None, dialect=door.dialect, asked=NOTHING_ASKED, provider=door.provider,
        principal=principal, where=names.decode_provenance(headers), cache_mode="off", sample=None, group=None,
        ttl_s=None, tags=None, receipt=False, caller_credential=None,
    )  # fmt: skip


def read_call(
    *,
    call_id: str,
    method: str,
    door: Door,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    principal: Principal,
    credential: str | None,
    default_cache: CacheMode,
) -> Call:
    """Raises BadRequest where the body is not JSON, or a field that the gateway reads has the wrong type."""
    dialect = door.dialect
    json = _json(body, dialect, method)
    try:
        asked = dialect.read_request(json) if json is not None else NOTHING_ASKED
    except WireError as error:
        raise BadRequest(str(error)) from error
    if dialect.read_path is not None:
        model, stream = dialect.read_path(door.path)
        asked = replace(asked, model=model or asked.model, stream=asked.stream if stream is None else stream)
    if door.provider is None and dialect.operation in CACHEABLE and not asked.model:
        raise BadRequest('the request names no model; set "model", e.g. "sim/small"', param="model")
    return Call(
        id=call_id,
        started_at=datetime.now(UTC),
        started=time.monotonic(),
        method=method,
        path=door.path,
        query=query,
        headers=headers,
        body=body,
        json=json,
        dialect=dialect,
        asked=asked,
        provider=door.provider,
        principal=principal,
        where=names.decode_provenance(headers),
        cache_mode=_cache_mode(headers, default_cache),
        sample=_count(headers, names.SAMPLE),
        group=_group(headers.get(names.GROUP)),
        ttl_s=_count(headers, names.TTL),
        tags=_tags(headers.get(names.TAGS)),
        receipt=headers.get(names.RECEIPT) == "1",
        caller_credential=credential,
    )


def target_of(call: Call, providers: Mapping[str, Provider]) -> Target:
    """The provider and the model name that it knows. Raises ModelUnknown with what is known."""
    if call.provider is not None:
        return Target(call.provider.name, call.asked.model or "")
    asked = call.asked.model or (call.json or {}).get("model")
    if not isinstance(asked, str) or not asked:
        raise ModelUnknown(f"{call.path!r} names no model, so no provider; use /{{provider}}{call.path}")
    provider, model = resolve_model(asked, providers)
    return Target(provider, model)


def url_of(provider: Provider, call: Call, dialect: Dialect, model: str) -> str:
    """Where `call` goes at `provider`; `dialect` is the one the provider speaks, `model` the name it knows.

    Raises:
        ModelUnknown: the provider's address is not known yet.
    """
    if dialect is not call.dialect:  # translated: nothing of the caller's path is meant for this provider
        return provider.base_for(dialect.name) + cast("ChatDialect", dialect).call_path(model, call.asked.stream)
    if call.provider is None:  # the unified door: our /v1 stands for the provider's own base
        rest = call.path.removeprefix("/v1beta").removeprefix("/v1")
        if isinstance(dialect, ChatDialect) and dialect.read_path:
            rest = dialect.call_path(model, call.asked.stream).partition("?")[0]
        url = provider.base_for(dialect.name) + rest
    elif (meant := call.headers.get(names.ORIGIN)) and provider.origin_for(meant) == meant.rstrip("/").lower():
        url = meant.rstrip("/") + call.path
    else:
        url = _joined(provider, dialect.name, call.path)
    return f"{url}?{call.query}" if call.query else url


def _joined(provider: Provider, dialect: str, path: str) -> str:
    """The address of the provider's own `path`, however much of its base the path repeats."""
    base, origin, prefix = _base(provider.base_for(dialect))
    shipped = load_catalog().get(provider.name)
    if shipped is not None and shipped.base_url != provider.base_url:  # moved: the new base stands for the old one
        old = urlsplit(shipped.base_url).path
        if old and path.startswith(old + "/"):
            return base + path[len(old) :]
    ours, theirs = prefix.split("/")[1:], path.split("/")[1:]
    for n in range(min(len(ours), len(theirs)), 0, -1):
        if ours[-n:] == theirs[:n]:
            return "/".join([base, *theirs[n:]])
    if ours and theirs and (ours[0] == theirs[0] or (_VERSION.fullmatch(ours[0]) and _VERSION.fullmatch(theirs[0]))):
        return origin + path
    if ours and _VERSION.fullmatch(ours[-1]) and _VERSION.fullmatch(theirs[0]):
        return base[: -len(ours[-1]) - 1] + path
    return base + path


_VERSION = re.compile(r"v\d\w*")


def with_model(body: bytes, json: Mapping[str, Any], model: str) -> bytes:
    """`body` with another model name and every other byte as it was; re-encoded only where the name is ambiguous."""
    asked = json.get("model")
    if asked == model:
        return body
    pattern = _model_pattern(cast("str", asked))
    changed, n = pattern.subn(lambda m: m[1] + msgspec.json.encode(model), body)
    return changed if n == 1 else msgspec.json.encode({**json, "model": model})


def new_call_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random. Sorts by time, which the log's zone maps use.

    Not a secret: a call is read by those who may read the log.
    """
    bits = getrandbits(74)
    low = f"{0x8000_0000_0000_0000 | bits >> 12:x}"
    high = f"{time.time_ns() // 1_000_000:012x}"
    return f"{high[:8]}-{high[8:]}-7{bits & 0xFFF:03x}-{low[:4]}-{low[4:]}"


@lru_cache(maxsize=1024)
def _base(base_url: str) -> tuple[str, str, str]:
    split = urlsplit(base_url.rstrip("/"))
    return base_url.rstrip("/"), f"{split.scheme}://{split.netloc}", split.path


@lru_cache(maxsize=1024)
def _model_pattern(asked: str) -> re.Pattern[bytes]:
    return re.compile(rb'("model"\s*:\s*)' + re.escape(msgspec.json.encode(asked)))


def _by_origin(origin: str, path: str, providers: Mapping[str, Provider]) -> Provider:
    matches = [p for p in providers.values() if p.meant_by(origin)]
    if not matches:
        raise Forbidden(
            f"{origin!r} is not the origin of a known provider; declare it in llmlens.toml: [providers.NAME]"
        )
    if len(matches) == 1:
        return matches[0]
    return max(matches, key=lambda p: path.startswith(urlsplit(p.base_url).path + "/"))


@lru_cache(maxsize=4096)
def _dialect(family: str, path: str, method: str) -> Dialect:
    """Only a POST asks a model; anything else on the same path (a list of stored answers, say) passes through."""
    dialect = dialect_for(family, path)
    return dialect if method == "POST" or dialect.operation == "models" else UNKNOWN[family]


def _json(body: bytes, dialect: Dialect, method: str) -> Mapping[str, Any] | None:
    if dialect.operation == "raw" or method != "POST":
        if body.lstrip()[:1] != b"{":
            return None
        try:
            return cast("Mapping[str, Any]", msgspec.json.decode(body))
        except (msgspec.DecodeError, RecursionError):
            return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadRequest(f"the body must be a JSON object, not {type(value).__name__}")
    return value


def _cache_mode(headers: Mapping[str, str], default: CacheMode) -> CacheMode:
    given = headers.get(names.CACHE)
    if given is not None:
        if given not in CACHE_MODES:
            raise BadRequest(f"{names.CACHE} must be one of {', '.join(CACHE_MODES)}, not {given!r}")
        return cast("CacheMode", given)
    control = headers.get("cache-control", "")
    if "no-store" in control:
        return "off"
    if "no-cache" in control:
        return "refresh"
    return "only" if "only-if-cached" in control else default


def _count(headers: Mapping[str, str], name: str) -> int | None:
    given = headers.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise BadRequest(f"{name} must be a whole number, not {given!r}")
    return int(given)


def _group(given: str | None) -> tuple[str, int, int] | None:
    if given is None:
        return None
    found = _GROUP.fullmatch(given)
    if not found or not int(found[2]) < int(found[3]) <= MAX_GROUP:
        raise BadRequest(f"{names.GROUP} must be like 'id; k=0; n=3' with k < n <= {MAX_GROUP}, not {given!r}")
    return found[1], int(found[2]), int(found[3])


MAX_GROUP = 10_000
_GROUP = re.compile(r"([\w-]{1,64}); k=(\d{1,5}); n=(\d{1,5})")


def _tags(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        tags = msgspec.json.decode(given, type=dict[str, str | int | float | bool | None])
    except msgspec.DecodeError as error:
        raise BadRequest(f"{names.TAGS} must be a JSON object of plain values: {error}") from error
    return msgspec.json.encode(tags).decode()
