"""JSON text ↔ Python, forgiving on the way in. No I/O.

msgspec does the work. It refuses NaN, numbers out of range and lone surrogates, all of which real clients and
providers send, so those go through the standard library.
"""

import json
from typing import Any, TypeGuard

import msgspec

from llmlens.errors import WireError

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def loads(data: bytes | str) -> Any:
    """Parse JSON `data`; a byte-order mark, surrounding space and invalid UTF-8 are forgiven.

    Raises:
        WireError: it is not JSON, or nested too deep.
    """
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeError):
        pass
    except RecursionError as e:
        raise WireError("JSON nested too deep") from e
    try:
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as e:
        raise WireError(f"not JSON: {e}") from e


def dumps(value: Any) -> bytes:
    """Compact JSON. Lone surrogates are written as escapes.

    Raises:
        WireError: `value` cannot be JSON.
    """
    try:
        return _encode(value)
    except UnicodeError:
        return json.dumps(value, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as e:
        raise WireError(f"cannot be written as JSON: {e}") from e


def clean(text: str) -> str:
    """`text` without lone surrogates, so that it can be written as UTF-8 (to the log, to a caller).

    Servers written in JavaScript cut an emoji into two deltas of one surrogate each; joined they make it again.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def is_int(value: object) -> TypeGuard[int]:
    """An integer, and not a boolean in disguise."""
    return isinstance(value, int) and not isinstance(value, bool)


def as_str(value: object) -> str | None:
    """`value` when it is text that says something, else None."""
    return clean(value) if isinstance(value, str) and value else None


def as_int(value: object) -> int | None:
    """`value` when it is a whole number (7 or 7.0), else None."""
    if is_int(value):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def as_dict(value: object) -> dict[str, Any]:
    """`value` when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """`value` when it is an array, else an empty one."""
    return value if isinstance(value, list) else []
