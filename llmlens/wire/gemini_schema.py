"""Gemini's own schemas (a part of OpenAPI 3.0) → JSON Schema. No I/O.

Source: https://ai.google.dev/api/caching#Schema. Types are words in capitals or, from clients that write enums as
numbers, numbers; counts may be text (int64 in proto-JSON). JSON Schema is left as it is.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.wire.gemini_fields import camel
from llmlens.wire.json_text import as_list

MAX_DEPTH = 100
_TYPES = ("", "string", "number", "integer", "boolean", "array", "object", "null")
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_LISTS = frozenset({"anyOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs"})
_ONE = frozenset({"items", "additionalProperties"})
_GEMINI_ONLY = frozenset({"nullable", "propertyOrdering", "example"})  # said otherwise in JSON Schema


def json_schema(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """`schema` as JSON Schema; what is nested deeper than MAX_DEPTH is left as it is."""
    if depth == MAX_DEPTH:
        return dict(schema)
    raw = camel(schema)
    built = {name: _keyword(name, value, depth + 1) for name, value in raw.items() if name not in _GEMINI_ONLY}
    if raw.get("nullable") is True and isinstance(built.get("type"), str):
        built["type"] = [built["type"], "null"]
    if "example" in raw:
        built["examples"] = [raw["example"]]
    properties = built.get("properties")
    if isinstance(properties, dict):
        first = [name for name in as_list(raw.get("propertyOrdering")) if isinstance(name, str) and name in properties]
        built["properties"] = {name: properties[name] for name in (*first, *properties)}
    return built


def _keyword(name: str, value: Any, depth: int) -> Any:
    if name == "type":
        return _type(value)
    if name in _COUNTS and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if name in _ONE and isinstance(value, dict):
        return json_schema(value, depth)
    if name in _MAPS and isinstance(value, dict):
        return {key: json_schema(inner, depth) if isinstance(inner, dict) else inner for key, inner in value.items()}
    if name in _LISTS and isinstance(value, list):
        return [json_schema(inner, depth) if isinstance(inner, dict) else inner for inner in value]
    return value


def _type(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, int) and 0 < value < len(_TYPES):
        return _TYPES[value]
    return value
