"""The dialects of Ollama's own API: chat, generate, and embeddings old and new. No I/O.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmlens.errors import WireError
from llmlens.records import Reply
from llmlens.wire.dialect import Asked, ChatDialect, Dialect
from llmlens.wire.faults import fault_of_body, fault_of_json
from llmlens.wire.fields import text_field
from llmlens.wire.json_text import as_list, as_str, dumps, loads
from llmlens.wire.ndjson import MEDIA_TYPE
from llmlens.wire.ollama_build import build_request
from llmlens.wire.ollama_faults import fault_body, fault_event
from llmlens.wire.ollama_read import STREAM_TYPES, ChatReader, read_reply, usage_of
from llmlens.wire.ollama_request import parse_request, prompt_texts, read_request
from llmlens.wire.ollama_write import ChatWriter, build_reply
from llmlens.wire.vectors import count_vectors, dimensions


def generate_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads. Never raises."""
    texts = [text for k in ("system", "prompt", "suffix") if (text := as_str(body.get(k)))]
    return texts + ([dumps(body["format"]).decode()] if body.get("format") else [])


class _Vectors(Struct):
    embeddings: Raw = Raw()
    embedding: Raw = Raw()  # the older path answers with one
    model: str | None = None
    prompt_eval_count: int | None = None


_decode = msgspec.json.Decoder(_Vectors).decode


def read_embed_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a field it reads has the wrong type."""
    return Asked(model=text_field(body, "model"))


def read_embed_reply(status: int, body: bytes) -> Reply:
    """An answer with vectors: how many, of how many numbers. Never raises."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _no_vectors(body)
    one = bytes(answer.embedding)
    counted = (1, dimensions(one)) if one.startswith(b"[") else count_vectors(bytes(answer.embeddings))
    if counted[0] is None:
        return _no_vectors(body)
    usage = usage_of({"prompt_eval_count": answer.prompt_eval_count})
    return Reply(model=answer.model, usage=usage, n_vectors=counted[0], dimensions=counted[1])


def _no_vectors(body: bytes) -> Reply:
    try:
        return Reply(fault=fault_of_json(loads(body)), complete=False)
    except WireError:
        return Reply(complete=False)


def embed_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts to embed. Never raises."""
    given = body.get("input", body.get("prompt"))
    return [text for text in ([given] if isinstance(given, str) else as_list(given)) if isinstance(text, str)]


OLLAMA_CHAT = ChatDialect(
    name="ollama.chat",
    operation="chat",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=fault_body,
    prompt_texts=prompt_texts,
    stream_reader=ChatReader,
    fault_event=fault_event,
    stream_types=STREAM_TYPES,
    parse_request=parse_request,
    build_request=build_request,
    build_reply=build_reply,
    stream_writer=ChatWriter,
    call_path=lambda _model, _stream: "/api/chat",
    writes=MEDIA_TYPE,
)

OLLAMA_GENERATE = Dialect(
    name="ollama.generate",
    operation="text_completion",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=fault_body,
    prompt_texts=generate_texts,
    stream_reader=ChatReader,
    fault_event=fault_event,
    stream_types=STREAM_TYPES,
)

OLLAMA_EMBED = Dialect(
    name="ollama.embed",
    operation="embeddings",
    read_request=read_embed_request,
    read_reply=read_embed_reply,
    fault_body=fault_body,
    prompt_texts=embed_texts,
)
