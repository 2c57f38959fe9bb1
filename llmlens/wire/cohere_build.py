"""`ChatRequest` → Cohere chat v2 requests. No I/O.

Source: `cohere.v2` of cohere 7 and https://docs.cohere.com/v2/reference/chat, also for the bounds of its parameters.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from llmlens.records import (
    ChatRequest,
    Document,
    Image,
    Message,
    Other,
    Part,
    Refusal,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmlens.wire.cohere_read import CITATIONS, NAME, PLAN
from llmlens.wire.data_url import data_url
from llmlens.wire.effort import budget_of

MAX_STOPS = 5  # the API's own limit

Dropped = dict[str, None]  # names, in order, each once


def build_request(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """The body for Cohere chat v2, and the names of what it cannot carry."""
    dropped: Dropped = dict.fromkeys(request.extra)
    documents, messages = _take_documents(request.messages, dropped)
    body: dict[str, Any] = {"model": request.model, "messages": _build_messages(messages, dropped)}
    options = {
        "stream": request.stream or None,
        "tools": [_build_tool(tool) for tool in request.tools] or None,
        "strict_tools": _build_strict(request.tools, dropped),
        "tool_choice": _build_choice(request.tool_choice, dropped) if request.tools else None,
        "documents": documents or None,
        "response_format": _build_format(request.response_format, dropped),
        "max_tokens": request.max_output_tokens,
        "stop_sequences": list(request.stop[:MAX_STOPS]) or None,
        "temperature": request.temperature,
        "seed": request.seed,
        "presence_penalty": _within("presence_penalty", request.presence_penalty, 0, 1, dropped),
        "frequency_penalty": _within("frequency_penalty", request.frequency_penalty, 0, 1, dropped),
        "k": _within("top_k", request.top_k, 0, 500, dropped),
        "p": _within("top_p", request.top_p, 0.01, 0.99, dropped),
        "thinking": _build_thinking(request, dropped),
    }
    body.update({k: v for k, v in options.items() if v is not None})
    _note_parameters(request, dropped)
    return body, list(dropped)


def _within(name: str, value: float | None, low: float, high: float, dropped: Dropped) -> float | None:
    """The nearest that the API takes: it refuses a request with another."""
    if value is None or low <= value <= high:
        return value
    dropped[name] = None
    return low if value < low else high


def _note_parameters(request: ChatRequest, dropped: Dropped) -> None:
    lost = {
        "stop": len(request.stop) > MAX_STOPS,
        "parallel_tool_calls": request.parallel_tool_calls is False and bool(request.tools),
        "n": request.n not in (None, 1),
        "user": request.user is not None,
    }
    dropped.update(dict.fromkeys(name for name, is_lost in lost.items() if is_lost))


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _take_documents(messages: Sequence[Message], dropped: Dropped) -> tuple[list[Any], list[Message]]:
    """(documents of the request, messages without them). A turn that is nothing but documents keeps them, as text."""
    users = [number for number, message in enumerate(messages) if message.role == "user"]
    taken: list[Any] = []
    left: list[Message] = []
    for number, message in enumerate(messages):
        texts = {at: text for at, p in enumerate(message.parts) if (text := _text_of(p)) is not None}
        parts = tuple(p for at, p in enumerate(message.parts) if at not in texts)
        if texts and not parts:
            parts = tuple(map(Text, texts.values()))
            dropped.update({"document.name": None} if any(getattr(p, "name", None) for p in message.parts) else {})
        elif texts:
            taken += [_build_document(message.parts[at], text) for at, text in texts.items()]
            if users[-1:] != [number] or list(texts) != list(range(len(texts))):
                dropped["document.position"] = None
        left.append(Message(message.role, parts, message.name))
    return taken, left


def _text_of(part: Part) -> str | None:
    """The text of a document; None of what has none."""
    if not isinstance(part, Document):
        return None
    if part.text is None and part.data is not None and (part.media_type or "").startswith("text/"):
        try:
            return base64.b64decode(part.data, validate=True).decode()
        except (binascii.Error, UnicodeError, ValueError):
            return None
    return part.text


def _build_document(part: Part, text: str) -> Any:
    name = part.name if isinstance(part, Document) else None
    return text if name is None else {"data": {"text": text, "title": name}}


def _build_messages(messages: Sequence[Message], dropped: Dropped) -> list[dict[str, Any]]:
    built: list[dict[str, Any]] = []
    for message in messages:
        if message.name is not None:
            dropped["messages.name"] = None
        built += [_build_result(part, dropped) for part in message.parts if isinstance(part, ToolResult)]
        rest = [p for p in message.parts if not isinstance(p, ToolResult)]
        if rest or not message.parts:
            built.append(_build_message(message, rest, dropped))
    return built


def _build_result(result: ToolResult, dropped: Dropped) -> dict[str, Any]:
    if result.is_error:
        dropped["tool_result.is_error"] = None
    blocks: list[dict[str, Any]] = []
    for part in result.parts:
        if isinstance(part, Text):
            blocks += _build_blocks([part], dropped)
        elif (text := _text_of(part)) is not None:
            document = _build_document(part, text)
            fields = document if isinstance(document, dict) else {"data": {"text": text}}
            blocks.append({"type": "document", "document": fields})
        else:
            dropped[f"tool_result.{_kind(part)}"] = None
    return {"role": "tool", "tool_call_id": result.tool_call_id, "content": _short(blocks)}


def _build_message(message: Message, parts: Sequence[Part], dropped: Dropped) -> dict[str, Any]:
    if message.role != "assistant":
        blocks = _build_blocks(parts, dropped)
        if message.role in ("user", "tool"):
            return {"role": "user", "content": _short(blocks)}
        texts = [block for block in blocks if block["type"] == "text"]
        if len(texts) < len(blocks):
            dropped["messages.system.media"] = None
        return {"role": "system", "content": _short(texts)}
    calls = [p for p in parts if isinstance(p, ToolCall)]
    ours = {k: v for p in parts if isinstance(p, Other) and p.dialect == NAME for k, v in _field_of(p).items()}
    said = [p for p in parts if not isinstance(p, ToolCall) and not (isinstance(p, Other) and _field_of(p))]
    built: dict[str, Any] = {"role": "assistant"}
    blocks = _build_blocks(said, dropped)
    if blocks or not (calls or ours):
        built["content"] = _short(blocks)
    if any(call.signature for call in calls):
        dropped["tool_call.signature"] = None
    if calls:
        built["tool_calls"] = [tool_call(call, number) for number, call in enumerate(calls)]
    return built | ours


def _field_of(part: Other) -> dict[str, Any]:
    """The field of a message that `part` was read from, where it is one."""
    kind = part.value.get("type")
    return {kind: part.value.get(kind)} if part.dialect == NAME and kind in (PLAN, CITATIONS) else {}


def tool_call(call: ToolCall, number: int) -> dict[str, Any]:
    """A tool call in a message. One without an id gets `call_<number>`: tool results must name it."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id or f"call_{number}", "type": "function", "function": function}


