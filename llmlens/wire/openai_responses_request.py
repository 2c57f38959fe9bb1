"""OpenAI Responses requests → `ChatRequest`. No I/O.

Source: `openai.types.responses.response_create_params` and `response_input_item_param` of openai 3.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmlens.wire.call_proof import proofs_joined
from llmlens.wire.data_url import split_data_url
from llmlens.wire.fields import (
    dict_field,
    flag_field,
    float_field,
    int_field,
    list_field,
    objects,
    required_text,
    text_field,
)
from llmlens.wire.json_text import as_dict, as_list, dumps
from llmlens.wire.openai_responses_read import CALLS, NAME, REDACTED

# Everything that `parse_request` understands; the rest goes to `extra`.
_KNOWN = frozenset({
    "model", "input", "instructions", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls",
    "max_output_tokens", "temperature", "top_p", "text", "reasoning", "include", "user", "safety_identifier",
})  # fmt: skip
# What asks for nothing that another API would have to do is not lost there.
_ASKS_NOTHING: Mapping[str, Any] = {
    "store": False, "background": False, "truncation": "disabled", "service_tier": "auto", "metadata": {},
    "top_logprobs": 0,
}  # fmt: skip
_STATEFUL = ("previous_response_id", "conversation", "prompt")  # what can stand for `input`
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_TEXTS = frozenset({"input_text", "output_text", "text"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_ITEM_FIELDS = frozenset({
    "type", "id", "status", "role", "content", "call_id", "name", "arguments", "input", "output",
})  # fmt: skip
_TOOL_FIELDS = frozenset({"type", "name", "description", "parameters", "strict"})
SIGNED = "reasoning.encrypted_content"
"""In `include`: wants the proof of the thinking, which other APIs give unasked."""


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """A Responses request in no dialect.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    extra = {k: v for k, v in body.items() if k not in _KNOWN and v not in (None, _ASKS_NOTHING.get(k))}
    if wanted := [name for name in list_field(body, "include") if name != SIGNED]:
        extra["include"] = wanted
    stream = flag_field(body, "stream") or False
    return ChatRequest(
        model=text_field(body, "model") or "",  # Azure names it in the path
        messages=(*_parse_instructions(body), *_parse_input(body, extra)),
        stream=stream,
        tools=_parse_tools(body, extra),
        tool_choice=_parse_choice(body, extra),
        parallel_tool_calls=flag_field(body, "parallel_tool_calls"),
        max_output_tokens=int_field(body, "max_output_tokens"),
        temperature=float_field(body, "temperature"),
        top_p=float_field(body, "top_p"),
        response_format=_parse_text(body, extra),
        reasoning_effort=_parse_reasoning(body, extra),
        user=text_field(body, "safety_identifier") or text_field(body, "user"),
        stream_usage=stream,  # a stream of Responses always states its usage
        extra=extra,
    )


# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parse_instructions(body: Mapping[str, Any]) -> tuple[Message, ...]:
    text = text_field(body, "instructions")
    return (Message("system", (Text(text),)),) if text else ()


def _parse_input(body: Mapping[str, Any], extra: dict[str, Any]) -> list[Message]:
    given = body.get("input")
    if given is None and not any(body.get(name) for name in _STATEFUL):
        raise WireError("'input' is missing")
    if isinstance(given, str):
        return [Message("user", _parse_content(given))]
    turns = _Turns()
    for raw in objects(body, "input"):
        kind = str(raw.get("type") or ("message" if "role" in raw else "item_reference"))
        if kind in _KINDS:
            extra.update({f"input.{k}": v for k, v in raw.items() if k not in _ITEM_FIELDS and v is not None})
        if kind == "message":
            turns.message(raw)
        elif kind in CALLS:
            turns.assistant(_parse_call(raw))
        elif kind in _RESULTS:
            turns.add(Message("tool", (ToolResult(required_text(raw, "call_id"), _parse_output(raw)),)))
        elif kind == "reasoning" and (thought := _parse_thinking(raw)):
            turns.assistant(thought)
        else:
            # what ran on OpenAI's servers, or is kept there
            _note(extra, f"input.{kind}", raw)
    return [replace(m, parts=tuple(proofs_joined(m.parts))) for m in turns.messages]


_KINDS = CALLS | _RESULTS | {"message"}


class _Turns:
    """Items → messages: what the assistant thought, said and called in a row is one turn."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._after_message = False  # the last item was a message

    def add(self, message: Message) -> None:
        """A turn of its own."""
        self.messages.append(message)

    def message(self, raw: dict[str, Any]) -> None:
        role = required_text(raw, "role")
        if role not in _ROLES:
            raise WireError(f"unknown role {role!r} in 'input'")
        parts = _parse_content(raw.get("content"))
        if role == "assistant" and not self._after_message:
            self.assistant(*parts)
        else:
            self.add(Message(role, parts))  # type: ignore[arg-type]
        self._after_message = role == "assistant"

    def assistant(self, *parts: Part) -> None:
        """More of the assistant's turn."""
        self._after_message = False
        if self.messages and self.messages[-1].role == "assistant":
            parts = (*self.messages.pop().parts, *parts)
        self.messages.append(Message("assistant", parts))


def _parse_call(raw: Mapping[str, Any]) -> ToolCall:
    arguments = text_field(raw, "arguments") or text_field(raw, "input") or ""
    return ToolCall(text_field(raw, "call_id"), required_text(raw, "name"), arguments)


