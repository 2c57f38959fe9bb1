"""Errors on the wire: every known shape → `Fault`, and `Fault` → the shape of a family. No I/O.

Shapes seen: OpenAI `{"error": {message, type, code, param}}`, Anthropic `{"type": "error", "error": {…}}`, Google
`{"error": {code, message, status}}` (also in a list), xAI `{"code", "error": "text"}`, Ollama `{"error": "text"}`,
Mistral `{"detail": …}` and `{"object": "error", "message": …}`, Cohere `{"id", "message"}`, Bedrock `{"message"}`,
Cloudflare `{"errors": [{message}]}`, and HTML pages of proxies.
"""

import json
from collections.abc import Mapping
from typing import Any

from llmlens.errors import WireError
from llmlens.records import Fault
from llmlens.wire.json_text import as_dict, as_str, clean, dumps, is_int, loads

MAX_MESSAGE_CHARS = 20_000  # an error page larger than this tells nobody more

# Source: https://docs.claude.com/en/api/errors and `anthropic.types.shared.error_type`
ANTHROPIC_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# An error in mid-stream has no status of its own; its type tells which one it would have had.
STATUS_OF_TYPE: Mapping[str, int] = {
    **{kind: status for status, kind in ANTHROPIC_TYPES.items()},  # timeout_error: 504, the later of two
    "api_error": 500,
    "server_error": 500,  # OpenAI
    "rate_limit_exceeded": 429,
}
# OpenAI documents the exceptions, not the words; these are the ones its API answers with.
OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_ANTHROPIC_KNOWN = frozenset(ANTHROPIC_TYPES.values()) | {"api_error"}
# What the same trouble is called on the other side, for errors in mid-stream, which have no status.
_TO_ANTHROPIC: Mapping[str, str] = {
    "server_error": "api_error",
    "insufficient_quota": "billing_error",
    "requests": "rate_limit_error",
    "tokens": "rate_limit_error",
    "rate_limit_exceeded": "rate_limit_error",
}


def fault_of_body(status: int, body: bytes) -> Fault:
    """The error that an answer with `status` states in `body`; never raises."""
    try:
        value = loads(body)
    except WireError:
        text = body.decode("utf-8", "replace").strip()
        return Fault(text[:MAX_MESSAGE_CHARS] or f"HTTP {status} with an empty body", status=status)
    return fault_of_json(value, status) or Fault(clean(json.dumps(value))[:MAX_MESSAGE_CHARS], status=status)


def fault_of_json(value: Any, status: int | None = None) -> Fault | None:
    """The error that parsed JSON states in any known shape, or None."""
    if isinstance(value, list):
        return fault_of_json(value[0], status) if value else None
    if not isinstance(value, dict):
        return None
    if error := value.get("error"):
        return fault_of_error(error, status, outer=value)
    if isinstance(errors := value.get("errors"), list) and errors and isinstance(errors[0], dict):
        return _fault(errors[0], status)
    for field in ("message", "Message", "detail"):
        if value.get(field):
            return _fault({**value, "message": value[field]}, status)
    return None


def fault_of_error(error: Any, status: int | None = None, outer: Mapping[str, Any] | None = None) -> Fault:
    """The error in the `error` field itself, an object or a text; `outer` is the object around it."""
    outer = outer or {}
    if not isinstance(error, dict):
        return _fault({**outer, "message": error, "type": None}, status)
    return _fault(error, status)


def _fault(error: Mapping[str, Any], status: int | None) -> Fault:
    code = error.get("code")
    kind = as_str(error.get("type")) or as_str(error.get("error_type"))  # the latter: Cohere
    if kind is None and is_int(code):
        kind = as_str(error.get("status"))  # Google: code 429, status "RESOURCE_EXHAUSTED"
    details = as_dict(error.get("details"))
    code = code if code is not None else details.get("error_code")
    if status is None:
        # an error under HTTP 200 (OpenRouter, Groq) names the status it should have had
        stated = error.get("status_code", error.get("code"))
        status = stated if is_int(stated) and 400 <= stated <= 599 else STATUS_OF_TYPE.get(kind or "")
    return Fault(
        message=_message(error.get("message")) or kind or "the provider gave no message",
        type=kind,
        code=str(code) if is_int(code) else as_str(code),
        param=as_str(error.get("param")),
        status=status,
    )


def _message(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return clean(value)[:MAX_MESSAGE_CHARS] if value else None
    return clean(json.dumps(value))[:MAX_MESSAGE_CHARS]  # Mistral states its validation errors as objects


def openai_error(fault: Fault) -> dict[str, Any]:
    """`{"error": {…}}` as the OpenAI SDK reads it (message, type, code and param of its exception)."""
    kind = fault.type or OPENAI_TYPES.get(fault.status or 0) or _by_class(fault.status, "server_error")
    return {"error": {"message": fault.message, "type": kind, "param": fault.param, "code": fault.code}}


def anthropic_error(fault: Fault) -> dict[str, Any]:
    """`{"type": "error", …}` as the Anthropic SDK reads it. `type` is from Anthropic's closed list.

    `code` rides in `details.error_code`, where the SDK's `error_code` looks, and `param` beside it.
    """
    kind = fault.type if fault.type in _ANTHROPIC_KNOWN else None
    kind = kind or ANTHROPIC_TYPES.get(fault.status or 0) or _TO_ANTHROPIC.get(fault.type or "")
    error: dict[str, Any] = {"type": kind or _by_class(fault.status, "api_error"), "message": fault.message}
    details = {"error_code": fault.code, "param": fault.param}
    if known := {k: v for k, v in details.items() if v is not None}:
        error["details"] = known
    return {"type": "error", "error": error}


def _by_class(status: int | None, server: str) -> str:
    return "invalid_request_error" if status is not None and 400 <= status < 500 else server


def openai_fault_body(fault: Fault) -> bytes:
    """The JSON body of an error answer in the OpenAI family."""
    return dumps(openai_error(fault))


def anthropic_fault_body(fault: Fault) -> bytes:
    """The JSON body of an error answer in the Anthropic family."""
    return dumps(anthropic_error(fault))
