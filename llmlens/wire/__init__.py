"""Wire formats: pure functions between bytes and `records`. No I/O, no clock, no randomness.

A new dialect is one file and one row of `PATHS`.
"""

from collections.abc import Mapping
from functools import lru_cache

from llmlens.errors import WireError
from llmlens.wire.anthropic_messages import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES
from llmlens.wire.dialect import Asked, ChatDialect, Dialect, StreamReader, StreamWriter
from llmlens.wire.openai_chat import OPENAI_CHAT
from llmlens.wire.openai_embeddings import OPENAI_EMBEDDINGS
from llmlens.wire.raw import OPENAI_MODELS, RAW, RAW_ANTHROPIC, RAW_OPENAI

# (family, end of the path) → dialect.
PATHS: Mapping[tuple[str, str], Dialect] = {
    ("openai", "/chat/completions"): OPENAI_CHAT,
    ("openai", "/embeddings"): OPENAI_EMBEDDINGS,
    ("openai", "/models"): OPENAI_MODELS,
    ("anthropic", "/messages"): ANTHROPIC_MESSAGES,
    ("anthropic", "/messages/count_tokens"): ANTHROPIC_COUNT_TOKENS,
}
# Unknown paths pass through; their errors have the shape of the family.
UNKNOWN: Mapping[str, Dialect] = {"openai": RAW_OPENAI, "anthropic": RAW_ANTHROPIC}

DIALECTS: Mapping[str, Dialect] = {d.name: d for d in (*PATHS.values(), RAW)}


@lru_cache(maxsize=4096)  # asked twice per call
def dialect_for(family: str, path: str) -> Dialect:
    """The dialect of `path` (no query) at a provider of `family`.

    Raises:
        WireError: no such family.
    """
    if family not in UNKNOWN:
        raise WireError(f"no dialect family {family!r}; known: {', '.join(UNKNOWN)}")
    path = path.rstrip("/")
    for (of, suffix), dialect in PATHS.items():
        if of == family and path.endswith(suffix):
            return dialect
    return UNKNOWN[family]


__all__ = [
    "ANTHROPIC_COUNT_TOKENS",
    "ANTHROPIC_MESSAGES",
    "DIALECTS",
    "OPENAI_CHAT",
    "OPENAI_EMBEDDINGS",
    "OPENAI_MODELS",
    "PATHS",
    "RAW",
    "RAW_ANTHROPIC",
    "RAW_OPENAI",
    "UNKNOWN",
    "Asked",
    "ChatDialect",
    "Dialect",
    "StreamReader",
    "StreamWriter",
    "dialect_for",
]
