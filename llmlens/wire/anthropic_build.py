"""`ChatRequest` → Anthropic Messages requests. No I/O.

Source: `anthropic.types.message_create_params` of anthropic 2, and https://docs.claude.com/en/api/errors for what the
API refuses.
"""

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
from llmlens.wire.anthropic_models import Dropped, build_sampling, build_thinking, version
from llmlens.wire.anthropic_read import NAME
from llmlens.wire.anthropic_write import thinking_block, tool_id, tool_input

_SYSTEM_ANYWHERE = (4, 8)  # from here on a system message may follow a user's


def build_request(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """The body for Anthropic Messages, and the names of what it cannot carry."""
    dropped: Dropped = dict.fromkeys(request.extra)
    system, messages = _build_turns(request, dropped)
    body: dict[str, Any] = {"model": request.model, "messages": messages}
    thinks = build_thinking(request, dropped)
    options = {
        "max_tokens": thinks.max_tokens,
        "system": system,
        "stream": request.stream or None,
        "tools": [_build_tool(tool) for tool in request.tools] or None,
        "tool_choice": _build_choice(request),
        **build_sampling(request, dropped, thinks=thinks.on),
        "stop_sequences": [s for s in request.stop if s.strip()] or None,
        "thinking": thinks.thinking,
        "output_config": _build_output(request.response_format, thinks.effort, dropped),
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
    texts = [block for block in blocks if block["type"] == "text"]
    if len(texts) < len(blocks):
        dropped["messages.system.media"] = None
    blocks = texts
    if not turns:
        system += blocks
    elif turns[-1][0] in ("user", "system") and version(model) >= _SYSTEM_ANYWHERE:
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
