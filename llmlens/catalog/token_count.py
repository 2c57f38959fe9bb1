"""How many input tokens a conversation is, before it is sent. Pure but for the tokenizer's lazy loading.

Text is counted as OpenAI documents it (https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken):
three tokens a message, one for its role, one more for a name, and the head of the reply. For OpenAI's models and
plain text that is exact (tests/catalog/test_token_count.py counts recorded requests). Everything else is an estimate
and says so: other makers' models, tools (the cookbook's sum, on through nested schemas), tool calls, images (by the
rules of `image_tokens`). What cannot be known, the size of an image behind a URL or a PDF, makes the count None.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llmlens.catalog.encodings import TextRule, text_rule
from llmlens.catalog.image_tokens import image_tokens
from llmlens.catalog.tokens import MESSAGE_TOKENS, count
from llmlens.records import (
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

ROLE_TOKENS: Final = 1
NAME_TOKENS: Final = 1
REPLY_TOKENS: Final = 3  # where a model's own is not known
TOOL_END: Final = 12
PROPERTY_TOKENS: Final = 3
ENUM_TOKENS: Final = 3
MAX_DEPTH: Final = 32  # of a tool's schema
# What a dialect's `parse_request` puts into `extra` when the provider adds tokens that the request does not show.
UNSEEN: Final = ("tools.", "input.", "previous_response_id", "conversation", "prompt", "functions", "mcp_servers")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A count of input tokens.

    input_tokens:    None where a part of it cannot be known; `at_least` is then the rest.
    estimated:       False only where the provider's own count is this one.
    encoding:        the tiktoken encoding that counted the text.
    how:             what was counted by which rule, for people.
    """

    input_tokens: int | None
    estimated: bool
    encoding: str
    how: str
    at_least: int


def count_text(text: str, model: str) -> TokenCount:
    """Tokens of `text` alone, with no message around it."""
    rule, n_tokens = text_rule(model), count(text, model)
    return TokenCount(n_tokens, not rule.exact, rule.encoding, _how(rule, ["text"]), n_tokens)


def count_messages(messages: Sequence[Message], model: str, tools: Sequence[Tool] | None = None) -> TokenCount:
    """Input tokens of a chat request to `model`; from JSON, take `messages` and `tools` of a dialect's `parse_request`.

    Not counted, because no request shows it: a provider's own system prompt, a forced tool choice.
    """
    return count_request(ChatRequest(model, tuple(messages), tools=tuple(tools or ())))


def count_request(asked: ChatRequest) -> TokenCount:
    """Input tokens of a whole request. Built-in tools and stored conversations, which add thousands, are unknown."""
    rule, tally = text_rule(asked.model), _Tally(asked.model)
    for message in asked.messages:
        tally.message(message)
    tally.add(REPLY_TOKENS if rule.reply_tokens is None else rule.reply_tokens)
    if asked.tools:
        tally.add(tool_tokens(asked.tools, asked.model))
        tally.estimate("tools by OpenAI's cookbook")
    if asked.response_format is not None and asked.response_format.schema is not None:
        tally.text(json.dumps(asked.response_format.schema, separators=(",", ":")))
        tally.estimate("the answer's schema as its text")
    for name in asked.extra:
        if name.startswith(UNSEEN):
            tally.unknown[name] = None
    exact = rule.exact and rule.reply_tokens is not None and not tally.estimates and not tally.unknown
    notes = ["OpenAI's overhead per message", *tally.estimates, *(f"unknown: {what}" for what in tally.unknown)]
    known = None if tally.unknown else tally.n_tokens
    return TokenCount(known, not exact, rule.encoding, _how(rule, notes), tally.n_tokens)


def tool_tokens(tools: Iterable[Tool], model: str) -> int:
    """Tokens of tool definitions, as OpenAI's cookbook adds them up for flat schemas; nested ones go on likewise."""
    start = 10 if text_rule(model).encoding == "cl100k_base" else 7
    n_tokens = TOOL_END
    for tool in tools:
        description = (tool.description or "").removesuffix(".")
        n_tokens += start + count(f"{tool.name}:{description}", model)
        schemas = (tool.parameters or {}, *_definitions(tool.parameters or {}))
        n_tokens += sum(_properties_tokens(schema, model, 0) for schema in schemas)
    return n_tokens


@dataclass(slots=True)
class _Tally:
    """The sum so far, and what in it is no plain text."""

    model: str
    n_tokens: int = 0
    estimates: dict[str, None] = field(default_factory=dict)  # in order, each once
    unknown: dict[str, None] = field(default_factory=dict)

    def add(self, n_tokens: int) -> None:
        self.n_tokens += n_tokens

    def text(self, text: str) -> None:
        self.n_tokens += count(text, self.model)

    def message(self, message: Message) -> None:
        self.add(MESSAGE_TOKENS + ROLE_TOKENS)
        if message.name:
            self.text(message.name)
            self.add(NAME_TOKENS)
        self.parts(message.parts)

    def estimate(self, what: str) -> None:
        self.estimates[what] = None

    def parts(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self.part(part)

    def part(self, part: Part) -> None:
        if isinstance(part, Text):
            self.text(part.text)
        elif isinstance(part, Image):
            self._image(part)
        elif isinstance(part, ToolCall):
            self.text(part.name)
            self.text(part.arguments)
            self.estimate("tool calls as their text")
        elif isinstance(part, ToolResult):
            self.parts(part.parts)
            self.estimate("tool results as their text")
        elif isinstance(part, Thinking | Refusal):
            self.text(part.text)
            self.estimate("thinking and refusals as their text")
        elif isinstance(part, Document) and part.text is not None:
            self.text(part.text)
            self.estimate("documents as their text")
        else:
            self.unknown["a document" if isinstance(part, Document) else "a block of the dialect's own"] = None

    def _image(self, image: Image) -> None:
        n_tokens = image_tokens(image, self.model)
        if n_tokens is None:
            self.unknown["an image, whose size or rule is not known"] = None
        else:
            self.n_tokens += n_tokens
            self.estimate("images by their size")


def _properties_tokens(schema: Mapping[str, Any], model: str, depth: int) -> int:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties or depth > MAX_DEPTH:
        return 0
    n_tokens = PROPERTY_TOKENS
    for name, found in properties.items():
        about = found if isinstance(found, Mapping) else {}
        description = str(about.get("description") or "").removesuffix(".")
        n_tokens += PROPERTY_TOKENS + count(f"{name}:{about.get('type', '')}:{description}", model)
        if isinstance(choices := about.get("enum"), list):
            n_tokens += sum(ENUM_TOKENS + count(_as_text(choice), model) for choice in choices) - ENUM_TOKENS
        items = about.get("items")
        for inner in (about, items if isinstance(items, Mapping) else {}):
            n_tokens += _properties_tokens(inner, model, depth + 1)
    return n_tokens


def _definitions(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = schema.get("$defs") or schema.get("definitions")
    return [value for value in found.values() if isinstance(value, Mapping)] if isinstance(found, Mapping) else []


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _how(rule: TextRule, notes: Iterable[str]) -> str:
    whose = "" if rule.exact else " (not the model's own)"
    return f"tiktoken {rule.encoding}{whose}; {'; '.join(notes)}"


__all__ = ["TokenCount", "count_messages", "count_request", "count_text", "tool_tokens"]
