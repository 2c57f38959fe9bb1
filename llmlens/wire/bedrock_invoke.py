"""The dialect of Amazon Bedrock InvokeModel: the vendor's own format inside AWS's frames. Only logged. No I/O.

The path names the model, a body does not, so the format is recognised by its shape: Anthropic messages, Converse
(Nova), chat completions (Mistral, Jamba, DeepSeek, gpt-oss, Qwen …), and the older formats that hold one text.
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NamedTuple

from llmlens.errors import WireError
from llmlens.records import Ended, Faulted, Finished, Piece, Reply, Started, TextDelta, Usage, UsageSeen
from llmlens.wire import anthropic_read, openai_read
from llmlens.wire.accumulate import overlay, reply_of
from llmlens.wire.anthropic_request import prompt_texts as anthropic_texts
from llmlens.wire.aws_event_stream import MEDIA_TYPE, Frame
from llmlens.wire.bedrock_faults import TELLING_HEADERS, fault_body, fault_event, fault_of, reply_with_headers
from llmlens.wire.bedrock_path import read_path
from llmlens.wire.bedrock_read import Conversation, FrameReader, pieces_of_answer
from llmlens.wire.dialect import Asked, Dialect
from llmlens.wire.faults import fault_of_json
from llmlens.wire.fields import int_field
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, loads
from llmlens.wire.sse import encode

NAME = "bedrock.invoke"
METRICS = "amazon-bedrock-invocationMetrics"  # in the last chunk of every stream


# ── formats that hold one text ────────────────────────────────────────────────────────────────────────────────────


class _Said(NamedTuple):
    """What one answer, or one chunk, of a plain text format says."""

    text: object
    finish: object = None
    input_tokens: object = None
    output_tokens: object = None
    stop_sequence: object = None
    id: object = None


def _titan(raw: Mapping[str, Any]) -> _Said:
    result = _head(raw, "results") or raw
    counted = result.get("tokenCount", raw.get("totalOutputTextTokenCount"))
    return _Said(result.get("outputText"), result.get("completionReason"), raw.get("inputTextTokenCount"), counted)


def _llama(raw: Mapping[str, Any]) -> _Said:
    return _Said(
        raw.get("generation"), raw.get("stop_reason"), raw.get("prompt_token_count"), raw.get("generation_token_count")
    )


def _mistral(raw: Mapping[str, Any]) -> _Said:
    output = _head(raw, "outputs")
    return _Said(output.get("text"), output.get("stop_reason"))


def _cohere(raw: Mapping[str, Any]) -> _Said:
    # Command's plain answers have `generations`, Command R's and all chunks `text`
    said = _head(raw, "generations") or raw
    billed = as_dict(as_dict(as_dict(raw.get("response")).get("meta") or raw.get("meta")).get("billed_units"))
    return _Said(
        said.get("text") if raw.get("event_type") in (None, "text-generation") else None,
        said.get("finish_reason") or raw.get("finish_reason"),
        billed.get("input_tokens"),
        billed.get("output_tokens"),
        id=raw.get("id") or raw.get("generation_id"),
    )


def _ai21(raw: Mapping[str, Any]) -> _Said:
    completion = _head(raw, "completions")
    finish = as_dict(completion.get("finishReason"))
    return _Said(as_dict(completion.get("data")).get("text"), finish.get("reason"), id=raw.get("id"))


def _claude_2(raw: Mapping[str, Any]) -> _Said:
    return _Said(raw.get("completion"), raw.get("stop_reason"), stop_sequence=raw.get("stop"))


_PLAIN: Mapping[str, Callable[[Mapping[str, Any]], _Said]] = {
    "results": _titan,
    "outputText": _titan,
    "generation": _llama,
    "outputs": _mistral,
    "generations": _cohere,
    "is_finished": _cohere,
    "generation_id": _cohere,
    "completions": _ai21,
    "completion": _claude_2,
}


def _head(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The first object of the array `name`, or an empty one."""
    items = as_list(raw.get(name))
    return as_dict(items[0]) if items else {}


def _pieces(said: _Said) -> list[Piece]:
    out: list[Piece] = [Started(as_str(said.id))]
    if isinstance(said.text, str):
        out.append(TextDelta(said.text))
    if usage := Usage(as_int(said.input_tokens), as_int(said.output_tokens)):
        out.append(UsageSeen(usage))
    if finish := as_str(said.finish):
        out.append(Finished(finish, as_str(said.stop_sequence)))
    return out


