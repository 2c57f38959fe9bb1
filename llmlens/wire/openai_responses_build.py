"""`ChatRequest` → OpenAI Responses requests. No I/O.

Source: `openai.types.responses.response_create_params` of openai 3. Items are sent without ids: the API would look for
them among what it has stored.
"""

import base64
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
from llmlens.wire.data_url import data_url
from llmlens.wire.effort import effort_of
from llmlens.wire.openai_responses_read import NAME
from llmlens.wire.openai_responses_request import SIGNED
from llmlens.wire.openai_responses_write import call, reasoning
from llmlens.wire.openai_shared import SHARED, carried, verbosity_of

Dropped = dict[str, None]  # names, in order, each once
Item = dict[str, Any]


def build_request(request: ChatRequest) -> tuple[Item, list[str]]:
    """The body for OpenAI Responses, and the names of what it cannot carry.

    Nothing is kept at the provider unless the caller asked for it: `store` is false, and thinking comes back sealed.
    """
    kept = carried(request.extra)
    dropped: Dropped = dict.fromkeys(name for name in request.extra if name not in (*kept, "reasoning.summary"))
    instructions, items = _build_turns(request.messages, dropped)
    thinking = _build_reasoning(request)
    signed = thinking is not None or any(item["type"] == "reasoning" for item in items)
    options = {
        "instructions": instructions,
        "stream": request.stream or None,
        "tools": [_build_tool(tool) for tool in request.tools] or None,
        "tool_choice": _build_choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls if request.tools else None,
        "max_output_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "text": _build_text(request.response_format, verbosity_of(kept)),
        "reasoning": thinking,
        "include": [SIGNED] if signed else None,
        "user": request.user,
    }
    body = {"model": request.model, "input": items, "store": False, **{k: v for k, v in kept.items() if k in SHARED}}
    body.update({k: v for k, v in options.items() if v is not None})
    _note_parameters(request, dropped)
    return body, list(dropped)


def _note_parameters(request: ChatRequest, dropped: Dropped) -> None:
    lost = {
        "top_k": request.top_k is not None,
        "stop": bool(request.stop),
        "seed": request.seed is not None,
        "presence_penalty": bool(request.presence_penalty),  # 0 asks for nothing
        "frequency_penalty": bool(request.frequency_penalty),
        "n": request.n not in (None, 1),
    }
    dropped.update(dict.fromkeys(name for name, is_lost in lost.items() if is_lost))


# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_turns(messages: tuple[Message, ...], dropped: Dropped) -> tuple[str | None, list[Item]]:
    """(instructions, input). A system message of one text at the front is the instructions."""
    instructions = None
    if messages and messages[0].role == "system" and len(messages[0].parts) == 1:
        part = messages[0].parts[0]
        if isinstance(part, Text) and part.text:
            _note_mark(part, dropped)
            instructions, messages = part.text, messages[1:]
    items: list[Item] = []
    for message in messages:
        if message.name is not None:
            dropped["messages.name"] = None
        if message.parts:
            _build_message(message, items, dropped)
        elif message.role != "assistant":
            items.append(_item(message.role, ""))
    return instructions, items


def _build_message(message: Message, items: list[Item], dropped: Dropped) -> None:
    """Append the items that `message` becomes: calls, results and thinking are items of their own."""
    content: list[Item] = []
    for part in message.parts:
        if isinstance(part, Thinking | ToolCall | ToolResult):
            _flush(message.role, content, items)
            if (item := _build_item(part, len(items), dropped)) is not None:
                items.append(item)
        elif (built := _build_part(part, message.role, dropped)) is not None:
            content.append(built)
    _flush(message.role, content, items)


def _flush(role: str, content: list[Item], items: list[Item]) -> None:
    if content:
        short = content[0]["text"] if len(content) == 1 and content[0].get("type") == "input_text" else [*content]
        items.append(_item("user" if role == "tool" else role, short))
        content.clear()


