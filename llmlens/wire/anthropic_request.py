"""Anthropic Messages requests → `ChatRequest`. No I/O.

Source: `anthropic.types.message_create_params` of anthropic 2.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    ChatRequest,
    Document,
    Image,
    Message,
    Other,
    Part,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmlens.wire.anthropic_read import NAME
from llmlens.wire.call_proof import proofs_joined
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

# Everything that `parse_request` understands; the rest goes to `extra`.
_KNOWN = frozenset({
    "model", "max_tokens", "messages", "system", "stream", "stop_sequences", "temperature", "top_p", "top_k",
    "tools", "tool_choice", "thinking", "output_config", "output_format", "metadata",
    "anthropic_version",  # Vertex and Bedrock, in place of the header
})  # fmt: skip
_TOOL_FIELDS = frozenset({"name", "description", "input_schema", "strict", "type"})


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """A Messages request in no dialect.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    extra = {k: v for k, v in body.items() if k not in _KNOWN and v is not None}
    choice = dict_field(body, "tool_choice")
    serial = flag_field(choice, "disable_parallel_tool_use")
    stream = flag_field(body, "stream") or False
    effort, budget = _parse_thinking(body, extra)
    return ChatRequest(
        model=text_field(body, "model") or "",  # Azure and Vertex name it in the path
        messages=(*_parse_system(body, extra), *_parse_messages(body, extra)),
        stream=stream,
        tools=_parse_tools(body, extra),
        tool_choice=_parse_choice(choice),
        parallel_tool_calls=None if serial is None else not serial,
        max_output_tokens=int_field(body, "max_tokens"),
        temperature=float_field(body, "temperature"),
        top_p=float_field(body, "top_p"),
        top_k=int_field(body, "top_k"),
        stop=_parse_stop(body),
        response_format=_parse_format(body),
        reasoning_effort=effort,
        reasoning_budget_tokens=budget,
        user=text_field(dict_field(body, "metadata"), "user_id"),
        stream_usage=stream,  # a Messages stream always states its usage
        extra=extra,
    )


def _parse_stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    stops = list_field(body, "stop_sequences")
    if not all(isinstance(s, str) for s in stops):
        raise WireError("'stop_sequences' must be an array of strings")
    return tuple(stops)


def _parse_system(body: Mapping[str, Any], extra: dict[str, Any]) -> tuple[Message, ...]:
    parts = _parse_content(body, "system", extra)
    return (Message("system", parts),) if parts else ()


