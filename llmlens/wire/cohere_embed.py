"""The dialect of Cohere embeddings, v1 and v2. No I/O.

Source: https://docs.cohere.com/v2/reference/embed. `embeddings` is a list of vectors (v1), or an object of such lists
by type (v2, and v1 where types were asked for). Vectors are counted, not parsed.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmlens.errors import WireError
from llmlens.records import Reply, Usage
from llmlens.wire.cohere_faults import fault_body
from llmlens.wire.cohere_read import usage_of
from llmlens.wire.dialect import Asked, Dialect
from llmlens.wire.faults import fault_of_body, fault_of_json
from llmlens.wire.fields import asked_of
from llmlens.wire.json_text import as_dict, as_list, as_str, dumps, loads
from llmlens.wire.vectors import count_vectors


class _Answer(Struct):
    embeddings: Raw
    id: str | None = None
    meta: dict[str, Any] | None = None


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
    return _reply(answer)


def _reply(answer: _Answer) -> Reply:
    n_vectors, dimensions = count_vectors(bytes(answer.embeddings))
    return Reply(
        response_id=answer.id,
        usage=Usage(input_tokens=usage_of(answer.meta or {}).input_tokens),
        n_vectors=n_vectors,
        dimensions=dimensions,
        complete=n_vectors is not None,
    )


def _forgiving(body: bytes) -> Reply:
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    raw = as_dict(value)
    if not isinstance(vectors := raw.get("embeddings"), list | dict):
        return Reply(fault=fault_of_json(value), complete=False)
    return _reply(_Answer(Raw(dumps(vectors)), as_str(raw.get("id")), as_dict(raw.get("meta"))))


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts to embed; images have none. Never raises."""
    texts = [text for text in as_list(body.get("texts")) if isinstance(text, str)]
    for given in map(as_dict, as_list(body.get("inputs"))):
        blocks = map(as_dict, as_list(given.get("content")))
        texts += [text for block in blocks if (text := as_str(block.get("text")))]
    return texts


COHERE_EMBED = Dialect(
    name="cohere.embed",
    operation="embeddings",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=fault_body,
    prompt_texts=prompt_texts,
)
