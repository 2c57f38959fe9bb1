"""`ChatRequest` → Ollama chat requests. No I/O.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md and `ollama._types` of ollama 0.6.
"""

from collections.abc import Sequence
from typing import Any

from llmlens.records import (
    ChatRequest,
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
    ToolResult,
)
from llmlens.wire.anthropic_write import tool_input
from llmlens.wire.effort import effort_of

_NEAREST = {"minimal": "low", "xhigh": "high", "max": "high"}  # `think` knows low, medium and high

Dropped = dict[str, None]  # names, in order, each once


def build_request(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """The body for Ollama's chat, and the names of what it cannot carry."""
    dropped: Dropped = dict.fromkeys(request.extra)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _build_messages(request.messages, dropped),
        "stream": request.stream,  # left out it means true
    }
    options = {
        "num_predict": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": list(request.stop) or None,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    fields = {
        "tools": _build_tools(request, dropped) or None,
        "format": _build_format(request.response_format, dropped),
        "think": _build_think(request, dropped),
        "options": {k: v for k, v in options.items() if v is not None} or None,
    }
    body.update({k: v for k, v in fields.items() if v is not None})
    _note_parameters(request, dropped)
    return body, list(dropped)


def _note_parameters(request: ChatRequest, dropped: Dropped) -> None:
    lost = {
        "parallel_tool_calls": request.parallel_tool_calls is False and bool(request.tools),
        "n": request.n not in (None, 1),
        "user": request.user is not None,
    }
    dropped.update(dict.fromkeys(name for name, is_lost in lost.items() if is_lost))


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_messages(messages: Sequence[Message], dropped: Dropped) -> list[dict[str, Any]]:
    built: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # id of a call → its function
    for message in messages:
        if message.name is not None:
            dropped["messages.name"] = None
        names.update({p.id: p.name for p in message.parts if isinstance(p, ToolCall) and p.id is not None})
        built += [_build_result(part, names, dropped) for part in message.parts if isinstance(part, ToolResult)]
        rest = [p for p in message.parts if not isinstance(p, ToolResult)]
        if rest or not message.parts:
            built.append(_build_message(message, rest, dropped))
    return built


def _build_result(result: ToolResult, names: dict[str, str], dropped: Dropped) -> dict[str, Any]:
    """Older servers go by `tool_name`, newer ones by the id."""
    if result.is_error:
        dropped["tool_result.is_error"] = None
    other = [p for p in result.parts if not isinstance(p, Text)]
    dropped.update(dict.fromkeys(f"tool_result.{_kind(p)}" for p in other))
    content = _joined([p for p in result.parts if isinstance(p, Text)], dropped)
    name = {"tool_name": names[result.tool_call_id]} if result.tool_call_id in names else {}
    return {"role": "tool", "content": content, **name, "tool_call_id": result.tool_call_id}


def _build_message(message: Message, parts: Sequence[Part], dropped: Dropped) -> dict[str, Any]:
    role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
    built: dict[str, Any] = {"role": role, "content": _joined(parts, dropped)}
    if thought := "".join(_thought(p, dropped) for p in parts if isinstance(p, Thinking)):
        built["thinking"] = thought
    if images := [data for p in parts if isinstance(p, Image) and (data := _image(p, dropped)) is not None]:
        built["images"] = images
    if calls := [p for p in parts if isinstance(p, ToolCall)]:
        dropped.update({"tool_call.signature": None} if any(call.signature for call in calls) else {})
        built["tool_calls"] = [tool_call(call, number) for number, call in enumerate(calls)]
    known = Text | Refusal | Thinking | Image | ToolCall
    dropped.update(dict.fromkeys(_kind(p) for p in parts if not isinstance(p, known)))
    return built


def _joined(parts: Sequence[Part], dropped: Dropped) -> str:
    """All texts as the one that a message has, with a blank line between."""
    texts = [p for p in parts if isinstance(p, Text | Refusal)]
    if any(isinstance(p, Text) and p.cache_control is not None for p in texts):
        dropped["cache_control"] = None
    return "\n\n".join(p.text for p in texts if p.text)


def _thought(part: Thinking, dropped: Dropped) -> str:
    if part.redacted is not None:
        dropped["redacted_thinking"] = None
        return ""
    if part.signature:
        dropped["thinking.signature"] = None
    return part.text


def _image(part: Image, dropped: Dropped) -> str | None:
    if part.detail not in (None, "auto"):
        dropped["image_url.detail"] = None
    if part.data is None:
        dropped["image.url"] = None  # Ollama fetches nothing
    return part.data


def tool_call(call: ToolCall, number: int) -> dict[str, Any]:
    """Call number `number` of a message."""
    called = {"function": {"index": number, "name": call.name, "arguments": tool_input(call)}}
    return called if call.id is None else {"id": call.id, **called}


def _kind(part: Part) -> str:
    return str(part.value.get("type", "other")) if isinstance(part, Other) else type(part).__name__.lower()


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_tools(request: ChatRequest, dropped: Dropped) -> list[dict[str, Any]]:
    """There is no choice among tools: "none" is none given, anything but "auto" is lost."""
    mode = request.tool_choice.mode if request.tool_choice is not None and request.tools else "auto"
    if mode == "none":
        dropped["tools"] = None
        return []
    if mode != "auto":
        dropped["tool_choice"] = None
    if any(tool.strict for tool in request.tools):
        dropped["tools.strict"] = None
    return [_build_tool(tool) for tool in request.tools]


def _build_tool(tool: Tool) -> dict[str, Any]:
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {k: v for k, v in fields.items() if v is not None}}


def _build_format(wanted: ResponseFormat | None, dropped: Dropped) -> str | dict[str, Any] | None:
    if wanted is None or wanted.kind == "text":
        return None
    if wanted.kind == "json":
        return "json"
    if wanted.name is not None:
        dropped["response_format.json_schema.name"] = None
    if wanted.strict is False:
        dropped["response_format.json_schema.strict"] = None  # a schema is always kept here
    return dict(wanted.schema or {})


def _build_think(request: ChatRequest, dropped: Dropped) -> bool | str | None:
    effort, budget = request.reasoning_effort, request.reasoning_budget_tokens
    if effort is None and budget is not None:
        effort = effort_of(budget)
    if effort is None or effort == "none":
        return None if effort is None else False
    if effort in _NEAREST:
        dropped["reasoning_effort"] = None  # the nearest is sent
    return _NEAREST.get(effort, effort)
