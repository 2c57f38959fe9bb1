"""Converse requests → `ChatRequest`. No I/O.

Source: the shape `ConverseRequest` of `bedrock-runtime` in botocore. Blobs are base64 on the wire. The path names the
model and says whether a stream is asked for.
"""

import base64
import binascii
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
from llmlens.wire.anthropic_request import parse_request as parse_claude
from llmlens.wire.bedrock_read import NAME
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
from llmlens.wire.json_text import as_dict, as_list, as_str, dumps, loads

# Everything that `parse_request` understands; the rest goes to `extra`.
_KNOWN = frozenset({
    "messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields", "outputConfig",
    "model", "stream",
})  # fmt: skip
MEDIA_TYPES: Mapping[str, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
CLAUDE_FIELDS = ("thinking", "output_config", "top_k", "tool_choice")
"""What Claude takes in `additionalModelRequestFields`, in the words of Anthropic Messages."""


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return Asked(model=None, max_output_tokens=int_field(dict_field(body, "inferenceConfig"), "maxTokens"))


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """A Converse request in no dialect; `model` and `stream` are those of the path, and not known here.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    extra = {k: v for k, v in body.items() if k not in _KNOWN and v is not None}
    config, output = dict_field(body, "inferenceConfig"), dict_field(body, "outputConfig")
    claude, rest = _parse_additional(body)
    effort = text_field(output, "effort") or text_field(rest, "reasoning_effort") or claude.reasoning_effort
    top_k = claude.top_k or int_field(dict_field(rest, "inferenceConfig"), "topK")
    extra |= {k: v for k, v in claude.extra.items() if not (k == "thinking" and effort and _adaptive(v))}
    _note_rest(rest, extra)
    return ChatRequest(
        model=text_field(body, "model") or "",
        messages=(*_parse_system(body, extra), *_parse_messages(body, extra)),
        stream=flag_field(body, "stream") or False,
        tools=_parse_tools(body, extra),
        tool_choice=_parse_choice(dict_field(dict_field(body, "toolConfig"), "toolChoice")) or claude.tool_choice,
        parallel_tool_calls=claude.parallel_tool_calls,
        max_output_tokens=int_field(config, "maxTokens"),
        temperature=float_field(config, "temperature"),
        top_p=float_field(config, "topP"),
        top_k=top_k,
        stop=_parse_stop(config),
        response_format=_parse_format(output) or claude.response_format,
        reasoning_effort=effort,
        reasoning_budget_tokens=claude.reasoning_budget_tokens,
        stream_usage=True,  # a Converse stream always states its usage
        extra=extra,
    )


def _parse_additional(body: Mapping[str, Any]) -> tuple[ChatRequest, dict[str, Any]]:
    """(what Claude's fields ask for, all other fields)."""
    fields = dict_field(body, "additionalModelRequestFields")
    ours = {k: fields[k] for k in CLAUDE_FIELDS if k in fields}
    return parse_claude({"messages": [], **ours}), {k: v for k, v in fields.items() if k not in CLAUDE_FIELDS}


def _adaptive(thinking: Any) -> bool:
    return as_dict(thinking).get("type") == "adaptive"  # with an effort, that is what effort means elsewhere


def _note_rest(rest: dict[str, Any], extra: dict[str, Any]) -> None:
    understood = {"reasoning_effort"}
    if as_dict(rest.get("inferenceConfig")).keys() == {"topK"}:
        understood.add("inferenceConfig")
    if left := {k: v for k, v in rest.items() if k not in understood}:
        extra["additionalModelRequestFields"] = left


def _parse_stop(config: Mapping[str, Any]) -> tuple[str, ...]:
    stops = list_field(config, "stopSequences")
    if not all(isinstance(s, str) for s in stops):
        raise WireError("'stopSequences' must be an array of strings")
    return tuple(stops)


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_system(body: Mapping[str, Any], extra: dict[str, Any]) -> tuple[Message, ...]:
    parts = _parse_content(objects(body, "system"), "system", extra)
    return (Message("system", parts),) if parts else ()


def _parse_messages(body: Mapping[str, Any], extra: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    for raw in required_objects(body, "messages"):
        role = required_text(raw, "role")
        parts = _parse_content(objects(raw, "content"), role, extra)
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


def _parse_content(blocks: list[dict[str, Any]], role: str, extra: dict[str, Any]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for raw in blocks:
        mark = as_dict(raw.get("cachePoint"))
        last = parts[-1] if parts else None
        if mark and isinstance(last, Text) and last.cache_control is None and mark.keys() <= {"type", "ttl"}:
            ttl = {"ttl": mark["ttl"]} if "ttl" in mark else {}
            parts[-1] = Text(last.text, {"type": "ephemeral", **ttl})  # Anthropic's name for the same
        else:
            parts += _parse_block(raw, role, extra)
    return tuple(parts)


def _parse_block(raw: dict[str, Any], role: str, extra: dict[str, Any]) -> list[Part]:
    if "text" in raw:
        return [Text(text_field(raw, "text") or "")]
    if "reasoningContent" in raw:
        return [_parse_thinking(dict_field(raw, "reasoningContent"))]
    if "toolUse" in raw and dict_field(raw, "toolUse").get("type") != "server_tool_use":
        return [_parse_call(dict_field(raw, "toolUse"))]
    if "toolResult" in raw and role == "user":
        return [_parse_result(dict_field(raw, "toolResult"), extra)]
    if "image" in raw or "document" in raw:
        return [_parse_media(raw, extra)]
    if "guardContent" in raw and (guarded := dict_field(dict_field(raw, "guardContent"), "text")):
        extra["guardContent"] = True  # the text is kept, that a guardrail is to judge it is not
        return [Text(text_field(guarded, "text") or "")]
    if "citationsContent" in raw:
        return _parse_cited(dict_field(raw, "citationsContent"))
    return [Other(NAME, raw)]


def _parse_thinking(raw: Mapping[str, Any]) -> Thinking:
    if "redactedContent" in raw:
        return Thinking("", None, text_field(raw, "redactedContent") or "")
    said = dict_field(raw, "reasoningText")
    return Thinking(text_field(said, "text") or "", text_field(said, "signature"))


def _parse_call(raw: Mapping[str, Any]) -> ToolCall:
    given = raw.get("input")
    arguments = given if isinstance(given, str) else dumps({} if given is None else given).decode()
    return ToolCall(text_field(raw, "toolUseId"), required_text(raw, "name"), arguments)


def _parse_result(raw: Mapping[str, Any], extra: dict[str, Any]) -> ToolResult:
    parts: list[Part] = []
    for block in objects(raw, "content"):
        if "json" in block:
            parts.append(Text(dumps(block["json"]).decode()))
        else:
            parts += _parse_block(block, "tool", extra)
    return ToolResult(required_text(raw, "toolUseId"), tuple(parts), raw.get("status") == "error")


def _parse_media(raw: dict[str, Any], extra: dict[str, Any]) -> Part:
    kind = "image" if "image" in raw else "document"
    block = dict_field(raw, kind)
    source = dict_field(block, "source")
    form = text_field(block, "format") or ("png" if kind == "image" else "txt")
    media_type = MEDIA_TYPES.get(form)
    data, text = text_field(source, "bytes"), text_field(source, "text")
    if media_type is None or (data is None and text is None):
        return Other(NAME, raw)  # a place in S3, or content in blocks
    if kind == "image":
        return Image(None, data, media_type) if data is not None else Other(NAME, raw)
    for asked in ("citations", "context"):
        if block.get(asked):
            extra[f"document.{asked}"] = block[asked]
    name = text_field(block, "name")
    if text is None and media_type.startswith("text/"):
        text = _decoded(data or "")
    if text is not None:
        return Document(text=text, media_type=media_type, name=name)
    return Document(data=data, media_type=media_type, name=name)


def _decoded(data: str) -> str | None:
    """The text in base64 `data`; None where it is none."""
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _parse_cited(raw: Mapping[str, Any]) -> list[Part]:
    """A text with citations: the text is for everybody, the citations only for Bedrock."""
    parts: list[Part] = [Text(text) for part in objects(raw, "content") if (text := text_field(part, "text"))]
    rest = {k: v for k, v in raw.items() if k != "content" and v}
    return [*parts, Other(NAME, {"citationsContent": rest})] if rest else parts


# ── tools and options ─────────────────────────────────────────────────────────────────────────────────────────────


def _parse_tools(body: Mapping[str, Any], extra: dict[str, Any]) -> tuple[Tool, ...]:
    tools = []
    for raw in objects(dict_field(body, "toolConfig"), "tools"):
        spec = dict_field(raw, "toolSpec")
        if not spec:
            kind = next(iter(raw), "other")  # systemTool, cachePoint
            extra[f"tools.{kind}"] = [*as_list(extra.get(f"tools.{kind}")), raw]
            continue
        schema = dict_field(dict_field(spec, "inputSchema"), "json")
        tools.append(
            Tool(required_text(spec, "name"), text_field(spec, "description"), schema, flag_field(spec, "strict"))
        )
    return tuple(tools)


def _parse_choice(choice: Mapping[str, Any]) -> ToolChoice | None:
    if "tool" in choice:
        return ToolChoice("tool", required_text(dict_field(choice, "tool"), "name"))
    if "any" in choice:
        return ToolChoice("required")
    return ToolChoice("auto") if "auto" in choice else None


def _parse_format(output: Mapping[str, Any]) -> ResponseFormat | None:
    wanted = dict_field(output, "textFormat")
    if wanted.get("type") != "json_schema":
        return None
    raw = dict_field(dict_field(wanted, "structure"), "jsonSchema")
    schema = loads(required_text(raw, "schema"))
    if not isinstance(schema, dict):
        raise WireError("'schema' must be the JSON text of an object")
    return ResponseFormat("schema", text_field(raw, "name"), schema)


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: system, messages, tool calls and results, tools. Never raises."""
    blocks = [*as_list(body.get("system"))]
    for message in as_list(body.get("messages")):
        blocks += as_list(as_dict(message).get("content"))
    texts = [text for block in blocks for text in _texts_of(as_dict(block))]
    tools = as_dict(body.get("toolConfig")).get("tools")
    return texts + ([dumps(tools).decode()] if tools else [])


def _texts_of(block: dict[str, Any]) -> list[str]:
    texts = [as_str(block.get("text"))]
    texts.append(as_str(as_dict(as_dict(block.get("reasoningContent")).get("reasoningText")).get("text")))
    texts.append(as_str(as_dict(as_dict(block.get("guardContent")).get("text")).get("text")))
    if "toolUse" in block:
        call = as_dict(block["toolUse"])
        texts += [as_str(call.get("name")), dumps(call.get("input")).decode()]
    inner = [*as_list(as_dict(block.get("toolResult")).get("content"))]
    inner += as_list(as_dict(block.get("citationsContent")).get("content"))
    for part in map(as_dict, inner):
        texts.append(as_str(part.get("text")))
        if "json" in part:
            texts.append(dumps(part["json"]).decode())
    return [text for text in texts if text]
