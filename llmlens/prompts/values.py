"""Values of variables as plain data, so that a template renders to the same text in the kernel and in the gateway."""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import PromptError
from llmlens.prompts.budget import small

MAX_DEPTH = 64


def plain(value: object, name: str, depth: int = 0) -> Any:
    """`value` as text, number, bool, None, list or dict of these.

    A table becomes its whole text, a NumPy number the number, a tuple a list; a date, a path or another value that
    has a text of its own becomes that text. `name` is the variable it belongs to.

    Raises:
        PromptError: it has no text of its own (bytes, functions, bare objects), or is nested too deeply.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return _scalar(value, name)
    if depth >= MAX_DEPTH:
        raise PromptError(f"variable {name!r} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {_key(key, name): plain(item, name, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, name, depth + 1) for item in value]
    if hasattr(value, "to_string") and hasattr(value, "iloc"):  # a DataFrame or Series, without importing pandas
        return str(value.to_string())
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # a NumPy number or array
        return plain(value.tolist(), name, depth + 1)
    return _text(value, name)


def _scalar(value: bool | float | str | None, name: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):  # of the class itself: a subclass brings methods of its own
        return encodable(str.__str__(value), name)
    return int(small(value)) if isinstance(value, int) else float(value)


def _key(key: object, name: str) -> str:
    if isinstance(key, (str, int, float, bool)) or key is None:
        return encodable(str(key), name)
    raise PromptError(f"variable {name!r} has a key of type {type(key).__name__}; keys must be text or numbers")


def _text(value: object, name: str) -> str:
    kind = type(value)
    nameless = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    if nameless or callable(value) or isinstance(value, (bytes, bytearray, memoryview)):
        raise PromptError(
            f"variable {name!r} is a {kind.__name__}, which has no text; give text, a number, a list or a dict"
        )
    return encodable(str(value), name)


def encodable(text: str, name: str) -> str:
    """`text`, if it can be sent. Half of a surrogate pair cannot.

    Raises:
        PromptError: `name` holds such a half.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"{name!r} holds a character that is no Unicode text, at {error.start}") from None
    return text
