"""Errors in Google's shape → `Fault`, and back. No I/O.

Source: https://cloud.google.com/apis/design/errors and google/rpc/error_details.proto. `code` is the HTTP status there;
the word beside it (`status`) says the same again, so it is no `type` of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmlens.errors import WireError
from llmlens.records import Fault
from llmlens.wire import faults
from llmlens.wire.json_text import as_dict, as_list, as_str, dumps, loads

# Source: google/rpc/code.proto, which maps its codes to HTTP; the rest of HTTP is set to what comes nearest.
STATUS_WORDS: Mapping[int, str] = {
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",  # Anthropic's "overloaded"
}
_RPC = "type.googleapis.com/google.rpc."
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


def fault_of_body(status: int, body: bytes) -> Fault:
    """The error that an answer with `status` states in `body`; never raises."""
    fault = faults.fault_of_body(status, body)
    try:
        return _googles(fault, loads(body))
    except WireError:
        return fault


def fault_of_json(value: Any) -> Fault | None:
    """The error that parsed JSON states, or None."""
    fault = faults.fault_of_json(value)
    return None if fault is None else _googles(fault, value)


def _googles(fault: Fault, value: Any) -> Fault:
    outer = value[0] if isinstance(value, list) and value else value
    error = as_dict(as_dict(outer).get("error"))
    return replace(fault, type=as_str(error.get("type")), retry_after_s=_retry_after_s(error))


def _retry_after_s(error: Mapping[str, Any]) -> float | None:
    """The wait that `RetryInfo` asks for; Google sends no Retry-After header."""
    for detail in map(as_dict, as_list(error.get("details"))):
        found = _DURATION.fullmatch(as_str(detail.get("retryDelay")) or "")
        if found and str(detail.get("@type")).endswith("google.rpc.RetryInfo"):
            return float(found[1])
    return None


def gemini_error(fault: Fault) -> dict[str, Any]:
    """`{"error": {…}}` as google-genai reads it: the code picks ClientError or ServerError.

    Our own words (`code`, `type`, `param`) ride in `ErrorInfo`, a wait in `RetryInfo`.
    """
    status = fault.status or faults.STATUS_OF_TYPE.get(fault.type or "", 500)
    word = STATUS_WORDS.get(status) or ("INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    details: list[dict[str, Any]] = []
    if reason := fault.code or fault.type:
        metadata = {"metadata": {"param": fault.param}} if fault.param else {}
        details.append({"@type": _RPC + "ErrorInfo", "reason": reason, "domain": "llmlens", **metadata})
    if fault.retry_after_s is not None:
        details.append({"@type": _RPC + "RetryInfo", "retryDelay": f"{max(0.0, fault.retry_after_s):.3f}s"})
    error: dict[str, Any] = {"code": status, "message": fault.message, "status": word}
    return {"error": {**error, "details": details} if details else error}


def gemini_fault_body(fault: Fault) -> bytes:
    """The JSON body of an error answer in the Gemini family."""
    return dumps(gemini_error(fault))
