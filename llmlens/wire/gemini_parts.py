"""The parts of Gemini's requests → `Part`s. No I/O."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from llmlens.records import Document, Image, Other, Part, Text, Thinking, ToolCall, ToolResult
from llmlens.wire.fields import dict_field, flag_field, required_text, text_field
from llmlens.wire.gemini_fields import camel, camel_objects
from llmlens.wire.gemini_read import NAME, kind_of
from llmlens.wire.gemini_signature import opened
from llmlens.wire.json_text import dumps

_DOCUMENTS = ("application/", "text/")
_OUR_ID = "gemini_call_"
_OURS = re.compile(rf"{_OUR_ID}\d+")
_CALL_FIELDS = frozenset({"id", "name", "args"})
_RESPONSE_FIELDS = frozenset({"id", "name", "response", "parts"})


def is_ours(call_id: str | None) -> bool:
    """Whether `call_id` was made up here, for a call that has none."""
    return call_id is not None and _OURS.fullmatch(call_id) is not None


class Calls:
    """The function calls of a conversation that have no response yet."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []  # (id, name), in order

    def opened(self, call_id: str | None, name: str) -> str:
        """The id of a call that is made."""
        call_id = call_id or f"{_OUR_ID}{self._count}"
        self._count += 1
        self._open.append((call_id, name))
        return call_id

    def answered(self, call_id: str | None, name: str) -> str:
        """The id of the call that a response belongs to: by id, else the first of its name, else the first."""
        if call_id is None:
            named = [known for known, called in self._open if called == name]
            ids = named or [known for known, _ in self._open]
            call_id = ids[0] if ids else self.opened(None, name)
        for number, (known, _) in enumerate(self._open):
            if known == call_id:
                del self._open[number]
                break
        return call_id


def parse_part(part: dict[str, Any], calls: Calls, extra: dict[str, Any]) -> list[Part]:
    """What `part` says, with its signature behind it.

    Raises:
        WireError: a field has the wrong type; the message names it.
    """
    kind, signature = kind_of(part), opened(text_field(part, "thoughtSignature"))
    for name in ("videoMetadata", "mediaResolution", "partMetadata"):
        if name in part:
            extra[f"parts.{name}"] = part[name]
    if kind == "functionCall":
        return [_parse_call(camel(dict_field(part, kind)), signature, calls, extra)]
    if kind == "functionResponse":
        return [_parse_response(camel(dict_field(part, kind)), calls, extra)]
    if kind in ("inlineData", "fileData") and not signature:
        return [_parse_media(part, camel(dict_field(part, kind)))]
    if kind not in ("text", None):
        return [Other(NAME, part)]
    text = text_field(part, "text") or ""
    if flag_field(part, "thought"):
        return [Thinking("", None, signature) if signature and not text else Thinking(text, signature)]
    said: list[Part] = [Text(text)] if text else []
    return [*said, Thinking("", signature)] if signature else said


def _parse_call(raw: dict[str, Any], signature: str | None, calls: Calls, extra: dict[str, Any]) -> ToolCall:
    extra.update({f"functionCall.{name}": raw[name] for name in raw.keys() - _CALL_FIELDS})
    name = required_text(raw, "name")
    arguments = dumps(dict_field(raw, "args")).decode()
    return ToolCall(calls.opened(text_field(raw, "id"), name), name, arguments, signature)


def _parse_response(raw: dict[str, Any], calls: Calls, extra: dict[str, Any]) -> ToolResult:
    extra.update({f"functionResponse.{name}": raw[name] for name in raw.keys() - _RESPONSE_FIELDS})
    name = text_field(raw, "name") or ""
    call_id = calls.answered(text_field(raw, "id"), name)
    text, is_error = parse_output(dict_field(raw, "response"))
    said: list[Part] = [Text(text)] if text else []
    media = [_parse_media(part, camel(dict_field(part, kind_of(part) or ""))) for part in camel_objects(raw, "parts")]
    return ToolResult(call_id, (*said, *media), is_error)


def parse_output(response: Mapping[str, Any]) -> tuple[str, bool]:
    """(text, whether it is an error). `output` and `error` are Google's own names for what has no name."""
    if len(response) == 1:
        for name in ("output", "error"):
            if isinstance(response.get(name), str):
                return response[name], name == "error"
    return dumps(response).decode() if response else "", False


def _parse_media(part: dict[str, Any], blob: dict[str, Any]) -> Part:
    media_type = text_field(blob, "mimeType") or ""
    url, data, name = text_field(blob, "fileUri"), text_field(blob, "data"), text_field(blob, "displayName")
    if url is None and data is None:
        return Other(NAME, part)
    if media_type.startswith("image/"):
        return Image(url, data, media_type)
    if not media_type.startswith(_DOCUMENTS):
        return Other(NAME, part)  # audio and video have no place elsewhere
    text = _decoded(data) if data is not None and media_type == "text/plain" else None
    if text is not None:
        return Document(text=text, media_type=media_type, name=name)
    return Document(url, data, media_type=media_type, name=name)


def _decoded(data: str) -> str | None:
    """The text that `data` is in base64; None where another text would come of it on the way back."""
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return text if base64.b64encode(text.encode()).decode() == data else None
