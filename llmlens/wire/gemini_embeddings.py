"""The dialect of Gemini's embeddings: embedContent, batchEmbedContents, and Vertex's predict. No I/O.

Source: https://ai.google.dev/api/embeddings and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api. Vectors are counted, not
parsed. Vertex serves other models by `predict` too; of those only errors are read.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmlens.errors import WireError
from llmlens.records import Reply, Usage
from llmlens.wire.dialect import Asked, Dialect
from llmlens.wire.fields import text_field
from llmlens.wire.gemini_faults import fault_of_body, fault_of_json, gemini_fault_body
from llmlens.wire.gemini_path import read_path
from llmlens.wire.gemini_request import texts_of
from llmlens.wire.gemini_usage import usage_of
from llmlens.wire.json_text import as_dict, as_int, as_list, loads
from llmlens.wire.vectors import dimensions


class _Vector(Struct):
    values: Raw = Raw()
    statistics: dict[str, Any] | None = None


class _Prediction(Struct):
    embeddings: _Vector | None = None


class _Answer(Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    predictions: list[_Prediction] | None = None
    usage_metadata: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def read_reply(status: int, body: bytes) -> Reply:
    """An answer with vectors: how many, of how many numbers. Never raises."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _other(body)
    vectors = answer.embeddings if answer.embedding is None else [answer.embedding]
    if answer.predictions is not None:
        vectors = [prediction.embeddings for prediction in answer.predictions if prediction.embeddings is not None]
    if vectors is None:
        return _other(body)
    if answer.predictions and not vectors:
        return Reply()  # of another kind of model
    return Reply(
        usage=_usage(answer, vectors),
        n_vectors=len(vectors),
        dimensions=dimensions(bytes(vectors[0].values)) if vectors else None,
    )


def _usage(answer: _Answer, vectors: list[_Vector]) -> Usage:
    if answer.usage_metadata:
        return Usage(input_tokens=usage_of(answer.usage_metadata).input_tokens)
    counts = [as_int((v.statistics or {}).get("token_count")) for v in vectors]
    known = [count for count in counts if count is not None]
    return Usage(input_tokens=sum(known)) if known else Usage()


def _other(body: bytes) -> Reply:
    """What holds no vectors: an error, or nothing that is known."""
    try:
        return Reply(fault=fault_of_json(loads(body)), complete=False)
    except WireError:
        return Reply(complete=False)


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts to embed. Never raises."""
    texts = texts_of(body.get("content"))
    for request in as_list(body.get("requests")):
        texts += texts_of(as_dict(request).get("content"))
    instances = [as_dict(instance).get("content") for instance in as_list(body.get("instances"))]
    return texts + [text for text in instances if isinstance(text, str)]


GEMINI_EMBEDDINGS = Dialect(
    name="gemini.embeddings",
    operation="embeddings",
    read_request=lambda body: Asked(model=text_field(body, "model")),
    read_path=read_path,
    read_reply=read_reply,
    fault_body=gemini_fault_body,
    prompt_texts=prompt_texts,
)
