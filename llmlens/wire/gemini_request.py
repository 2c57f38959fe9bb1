"""Gemini's generateContent requests → `ChatRequest`. No I/O.

Source: https://ai.google.dev/api/generate-content and `google.genai.types` of google-genai 3. Model and streaming are
in the path. Most function calls have no id: they get one of ours, by their number in the conversation, and responses
without one are paired with them by name, in order.
"""

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    ChatRequest,
    Message,
    Part,
    ResponseFormat,
    Role,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
)
from llmlens.wire.fields import dict_field, flag_field, float_field, int_field, list_field, required_text, text_field
from llmlens.wire.gemini_fields import camel, camel_objects
from llmlens.wire.gemini_parts import Calls, parse_part
from llmlens.wire.gemini_schema import json_schema
from llmlens.wire.json_text import as_dict, as_list, as_str, dumps

Extra = dict[str, Any]

_KNOWN = frozenset({"model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig"})
_KNOWN_CONFIG = frozenset({
    "maxOutputTokens", "temperature", "topP", "topK", "stopSequences", "seed", "candidateCount", "presencePenalty",
    "frequencyPenalty", "responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig",
})  # fmt: skip
_TOOL_FIELDS = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
_ROLES: Mapping[str, Role] = {"user": "user", "model": "assistant", "function": "user", "system": "system"}
_MODES: Mapping[Any, str | None] = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto",
                                    1: "auto", 2: "required", 3: "none", 4: "auto"}  # fmt: skip
_NAME = re.compile(r".*models/")


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """A generateContent request in no dialect; what stands in the path is still to be filled in.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    body = camel(body)
    config = camel(dict_field(body, "generationConfig"))
    extra = {k: v for k, v in body.items() if k not in _KNOWN}
    extra |= {f"generationConfig.{k}": v for k, v in config.items() if k not in _KNOWN_CONFIG}
    effort, budget = _parse_thinking(camel(dict_field(config, "thinkingConfig")), extra)
    return ChatRequest(
        model=_NAME.sub("", text_field(body, "model") or ""),
        messages=(*_parse_system(body, extra), *_parse_contents(body, extra)),
        tools=_parse_tools(body, extra),
        tool_choice=_parse_choice(camel(dict_field(body, "toolConfig")), extra),
        max_output_tokens=int_field(config, "maxOutputTokens"),
        temperature=float_field(config, "temperature"),
        top_p=float_field(config, "topP"),
        top_k=int_field(config, "topK"),
        stop=_parse_stop(config),
        seed=int_field(config, "seed"),
        presence_penalty=float_field(config, "presencePenalty"),
        frequency_penalty=float_field(config, "frequencyPenalty"),
        response_format=_parse_format(config, extra),
        reasoning_effort=effort,
        reasoning_budget_tokens=budget,
        n=int_field(config, "candidateCount"),
        stream_usage=True,  # a Gemini stream always states its usage
        extra=extra,
    )


# ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_system(body: Mapping[str, Any], extra: Extra) -> tuple[Message, ...]:
    value = body.get("systemInstruction")
    raw = {"parts": {"text": value}} if isinstance(value, str) else dict_field(body, "systemInstruction")
    parts = _parse_parts(raw, Calls(), extra)
    return (Message("system", parts),) if parts else ()


def _parse_contents(body: Mapping[str, Any], extra: Extra) -> list[Message]:
    if body.get("contents") is None:
        raise WireError("'contents' is missing")
    messages: list[Message] = []
    calls = Calls()
    for raw in camel_objects(body, "contents"):
        word = text_field(raw, "role") or "user"
        if word not in _ROLES:
            raise WireError(f"unknown role {word!r} in 'contents'")
        role = _ROLES[word]
        parts = _parse_parts(raw, calls, extra)
        for is_result, group in groupby(parts, lambda p: isinstance(p, ToolResult)):
            messages.append(Message("tool" if is_result else role, tuple(group)))
        if [message.role for message in messages[-2:]] == ["assistant", "assistant"]:
            messages[-2:] = [Message("assistant", _joined(messages[-2].parts, messages[-1].parts))]
    return messages


def _joined(before: tuple[Part, ...], after: tuple[Part, ...]) -> tuple[Part, ...]:
    """One turn of the model from two contents: the SDK's chats keep what was streamed chunk by chunk."""
    *rest, last = before
    first, *more = after
    if isinstance(last, Text) and isinstance(first, Text):
        return (*rest, Text(last.text + first.text), *more)
    if isinstance(last, Thinking) and isinstance(first, Thinking):
        goes_on = last.signature is None and last.redacted is None and first.redacted is None
        return (*rest, Thinking(last.text + first.text, first.signature), *more) if goes_on else (*before, *after)
    return (*before, *after)


