"""How much a model takes and gives: its context window and its maximum output. Unknown is None.

Rows of `models.toml` first, by provider and name; a context window that they do not state comes from genai-prices'
list (`price_list`), which has hundreds (and no outputs). Nothing is read before the first question: the rows take
about 10 ms then, the list 3 ms, and then up to 0.1 ms a model, once.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from llmlens.catalog.price_list import shipped
from llmlens.catalog.prices import find_listed
from llmlens.catalog.providers import Provider, load_catalog, named_model
from llmlens.catalog.simulated import CONTEXT_TOKENS, SIM_MODELS
from llmlens.catalog.simulated import PROVIDER as SIMULATED
from llmlens.errors import ModelUnknown


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request can hold, in tokens; None where nobody says.

    context_tokens:    the window, input and output together. Google and Alibaba limit the input instead: it is that.
    max_output_tokens: of one answer, thinking included.
    source:            where the figures are from; None where there are none.
    """

    context_tokens: int | None = None
    max_output_tokens: int | None = None
    source: str | None = None


@lru_cache(maxsize=2048)  # names come from callers
def limits(provider: str, model: str, *, priced_as: str | None = None) -> Limits:
    """The limits of `provider`'s `model` (the name that the provider knows).

    `priced_as` is the provider's name in genai-prices, for a row of the user that is one under another name.
    """
    if provider == SIMULATED:
        known = model.removeprefix(f"{SIMULATED}/") in SIM_MODELS
        return Limits(CONTEXT_TOKENS, None, "simulated") if known else Limits()
    stated = max(_matching(provider, model.lower()), key=lambda match: match[0], default=(0, Limits()))[1]
    if stated.context_tokens is not None:
        return stated
    window, listed_in = _window(provider, model.lower(), priced_as)
    told = [source for source, there in ((stated.source, stated.max_output_tokens), (listed_in, window)) if there]
    return Limits(window, stated.max_output_tokens, "; ".join(filter(None, told)) or None)


def limits_of(name: str, providers: Mapping[str, Provider]) -> Limits:
    """The limits of the model that a caller names `name`; unknown where it is no provider's."""
    try:
        provider, model = named_model(name, providers)
    except ModelUnknown:
        return Limits()
    return limits(provider, model, priced_as=providers[provider].priced_as)


def rows() -> list[dict[str, Any]]:
    """The rows of `models.toml`, as they are written."""
    found: list[dict[str, Any]] = tomllib.loads((files("llmlens.catalog") / "models.toml").read_text("utf-8"))["limits"]
    return found


@cache
def _by_provider() -> dict[str, list[tuple[str, Limits]]]:
    """Provider → its patterns, and what they stand for."""
    found: dict[str, list[tuple[str, Limits]]] = {}
    for row in rows():
        stated = Limits(row.get("context_tokens"), row.get("max_output_tokens"), row["source"])
        for provider in row["providers"]:
            found.setdefault(provider, []).extend((pattern, stated) for pattern in row["models"])
    return found


def _matching(provider: str, model: str) -> Iterator[tuple[int, Limits]]:
    for pattern, stated in _by_provider().get(provider, ()):
        if fnmatchcase(model, pattern):
            yield sum(char not in "*?[]!" for char in pattern), stated


def _window(provider: str, model: str, priced_as: str | None) -> tuple[int | None, str | None]:
    """The context window that genai-prices lists, and its version."""
    listed = shipped()
    known = None if priced_as else load_catalog().get(provider)
    info = find_listed(listed, known, priced_as or provider, model)
    return info.context_window if info else None, listed.source
