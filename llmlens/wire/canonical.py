"""Cache keys: what makes two calls "the same call". No I/O.

The key covers the *whole* body, so a parameter that nobody has heard of yet still tells two calls apart. Only the
fields of `LABELS`, which cannot change an answer, are left out. Every part is length-prefixed, so no two different
calls can be written as the same bytes. Secrets never enter: of the headers only `ANSWER_HEADERS`, of the query all but
`SECRET_QUERY`.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

# Fields at the top of a body that say who asks or how to book the call, never what to answer.
LABELS: Mapping[str, frozenset[str]] = {
    "openai": frozenset({
        "user",  # the end user, for abuse reports
        "safety_identifier",  # its successor
        "metadata",  # labels shown in the provider's console
        "prompt_cache_key",  # picks the machine that holds the prompt cache: price and speed, not text
        "prompt_cache_retention",  # how long that cache lives
        "prompt_cache_options",  # the same, newer
        "llmlens",  # our own field, for clients that cannot set headers
    }),
    "anthropic": frozenset({
        "metadata",  # holds `user_id` only
        "diagnostics",  # asks why the prompt cache missed; the message is the same
        "llmlens",
    }),
    "gemini": frozenset({"labels", "llmlens"}),  # labels are for the bill
    "cohere": frozenset({"priority", "llmlens"}),
    "ollama": frozenset({"keep_alive", "llmlens"}),  # how long the model stays in memory
    "bedrock": frozenset({"requestMetadata", "llmlens"}),
}  # fmt: skip

# Headers that pick a version or a behaviour of the API. No credentials, no tracing, no client names.
ANSWER_HEADERS = frozenset({
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "groq-model-version",
    "extra-parameters",  # Azure AI: what to do with parameters the model does not know
    "x-amzn-bedrock-guardrailidentifier",
    "x-amzn-bedrock-guardrailversion",
})  # fmt: skip

# Query parameters that carry credentials (Google's `key`, Azure's `api-key`, signed URLs).
SECRET_QUERY = frozenset({"key", "api-key", "api_key", "apikey", "access_token", "token", "sig", "signature"})

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode
_NOTHING: frozenset[str] = frozenset()
_REFUSED = (msgspec.MsgspecError, UnicodeError, RecursionError)


def canonical(body: bytes | object) -> bytes:
    """`body` as JSON with sorted keys and no spaces. 1 and 1.0 stay different.

    Bytes that are not JSON come back as they are, behind a zero byte (which no JSON text starts with).
    """
    return _without_labels(body, _NOTHING)


def cache_base(
    *,
    dialect: str,
    origin: str,
    path: str,
    query: str,
    body: bytes | object,
    headers: Mapping[str, str],
    scope: str,
) -> bytes:
    """The key without its sample, 32 bytes: equal for all samples of one call.

    `origin` is scheme, host and port of the upstream; `query` is the raw query string; header names in any case;
    `scope` partitions the cache by caller.
    """
    if query:
        query = _without_secrets(query)
    versions = _answer_headers(headers)
    # lengths count characters; the text decodes back to them, so nothing can run into its neighbour
    head = (
        f"{len(dialect)}:{dialect}{len(origin)}:{origin}{len(path)}:{path}{len(query)}:{query}"
        f"{len(scope)}:{scope}{len(versions)}:{versions}"
    )
    labels = LABELS.get(dialect.partition(".")[0], _NOTHING)
    return sha256(head.encode("utf-8", "surrogatepass") + _without_labels(body, labels)).digest()


def _answer_headers(headers: Mapping[str, str]) -> str:
    if "".join(headers).islower():  # as every ASGI server gives them
        chosen = ANSWER_HEADERS.intersection(headers)
        pairs = sorted((name, headers[name]) for name in chosen) if chosen else ()
    else:
        pairs = sorted((k.lower(), v) for k, v in headers.items() if k.lower() in ANSWER_HEADERS)
    return "".join([f"{name}:{len(value)}:{value}" for name, value in pairs])


def with_sample(base: bytes, sample: int) -> bytes:
    """The final key, 32 bytes, of sample number `sample` (from 0) of the call `base`."""
    return sha256(b"%b#%d" % (base, sample)).digest()


def cache_key(
    *,
    dialect: str,
    origin: str,
    path: str,
    query: str,
    body: bytes | object,
    headers: Mapping[str, str],
    scope: str,
    sample: int,
) -> bytes:
    """`with_sample(cache_base(…), sample)`."""
    base = cache_base(
        dialect=dialect, origin=origin, path=path, query=query, body=body, headers=headers, scope=scope
    )  # fmt: skip
    return with_sample(base, sample)


def _without_labels(body: bytes | object, labels: frozenset[str]) -> bytes:
    raw = body if isinstance(body, bytes) else _text_of(body)
    try:
        value = _decode(raw)
        if isinstance(value, dict):
            for label in labels.intersection(value):
                del value[label]
        return _encode(value)
    except _REFUSED:
        return _odd(raw, labels)


def _text_of(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Number(str):
    """A number as it was written: 1e400 and 1e500 are both infinite to a float."""

    __slots__ = ()


def _odd(body: bytes, labels: frozenset[str]) -> bytes:
    """JSON that msgspec refuses (NaN, 1e400, lone surrogates), or no JSON at all."""
    try:
        value = json.loads(body, parse_constant=_Number, parse_float=_Number, parse_int=_Number)
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k not in labels}
        return b"\0json" + _written(value).encode()
    except (ValueError, RecursionError):
        return b"\0raw" + body


def _written(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_written(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)


def _without_secrets(query: str) -> str:
    kept = [pair for pair in query.split("&") if pair.partition("=")[0].lower() not in SECRET_QUERY]
    return "&".join(kept)
