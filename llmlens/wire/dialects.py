"""All dialects, and which path speaks which. A new dialect is one file and one row of `PATHS`. No I/O."""

from collections.abc import Mapping
from functools import lru_cache

from llmlens.errors import WireError
from llmlens.wire.anthropic_messages import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES
from llmlens.wire.bedrock_converse import BEDROCK_CONVERSE, RAW_BEDROCK
from llmlens.wire.bedrock_invoke import BEDROCK_INVOKE
from llmlens.wire.cohere_chat import COHERE_CHAT
from llmlens.wire.cohere_chat_v1 import COHERE_CHAT_V1
from llmlens.wire.cohere_embed import COHERE_EMBED
from llmlens.wire.cohere_faults import RAW_COHERE
from llmlens.wire.dialect import ChatDialect, Dialect
from llmlens.wire.gemini_embeddings import GEMINI_EMBEDDINGS
from llmlens.wire.gemini_generate import GEMINI_COUNT_TOKENS, GEMINI_GENERATE, RAW_GEMINI
from llmlens.wire.ollama_chat import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE
from llmlens.wire.ollama_faults import RAW_OLLAMA
from llmlens.wire.openai_chat import OPENAI_CHAT
from llmlens.wire.openai_completions import OPENAI_COMPLETIONS
from llmlens.wire.openai_embeddings import OPENAI_EMBEDDINGS
from llmlens.wire.openai_responses import OPENAI_RESPONSES
from llmlens.wire.raw import OPENAI_MODELS, RAW, RAW_ANTHROPIC, RAW_OPENAI

# End of the path → dialect; the longest end that fits counts. Paths tell formats apart whoever serves them: most
# providers offer OpenAI's beside their own.
PATHS: Mapping[str, Dialect] = {
    "/api/chat": OLLAMA_CHAT,
    "/api/embed": OLLAMA_EMBED,
    "/api/embeddings": OLLAMA_EMBED,
    "/api/generate": OLLAMA_GENERATE,
    "/chat/completions": OPENAI_CHAT,
    "/completions": OPENAI_COMPLETIONS,
    "/converse": BEDROCK_CONVERSE,
    "/converse-stream": BEDROCK_CONVERSE,
    "/embeddings": OPENAI_EMBEDDINGS,
    "/invoke": BEDROCK_INVOKE,
    "/invoke-with-response-stream": BEDROCK_INVOKE,
    "/models": OPENAI_MODELS,
    "/responses": OPENAI_RESPONSES,
    "/v1/chat": COHERE_CHAT_V1,
    "/v1/embed": COHERE_EMBED,
    "/v1/messages": ANTHROPIC_MESSAGES,  # not OpenAI's /v1/threads/…/messages
    "/v1/messages/count_tokens": ANTHROPIC_COUNT_TOKENS,
    "/v2/chat": COHERE_CHAT,
    "/v2/embed": COHERE_EMBED,
    ":batchEmbedContents": GEMINI_EMBEDDINGS,
    ":countTokens": GEMINI_COUNT_TOKENS,
    ":embedContent": GEMINI_EMBEDDINGS,
    ":generateContent": GEMINI_GENERATE,
    ":predict": GEMINI_EMBEDDINGS,
    ":rawPredict": ANTHROPIC_MESSAGES,  # Vertex
    ":streamGenerateContent": GEMINI_GENERATE,
    ":streamRawPredict": ANTHROPIC_MESSAGES,
    "/count-tokens:rawPredict": ANTHROPIC_COUNT_TOKENS,
}
# Family → what a path that nobody knows is: it passes through, and its errors have the shape of the family.
UNKNOWN: Mapping[str, Dialect] = {
    "openai": RAW_OPENAI,
    "anthropic": RAW_ANTHROPIC,
    "bedrock": RAW_BEDROCK,
    "cohere": RAW_COHERE,
    "gemini": RAW_GEMINI,
    "ollama": RAW_OLLAMA,
}
# Family → the dialect that every chat request can be translated to.
CHAT: Mapping[str, ChatDialect] = {
    "openai": OPENAI_CHAT,
    "anthropic": ANTHROPIC_MESSAGES,
    "bedrock": BEDROCK_CONVERSE,
    "cohere": COHERE_CHAT,
    "gemini": GEMINI_GENERATE,
    "ollama": OLLAMA_CHAT,
}

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
    "dialect_for",
]
