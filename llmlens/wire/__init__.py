"""Wire formats: pure functions between bytes and `records`. No I/O, no clock, no randomness.

The dialects are loaded at the first use of one: a kernel needs only `wire.headers`, not all these imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmlens.wire.dialects import (
        ANTHROPIC_COUNT_TOKENS,
        ANTHROPIC_MESSAGES,
        BEDROCK_CONVERSE,
        BEDROCK_INVOKE,
        CHAT,
        COHERE_CHAT,
        COHERE_CHAT_V1,
        COHERE_EMBED,
        DIALECTS,
        GEMINI_COUNT_TOKENS,
        GEMINI_EMBEDDINGS,
        GEMINI_GENERATE,
        OLLAMA_CHAT,
        OLLAMA_EMBED,
        OLLAMA_GENERATE,
        OPENAI_CHAT,
        OPENAI_COMPLETIONS,
        OPENAI_EMBEDDINGS,
        OPENAI_MODELS,
        OPENAI_RESPONSES,
        PATHS,
        RAW,
        RAW_ANTHROPIC,
        RAW_OPENAI,
        UNKNOWN,
        Asked,
        ChatDialect,
        CountDialect,
        Dialect,
        StreamReader,
        StreamWriter,
        dialect_for,
    )

__all__ = [
    "ANTHROPIC_COUNT_TOKENS",
    "ANTHROPIC_MESSAGES",
    "BEDROCK_CONVERSE",
    "BEDROCK_INVOKE",
    "CHAT",
    "COHERE_CHAT",
    "COHERE_CHAT_V1",
    "COHERE_EMBED",
    "DIALECTS",
    "GEMINI_COUNT_TOKENS",
    "GEMINI_EMBEDDINGS",
    "GEMINI_GENERATE",
    "OLLAMA_CHAT",
    "OLLAMA_EMBED",
    "OLLAMA_GENERATE",
    "OPENAI_CHAT",
    "OPENAI_COMPLETIONS",
    "OPENAI_EMBEDDINGS",
    "OPENAI_MODELS",
    "OPENAI_RESPONSES",
    "PATHS",
    "RAW",
    "RAW_ANTHROPIC",
    "RAW_OPENAI",
    "UNKNOWN",
    "Asked",
    "ChatDialect",
    "CountDialect",
    "Dialect",
    "StreamReader",
    "StreamWriter",
    "dialect_for",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("llmlens.wire.dialects"), name)