def _chat(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion as OpenAI would say it: Mistral calls the finish reason `stop_reason`, DeepSeek has `text`."""
    choices = []
    for choice in map(as_dict, as_list(raw.get("choices"))):
        said: dict[str, Any] = {"finish_reason": choice.get("stop_reason"), **choice, "stop_reason": None}
        if isinstance(choice.get("text"), str):
            said["delta"] = said["message"] = {"content": choice["text"]}
        choices.append(said)
    return {**raw, "choices": choices}


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────


class InvokeReader(FrameReader):
    """Reads a stream of chunks, each a base64 text that holds one event of the vendor's."""

    def __init__(self) -> None:
        super().__init__()
        self._anthropic = anthropic_read.MessagesReader()
        self._openai = openai_read.ChatReader()
        self._nova = Conversation()
        self._finished = False
        self._counted = Usage()  # what the vendor's own events state

    def _event(self, frame: Frame, out: list[Piece]) -> None:
        raw = _chunk(frame.payload)
        pieces = self._vendor(raw)
        for piece in pieces:
            if isinstance(piece, UsageSeen):
                self._counted = overlay(piece.usage, self._counted)
            self._finished = self._finished or isinstance(piece, Finished)
            self._over = self._over or isinstance(piece, Ended | Faulted)
        if stated := _invocation_usage(as_dict(raw.get(METRICS))):
            # Amazon's counts can disagree with the vendor's, which are the ones of its plain answers
            pieces.append(UsageSeen(overlay(self._counted, stated)))
        out += pieces

    def _vendor(self, raw: dict[str, Any]) -> list[Piece]:
        if isinstance(raw.get("type"), str) and raw["type"] != "completion":
            return self._anthropic.feed(encode(None, dumps(raw)))
        if "choices" in raw:
            return self._openai.feed(encode(None, dumps(_chat(raw))))
        for key, read in _PLAIN.items():
            if key in raw:
                return _pieces(read(raw))
        out: list[Piece] = []
        for name, data in raw.items():
            self._nova.event(name, as_dict(data), out)
        return out

    def _finish(self, out: list[Piece]) -> None:
        if not self._over:
            out += self._anthropic.end()
            out += self._openai.end()
            if self._finished and not any(isinstance(piece, Ended) for piece in out):
                out.append(Ended())
            self._over = True

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)


def _chunk(payload: bytes) -> dict[str, Any]:
    """The event inside a chunk, or {}."""
    try:
        inner = base64.b64decode(as_dict(loads(payload)).get("bytes") or "")
        return as_dict(loads(inner))
    except (WireError, binascii.Error, TypeError, ValueError):
        return {}


def _invocation_usage(metrics: Mapping[str, Any]) -> Usage:
    read, write = as_int(metrics.get("cacheReadInputTokenCount")), as_int(metrics.get("cacheWriteInputTokenCount"))
    fresh = as_int(metrics.get("inputTokenCount"))
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=as_int(metrics.get("outputTokenCount")),
        cache_read_tokens=read,
        cache_write_tokens=write,
    )


# ── plain answers ─────────────────────────────────────────────────────────────────────────────────────────────────


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer of any vendor; never raises. Shapes that are not known make an empty Reply, which is complete."""
    if status >= 400:
        return Reply(fault=fault_of(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    raw = as_dict(value)
    if isinstance(raw.get("content"), list):
        return anthropic_read.read_reply(status, body)
    if isinstance(raw.get("output"), dict):
        return reply_of([*pieces_of_answer(raw), Ended()])
    if isinstance(raw.get("choices"), list):
        return openai_read.read_reply(status, dumps(_chat(raw)))
    if vectors := _vectors(raw):
        usage = Usage(as_int(raw.get("inputTextTokenCount")))
        return Reply(usage=usage, n_vectors=len(vectors), dimensions=len(vectors[0]))
    for key, read in _PLAIN.items():
        if key in raw:
            return reply_of([*_pieces(read(raw)), Ended()])
    if isinstance(raw.get("text"), str):
        return reply_of([*_pieces(_cohere(raw)), Ended()])
    fault = fault_of_json(value)
    return Reply(fault=fault, complete=fault is None and bool(raw))


def _vectors(raw: Mapping[str, Any]) -> list[list[Any]]:
    """Embeddings: Titan's one `embedding`, Cohere's `embeddings` (a list, or one by type of number)."""
    many = raw.get("embeddings")
    if isinstance(many, dict):
        many = next(iter(many.values()), None)
    found = as_list(many) or [raw.get("embedding")]
    return found if all(isinstance(vector, list) for vector in found) else []


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────

_LIMITS = ("max_tokens", "max_tokens_to_sample", "max_completion_tokens", "max_gen_len", "maxTokens")
_NESTED_LIMITS = (("textGenerationConfig", "maxTokenCount"), ("inferenceConfig", "maxTokens"),
                  ("inferenceConfig", "max_new_tokens"))  # fmt: skip


def read_request(body: Mapping[str, Any]) -> Asked:
    """Raises WireError where a limit is no number. The path names the model, and whether a stream is asked for."""
    plain = (int_field(body, name) for name in _LIMITS)
    nested = (int_field(as_dict(body.get(outer)), name) for outer, name in _NESTED_LIMITS)
    return Asked(model=None, max_output_tokens=next((n for n in chain(plain, nested) if n is not None), None))


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that the model reads, in the formats of all vendors. Never raises."""
    texts = [body[name] for name in ("prompt", "inputText", "message") if isinstance(body.get(name), str)]
    texts += [text for text in as_list(body.get("texts")) if isinstance(text, str)]
    texts += [text for turn in as_list(body.get("chat_history")) if (text := as_str(as_dict(turn).get("message")))]
    return texts + anthropic_texts(body)


BEDROCK_INVOKE = Dialect(
    name=NAME,
    operation="chat",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=fault_body,
    prompt_texts=prompt_texts,
    stream_reader=InvokeReader,
    fault_event=fault_event,
    read_path=read_path,
    from_headers=reply_with_headers,
    telling_headers=TELLING_HEADERS,
    stream_types=frozenset({MEDIA_TYPE}),
)
