"""Errors in the shape of Ollama, `{"error": "text"}`, and its paths that nobody knows. No I/O.

Source: `ollama._types.ResponseError` of ollama 0.6: the text is the message of the exception, in a stream too, where
the error is a line. Whatever else is in the object is not looked at.
"""

from typing import Any

from llmlens.records import Fault
from llmlens.wire.json_text import dumps
from llmlens.wire.ndjson import encode
from llmlens.wire.raw import passed_through


def error_fields(fault: Fault) -> dict[str, Any]:
    """The fields of an error body, or line."""
    message = fault.message or fault.type or "no message was given"
    fields = {"error": message, "error_type": fault.type, "code": fault.code, "param": fault.param}
    return {k: v for k, v in fields.items() if v is not None}


def fault_body(fault: Fault) -> bytes:
    """The JSON body of an error answer."""
    return dumps(error_fields(fault))


def fault_event(fault: Fault) -> bytes:
    """An error in the middle of a stream."""
    return encode(error_fields(fault))


RAW_OLLAMA = passed_through("raw", "raw", fault_body)
