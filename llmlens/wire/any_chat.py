"""Chat requests of any dialect, told apart by their shape alone: for whoever has a body and no path. No I/O."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from llmlens.records import ChatRequest
from llmlens.wire.anthropic_messages import ANTHROPIC_MESSAGES
from llmlens.wire.bedrock_converse import BEDROCK_CONVERSE
from llmlens.wire.cohere_chat import COHERE_CHAT
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.gemini_generate import GEMINI_GENERATE
from llmlens.wire.json_text import as_dict, as_list
from llmlens.wire.ollama_chat import OLLAMA_CHAT
from llmlens.wire.openai_chat import OPENAI_CHAT
from llmlens.wire.openai_responses import OPENAI_RESPONSES

Body = Mapping[str, Any]

CLAUDE_BLOCKS: Final = frozenset({
    "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use",
})  # fmt: skip

STORED: Final = ("previous_response_id", "conversation", "prompt")  # what can stand for the input of a response


def read_chat(body: Body) -> ChatRequest:
    """The request in no dialect.

    Raises:
        WireError: it is none of the dialect that it looks like.
    """
    return chat_dialect_of(body).parse_request(body)


def chat_dialect_of(body: Body) -> ChatDialect:
    """The first dialect below whose mark `body` bears; without any it is OpenAI's. Never raises."""
    return next((dialect for dialect, is_in in _MARKS if is_in(body)), OPENAI_CHAT)


def _messages(body: Body) -> list[dict[str, Any]]:
    return [as_dict(message) for message in as_list(body.get("messages"))]


def _blocks(body: Body) -> Iterator[dict[str, Any]]:
    """Those of the messages and of the system prompt."""
    for content in (*(message.get("content") for message in _messages(body)), body.get("system")):
        yield from (block for block in as_list(content) if isinstance(block, dict))


def _responses(body: Body) -> bool:
    return "messages" not in body and any(name in body for name in ("input", *STORED))


def _cohere(body: Body) -> bool:
    if "documents" in body or any("tool_plan" in message for message in _messages(body)):
        return True
    return any(block.get("type") == "document" and "document" in block for block in _blocks(body))


def _ollama(body: Body) -> bool:
    if "options" in body or "keep_alive" in body:
        return True
    return any("images" in message or "tool_name" in message for message in _messages(body))


def _bedrock(body: Body) -> bool:
    return "toolConfig" in body or "inferenceConfig" in body or any("type" not in block for block in _blocks(body))


def _anthropic(body: Body) -> bool:
    if "system" in body or any("input_schema" in as_dict(tool) for tool in as_list(body.get("tools"))):
        return True
    kinds = (block.get("type") for block in _blocks(body))
    return any(isinstance(kind, str) and kind in CLAUDE_BLOCKS for kind in kinds)


_MARKS: Final[tuple[tuple[ChatDialect, Callable[[Body], bool]], ...]] = (
    (GEMINI_GENERATE, lambda body: "contents" in body),
    (OPENAI_RESPONSES, _responses),
    (COHERE_CHAT, _cohere),
    (OLLAMA_CHAT, _ollama),
    (BEDROCK_CONVERSE, _bedrock),
    (ANTHROPIC_MESSAGES, _anthropic),
)
