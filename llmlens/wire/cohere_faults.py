"""Errors in the shape of Cohere, `{"id", "message"}`, and its paths that nobody knows. No I/O.

Source: `cohere.errors` of cohere 7 (the exception is chosen by status, the body is shown in it) and the recordings,
which have `error_type` beside the message.
"""

from typing import Any

from llmlens.records import Fault
from llmlens.wire.json_text import dumps
from llmlens.wire.raw import passed_through
from llmlens.wire.sse import encode


def error_fields(fault: Fault) -> dict[str, Any]:
    """The fields of an error body."""
    message = fault.message or fault.type or "no message was given"
    fields = {"message": message, "error_type": fault.type, "code": fault.code, "param": fault.param}
    return {k: v for k, v in fields.items() if v is not None}


def fault_body(fault: Fault) -> bytes:
    """The JSON body of an error answer."""
    return dumps(error_fields(fault))


def ending_delta(fault: Fault) -> dict[str, Any]:
    """The delta of the `message-end` that reports an error. The SDK hands it on and raises nothing."""
    fields = error_fields(fault)
    return {"finish_reason": "ERROR", "usage": {}, "error": fields.pop("message"), **fields}


def fault_event(fault: Fault) -> bytes:
    """An error in the middle of a v2 stream."""
    return encode("message-end", dumps({"type": "message-end", "delta": ending_delta(fault)}))


RAW_COHERE = passed_through("raw", "raw", fault_body)
