"""Typed reading of request fields: None passes, a wrong type is the caller's mistake. No I/O."""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import WireError
from llmlens.wire.dialect import Asked
from llmlens.wire.json_text import as_int


def text_field(body: Mapping[str, Any], name: str) -> str | None:
    """Raises WireError where `name` is neither text nor null."""
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _wrong(name, "a string", value)


def flag_field(body: Mapping[str, Any], name: str) -> bool | None:
    """Raises WireError where `name` is neither true, false nor null."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise _wrong(name, "true or false", value)


def int_field(body: Mapping[str, Any], name: str) -> int | None:
    """Raises WireError where `name` is no whole number (7 and 7.0 are)."""
    value = body.get(name)
    if value is None or (number := as_int(value)) is not None:
        return None if value is None else number
    raise _wrong(name, "a whole number", value)


def float_field(body: Mapping[str, Any], name: str) -> float | None:
    """Raises WireError where `name` is no number. The number keeps its kind: 1 stays 1."""
    value = body.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise _wrong(name, "a number", value)


def list_field(body: Mapping[str, Any], name: str) -> list[Any]:
    """Raises WireError where `name` is neither an array nor null."""
    value = body.get(name)
    if value is None or isinstance(value, list):
        return value or []
    raise _wrong(name, "an array", value)


def dict_field(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Raises WireError where `name` is neither an object nor null."""
    value = body.get(name)
    if value is None or isinstance(value, dict):
        return value or {}
    raise _wrong(name, "an object", value)


def objects(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Raises WireError where `name` is not an array of objects."""
    for item in list_field(body, name):
        if not isinstance(item, dict):
            raise _wrong(f"{name}[]", "an object", item)
    return list_field(body, name)


def required_text(body: Mapping[str, Any], name: str) -> str:
    """Raises WireError where `name` is missing or not text."""
    value = text_field(body, name)
    if value is None:
        raise WireError(f"{name!r} is missing")
    return value


def required_objects(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Raises WireError where `name` is missing or not an array of objects."""
    if body.get(name) is None:
        raise WireError(f"{name!r} is missing")
    return objects(body, name)


def asked_of(body: Mapping[str, Any], *limits: str) -> Asked:
    """What the router needs; `limits` are the names of the output limit, the first one given counts.

    Raises:
        WireError: one of the fields has the wrong type.
    """
    known = [number for name in limits if (number := int_field(body, name)) is not None]
    return Asked(
        model=text_field(body, "model"),
        stream=flag_field(body, "stream") or False,
        max_output_tokens=known[0] if known else None,
        n=int_field(body, "n") or 1,
    )


def _wrong(name: str, expected: str, value: object) -> WireError:
    return WireError(f"{name!r} must be {expected}, not {type(value).__name__}")