def _parse_messages(body: Mapping[str, Any], extra: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    for raw in required_objects(body, "messages"):
        role = required_text(raw, "role")
        parts = _parse_content(raw, "content", extra)
        if role in ("assistant", "system"):
            messages.append(Message(role, parts))  # type: ignore[arg-type]
        elif role == "user":
            # tool results are a role of their own everywhere else
            for is_result, group in groupby(parts, lambda p: isinstance(p, ToolResult)):
                messages.append(Message("tool" if is_result else "user", tuple(group)))
            if not parts:
                messages.append(Message("user", ()))
        else:
            raise WireError(f"unknown role {role!r} in 'messages'")
    return messages


def _parse_content(raw: Mapping[str, Any], name: str, extra: dict[str, Any]) -> tuple[Part, ...]:
    content = raw.get(name)
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(proofs_joined(_parse_block(block, extra) for block in objects(raw, name)))


def _parse_block(raw: dict[str, Any], extra: dict[str, Any]) -> Part:
    kind = raw.get("type")
    if kind == "text":
        return Text(text_field(raw, "text") or "", dict_field(raw, "cache_control") or None)
    if raw.get("cache_control"):
        extra["cache_control"] = raw["cache_control"]  # only Text keeps its own mark
    if kind == "thinking":
        return Thinking(text_field(raw, "thinking") or "", text_field(raw, "signature"))
    if kind == "redacted_thinking":
        return Thinking("", None, text_field(raw, "data") or "")
    if kind == "tool_use":
        arguments = dumps(dict_field(raw, "input")).decode()
        return ToolCall(text_field(raw, "id"), required_text(raw, "name"), arguments)
    if kind == "tool_result":
        parts = _parse_content(raw, "content", extra)
        return ToolResult(required_text(raw, "tool_use_id"), parts, flag_field(raw, "is_error") or False)
    if kind in ("image", "document"):
        return _parse_source(raw, extra)
    return Other(NAME, raw)


def _parse_source(raw: dict[str, Any], extra: dict[str, Any]) -> Part:
    source = dict_field(raw, "source")
    kind = source.get("type")
    media_type = text_field(source, "media_type")
    url = required_text(source, "url") if kind == "url" else None
    data = required_text(source, "data") if kind in ("base64", "text") else None
    if url is None and data is None:
        return Other(NAME, raw)  # a file id, or nested content
    if raw["type"] == "image":
        return Image(url, data, media_type)
    for name in ("citations", "context"):
        if raw.get(name):
            extra[f"document.{name}"] = raw[name]
    title = text_field(raw, "title")
    if kind == "text":
        return Document(text=data, media_type=media_type, name=title)
    return Document(url, data, media_type=media_type, name=title)


def _note(extra: dict[str, Any], name: str, value: Any) -> None:
    """Add `value` to the list that `extra` keeps under `name`."""
    extra[name] = [*as_list(extra.get(name)), value]


def _parse_tools(body: Mapping[str, Any], extra: dict[str, Any]) -> tuple[Tool, ...]:
    tools = []
    for raw in objects(body, "tools"):
        if raw.get("type") not in (None, "custom"):
            _note(extra, f"tools.{raw['type']}", raw)  # runs on Anthropic's servers
            continue
        for name in raw.keys() - _TOOL_FIELDS:
            extra[name if name == "cache_control" else f"tools.{name}"] = raw[name]
        schema = dict_field(raw, "input_schema")
        tools.append(
            Tool(required_text(raw, "name"), text_field(raw, "description"), schema, flag_field(raw, "strict"))
        )
    return tuple(tools)


def _parse_choice(choice: Mapping[str, Any]) -> ToolChoice | None:
    kind = choice.get("type")
    if kind == "tool":
        return ToolChoice("tool", required_text(choice, "name"))
    if kind in ("auto", "none"):
        return ToolChoice(kind)
    return ToolChoice("required") if kind == "any" else None


def _parse_format(body: Mapping[str, Any]) -> ResponseFormat | None:
    raw = dict_field(dict_field(body, "output_config"), "format") or dict_field(body, "output_format")
    if raw.get("type") != "json_schema":
        return None
    return ResponseFormat("schema", schema=dict_field(raw, "schema"))


def _parse_thinking(body: Mapping[str, Any], extra: dict[str, Any]) -> tuple[str | None, int | None]:
    """(effort, budget in tokens)."""
    thinking = dict_field(body, "thinking")
    effort = text_field(dict_field(body, "output_config"), "effort")
    kind = thinking.get("type")
    if kind == "enabled":
        return effort, int_field(thinking, "budget_tokens")
    if kind == "disabled":
        return effort or "none", None
    if thinking and not (kind == "adaptive" and effort is not None):
        # adaptive thinking with an effort is what effort means elsewhere
        extra["thinking"] = thinking
    return effort, None


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: system, messages, tool calls and results, tools. Never raises."""
    texts = _texts_of(body.get("system"))
    for raw in as_list(body.get("messages")):
        texts += _texts_of(as_dict(raw).get("content"))
    texts += [dumps(body[k]).decode() for k in ("tools", "output_config") if body.get(k)]
    return texts


def _texts_of(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    texts: list[str] = []
    for block in map(as_dict, as_list(content)):
        kind = block.get("type")
        if kind == "tool_result":
            texts += _texts_of(block.get("content"))
        elif kind == "tool_use":
            texts += [as_str(block.get("name")) or "", dumps(block.get("input")).decode()]
        elif kind == "document":
            source = as_dict(block.get("source"))
            texts += [source["data"]] if source.get("type") == "text" and as_str(source.get("data")) else []
        else:
            texts += [text for text in (block.get("text"), block.get("thinking")) if isinstance(text, str)]
    return texts
