"""How many tokens an image is, by the rules that the providers publish (sources: `encodings.toml`). No I/O.

Anthropic and Google count most images exactly so; OpenAI's own counts can differ by a few tokens.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from math import ceil, floor, sqrt
from typing import Final

from llmlens.catalog.encodings import ImageRule, RuleName, image_rule
from llmlens.catalog.image_size import Size, size_of_base64
from llmlens.records import Image

PATCH: Final = 32  # pixels; OpenAI
CELL: Final = 28  # pixels; Anthropic
TILE: Final = 512  # pixels; OpenAI
LOW_SIDE: Final = 512  # pixels: what OpenAI's "low" is made to fit into


def image_tokens(image: Image, model: str) -> int | None:
    """Tokens of `image` in a request to `model`; None where no rule is published, or it needs a size nobody knows."""
    rule = image_rule(model)
    if rule is None:
        return None
    detail = (image.detail or "auto").lower()
    if (known := _without_size(rule, detail)) is not None:
        return known
    size = size_of_base64(image.data) if image.data else None
    return None if size is None else tokens_of_size(rule, size, detail)


def tokens_of_size(rule: ImageRule, size: Size, detail: str = "auto") -> int:
    """Tokens of an image of `size` (width, height in pixels) under `rule`."""
    known = _without_size(rule, detail)
    return _RULES[rule.rule](rule, size, detail) if known is None else known


def _without_size(rule: ImageRule, detail: str) -> int | None:
    if rule.rule == "fixed":
        return rule.by_detail.get(detail, rule.by_detail["auto"])
    return rule.base if rule.rule == "tiles" and detail == "low" else None


def _tiles(rule: ImageRule, size: Size, _detail: str) -> int:
    width, height = _within(size, 2048)
    scale = min(1.0, 768 / min(width, height))
    return rule.base + rule.each * ceil(width * scale / TILE) * ceil(height * scale / TILE)


def _patches(rule: ImageRule, size: Size, detail: str) -> int:
    if detail not in ("low", "high", "original"):
        detail = rule.auto
    limits = rule.max_side if isinstance(rule.max_side, Mapping) else {}
    max_side = LOW_SIDE if detail == "low" else limits.get(detail)
    width, height = size if max_side is None else _within(size, max_side)
    budget = rule.max_patches.get(detail)
    if budget is not None and _n_patches(width, height) > budget:
        width, height = _shrunk(width, height, budget)
    return ceil(_n_patches(width, height) * rule.multiplier)


def _shrunk(width: float, height: float, budget: int) -> tuple[float, float]:
    """OpenAI's own steps: scale to the area of `budget` patches, then until one side is whole patches."""
    scale = sqrt(PATCH * PATCH * budget / (width * height))
    across, down = width * scale / PATCH, height * scale / PATCH
    scale *= min(floor(across) / across, floor(down) / down)
    return width * scale, height * scale


def _n_patches(width: float, height: float) -> int:
    # rounded: a side of exactly 33 patches must not become 34 by the last bit of a float
    return ceil(round(width / PATCH, 6)) * ceil(round(height / PATCH, 6))


def _grid(rule: ImageRule, size: Size, _detail: str) -> int:
    """One token per cell of the largest version that fits both limits, the aspect kept."""
    long, short = max(size), min(size)

    def cells(side: int) -> int:
        return ceil(side / CELL) * max(1, ceil(round(side * short / long / CELL, 6)))

    top = min(long, rule.max_side) if isinstance(rule.max_side, int) else long
    side = max(1, bisect_right(range(1, top + 1), rule.max_tokens, key=cells))
    return cells(side)


def _crops(rule: ImageRule, size: Size, _detail: str) -> int:
    width, height = size
    if max(size) <= 384:
        return rule.each
    unit = min(768, max(256, floor(min(size) / 1.5)))
    return rule.each * ceil(width / unit) * ceil(height / unit)


def _within(size: Size, side: int) -> tuple[float, float]:
    scale = min(1.0, side / max(size))
    return size[0] * scale, size[1] * scale


_RULES: Final[Mapping[RuleName, Callable[[ImageRule, Size, str], int]]] = {
    "tiles": _tiles,
    "patches": _patches,
    "grid": _grid,
    "crops": _crops,
}
