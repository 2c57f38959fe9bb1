"""Cohere chat v2 requests → `ChatRequest`. No I/O.

Source: `cohere.v2` of cohere 7 and https://docs.cohere.com/v2/reference/chat.
"""

from collections.abc import Mapping
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
from llmlens.wire.cohere_read import CITATIONS, NAME, PLAN, citations_part, plan_part
from llmlens.wire.data_url import split_data_url
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
from llmlens.wire.json_text import as_dict, as_list, dumps

# Everything that `parse_request` understands; the rest goes to `extra`.
_KNOWN = frozenset({
    "model", "messages", "stream", "tools", "strict_tools", "tool_choice", "documents", "response_format",
    "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty", "presence_penalty", "k", "p",
    "thinking",
})  # fmt: skip

Extra = dict[str, Any]


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """A v2 chat request in no dialect.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    extra = {k: v for k, v in body.items() if k not in _KNOWN and v is not None}
    stream = flag_field(body, "stream") or False
    effort, budget = _parse_thinking(body, extra)
    return ChatRequest(
        model=text_field(body, "model") or "",
        messages=_parse_messages(body, extra),
        stream=stream,
        tools=_parse_tools(body, extra),
        tool_choice=_parse_choice(body),
        max_output_tokens=int_field(body, "max_tokens"),
        temperature=float_field(body, "temperature"),
        top_p=float_field(body, "p"),
        top_k=int_field(body, "k"),
        stop=_parse_stop(body),
        seed=int_field(body, "seed"),
        presence_penalty=float_field(body, "presence_penalty"),
        frequency_penalty=float_field(body, "frequency_penalty"),
        response_format=_parse_format(dict_field(body, "response_format")),
        reasoning_effort=effort,
        reasoning_budget_tokens=budget,
        stream_usage=stream,  # a v2 stream always states its usage
        extra=extra,
    )


def _parse_stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    stops = list_field(body, "stop_sequences")
    if not all(isinstance(s, str) for s in stops):
        raise WireError("'stop_sequences' must be an array of strings")
    return tuple(stops)


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_messages(body: Mapping[str, Any], extra: Extra) -> tuple[Message, ...]:
    """The turns; `documents` are given to the last thing that the user said, before it, or are all that he says."""
    messages = [_parse_message(raw, extra) for raw in required_objects(body, "messages")]
    documents = tuple(_parse_document(raw, extra) for raw in list_field(body, "documents"))
    users = [number for number, message in enumerate(messages) if message.role == "user"]
    if documents and users:
        messages[users[-1]] = Message("user", documents + messages[users[-1]].parts)
    elif documents:
        messages.append(Message("user", documents))
    return tuple(messages)


def _parse_message(raw: Mapping[str, Any], extra: Extra) -> Message:
    role = required_text(raw, "role")
    content = _parse_content(raw, extra)
    if role == "tool":
        return Message("tool", (ToolResult(required_text(raw, "tool_call_id"), content),))
    if role in ("system", "user"):
        return Message(role, content)  # type: ignore[arg-type]
    if role != "assistant":
        raise WireError(f"unknown role {role!r} in 'messages'")
    parts: list[Part] = [*content]
    if plan := text_field(raw, PLAN):
        parts.append(plan_part(plan))
    parts += map(_parse_call, objects(raw, "tool_calls"))
    if citations := list_field(raw, CITATIONS):
        parts.append(citations_part(citations))
    return Message("assistant", tuple(parts))


def _parse_call(raw: Mapping[str, Any]) -> ToolCall:
    function = dict_field(raw, "function")
    return ToolCall(text_field(raw, "id"), required_text(function, "name"), text_field(function, "arguments") or "")


def _parse_content(raw: Mapping[str, Any], extra: Extra) -> tuple[Part, ...]:
    content = raw.get("content")
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(_parse_block(block, extra) for block in objects(raw, "content"))


def _parse_block(raw: dict[str, Any], extra: Extra) -> Part:
    kind = raw.get("type")
    if kind == "text":
        return Text(text_field(raw, "text") or "")
    if kind == "thinking":
        return Thinking(text_field(raw, "thinking") or "")
    if kind == "image_url":
        fields = dict_field(raw, "image_url")
        url, detail = required_text(fields, "url"), text_field(fields, "detail")
        media_type, data = split_data_url(url)
        return Image(url, detail=detail) if data is None else Image(None, data, media_type, detail)
    if kind == "document":
        return _parse_document(raw.get("document"), extra)
    return Other(NAME, raw)


def _parse_document(raw: Any, extra: Extra) -> Document:
    """A document is text, or `data` of which the model reads every field; only text and title have a place here."""
    if isinstance(raw, str):
        return Document(text=raw)
    if not isinstance(raw, dict):
        raise WireError(f"a document must be a string or an object, not {type(raw).__name__}")
    data = dict_field(raw, "data")
    text, title = data.get("text"), data.get("title")
    if not isinstance(text, str) or not isinstance(title, str | None):
        text, title = dumps(data).decode(), None
        data = {}
    extra.update({f"document.{k}": v for k, v in (raw | data).items() if k not in ("data", "text", "title")})
    return Document(text=text, name=title)


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_tools(body: Mapping[str, Any], extra: Extra) -> tuple[Tool, ...]:
    strict = flag_field(body, "strict_tools")
    tools = []
    for raw in objects(body, "tools"):
        if raw.get("type", "function") == "function":
            tools.append(_parse_tool(dict_field(raw, "function"), strict))
        else:
            extra[f"tools.{raw['type']}"] = raw
    if strict is not None and not tools:
        extra["strict_tools"] = strict
    return tuple(tools)


def _parse_tool(raw: Mapping[str, Any], strict: bool | None) -> Tool:
    parameters = dict_field(raw, "parameters") if raw.get("parameters") is not None else None
    return Tool(required_text(raw, "name"), text_field(raw, "description"), parameters, strict)


def _parse_choice(body: Mapping[str, Any]) -> ToolChoice | None:
    choice = (text_field(body, "tool_choice") or "").lower()
    if choice in ("required", "none"):
        return ToolChoice(choice)  # type: ignore[arg-type]
    if choice:
        raise WireError(f"'tool_choice' must be REQUIRED or NONE, not {body['tool_choice']!r}")
    return None


def _parse_format(raw: Mapping[str, Any]) -> ResponseFormat | None:
    if raw.get("type") != "json_object":
        return ResponseFormat("text") if raw else None
    schema = dict_field(raw, "json_schema") or dict_field(raw, "schema")  # the latter: v1's name, which v2 still takes
    return ResponseFormat("schema", schema=schema) if schema else ResponseFormat("json")


def _parse_thinking(body: Mapping[str, Any], extra: Extra) -> tuple[str | None, int | None]:
    """(effort, budget in tokens)."""
    thinking = dict_field(body, "thinking")
    if thinking.get("type") == "disabled":
        return "none", None
    budget = int_field(thinking, "token_budget")
    if thinking and budget is None:
        extra["thinking"] = thinking  # "as you like", which nobody else can be told
    return None, budget


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: messages, tool calls, documents, tools and the schema. Never raises."""
    texts: list[str] = []
    for message in map(as_dict, as_list(body.get("messages"))):
        content = message.get("content")
        texts += [content] if isinstance(content, str) else _texts_of(content)
        texts += [message[PLAN]] if isinstance(message.get(PLAN), str) else []
        texts += [dumps(message["tool_calls"]).decode()] if message.get("tool_calls") else []
    texts += [dumps(body[k]).decode() for k in ("documents", "tools", "response_format") if body.get(k)]
    return texts


def _texts_of(content: Any) -> list[str]:
    texts: list[str] = []
    for block in map(as_dict, as_list(content)):
        texts += [text for text in (block.get("text"), block.get("thinking")) if isinstance(text, str)]
        texts += [dumps(block["document"]).decode()] if block.get("document") else []
    return texts
