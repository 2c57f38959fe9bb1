"""OpenAI chat completion requests ↔ `ChatRequest`. No I/O.

Source: `openai.types.chat.completion_create_params` of openai 3.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from llmlens.errors import WireError
from llmlens.records import (
    ChatRequest,
    Document,
    Image,
    Message,
    Other,
    Part,
    Refusal,
    ResponseFormat,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmlens.wire.data_url import data_url, split_data_url
from llmlens.wire.effort import effort_of
from llmlens.wire.fields import (
    dict_field,
    flag_field,
    float_field,
    int_field,
    objects,
    required_objects,
    required_text,
    text_field,
)
from llmlens.wire.json_text import as_dict, as_list, as_str, dumps
from llmlens.wire.openai_read import signature_of
from llmlens.wire.openai_shared import SHARED, carried, verbosity_of
from llmlens.wire.openai_write import thinking_fields, tool_call

NAME = "openai.chat"
_ROLES = frozenset(get_args(Role))
# Everything that `parse_request` understands; the rest goes to `extra`.
_KNOWN = frozenset({
    "model", "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "function_call",
    "parallel_tool_calls", "max_completion_tokens", "max_tokens", "temperature", "top_p", "top_k", "stop",
    "seed", "presence_penalty", "frequency_penalty", "response_format", "reasoning_effort", "n", "user",
    "safety_identifier",
})  # fmt: skip
# These accept `max_completion_tokens` only; every look-alike accepts `max_tokens`, and some nothing else.
_NEW_LIMIT = re.compile(r"(?:^|/)(?:o\d|gpt-[5-9]|gpt-\d\d|codex)")


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """A chat completion request in no dialect.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    extra = {k: v for k, v in body.items() if k not in _KNOWN and v is not None}
    tools = _parse_tools(body, extra)
    new_limit = int_field(body, "max_completion_tokens")
    return ChatRequest(
        model=text_field(body, "model") or "",  # Azure and Vertex name it in the path
        messages=_parse_messages(body),
        stream=flag_field(body, "stream") or False,
        tools=tools,
        tool_choice=_parse_choice(body, extra),
        parallel_tool_calls=flag_field(body, "parallel_tool_calls"),
        max_output_tokens=int_field(body, "max_tokens") if new_limit is None else new_limit,
        temperature=float_field(body, "temperature"),
        top_p=float_field(body, "top_p"),
        top_k=int_field(body, "top_k"),  # not OpenAI's, but of most servers that speak like it
        stop=_parse_stop(body.get("stop")),
        seed=int_field(body, "seed"),
        presence_penalty=float_field(body, "presence_penalty"),
        frequency_penalty=float_field(body, "frequency_penalty"),
        response_format=_parse_format(dict_field(body, "response_format")),
        reasoning_effort=text_field(body, "reasoning_effort"),
        n=int_field(body, "n"),
        user=text_field(body, "safety_identifier") or text_field(body, "user"),
        stream_usage=flag_field(dict_field(body, "stream_options"), "include_usage") or False,
        extra=extra,
    )