def _parse_output(raw: Mapping[str, Any]) -> tuple[Part, ...]:
    output = raw.get("output")
    return _parse_content(dumps(output).decode() if isinstance(output, dict) else output, "output")


def _parse_thinking(raw: Mapping[str, Any]) -> Thinking | None:
    """None where the item says nothing: it stands for thinking that is kept at the provider."""
    parts = [*objects(raw, "summary"), *objects(raw, "content")]
    text = "".join(text_field(part, "text") or "" for part in parts)
    sealed = text_field(raw, "encrypted_content")
    if sealed and sealed.startswith(REDACTED):
        return Thinking(text, None, sealed.removeprefix(REDACTED))
    return Thinking(text, sealed or None) if text or sealed else None


def _parse_content(content: Any, name: str = "content") -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(map(_parse_part, objects({name: content}, name)))


def _parse_part(raw: dict[str, Any]) -> Part:
    kind = str(raw.get("type"))
    if kind in _TEXTS:
        return Text(text_field(raw, "text") or "")
    if kind == "refusal":
        return Refusal(text_field(raw, "refusal") or "")
    if kind == "input_image" and (url := text_field(raw, "image_url")):
        media_type, data = split_data_url(url)
        detail = text_field(raw, "detail")
        return Image(url, detail=detail) if data is None else Image(None, data, media_type, detail)
    if kind == "input_file" and (raw.get("file_url") or raw.get("file_data")):
        return _parse_file(raw)
    return Other(NAME, raw)  # sound, or a file kept at the provider


def _parse_file(raw: Mapping[str, Any]) -> Document:
    name = text_field(raw, "filename")
    if url := text_field(raw, "file_url"):
        return Document(url, name=name)
    given = text_field(raw, "file_data") or ""
    media_type, data = split_data_url(given)
    data = given if data is None else data
    if media_type == "text/plain" and (text := _decoded(data)) is not None:
        return Document(text=text, media_type=media_type, name=name)
    return Document(data=data, media_type=media_type, name=name)


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _note(extra: dict[str, Any], name: str, value: Any) -> None:
    """Add `value` to the list that `extra` keeps under `name`."""
    extra[name] = [*as_list(extra.get(name)), value]


def _parse_tools(body: Mapping[str, Any], extra: dict[str, Any]) -> tuple[Tool, ...]:
    tools = []
    for raw in objects(body, "tools"):
        if raw.get("type", "function") != "function":
            _note(extra, f"tools.{raw.get('type')}", raw)
            continue
        extra.update({f"tools.{k}": v for k, v in raw.items() if k not in _TOOL_FIELDS and v})
        schema = dict_field(raw, "parameters") if raw.get("parameters") is not None else None
        strict = flag_field(raw, "strict")
        tools.append(Tool(required_text(raw, "name"), text_field(raw, "description"), schema, strict))
    return tuple(tools)


def _parse_choice(body: Mapping[str, Any], extra: dict[str, Any]) -> ToolChoice | None:
    value = body.get("tool_choice")
    if value is None:
        return None
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    choice = dict_field(body, "tool_choice")
    kind = choice.get("type")
    if kind == "function":
        return ToolChoice("tool", required_text(choice, "name"))
    extra[f"tool_choice.{kind}"] = choice
    if kind == "allowed_tools" and choice.get("mode") in ("auto", "required"):
        return ToolChoice(choice["mode"])  # from all tools instead of some
    return None


def _parse_text(body: Mapping[str, Any], extra: dict[str, Any]) -> ResponseFormat | None:
    text = dict_field(body, "text")
    extra.update({f"text.{k}": v for k, v in text.items() if k != "format" and v is not None})
    raw = dict_field(text, "format")
    if raw.get("type") == "json_schema":
        if raw.get("description"):
            extra["text.format.description"] = raw["description"]
        return ResponseFormat("schema", text_field(raw, "name"), dict_field(raw, "schema"), flag_field(raw, "strict"))
    if raw.get("type") == "json_object":
        return ResponseFormat("json")
    return ResponseFormat("text") if raw else None


def _parse_reasoning(body: Mapping[str, Any], extra: dict[str, Any]) -> str | None:
    raw = dict_field(body, "reasoning")
    for name, value in raw.items():
        # a summary that is "auto" asks to see the thinking, which other APIs show unasked
        if name != "effort" and value not in (None, "auto"):
            extra[f"reasoning.{name}"] = value
    return text_field(raw, "effort")


# ── what a model reads ────────────────────────────────────────────────────────────────────────────────────────────


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads: instructions, items, tools and the schema. Never raises."""
    given = body.get("input")
    texts = [text for text in (body.get("instructions"), given) if isinstance(text, str)]
    for item in map(as_dict, as_list(given)):
        for name in ("content", "output", "name", "arguments", "input"):
            value = item.get(name)
            texts += [value] if isinstance(value, str) else _texts_of(value)
    if body.get("tools"):
        texts.append(dumps(body["tools"]).decode())
    if wanted := as_dict(body.get("text")).get("format"):
        texts.append(dumps(wanted).decode())
    return texts


def _texts_of(content: Any) -> list[str]:
    texts = [as_dict(part).get("text") for part in as_list(content)]
    return [text for text in texts if isinstance(text, str)]
