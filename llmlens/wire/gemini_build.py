"""`ChatRequest` → Gemini's generateContent requests. No I/O.

Source: https://ai.google.dev/api/generate-content, /gemini-api/docs/thinking and /thought-signatures. Schemas go into
the fields for standard JSON Schema. The model and whether to stream are said in the path.
"""

from contextlib import suppress
from itertools import groupby
from typing import Any

from llmlens.errors import WireError
from llmlens.records import (
    ChatRequest,
    Message,
    Part,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from llmlens.wire.gemini_media import media_part
from llmlens.wire.gemini_models import thinking_config, version
from llmlens.wire.gemini_parts import is_ours, parse_output
from llmlens.wire.gemini_write import RawPart, function_call, merged, part_of
from llmlens.wire.json_text import loads

MAX_STOPS = 5  # the API's own limit
# Google's placeholder for history that no Gemini wrote; since Gemini 3 the API refuses the first call of a turn
# without a signature. Source: https://ai.google.dev/gemini-api/docs/thought-signatures (FAQ)
PLACEHOLDER = "skip_thought_signature_validator"

Dropped = dict[str, None]  # names, in order, each once


def build_request(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """The body for generateContent, and the names of what it cannot carry."""
    dropped: Dropped = dict.fromkeys(request.extra)
    system, contents = _build_turns(request, dropped)
    body = {
        "contents": contents,
        "systemInstruction": {"parts": system} if system else None,
        "tools": [{"functionDeclarations": [_build_tool(t, dropped) for t in request.tools]}]
        if request.tools
        else None,
        "toolConfig": _build_choice(request),
        "generationConfig": _build_config(request, dropped) or None,
    }
    lost = {
        "user": request.user is not None,
        "parallel_tool_calls": request.parallel_tool_calls is False and bool(request.tools),
        "stop": len(request.stop) > MAX_STOPS,
    }
    dropped.update(dict.fromkeys(name for name, is_lost in lost.items() if is_lost))
    return {k: v for k, v in body.items() if v is not None}, list(dropped)


# ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_turns(request: ChatRequest, dropped: Dropped) -> tuple[list[RawPart], list[dict[str, Any]]]:
    """(parts of the system instruction, contents). Results of tools that follow each other become one content."""
    system: list[RawPart] = []
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of the calls so far, by id
    for role, group in groupby(request.messages, lambda message: message.role):
        messages = list(group)
        if any(message.name is not None for message in messages):
            dropped["messages.name"] = None
        if role in ("system", "developer"):
            parts = [raw for message in messages for raw in _build_parts(request, message, names, dropped)]
            texts = [raw for raw in parts if "text" in raw]
            system += texts
            if len(texts) < len(parts):
                dropped["messages.system.media"] = None
            if contents:
                dropped["messages.system.position"] = None
            continue
        turns = [_build_parts(request, message, names, dropped) for message in messages]
        if role == "tool":
            turns = [[raw for turn in turns for raw in turn]]
        word = "model" if role == "assistant" else "user"
        contents += [{"role": word, "parts": parts} for parts in turns if parts]  # the API refuses empty ones
    return system, contents


def _build_parts(request: ChatRequest, message: Message, names: dict[str, str], dropped: Dropped) -> list[RawPart]:
    built: list[RawPart] = []
    unsigned = version(request.model) >= 3  # until the first call of the turn
    for part in message.parts:
        if isinstance(part, ToolCall):
            names[part.id or ""] = part.name
            raw: RawPart | None = function_call(_without_our_id(part), PLACEHOLDER if unsigned else None)
            unsigned = False
        elif isinstance(part, ToolResult):
            raw = _build_result(request, part, names, dropped)
        else:
            raw = _build_part(request, part, dropped)
        if raw is not None:
            merged(built, raw)
    return built


def _without_our_id(call: ToolCall) -> ToolCall:
    return ToolCall(None, call.name, call.arguments, call.signature) if is_ours(call.id) else call


def _build_part(request: ChatRequest, part: Part, dropped: Dropped) -> RawPart | None:
    if isinstance(part, Text) and part.cache_control is not None:
        dropped["cache_control"] = None
    if isinstance(part, Thinking):
        return _build_thought(request, part, dropped)
    if (raw := part_of(part)) is not None:
        return None if raw.get("text") == "" else raw
    return media_part(part, dropped)


def _build_thought(request: ChatRequest, part: Thinking, dropped: Dropped) -> RawPart | None:
    foreign = version(request.model) > 0 and bool(part.text or part.redacted is not None)
    if foreign and part.redacted is not None:
        dropped["redacted_thinking"] = None
        return None
    if foreign and part.signature:
        # Google signs no thoughts, but what follows them: this is another provider's, and would be refused
        dropped["thinking.signature"] = None
        return part_of(Thinking(part.text))
    return part_of(part) if part.text or part.signature or part.redacted is not None else None


def _build_result(request: ChatRequest, result: ToolResult, names: dict[str, str], dropped: Dropped) -> RawPart:
    text = "".join(part.text for part in result.parts if isinstance(part, Text))
    if any(isinstance(part, Text) and part.cache_control is not None for part in result.parts):
        dropped["cache_control"] = None
    body: dict[str, Any] = {} if is_ours(result.tool_call_id) else {"id": result.tool_call_id}
    body["name"] = names.get(result.tool_call_id, result.tool_call_id)
    body["response"] = {"error": text} if result.is_error else _as_object(text)
    media = [part for part in result.parts if not isinstance(part, Text)]
    if media and 0 < version(request.model) < 3:
        dropped.update(dict.fromkeys(f"tool_result.{type(part).__name__.lower()}" for part in media))
    elif parts := [raw for part in media if (raw := media_part(part, dropped)) is not None]:
        body["parts"] = parts
    return {"functionResponse": body}


def _as_object(text: str) -> dict[str, Any]:
    """The object that the API needs: `text` itself where it is one, and the same text comes of it on the way back."""
    if text.startswith("{"):
        with suppress(WireError):
            value = loads(text)
            if isinstance(value, dict) and parse_output(value) == (text, False):
                return value
    return {"output": text}


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_tool(tool: Tool, dropped: Dropped) -> dict[str, Any]:
    if tool.strict:
        dropped["tools.strict"] = None
    schema = None if tool.parameters is None else dict(tool.parameters)
    fields = {"name": tool.name, "description": tool.description, "parametersJsonSchema": schema}
    return {k: v for k, v in fields.items() if v is not None}


def _build_choice(request: ChatRequest) -> dict[str, Any] | None:
    choice = request.tool_choice
    if choice is None or not request.tools:
        return None  # the API refuses a choice among none
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
    allowed = {"allowedFunctionNames": [choice.name]} if choice.mode == "tool" else {}
    return {"functionCallingConfig": {"mode": modes[choice.mode], **allowed}}


def _build_config(request: ChatRequest, dropped: Dropped) -> dict[str, Any]:
    config = {
        "maxOutputTokens": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "stopSequences": list(request.stop[:MAX_STOPS]) or None,
        "seed": request.seed,
        "candidateCount": request.n,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        **_build_format(request.response_format, dropped),
        "thinkingConfig": thinking_config(request, dropped),
    }
    return {k: v for k, v in config.items() if v is not None}


def _build_format(wanted: ResponseFormat | None, dropped: Dropped) -> dict[str, Any]:
    if wanted is None:
        return {}
    if wanted.kind == "text":
        return {"responseMimeType": "text/plain"}
    if wanted.kind == "json":
        return {"responseMimeType": "application/json"}
    if wanted.name is not None:
        dropped["response_format.json_schema.name"] = None
    if wanted.strict is False:
        dropped["response_format.json_schema.strict"] = None  # a schema is always kept here
    return {"responseMimeType": "application/json", "responseJsonSchema": dict(wanted.schema or {})}