def _parse_stop(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        raise WireError("'stop' must be a string or an array of strings")
    return tuple(stops)


def _parse_messages(body: Mapping[str, Any]) -> tuple[Message, ...]:
    messages: list[Message] = []
    legacy_id: str | None = None  # of the last `function_call`, which has none of its own
    for number, raw in enumerate(required_objects(body, "messages")):
        role = required_text(raw, "role")
        if raw.get("function_call") is not None:
            legacy_id = f"call_{number}"
        if role == "function":
            result = ToolResult(legacy_id or required_text(raw, "name"), _parse_content(raw))
            messages.append(Message("tool", (result,)))
        elif role == "tool":
            result = ToolResult(required_text(raw, "tool_call_id"), _parse_content(raw))
            messages.append(Message("tool", (result,)))
        elif role in _ROLES:
            parts = _parse_parts(raw, legacy_id) if role == "assistant" else _parse_content(raw)
            messages.append(Message(role, parts, text_field(raw, "name")))  # type: ignore[arg-type]
        else:
            raise WireError(f"unknown role {role!r} in 'messages'")
    return tuple(messages)


def _parse_parts(raw: Mapping[str, Any], legacy_id: str | None) -> tuple[Part, ...]:
    """Everything an assistant message says."""
    parts: list[Part] = []
    if blocks := objects(raw, "thinking_blocks"):
        parts += map(_parse_thinking, blocks)
    elif thought := text_field(raw, "reasoning_content"):
        parts.append(Thinking(thought))
    parts += _parse_content(raw)
    if refusal := text_field(raw, "refusal"):
        parts.append(Refusal(refusal))
    for call in objects(raw, "tool_calls"):
        function = dict_field(call, "function") or dict_field(call, "custom")
        arguments = text_field(function, "arguments") or text_field(function, "input") or ""
        name, signature = required_text(function, "name"), signature_of(call.get("extra_content"))
        parts.append(ToolCall(text_field(call, "id"), name, arguments, signature))
    if legacy := dict_field(raw, "function_call"):
        parts.append(ToolCall(legacy_id, required_text(legacy, "name"), text_field(legacy, "arguments") or ""))
    return tuple(parts)


def _parse_thinking(block: Mapping[str, Any]) -> Thinking:
    if block.get("type") == "redacted_thinking":
        return Thinking("", None, text_field(block, "data") or "")
    return Thinking(text_field(block, "thinking") or "", text_field(block, "signature"))


def _parse_content(raw: Mapping[str, Any]) -> tuple[Part, ...]:
    content = raw.get("content")
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(map(_parse_part, objects(raw, "content")))


def _parse_part(raw: dict[str, Any]) -> Part:
    kind = raw.get("type")
    if kind == "text":
        return Text(text_field(raw, "text") or "", dict_field(raw, "cache_control") or None)
    if kind == "refusal":
        return Refusal(text_field(raw, "refusal") or "")
    if kind == "image_url":
        image = raw.get("image_url")
        fields = {"url": image} if isinstance(image, str) else dict_field(raw, "image_url")
        url, detail = required_text(fields, "url"), text_field(fields, "detail")
        media_type, data = split_data_url(url)
        return Image(url, detail=detail) if data is None else Image(None, data, media_type, detail)
    if kind == "file" and (file_data := as_str(dict_field(raw, "file").get("file_data"))):
        media_type, data = split_data_url(file_data)
        name = text_field(dict_field(raw, "file"), "filename")
        return Document(data=file_data if data is None else data, media_type=media_type, name=name)
    return Other(NAME, raw)


def _note(extra: dict[str, Any], name: str, value: Any) -> None:
    """Add `value` to the list that `extra` keeps under `name`."""
    extra[name] = [*as_list(extra.get(name)), value]


def _parse_tools(body: Mapping[str, Any], extra: dict[str, Any]) -> tuple[Tool, ...]:
    tools = []
    for raw in objects(body, "tools"):
        if raw.get("type", "function") == "function":
            tools.append(_parse_tool(dict_field(raw, "function")))
        else:
            _note(extra, f"tools.{raw.get('type')}", raw)
    tools += map(_parse_tool, objects(body, "functions"))
    return tuple(tools)


def _parse_tool(raw: Mapping[str, Any]) -> Tool:
    parameters = dict_field(raw, "parameters") if raw.get("parameters") is not None else None
    return Tool(required_text(raw, "name"), text_field(raw, "description"), parameters, flag_field(raw, "strict"))


def _parse_choice(body: Mapping[str, Any], extra: dict[str, Any]) -> ToolChoice | None:
    name = "tool_choice" if body.get("tool_choice") is not None else "function_call"
    value = body.get(name)
    if value is None:
        return None
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    choice = dict_field(body, name)
    if choice.get("type", "function") == "function":
        return ToolChoice("tool", required_text(dict_field(choice, "function") or choice, "name"))
    extra[f"tool_choice.{choice.get('type')}"] = choice  # allowed_tools, custom
    return None


def _parse_format(raw: Mapping[str, Any]) -> ResponseFormat | None:
    kind = raw.get("type")
    if kind == "json_schema":
        schema = dict_field(raw, "json_schema")
        return ResponseFormat(
            "schema", text_field(schema, "name"), dict_field(schema, "schema"), flag_field(schema, "strict")
        )
    if kind == "json_object":
        return ResponseFormat("json")
    return ResponseFormat("text") if raw else None


# ── ChatRequest → body ────────────────────────────────────────────────────────────────────────────────────────────

MAX_STOPS = 4  # the API's own limit


def build_request(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """The body for OpenAI chat completions, and the names of what it cannot carry."""
    kept = carried(request.extra)
    dropped: dict[str, None] = dict.fromkeys(name for name in request.extra if name not in kept)
    body: dict[str, Any] = {"model": request.model, "messages": _build_messages(request, dropped)}
    effort = request.reasoning_effort
    if effort is None and request.reasoning_budget_tokens is not None:
        effort = effort_of(request.reasoning_budget_tokens)
    if len(request.stop) > MAX_STOPS or request.top_k is not None:
        dropped.update({"stop": None} if len(request.stop) > MAX_STOPS else {})
        dropped.update({"top_k": None} if request.top_k is not None else {})
    limit = "max_completion_tokens" if _NEW_LIMIT.search(request.model) else "max_tokens"
    options = {
        "stream": request.stream or None,
        "stream_options": {"include_usage": True} if request.stream and request.stream_usage else None,
        "tools": [_build_tool(tool) for tool in request.tools] or None,
        "tool_choice": _build_choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls if request.tools else None,
        limit: request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop[:MAX_STOPS]) or None,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "response_format": _build_format(request.response_format),
        "reasoning_effort": effort,
        "n": request.n,
        "user": request.user,
        "verbosity": verbosity_of(kept),
        **{k: v for k, v in kept.items() if k in SHARED},
    }
    body.update({k: v for k, v in options.items() if v is not None})
    return body, list(dropped)


def _build_messages(request: ChatRequest, dropped: dict[str, None]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        messages += [_build_result(part, dropped) for part in message.parts if isinstance(part, ToolResult)]
        rest = [p for p in message.parts if not isinstance(p, ToolResult)]
        if rest or not message.parts:
            built = _build_message(message, rest, dropped)
            messages.append(built if message.name is None else {**built, "name": message.name})
    return messages


def _build_result(result: ToolResult, dropped: dict[str, None]) -> dict[str, Any]:
    if result.is_error:
        # said in words, since there is no field for it
        dropped["tool_result.is_error"] = None
    # the API allows text only in tool messages
    other = [p for p in result.parts if not isinstance(p, Text)]
    dropped.update(dict.fromkeys(f"tool_result.{_kind(p)}" for p in other))
    content = _build_content([p for p in result.parts if isinstance(p, Text)], dropped)
    return {"role": "tool", "tool_call_id": result.tool_call_id, "content": content}


def _build_message(message: Message, parts: Sequence[Part], dropped: dict[str, None]) -> dict[str, Any]:
    if message.role != "assistant":
        role = "user" if message.role == "tool" else message.role
        return {"role": role, "content": _build_content(parts, dropped)}
    calls = [p for p in parts if isinstance(p, ToolCall)]
    thoughts = [p for p in parts if isinstance(p, Thinking)]
    refusals = [p.text for p in parts if isinstance(p, Refusal)]
    said = [p for p in parts if not isinstance(p, ToolCall | Thinking | Refusal)]
    content = _build_content(said, dropped) if said or not (calls or refusals) else None
    built: dict[str, Any] = {"role": "assistant", "content": content, **thinking_fields(thoughts)}
    if refusals:
        built["refusal"] = "".join(refusals)
    if calls:
        built["tool_calls"] = [tool_call(call, number) for number, call in enumerate(calls)]
    return built


def _build_content(parts: Sequence[Part], dropped: dict[str, None]) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        _note_mark(parts[0], dropped)
        return parts[0].text
    return [built for part in parts if (built := _build_part(part, dropped)) is not None] or ""


def _build_part(part: Part, dropped: dict[str, None]) -> dict[str, Any] | None:
    if isinstance(part, Text):
        _note_mark(part, dropped)
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        url = part.url or data_url(part.media_type or "image/png", part.data or "")
        return {"type": "image_url", "image_url": {"url": url, **({"detail": part.detail} if part.detail else {})}}
    if isinstance(part, Document):
        return _build_document(part, dropped)
    if isinstance(part, Other) and part.dialect == NAME:
        return dict(part.value)
    dropped[_kind(part)] = None
    return None


def _build_document(part: Document, dropped: dict[str, None]) -> dict[str, Any] | None:
    if part.text is not None:
        file_data = data_url(part.media_type or "text/plain", base64.b64encode(part.text.encode()).decode())
    elif part.data is not None:
        file_data = data_url(part.media_type or "application/pdf", part.data)
    else:
        dropped["document.url"] = None
        return None
    # the API refuses file data without a name
    return {"type": "file", "file": {"filename": part.name or "document", "file_data": file_data}}


def _note_mark(part: Text, dropped: dict[str, None]) -> None:
    if part.cache_control is not None:
        dropped["cache_control"] = None


def _kind(part: Part) -> str:
    return str(part.value.get("type", "other")) if isinstance(part, Other) else type(part).__name__.lower()


def _build_tool(tool: Tool) -> dict[str, Any]:
    fields = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return {"type": "function", "function": {k: v for k, v in fields.items() if v is not None}}


def _build_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode != "tool":
        return choice.mode
    return {"type": "function", "function": {"name": choice.name}}


def _build_format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None or wanted.kind == "text":
        return None if wanted is None else {"type": "text"}
    if wanted.kind == "json":
        return {"type": "json_object"}
    schema = {"name": wanted.name or "response", "schema": wanted.schema, "strict": wanted.strict}
    return {"type": "json_schema", "json_schema": {k: v for k, v in schema.items() if v is not None}}


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: messages, tool calls, tools and the schema. Never raises."""
    texts: list[str] = []
    for raw in as_list(body.get("messages")):
        message = as_dict(raw)
        content = message.get("content")
        texts += [content] if isinstance(content, str) else _texts_of(content)
        texts += [dumps(message[k]).decode() for k in ("tool_calls", "function_call") if message.get(k)]
    texts += [dumps(body[k]).decode() for k in ("tools", "functions", "response_format") if body.get(k)]
    return texts


def _texts_of(content: Any) -> list[str]:
    texts = [as_dict(part).get("text") for part in as_list(content)]
    return [text for text in texts if isinstance(text, str)]
