"""Which encoding a model counts in, and by which rule it counts images: rows of `encodings.toml`.

Names are looked up without their provider ("openai/gpt-4o" is gpt-4o), without "ft:", in lower case.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final, Literal

DEFAULT_ENCODING: Final = "o200k_base"
RuleName = Literal["tiles", "patches", "grid", "crops", "fixed"]


@dataclass(frozen=True, slots=True)
class TextRule:
    """How a model counts text.

    encoding:     the tiktoken encoding.
    exact:        it is the model's own; else the nearest there is, and every count an estimate.
    reply_tokens: what a chat request costs besides its messages; None where nobody says.
    """

    encoding: str = DEFAULT_ENCODING
    exact: bool = False
    reply_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ImageRule:
    """How a model counts an image; what each rule takes is at its place in `encodings.toml`.

    base, each:  tokens per image and per tile or crop.
    multiplier:  tokens per patch.
    max_patches, max_side: limits by detail; a detail without one is not made smaller.
    max_tokens:  limit of one image (Anthropic).
    auto:        the detail that "auto" and silence mean.
    by_detail:   tokens by media resolution.
    """

    rule: RuleName
    base: int = 0
    each: int = 0
    multiplier: float = 1.0
    max_patches: Mapping[str, int] = field(default_factory=dict)
    max_side: Mapping[str, int] | int = field(default_factory=dict)
    max_tokens: int = 0
    auto: str = "high"
    by_detail: Mapping[str, int] = field(default_factory=dict)


@lru_cache(maxsize=2048)  # names come from callers
def text_rule(model: str) -> TextRule:
    """How `model` counts text; an unknown one by the default encoding, estimated."""
    row = _row("text", model)
    return TextRule(row["encoding"], True, row.get("reply_tokens")) if row else TextRule()


@lru_cache(maxsize=2048)
def image_rule(model: str) -> ImageRule | None:
    """How `model` counts images; None where nobody says."""
    row = _row("images", model)
    return ImageRule(**{key: value for key, value in row.items() if key not in _ABOUT}) if row else None


def bare_name(model: str) -> str:
    """The name to look up: see the head of this file."""
    return model.rpartition("/")[2].removeprefix("ft:").lower()


_ABOUT: Final = frozenset({"models", "source", "checked"})


@cache
def tables() -> dict[str, list[dict[str, Any]]]:
    """The rows of `encodings.toml`, as they are written."""
    return tomllib.loads((files("llmlens.catalog") / "encodings.toml").read_text("utf-8"))


def _row(table: str, model: str) -> dict[str, Any] | None:
    name = bare_name(model)
    return next((row for row in tables()[table] if any(fnmatchcase(name, p) for p in row["models"])), None)
