"""The dialect of OpenAI embeddings. No I/O.

Source: https://platform.openai.com/docs/api-reference/embeddings. Vectors are counted, not parsed: 3,072 floats a
vector would cost more than everything else about the call.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmlens.errors import WireError
from llmlens.records import Reply
from llmlens.wire.dialect import Asked, Dialect
from llmlens.wire.faults import fault_of_body, fault_of_json, openai_fault_body
from llmlens.wire.fields import asked_of
from llmlens.wire.json_text import as_dict, as_list, as_str, loads
from llmlens.wire.openai_usage import usage_of


class _Vector(Struct):
    embedding: Raw = Raw()


class _Answer(Struct):
    data: list[_Vector]
    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return Asked(model=asked_of({"model": body.get("model")}).model)


def read_reply(status: int, body: bytes) -> Reply:
    """An answer with vectors: how many, of how many numbers. Never raises."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _forgiving(body)
    raw = answer.data[0].embedding if answer.data else Raw()
    return Reply(
        response_id=answer.id,
        model=answer.model,
        usage=usage_of(answer.usage or {}),
        n_vectors=len(answer.data),
        dimensions=_dimensions(bytes(raw)),
    )


def _dimensions(raw: bytes) -> int | None:
    """Numbers in one vector, which is a JSON array, or text: base64 of little-endian float32."""
    if raw.startswith(b"["):
        return raw.count(b",") + 1 if raw.strip(b"[] \r\n\t") else 0
    if raw.startswith(b'"'):
        text = raw.strip(b'"').replace(b"\\/", b"/").rstrip(b"=")
        return len(text) * 3 // 4 // 4
    return None


def _forgiving(body: bytes) -> Reply:
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    raw = as_dict(value)
    if not isinstance(raw.get("data"), list):
        return Reply(fault=fault_of_json(value), complete=False)
    vectors = [as_dict(item).get("embedding") for item in raw["data"]]
    first = vectors[0] if vectors else None
    return Reply(
        response_id=as_str(raw.get("id")),
        model=as_str(raw.get("model")),
        usage=usage_of(as_dict(raw.get("usage"))),
        n_vectors=len(vectors),
        dimensions=len(first) if isinstance(first, list) else None,
    )


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts to embed. Inputs given as token ids have no text. Never raises."""
    given = body.get("input")
    return [text for text in ([given] if isinstance(given, str) else as_list(given)) if isinstance(text, str)]


OPENAI_EMBEDDINGS = Dialect(
    name="openai.embeddings",
    operation="embeddings",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=openai_fault_body,
    prompt_texts=prompt_texts,
)