def _item(role: str, content: str | list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _build_item(part: Thinking | ToolCall | ToolResult, number: int, dropped: Dropped) -> Item | None:
    if isinstance(part, ToolCall):
        if part.signature:
            dropped["tool_call.signature"] = None
        return call(part.id or f"call_{number}", part.name, part.arguments or "{}")
    if isinstance(part, ToolResult):
        return _build_result(part, dropped)
    if part.redacted is not None or not part.signature:
        # OpenAI takes back only thinking it has sealed
        dropped["redacted_thinking" if part.redacted is not None else "reasoning_content"] = None
        return None
    return reasoning(part.text, part.signature)


def _build_result(result: ToolResult, dropped: Dropped) -> Item:
    if result.is_error:
        # said in words, since there is no field for it
        dropped["tool_result.is_error"] = None
    parts = [b for part in result.parts if (b := _build_part(part, "tool", dropped)) is not None]
    output = parts[0]["text"] if len(parts) == 1 and parts[0].get("type") == "input_text" else parts or ""
    return {"type": "function_call_output", "call_id": result.tool_call_id, "output": output}


def _build_part(part: Part, role: str, dropped: Dropped) -> Item | None:
    ours = role == "assistant"
    if isinstance(part, Text):
        _note_mark(part, dropped)
        return {"type": "output_text" if ours else "input_text", "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text} if ours else {"type": "input_text", "text": part.text}
    if isinstance(part, Image) and not ours:
        url = part.url or data_url(part.media_type or "image/png", part.data or "")
        return {"type": "input_image", "image_url": url, **({"detail": part.detail} if part.detail else {})}
    if isinstance(part, Document) and not ours:
        return _build_document(part)
    if isinstance(part, Other) and part.dialect == NAME:
        return dict(part.value)
    dropped[str(part.value.get("type", "other")) if isinstance(part, Other) else type(part).__name__.lower()] = None
    return None


def _build_document(part: Document) -> Item:
    if part.url is not None:
        name = {"filename": part.name} if part.name else {}
        return {"type": "input_file", "file_url": part.url, **name}
    if part.text is not None:
        file_data = data_url("text/plain", base64.b64encode(part.text.encode("utf-8", "replace")).decode())
    else:
        file_data = data_url(part.media_type or "application/pdf", part.data or "")
    # the API refuses file data without a name
    return {"type": "input_file", "filename": part.name or "document", "file_data": file_data}


def _note_mark(part: Text, dropped: Dropped) -> None:
    if part.cache_control is not None:
        dropped["cache_control"] = None


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_tool(tool: Tool) -> Item:
    # left out, `strict` would mean true here, and false in chat completions
    fields: Item = {"type": "function", "name": tool.name, "parameters": tool.parameters, "strict": bool(tool.strict)}
    return fields if tool.description is None else {**fields, "description": tool.description}


def _build_choice(choice: ToolChoice | None) -> str | Item | None:
    if choice is None:
        return None
    return choice.mode if choice.mode != "tool" else {"type": "function", "name": choice.name}


def _build_reasoning(request: ChatRequest) -> Item | None:
    """A budget asks to see the thinking; mere effort does not, and OpenAI refuses summaries to unverified callers."""
    effort, budget = request.reasoning_effort, request.reasoning_budget_tokens
    if effort is None and budget is not None:
        effort = effort_of(budget)
    summary = request.extra.get("reasoning.summary") or (None if budget is None or effort == "none" else "auto")
    built = {"effort": effort, "summary": summary}
    return {k: v for k, v in built.items() if v is not None} or None


def _build_text(wanted: ResponseFormat | None, verbosity: Any) -> Item | None:
    built: Item = {} if verbosity is None else {"verbosity": verbosity}
    if wanted is not None and wanted.kind == "schema":
        schema = {"name": wanted.name or "response", "schema": wanted.schema or {}, "strict": wanted.strict}
        built["format"] = {"type": "json_schema", **{k: v for k, v in schema.items() if v is not None}}
    elif wanted is not None:
        built["format"] = {"type": "json_object" if wanted.kind == "json" else "text"}
    return built or None
