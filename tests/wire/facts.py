"""What a request asks for, as facts that can be compared across dialects; and the names that excuse a missing one.

Where two dialects say one thing in two ways (an effort or a budget, one text or two, a document or its bytes), the fact
is the same. Order counts within a kind.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llmlens.records import (
    ChatRequest,
    Document,
    Image,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from llmlens.wire.effort import effort_of
from llmlens.wire.gemini_build import PLACEHOLDER

Facts = dict[str, Any]

# Kind of fact → names in `dropped` that account for its loss.
EXCUSES: Mapping[str, set[str]] = {
    "thinking": {"reasoning_content"},
    "signatures": {"thinking.signature", "reasoning_content"},
    "redacted": {"redacted_thinking"},
    "call signatures": {"tool_call.signature"},
    "cache marks": {"cache_control"},
    "images": {"image", "image.url", "image.media_type"},
    "system media": {"messages.system.media", "image.url", "image"},
    "details": {"image_url.detail", "image", "image.url"},
    "documents": {"document", "document.url", "document.media_type", "messages.system.media"},
    "document names": {"document.name", "document", "document.url", "document.media_type", "messages.system.media"},
    "result media": {"tool_result.image", "tool_result.document", "image.url", "document.url", "image.media_type",
                     "document.media_type"},
    "result errors": {"tool_result.is_error"},
    "tools": {"tools"},
    "strict tools": {"tools.strict", "tools"},
    "tool_choice": {"tool_choice", "tool_choice.name", "tools"},
    "parallel_tool_calls": {"parallel_tool_calls", "tools"},
    "format": {"response_format"},
    "format name": {"response_format.json_schema.name", "response_format"},
    "format strict": {"response_format.json_schema.strict"},
    "effort": {"reasoning_effort", "thinking.budget_tokens"},
    "presence_penalty": {"presence_penalty"},
    "frequency_penalty": {"frequency_penalty"},
}  # fmt: skip


def facts(asked: ChatRequest) -> Facts:
    """Kind → what is asked for; kinds that are not asked for are left out."""
    parts = [(message.role, part) for message in asked.messages for part in message.parts]
    told = {
        "system": [p.text for role, p in parts if role in ("system", "developer") and isinstance(p, Text)],
        "user texts": [p.text for role, p in parts if role in ("user", "tool") and isinstance(p, Text | Refusal)],
        "assistant texts": [p.text for role, p in parts if role == "assistant" and isinstance(p, Text | Refusal)],
        **_thinking([p for _, p in parts if isinstance(p, Thinking)]),
        **_media(p for role, p in parts if isinstance(p, Document) or role not in ("system", "developer")),
        "system media": [1 for role, p in parts if role in ("system", "developer") and isinstance(p, Image)],
        "calls": [(p.name, _object(p.arguments)) for _, p in parts if isinstance(p, ToolCall)],
        "call signatures": [
            s for _, p in parts if isinstance(p, ToolCall) and (s := p.signature) not in (None, PLACEHOLDER)
        ],
        **_results([p for _, p in parts if isinstance(p, ToolResult)]),
        "cache marks": [1 for _, p in parts if isinstance(p, Text) and p.cache_control is not None],
        **_options(asked),
    }
    return {kind: value for kind, value in told.items() if value not in (None, [], "")}


def _object(arguments: str) -> Any:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = arguments
    return value or {} if isinstance(value, dict | None) else {"arguments": value}


def _thinking(thoughts: list[Thinking]) -> Facts:
    return {
        "thinking": [p.text for p in thoughts if p.text],
        "signatures": [p.signature for p in thoughts if p.signature],
        "redacted": [p.redacted for p in thoughts if p.redacted is not None],
    }


def _media(parts: Iterable[Part]) -> Facts:
    media = [p for p in parts if isinstance(p, Image | Document)]
    return {
        "images": [p.url or p.data for p in media if isinstance(p, Image)],
        "details": [p.detail for p in media if isinstance(p, Image) and p.detail not in (None, "auto")],
        "documents": [_content(p) for p in media if isinstance(p, Document)],
        # Bedrock says the ending apart
        "document names": [Path(p.name).stem for p in media if isinstance(p, Document) and p.name],
    }


def _content(document: Document) -> Any:
    if document.text is not None:
        return document.text.encode()
    try:
        return document.url or base64.b64decode(document.data or "", validate=True)
    except binascii.Error:
        return document.data


def _results(results: list[ToolResult]) -> Facts:
    inner = [part for result in results for part in result.parts]
    media = _media(inner)
    return {
        "results": [part.text for part in inner if isinstance(part, Text)],
        "result errors": [result.is_error for result in results] if any(r.is_error for r in results) else [],
        "result media": media["images"] + media["documents"],
    }


def _options(asked: ChatRequest) -> Facts:
    choice, wanted, budget = asked.tool_choice, asked.response_format, asked.reasoning_budget_tokens
    schema = wanted is not None and wanted.kind == "schema"
    calls = bool(asked.tools) and (choice is None or choice.mode != "none")
    return {
        "tools": [(t.name, t.description or None, _schema(t)) for t in asked.tools],
        "strict tools": [t.name for t in asked.tools if t.strict],
        "tool_choice": None if choice is None or choice.mode == "auto" else (choice.mode, choice.name),
        "parallel_tool_calls": "one" if calls and asked.parallel_tool_calls is False else None,
        "format": None if wanted is None or wanted.kind == "text" else (wanted.kind, wanted.schema),
        "format name": wanted.name if wanted is not None and schema else None,
        "format strict": False if wanted is not None and schema and wanted.strict is False else None,
        "effort": asked.reasoning_effort or (None if budget is None else effort_of(budget)),
        "n": None if asked.n == 1 else asked.n,
        "presence_penalty": asked.presence_penalty or None,
        "frequency_penalty": asked.frequency_penalty or None,
        "stop": list(asked.stop),
        **{name: getattr(asked, name) for name in ("max_output_tokens", "temperature", "top_p", "top_k", "seed", "user")},
    }  # fmt: skip


def _schema(tool: Tool) -> Any:
    return {"type": "object", **(tool.parameters or {"properties": {}})}


# System texts may move to the front, and refusals have a field of their own in chat.
UNORDERED = frozenset({"system", "assistant texts"})
TEXTS = frozenset({"system", "user texts", "assistant texts", "thinking", "results"})


def missing(before: Facts, after: Facts, dropped: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """The facts of `before` that `after` does not tell, and that no name in `dropped` excuses: kind → (then, now)."""
    names = set(dropped)
    said = "\n".join(
        [*after.get("system", ()), *after.get("user texts", ())]
    ).encode()  # where Cohere puts documents that stand alone
    told = {
        **after,
        "documents": after.get("documents")
        or [d for d in before.get("documents", ()) if isinstance(d, bytes) and d in said],
    }
    lost = (kind for kind, value in before.items() if not _kept(kind, value, told.get(kind)))
    return {kind: (before[kind], after.get(kind)) for kind in lost if not names & EXCUSES.get(kind, {kind})}


def _kept(kind: str, value: Any, now: Any) -> bool:
    if kind not in TEXTS:
        return bool(value == now)
    whole, place = "\n".join(now or ()), 0  # two texts may have become one
    for text in value:
        place = whole.find(text, place)
        if place < 0:
            return False
        place = 0 if kind in UNORDERED else place + len(text)
    return True
