"""What proto-JSON forgives: names in snake_case, and one value where a list belongs. No I/O.

Only for the objects of the API; the keys of arguments, labels and schemas' properties belong to the caller.
"""

import re
from collections.abc import Mapping
from typing import Any

from llmlens.wire.fields import objects

_SNAKE = re.compile(r"(?<=[a-zA-Z0-9])_([a-z])")


def camel(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with its names in camelCase; nulls, which say nothing, are left out."""
    return {_SNAKE.sub(lambda m: m[1].upper(), name): value for name, value in raw.items() if value is not None}


def camel_objects(raw: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in field `name`, or the one that stands there alone; [] where there is none.

    Raises:
        WireError: something else is in its place.
    """
    value = raw.get(name)
    return list(map(camel, objects({name: [value]} if isinstance(value, dict) else raw, name)))
