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

# End of the path → dialect; the longest end that fits counts. Paths tell formats apart whoever serves them: most
# providers offer OpenAI's beside their own.
PATHS: Mapping[str, Dialect] = {
    "/chat/completions": OPENAI_CHAT,
    "/embeddings": OPENAI_EMBEDDINGS,
    "/models": OPENAI_MODELS,
    "/v1/messages": ANTHROPIC_MESSAGES,  # not OpenAI's /v1/threads/…/messages
    "/v1/messages/count_tokens": ANTHROPIC_COUNT_TOKENS,
}
# Family → what a path that nobody knows is: it passes through, and its errors have the shape of the family.
UNKNOWN: Mapping[str, Dialect] = {"openai": RAW_OPENAI, "anthropic": RAW_ANTHROPIC}
# Family → the dialect that every chat request can be translated to.
CHAT: Mapping[str, ChatDialect] = {"openai": OPENAI_CHAT, "anthropic": ANTHROPIC_MESSAGES}

DIALECTS: Mapping[str, Dialect] = {d.name: d for d in (*PATHS.values(), RAW)}


@lru_cache(maxsize=4096)  # asked twice per call
def dialect_for(family: str, path: str) -> Dialect:
    """The dialect of `path` (no query) at a provider of `family`.

    Raises:
        WireError: no such family.
    """
    if family not in UNKNOWN:
        raise WireError(f"no dialect family {family!r}; known: {', '.join(UNKNOWN)}")
    path = path.rstrip("/") if path.startswith("/v1") else "/v1" + path.rstrip("/")
    end = max((end for end in PATHS if path.endswith(end)), key=len, default=None)
    return PATHS[end] if end else UNKNOWN[family]


__all__ = [
    "ANTHROPIC_COUNT_TOKENS",
    "ANTHROPIC_MESSAGES",
    "CHAT",
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
