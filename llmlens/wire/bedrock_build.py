"""`ChatRequest` → Converse requests. No I/O.

Source: the shape `ConverseRequest` of `bedrock-runtime` in botocore, and the restrictions that its documentation names.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

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
    ToolResult,
)
from llmlens.wire.bedrock_models import build_options, is_claude
from llmlens.wire.bedrock_request import MEDIA_TYPES
from llmlens.wire.bedrock_write import build_part, short_id
from llmlens.wire.json_text import dumps

_FORMATS = {media_type: form for form, media_type in MEDIA_TYPES.items()} | {"image/jpg": "jpeg"}
_IMAGES = frozenset({"png", "jpeg", "gif", "webp"})
_UNFIT_IN_NAMES = re.compile(r"[^A-Za-z0-9\s()\[\]-]")
MAX_NAME_CHARS = 200


def build_request(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """The body for Converse, and the names of what it cannot carry. The model and streaming go into the path."""
    dropped: dict[str, None] = dict.fromkeys(request.extra)
    system, messages = _Turns(request, dropped).build()
    options = build_options(request, dropped)
    body = {
        "messages": messages,
        "system": system or None,
        "inferenceConfig": options.inference or None,
        "toolConfig": _build_tools(request, dropped, choice_is_told=options.tells_choice),
        "additionalModelRequestFields": options.additional or None,
        "outputConfig": _build_output(request.response_format, options.effort, dropped),
    }
    lost = {
        "seed": request.seed is not None,
        "presence_penalty": bool(request.presence_penalty),  # 0 asks for nothing
        "frequency_penalty": bool(request.frequency_penalty),
        "n": request.n not in (None, 1),
        "user": request.user is not None,
    }
    dropped.update(dict.fromkeys(name for name, is_lost in lost.items() if is_lost))
    return {k: v for k, v in body.items() if v is not None}, list(dropped)


# ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

Blocks = list[dict[str, Any]]


@dataclass(slots=True)
class _Turns:
    """Turns of one role in a row become one; results of tools are said by the user; system texts stand apart."""

    request: ChatRequest
    dropped: dict[str, None]
    names: set[str] = field(default_factory=set, init=False)  # of documents: Bedrock refuses one that comes twice

    def build(self) -> tuple[Blocks, list[dict[str, Any]]]:
        """(system, messages)."""
        system: Blocks = []
        turns: list[tuple[str, Blocks]] = []
        for number, message in enumerate(self.request.messages):
            if message.name is not None:
                self.dropped["messages.name"] = None
            blocks = self._blocks(message.parts, number)
            if message.role in ("system", "developer"):
                system += self._system(message, blocks, first=not turns)
                continue
            role = "assistant" if message.role == "assistant" else "user"
            if not blocks and (role == "assistant" or message.parts):
                continue  # nothing said: Bedrock refuses an empty turn
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(blocks)
            else:
                turns.append((role, blocks))
        return system, [{"role": role, "content": blocks} for role, blocks in turns]

    def _system(self, message: Message, blocks: Blocks, *, first: bool) -> Blocks:
        if message.parts and not first:
            self.dropped["messages.system.position"] = None
        said = [block for block in blocks if block.keys() & {"text", "cachePoint", "guardContent"}]
        if len(said) < len(blocks):
            self.dropped["messages.system.media"] = None
        return said

    def _blocks(self, parts: Iterable[Part], turn: int) -> Blocks:
        return [block for n, part in enumerate(parts) for block in self._part(part, turn * 1000 + n)]

    def _part(self, part: Part, number: int) -> Blocks:
        if isinstance(part, Text):
            return _build_text(part)
        if isinstance(part, ToolResult):
            return [self._result(part, number)]
        if isinstance(part, Image):
            return self._image(part)
        if isinstance(part, Document):
            return self._document(part)
        if isinstance(part, Thinking) and not part.signature and part.redacted is None and is_claude(self.request):
            self.dropped["reasoning_content"] = None  # Claude takes back only thinking it has signed
            return []
        if isinstance(part, ToolCall) and part.signature:
            self.dropped["tool_call.signature"] = None
        block = build_part(part, number)
        if block is None:
            self.dropped[str(part.value.get("type", "other")) if isinstance(part, Other) else "other"] = None
        return [] if block is None else [block]

    def _result(self, part: ToolResult, number: int) -> dict[str, Any]:
        result: dict[str, Any] = {
            "toolUseId": short_id(part.tool_call_id, number),
            "content": self._blocks(part.parts, number),
        }
        return {"toolResult": {**result, "status": "error"} if part.is_error else result}

    def _image(self, part: Image) -> Blocks:
        if part.detail not in (None, "auto"):
            self.dropped["image_url.detail"] = None
        form = _FORMATS.get(part.media_type or "image/png")
        if part.data is None:
            self.dropped["image.url"] = None
            return []
        if form not in _IMAGES:
            self.dropped["image.media_type"] = None
            return []
        return [{"image": {"format": form, "source": {"bytes": part.data}}}]

    def _document(self, part: Document) -> Blocks:
        if part.text is None and part.data is None:
            self.dropped["document.url"] = None
            return []
        usual = "text/plain" if part.text is not None else "application/pdf"
        form = _FORMATS.get(part.media_type or usual)
        if form is None or form in _IMAGES:
            self.dropped["document.media_type"] = None
            return []
        data = part.data if part.text is None else base64.b64encode(part.text.encode("utf-8", "replace")).decode()
        return [{"document": {"format": form, "name": self._name(part.name, form), "source": {"bytes": data}}}]

    def _name(self, wanted: str | None, form: str) -> str:
        """A name that Bedrock accepts: few characters, and none that another document has."""
        stem = (wanted or "document").removesuffix(f".{form}") or "document"
        name = " ".join(_UNFIT_IN_NAMES.sub("-", stem).split())[:MAX_NAME_CHARS] or "document"
        number = 1
        while name in self.names:
            number += 1
            name = f"{name[: MAX_NAME_CHARS - 8]}-{number}"
        if wanted and name != stem:
            self.dropped["document.name"] = None
        self.names.add(name)
        return name


def _build_text(part: Text) -> Blocks:
    if not part.text:
        return []  # empty text is refused
    blocks: Blocks = [{"text": part.text}]
    if part.cache_control is not None:
        ttl = {"ttl": part.cache_control["ttl"]} if "ttl" in part.cache_control else {}
        blocks.append({"cachePoint": {"type": "default", **ttl}})
    return blocks


# ── tools and output ──────────────────────────────────────────────────────────────────────────────────────────────


def _build_tools(request: ChatRequest, dropped: dict[str, None], *, choice_is_told: bool) -> dict[str, Any] | None:
    """Bedrock has no choice "none", and needs tools where the conversation has called some."""
    called = [p.name for m in request.messages for p in m.parts if isinstance(p, ToolCall)]
    choice, tools = request.tool_choice, request.tools
    if choice is not None and choice.mode == "none":
        if not called:
            if tools:
                dropped["tools"] = None  # none are offered, so none are called
            return None
        dropped["tool_choice"] = None
        choice = None
    if not tools:
        tools = tuple(Tool(name) for name in dict.fromkeys(called))
        choice = None
    if not tools:
        return None
    config: dict[str, Any] = {"tools": [_build_tool(tool) for tool in tools]}
    if choice is not None and not choice_is_told:
        kinds = {"auto": {"auto": {}}, "required": {"any": {}}, "tool": {"tool": {"name": choice.name}}}
        config["toolChoice"] = kinds[choice.mode]
    return config


def _build_tool(tool: Tool) -> dict[str, Any]:
    # the schema must be there and be an object's
    schema = {"type": "object", **(tool.parameters or {"properties": {}})}
    fields = {
        "name": tool.name,
        "description": tool.description or None,  # an empty one is refused
        "inputSchema": {"json": schema},
        "strict": tool.strict,
    }
    return {"toolSpec": {k: v for k, v in fields.items() if v is not None}}


def _build_output(wanted: ResponseFormat | None, effort: str | None, dropped: dict[str, None]) -> dict[str, Any] | None:
    output: dict[str, Any] = {} if effort is None else {"effort": effort}
    if wanted is not None and wanted.kind == "schema":
        schema = {"schema": dumps(dict(wanted.schema or {})).decode(), "name": wanted.name}
        structure = {"jsonSchema": {k: v for k, v in schema.items() if v is not None}}
        output["textFormat"] = {"type": "json_schema", "structure": structure}
        if wanted.strict is False:
            dropped["response_format.json_schema.strict"] = None  # a schema is always kept here
    elif wanted is not None and wanted.kind == "json":
        dropped["response_format"] = None  # there is no "any JSON"
    return output or None
