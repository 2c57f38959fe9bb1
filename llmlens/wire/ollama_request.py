"""Ollama chat requests → `ChatRequest`. No I/O.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md and `ollama._types` of ollama 0.6.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    ChatRequest,
    Image,
    Message,
    Part,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from llmlens.wire.dialect import Asked
from llmlens.wire.fields import (
    dict_field,
    flag_field,
    float_field,
    int_field,
    list_field,
    objects,
    required_objects,
    required_text,
    text_field,
)
from llmlens.wire.json_text import as_dict, as_list, as_str, dumps

# Everything that `parse_request` understands; the rest goes to `extra`, options as `options.<name>`.
_KNOWN = frozenset({"model", "messages", "stream", "tools", "format", "options", "think"})
_OPTIONS = frozenset({
    "num_predict", "temperature", "top_p", "top_k", "stop", "seed", "presence_penalty", "frequency_penalty",
})  # fmt: skip
# How base64 of the usual formats begins; Ollama is told the bytes only.
_BEGINNINGS = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}

Extra = dict[str, Any]


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type. A stream is what a client gets that says nothing."""
    stream = flag_field(body, "stream")
    return Asked(text_field(body, "model"), stream is not False, _limit(dict_field(body, "options")))


def _limit(options: Mapping[str, Any]) -> int | None:
    """`num_predict`; what is negative means without end."""
    limit = int_field(options, "num_predict")
    return None if limit is None or limit < 0 else limit


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """A chat request in no dialect.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    options = dict_field(body, "options")
    extra = {k: v for k, v in body.items() if k not in _KNOWN and v is not None}
    extra |= {f"options.{k}": v for k, v in options.items() if k not in _OPTIONS and v is not None}
    asked = read_request(body)
    return ChatRequest(
        model=asked.model or "",
        messages=_parse_messages(body),
        stream=asked.stream,
        tools=_parse_tools(body, extra),
        max_output_tokens=asked.max_output_tokens,
        temperature=float_field(options, "temperature"),
        top_p=float_field(options, "top_p"),
        top_k=int_field(options, "top_k"),
        stop=_parse_stop(options.get("stop")),
        seed=int_field(options, "seed"),
        presence_penalty=float_field(options, "presence_penalty"),
        frequency_penalty=float_field(options, "frequency_penalty"),
        response_format=_parse_format(body.get("format")),
        reasoning_effort=_parse_think(body.get("think"), extra),
        stream_usage=asked.stream,  # the last line always states it
        extra=extra,
    )


def _parse_stop(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        raise WireError("'options.stop' must be a string or an array of strings")
    return tuple(stops)


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_messages(body: Mapping[str, Any]) -> tuple[Message, ...]:
    """The turns. Calls without an id get one, and results that name none the id of the call they can belong to."""
    messages: list[Message] = []
    waiting: list[ToolCall] = []  # calls without a result
    for number, raw in enumerate(required_objects(body, "messages")):
        role = required_text(raw, "role")
        if role == "tool":
            result = ToolResult(_answered(raw, waiting) or f"call_{number}", _parse_content(raw))
            messages.append(Message("tool", (result,)))
        elif role in ("system", "user"):
            messages.append(Message(role, _parse_content(raw)))  # type: ignore[arg-type]
        elif role == "assistant":
            calls = [_parse_call(call, f"call_{number}_{n}") for n, call in enumerate(objects(raw, "tool_calls"))]
            waiting += calls
            messages.append(Message("assistant", (*_parse_thought(raw), *_parse_content(raw), *calls)))
        else:
            raise WireError(f"unknown role {role!r} in 'messages'")
    return tuple(messages)


def _answered(raw: Mapping[str, Any], waiting: list[ToolCall]) -> str | None:
    """The id of the call that the tool message `raw` answers; it waits no longer."""
    call_id, name = text_field(raw, "tool_call_id"), text_field(raw, "tool_name") or text_field(raw, "name")
    fitting = [c for c in waiting if (c.id == call_id if call_id else name in (None, c.name))]
    if fitting:
        waiting.remove(fitting[0])
        return fitting[0].id
    return call_id or name


def _parse_call(raw: Mapping[str, Any], call_id: str) -> ToolCall:
    function = dict_field(raw, "function")
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else dumps(dict_field(function, "arguments")).decode()
    return ToolCall(text_field(raw, "id") or call_id, required_text(function, "name"), text)


def _parse_thought(raw: Mapping[str, Any]) -> list[Part]:
    thought = text_field(raw, "thinking")
    return [Thinking(thought)] if thought else []


def _parse_content(raw: Mapping[str, Any]) -> tuple[Part, ...]:
    """The text, then the images: where they stood in it cannot be said."""
    text = text_field(raw, "content")
    images = list_field(raw, "images")
    if not all(isinstance(data, str) for data in images):
        raise WireError("'images' must be an array of strings")
    parts: list[Part] = [Text(text)] if text else []
    return (*parts, *(Image(data=data, media_type=_media_type(data)) for data in images))


def _media_type(data: str) -> str | None:
    return next((kind for start, kind in _BEGINNINGS.items() if data.startswith(start)), None)


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_tools(body: Mapping[str, Any], extra: Extra) -> tuple[Tool, ...]:
    tools = []
    for raw in objects(body, "tools"):
        if raw.get("type") not in (None, "function"):
            extra[f"tools.{raw['type']}"] = raw
            continue
        function = dict_field(raw, "function")
        parameters = dict_field(function, "parameters") if function.get("parameters") is not None else None
        tools.append(Tool(required_text(function, "name"), text_field(function, "description"), parameters))
    return tuple(tools)


def _parse_format(value: Any) -> ResponseFormat | None:
    if value is None or value == "":
        return None
    if value == "json":
        return ResponseFormat("json")
    if isinstance(value, dict):
        return ResponseFormat("schema", schema=value)
    raise WireError("'format' must be 'json' or a JSON schema")


def _parse_think(value: Any, extra: Extra) -> str | None:
    if value is False:
        return "none"
    if value is True:
        extra["think"] = True  # "as you like", which nobody else can be told
        return None
    return text_field({"think": value}, "think") or None


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: messages, tool calls, tools and the schema. Never raises."""
    texts: list[str] = []
    for message in map(as_dict, as_list(body.get("messages"))):
        texts += [text for k in ("content", "thinking") if (text := as_str(message.get(k)))]
        texts += [dumps(message["tool_calls"]).decode()] if message.get("tool_calls") else []
    return texts + [dumps(body[k]).decode() for k in ("tools", "format") if body.get(k)]