def _parse_parts(raw: Mapping[str, Any], calls: Calls, extra: Extra) -> tuple[Part, ...]:
    return tuple(part for item in camel_objects(raw, "parts") for part in parse_part(item, calls, extra))


# ── tools ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_tools(body: Mapping[str, Any], extra: Extra) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for raw in camel_objects(body, "tools"):
        for name, value in raw.items():
            if name != "functionDeclarations":
                extra[f"tools.{name}"] = value  # runs on Google's servers
        tools += [_parse_tool(declared, extra) for declared in camel_objects(raw, "functionDeclarations")]
    return tuple(tools)


def _parse_tool(raw: Mapping[str, Any], extra: Extra) -> Tool:
    for name in raw.keys() - _TOOL_FIELDS:
        extra[f"tools.functionDeclarations.{name}"] = raw[name]
    parameters = dict_field(raw, "parametersJsonSchema") if "parametersJsonSchema" in raw else None
    if parameters is None and "parameters" in raw:
        parameters = json_schema(dict_field(raw, "parameters"))
    return Tool(required_text(raw, "name"), text_field(raw, "description"), parameters)


def _parse_choice(raw: Mapping[str, Any], extra: Extra) -> ToolChoice | None:
    extra |= {f"toolConfig.{k}": v for k, v in raw.items() if k != "functionCallingConfig"}
    config = camel(dict_field(raw, "functionCallingConfig"))
    allowed = [name for name in list_field(config, "allowedFunctionNames") if isinstance(name, str)]
    word = config.get("mode")
    mode = _MODES.get(word.upper() if isinstance(word, str) else word) if isinstance(word, str | int) else None
    if mode == "required" and len(allowed) == 1:
        return ToolChoice("tool", allowed[0])
    extra |= {f"toolConfig.functionCallingConfig.{k}": v for k, v in config.items() if k != "mode"}
    if word in ("VALIDATED", 4):
        extra["toolConfig.functionCallingConfig.mode"] = word  # the calls must fit their schemas
    return ToolChoice(mode) if mode else None  # type: ignore[arg-type]


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_stop(config: Mapping[str, Any]) -> tuple[str, ...]:
    stops = list_field(config, "stopSequences")
    if not all(isinstance(s, str) for s in stops):
        raise WireError("'stopSequences' must be an array of strings")
    return tuple(stops)


def _parse_format(config: Mapping[str, Any], extra: Extra) -> ResponseFormat | None:
    kind = text_field(config, "responseMimeType")
    if kind not in (None, "text/plain", "application/json"):
        extra["generationConfig.responseMimeType"] = kind  # text/x.enum
        return None
    if "responseJsonSchema" in config:
        return ResponseFormat("schema", schema=dict_field(config, "responseJsonSchema"))
    if "responseSchema" in config:
        return ResponseFormat("schema", schema=json_schema(dict_field(config, "responseSchema")))
    return ResponseFormat("json" if kind == "application/json" else "text") if kind else None


def _parse_thinking(config: Mapping[str, Any], extra: Extra) -> tuple[str | None, int | None]:
    """(effort, budget in tokens). Asking for thoughts goes without saying where an effort is asked for."""
    level, budget = text_field(config, "thinkingLevel"), int_field(config, "thinkingBudget")
    effort = level.lower() if level and level != "THINKING_LEVEL_UNSPECIFIED" else None
    if budget == 0:
        effort, budget = effort or "none", None
    elif budget is not None and budget < 0:
        extra["generationConfig.thinkingConfig.thinkingBudget"], budget = budget, None  # as the model sees fit
    shown = flag_field(config, "includeThoughts")
    if shown is not None and (effort is None) and (budget is None):
        extra["generationConfig.thinkingConfig.includeThoughts"] = shown
    return effort, budget


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: system, turns, function calls and responses, tools, schema. Never raises."""
    raw = camel(body)
    config = camel(as_dict(raw.get("generationConfig")))
    texts = texts_of(raw.get("systemInstruction"))
    for content in _listed(raw.get("contents")):
        texts += texts_of(content)
    schemas = [raw.get("tools"), config.get("responseSchema"), config.get("responseJsonSchema")]
    return texts + [dumps(schema).decode() for schema in schemas if schema]


def texts_of(content: Any) -> list[str]:
    """The texts of one Content, or of the text that stands in its place. Never raises."""
    if isinstance(content, str):
        return [content]
    texts: list[str] = []
    for part in map(camel, map(as_dict, _listed(as_dict(content).get("parts")))):
        texts += [text] if (text := as_str(part.get("text"))) else []
        calls = [part.get("functionCall"), part.get("functionResponse")]
        texts += [dumps(call).decode() for call in calls if call]
    return texts


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, dict | str) else as_list(value)
