"""Errors of Amazon Bedrock: bodies, headers and event stream messages ↔ `Fault`. No I/O.

A body says `{"message": …}` only; the kind of error travels in the header `x-amzn-errortype`, which `with_headers`
reads. Source: the model of `bedrock-runtime` in botocore (shapes with `exception`).
"""

from collections.abc import Mapping
from dataclasses import replace

from llmlens.errors import WireError
from llmlens.records import Fault, Reply, Usage
from llmlens.wire.aws_event_stream import Frame, encode
from llmlens.wire.faults import fault_of_body, fault_of_json
from llmlens.wire.json_text import as_dict, as_str, dumps, loads

TYPE_HEADER = "x-amzn-errortype"
TELLING_HEADERS = frozenset({TYPE_HEADER, *(f"x-amzn-bedrock-{name}-token-count" for name in (
    "input", "output", "cache-read-input", "cache-write-input"))})  # fmt: skip
# Exceptions of both APIs by the status that they have; the first of a status is the one to write.
STATUS_OF: Mapping[str, int] = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 400,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "UnrecognizedClientException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ModelStreamErrorException": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
# What a stream itself may report; botocore drops the message of any other kind.
_IN_STREAM: Mapping[int, str] = {
    400: "validationException",
    424: "modelStreamErrorException",
    429: "throttlingException",
    503: "serviceUnavailableException",
}
_KNOWN: Mapping[str, str] = {name.lower(): name for name in STATUS_OF}
_OF_STATUS: Mapping[int, str] = {status: name for name, status in reversed([*STATUS_OF.items()])} | {
    401: "AccessDeniedException",
    502: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}


def fault_of(status: int, body: bytes) -> Fault:
    """The error that an answer with `status` states in `body`; never raises."""
    fault = fault_of_body(status, body)
    try:
        value = as_dict(loads(body))
    except WireError:
        return fault
    inner = as_dict(value.get("Output")) or value  # {"Output": {"__type": …}}: no such operation
    kind = as_str(inner.get("__type"))
    return fault if kind is None or fault.type is not None else replace(fault, type=bare_type(kind))


def bare_type(stated: str) -> str:
    """ "ThrottlingException" of "com.amazon#ThrottlingException:http://…"."""
    return stated.partition(":")[0].rpartition("#")[2].strip()


def fault_with_headers(fault: Fault, headers: Mapping[str, str]) -> Fault:
    """`fault` with its type from the answer's `headers` (lower-case names)."""
    kind = bare_type(headers.get(TYPE_HEADER, ""))
    return replace(fault, type=kind) if kind and fault.type is None else fault


def reply_with_headers(reply: Reply, headers: Mapping[str, str]) -> Reply:
    """`reply` with what only the `headers` (lower-case names) say: the type of an error, and the token counts that
    the bodies of many models lack under InvokeModel."""
    fault = reply.fault and fault_with_headers(reply.fault, headers)
    fresh = _count(headers, "x-amzn-bedrock-input-token-count")
    read = _count(headers, "x-amzn-bedrock-cache-read-input-token-count")
    write = _count(headers, "x-amzn-bedrock-cache-write-input-token-count")
    stated = Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=_count(headers, "x-amzn-bedrock-output-token-count"),
        cache_read_tokens=read,
        cache_write_tokens=write,
    )
    return replace(reply, fault=fault, usage=reply.usage or stated)


def _count(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


def fault_of_frame(frame: Frame) -> Fault:
    """The error that a frame of `:message-type` "exception" or "error" states."""
    kind = frame.text(":exception-type") or frame.text(":error-code") or None
    try:
        value = as_dict(loads(frame.payload))
    except WireError:
        value = {}
    stated = fault_of_json({k: v for k, v in value.items() if k in ("message", "Message", "originalMessage")})
    message = stated.message if stated else frame.text(":error-message") or kind or "the provider gave no message"
    return Fault(message, type=kind, status=STATUS_OF.get(_KNOWN.get((kind or "").lower(), "")))


def type_of(fault: Fault) -> str:
    """The exception of Bedrock that says what `fault` says."""
    known = _KNOWN.get((fault.type or "").lower()) or _OF_STATUS.get(fault.status or 0)
    if known:
        return known
    client = fault.status is not None and 400 <= fault.status < 500
    return "ValidationException" if client else "InternalServerException"


def fault_body(fault: Fault) -> bytes:
    """The JSON body of an error answer. The SDKs look for the type in a header, then in `__type`."""
    return dumps({"message": fault.message, "__type": type_of(fault)})


def fault_event(fault: Fault) -> bytes:
    """An error in mid-stream: the SDKs raise at a frame that is an exception."""
    kind = _IN_STREAM.get(STATUS_OF[type_of(fault)], "internalServerException")
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode(headers, dumps({"message": fault.message}))
