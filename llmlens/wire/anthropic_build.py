"""`ChatRequest` → Anthropic Messages requests. No I/O.

Source: `anthropic.types.message_create_params` of anthropic 2, and https://docs.claude.com/en/api/errors for what the
API refuses.
"""

import re
from collections.abc import Iterable
from typing import Any

from llmlens.records import (
    ChatRequest,
    Document,
    Image,
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
from llmlens.wire.anthropic_read import NAME
from llmlens.wire.anthropic_write import thinking_block, tool_id, tool_input
from llmlens.wire.effort import MIN_BUDGET_TOKENS, budget_of

# Anthropic needs a limit. 8192 is what the smallest model in service allows; a larger number would be refused there.
DEFAULT_MAX_TOKENS = 8192
_VERSION = re.compile(r"claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_ADAPTIVE = (4, 6)  # from here on effort is `output_config.effort`, before it a budget in tokens
_SYSTEM_ANYWHERE = (4, 8)  # from here on a system message may follow a user's
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})

Dropped = dict[str, None]  # names, in order, each once


def build_request(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """The body for Anthropic Messages, and the names of what it cannot carry."""
    dropped: Dropped = dict.fromkeys(request.extra)
    system, messages = _build_turns(request, dropped)
    body: dict[str, Any] = {"model": request.model, "messages": messages}
    body["max_tokens"], thinking, effort = _build_thinking(request, dropped)
    options = {
        "system": system,
        "stream": request.stream or None,
        "tools": [_build_tool(tool) for tool in request.tools] or None,
        "tool_choice": _build_choice(request),
        "temperature": _build_temperature(request, thinking, dropped),
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": [s for s in request.stop if s.strip()] or None,
        "thinking": thinking,
        "output_config": _build_output(request.response_format, effort, dropped),
        "metadata": {"user_id": request.user} if request.user is not None else None,
    }
    body.update({k: v for k, v in options.items() if v is not None})
    _note_parameters(request, dropped)
    return body, list(dropped)


def _note_parameters(request: ChatRequest, dropped: Dropped) -> None:
    lost = {
        "stop": any(not s.strip() for s in request.stop),  # Anthropic refuses white space
        "seed": request.seed is not None,
        "presence_penalty": bool(request.presence_penalty),  # 0 asks for nothing
        "frequency_penalty": bool(request.frequency_penalty),
        "n": request.n not in (None, 1),
    }
    dropped.update(dict.fromkeys(name for name, is_lost in lost.items() if is_lost))


def _version(model: str) -> tuple[int, int]:
    """(4, 6) of "claude-opus-4-6"; (0, 0) of older names and of models that are not Claude."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


# ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_turns(request: ChatRequest, dropped: Dropped) -> tuple[Any, list[dict[str, Any]]]:
    """(system, messages). Turns of one role in a row become one; results of tools are said by the user."""
    system: list[dict[str, Any]] = []
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for number, message in enumerate(request.messages):
        if message.name is not None:
            dropped["messages.name"] = None
        blocks = _build_blocks(message.parts, number, dropped)
        if message.role in ("system", "developer"):
            _place_system(request.model, blocks, system, turns, dropped)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks and (role == "assistant" or message.parts):
            continue  # nothing said: Anthropic refuses an empty turn
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return _short(system) if system else None, [{"role": r, "content": _short(b)} for r, b in turns]


def _place_system(
    model: str,
    blocks: list[dict[str, Any]],
    system: list[dict[str, Any]],
    turns: list[tuple[str, list[dict[str, Any]]]],
    dropped: Dropped,
) -> None:
    if not turns:
        system += blocks
    elif turns[-1][0] in ("user", "system") and _version(model) >= _SYSTEM_ANYWHERE:
        turns.append(("system", blocks))
    else:
        system += blocks
        dropped["messages.system.position"] = None


def _short(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _build_blocks(parts: Iterable[Part], turn: int, dropped: Dropped) -> list[dict[str, Any]]:
    built = (_build_block(part, turn * 1000 + number, dropped) for number, part in enumerate(parts))
    return [block for block in built if block is not None]


def _build_block(part: Part, number: int, dropped: Dropped) -> dict[str, Any] | None:
    if isinstance(part, Text):
        mark = {} if part.cache_control is None else {"cache_control": dict(part.cache_control)}
        return {"type": "text", "text": part.text, **mark} if part.text else None  # empty text is refused
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        if part.signature or part.redacted is not None:
            return thinking_block(part)
        dropped["reasoning_content"] = None  # Anthropic takes back only thinking it has signed
        return None
    if isinstance(part, ToolCall):
        if part.signature:
            dropped["tool_call.signature"] = None
        block_input = tool_input(part)
        return {"type": "tool_use", "id": tool_id(part.id, number), "name": part.name, "input": block_input}
    if isinstance(part, ToolResult):
        return _build_result(part, number, dropped)
    return _build_media(part, dropped)


def _build_result(part: ToolResult, number: int, dropped: Dropped) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(part.tool_call_id, number)}
    if blocks := _build_blocks(part.parts, number, dropped):
        block["content"] = _short(blocks)
    return {**block, "is_error": True} if part.is_error else block


def _build_media(part: Part, dropped: Dropped) -> dict[str, Any] | None:
    if isinstance(part, Image):
        if part.detail not in (None, "auto"):
            dropped["image_url.detail"] = None
        return {"type": "image", "source": _source(part.url, part.data, part.media_type or "image/png")}
    if isinstance(part, Document):
        if part.text is not None:
            source = {"type": "text", "media_type": "text/plain", "data": part.text}
        else:
            source = _source(part.url, part.data, part.media_type or "application/pdf")
        return {"type": "document", "source": source, **({"title": part.name} if part.name else {})}
    if isinstance(part, Other) and part.dialect == NAME:
        return dict(part.value)
    dropped[str(part.value.get("type", "other")) if isinstance(part, Other) else "other"] = None
    return None


def _source(url: str | None, data: str | None, media_type: str) -> dict[str, Any]:
    if url is not None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": media_type, "data": data or ""}


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_tool(tool: Tool) -> dict[str, Any]:
    # the schema must be there and be an object's
    schema = {"type": "object", **(tool.parameters or {"properties": {}})}
    fields = {"name": tool.name, "description": tool.description, "input_schema": schema, "strict": tool.strict}
    return {k: v for k, v in fields.items() if v is not None}


def _build_choice(request: ChatRequest) -> dict[str, Any] | None:
    choice = request.tool_choice
    if not request.tools:
        return None  # Anthropic refuses a choice among none
    kinds = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
    built: dict[str, Any] = {"type": kinds[choice.mode] if choice is not None else "auto"}
    if choice is not None and choice.mode == "tool":
        built["name"] = choice.name
    if request.parallel_tool_calls is False and built["type"] != "none":
        return {**built, "disable_parallel_tool_use": True}
    return built if choice is not None else None


def _build_thinking(request: ChatRequest, dropped: Dropped) -> tuple[int, dict[str, Any] | None, str | None]:
    """(max_tokens, thinking, effort). Thinking is part of the output limit, and must leave room for the answer."""
    effort, budget, limit = request.reasoning_effort, request.reasoning_budget_tokens, request.max_output_tokens
    if effort == "none":
        return limit or DEFAULT_MAX_TOKENS, {"type": "disabled"}, None
    if effort is not None and budget is None and _version(request.model) >= _ADAPTIVE:
        if effort not in _EFFORTS:
            dropped["reasoning_effort"] = None  # "minimal" has no equal; "low" is the nearest
        return limit or DEFAULT_MAX_TOKENS, {"type": "adaptive"}, effort if effort in _EFFORTS else "low"
    if effort is not None and budget is None:
        budget = budget_of(effort)
        if budget is not None and limit is not None and budget >= limit:
            budget = limit // 2 if limit // 2 >= MIN_BUDGET_TOKENS else None
        if budget is None:
            dropped["reasoning_effort"] = None
    if budget is None:
        return limit or DEFAULT_MAX_TOKENS, None, None
    stated = effort if request.reasoning_budget_tokens is not None and effort in _EFFORTS else None
    return limit or budget + DEFAULT_MAX_TOKENS, {"type": "enabled", "budget_tokens": budget}, stated


def _build_temperature(request: ChatRequest, thinking: dict[str, Any] | None, dropped: Dropped) -> float | None:
    value = request.temperature
    if value is None:
        return None
    if thinking is not None and thinking["type"] != "disabled" and value != 1:
        dropped["temperature"] = None  # Anthropic refuses another one while thinking
        return None
    if value > 1:
        dropped["temperature"] = None  # OpenAI's scale ends at 2; the nearest is sent
        return 1.0
    return value


def _build_output(wanted: ResponseFormat | None, effort: str | None, dropped: Dropped) -> dict[str, Any] | None:
    output: dict[str, Any] = {} if effort is None else {"effort": effort}
    if wanted is not None and wanted.kind == "schema":
        output["format"] = {"type": "json_schema", "schema": dict(wanted.schema or {})}
        if wanted.name is not None:
            dropped["response_format.json_schema.name"] = None
        if wanted.strict is False:
            dropped["response_format.json_schema.strict"] = None  # a schema is always kept here
    elif wanted is not None and wanted.kind == "json":
        dropped["response_format"] = None  # there is no "any JSON"
    return output or None