def _short(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return str(blocks[0]["text"])
    return blocks or ""


def _build_blocks(parts: Sequence[Part], dropped: Dropped) -> list[dict[str, Any]]:
    return [block for part in parts if (block := _build_block(part, dropped)) is not None]


def _build_block(part: Part, dropped: Dropped) -> dict[str, Any] | None:
    if isinstance(part, Text | Refusal):
        if isinstance(part, Text) and part.cache_control is not None:
            dropped["cache_control"] = None
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        return _build_thought(part, dropped)
    if isinstance(part, Image):
        url = part.url or data_url(part.media_type or "image/png", part.data or "")
        return {"type": "image_url", "image_url": {"url": url, **({"detail": part.detail} if part.detail else {})}}
    if isinstance(part, Other) and part.dialect == NAME:
        return dict(part.value)
    dropped[_kind(part)] = None
    return None


def _build_thought(part: Thinking, dropped: Dropped) -> dict[str, Any] | None:
    if part.redacted is not None:
        dropped["redacted_thinking"] = None
        return None
    if part.signature:
        dropped["thinking.signature"] = None
    return {"type": "thinking", "thinking": part.text}


def _kind(part: Part) -> str:
    return str(part.value.get("type", "other")) if isinstance(part, Other) else type(part).__name__.lower()


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}  # required
    fields = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": {k: v for k, v in fields.items() if v is not None}}


def _build_strict(tools: Sequence[Tool], dropped: Dropped) -> bool | None:
    """One flag for all tools; where they differ, none."""
    flags = {tool.strict for tool in tools}
    if len(flags) == 1:
        return flags.pop()
    if True in flags:
        dropped["tools.strict"] = None
    return None


def _build_choice(choice: ToolChoice | None, dropped: Dropped) -> str | None:
    if choice is None or choice.mode == "auto":
        return None  # which is what no choice means
    if choice.mode == "tool":
        dropped["tool_choice.name"] = None  # some tool, but which one cannot be said
    return "NONE" if choice.mode == "none" else "REQUIRED"


def _build_format(wanted: ResponseFormat | None, dropped: Dropped) -> dict[str, Any] | None:
    if wanted is None or wanted.kind == "text":
        return None if wanted is None else {"type": "text"}
    if wanted.kind == "json":
        return {"type": "json_object"}
    if wanted.name is not None:
        dropped["response_format.json_schema.name"] = None
    if wanted.strict is False:
        dropped["response_format.json_schema.strict"] = None  # a schema is always kept here
    return {"type": "json_object", "json_schema": dict(wanted.schema or {})}


def _build_thinking(request: ChatRequest, dropped: Dropped) -> dict[str, Any] | None:
    effort, budget = request.reasoning_effort, request.reasoning_budget_tokens
    if budget is None and effort is not None and effort != "none":
        budget = budget_of(effort)
        if budget is None:
            dropped["reasoning_effort"] = None
    elif budget is not None and effort is not None:
        dropped["reasoning_effort"] = None  # the budget says it better
    if budget is not None:
        return {"type": "enabled", "token_budget": budget}
    return {"type": "disabled"} if effort == "none" else None
