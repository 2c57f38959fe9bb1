"""The dialect of OpenAI's text completions, which came before chat. It is logged, not translated. No I/O.

Source: https://platform.openai.com/docs/api-reference/completions and `openai.types.completion` of openai 3.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmlens.errors import WireError
from llmlens.records import CostSeen, Ended, Fault, Faulted, Finished, Piece, Reply, Started, TextDelta, UsageSeen
from llmlens.wire.accumulate import reply_of
from llmlens.wire.dialect import Asked, Dialect
from llmlens.wire.faults import fault_of_body, fault_of_error, fault_of_json, openai_error, openai_fault_body
from llmlens.wire.fields import asked_of, int_field
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, loads
from llmlens.wire.openai_usage import usage_of
from llmlens.wire.reading import SseReader
from llmlens.wire.sse import Event, encode
from llmlens.wire.stated_cost import stated_cost_usd


class CompletionsReader(SseReader):
    """Reads a stream of text completion chunks.

    The answer is whole at `[DONE]`, or, for servers that send none, when the connection closes after every choice
    named its finish reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, bool] = {}  # choice → finish reason still awaited
        self._started = Started()
        self._over = False

    def _event(self, event: Event, out: list[Piece]) -> None:
        try:
            value = loads(event.data)
        except WireError:
            if event.data.strip() == "[DONE]":
                self._done(out)
            return
        raw = as_dict(value)
        self.completion(raw, out)
        if "choices" not in raw and "error" not in raw and event.name == "error":
            out.append(Faulted(fault_of_error(raw)))

    def _finish(self, out: list[Piece]) -> None:
        if self._open and not any(self._open.values()):
            self._done(out)

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)

    def _done(self, out: list[Piece]) -> None:
        if not self._over:
            self._over = True
            out.append(Ended())

    def completion(self, raw: dict[str, Any], out: list[Piece]) -> None:
        """Append what a chunk or a whole completion says; they have one shape."""
        started = Started(as_str(raw.get("id")), as_str(raw.get("model")))
        if started not in (self._started, Started()):
            self._started = started
            out.append(started)
        for choice in map(as_dict, as_list(raw.get("choices"))):
            self._choice(choice, out)
        usage = as_dict(raw.get("usage"))
        if counts := usage_of(usage):
            out.append(UsageSeen(counts))
        if (cost_usd := stated_cost_usd(usage)) is not None:
            out.append(CostSeen(cost_usd))
        if raw.get("error"):
            out.append(Faulted(fault_of_error(raw["error"])))

    def _choice(self, choice: dict[str, Any], out: list[Piece]) -> None:
        index = as_int(choice.get("index")) or 0
        text = choice.get("text")
        out.append(TextDelta(text if isinstance(text, str) else "", index))
        reason, stop = as_str(choice.get("finish_reason")), as_str(choice.get("stop_reason"))  # vLLM: the sequence
        if reason:
            self._open[index] = False
            out.append(Finished(reason, stop, index))
        else:
            self._open.setdefault(index, True)


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no completion becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        value = loads(body)
    except WireError:
        return Reply(complete=False)
    raw = as_dict(value)
    if not isinstance(raw.get("choices"), list):
        return Reply(fault=fault_of_json(value), complete=False)
    out: list[Piece] = []
    CompletionsReader().completion(raw, out)
    return reply_of([*out, Ended()])


def read_request(body: Mapping[str, Any]) -> Asked:
    """`n` is how many completions will be written: for each prompt, as many as the best are chosen from.

    Raises:
        WireError: a field it reads has the wrong type.
    """
    asked = asked_of(body, "max_tokens")
    prompts = as_list(body.get("prompt"))
    several = len(prompts) if all(isinstance(prompt, str | list) for prompt in prompts) else 1
    return replace(asked, n=max(asked.n, int_field(body, "best_of") or 1) * max(several, 1))


def prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts to complete. Prompts given as token ids have no text. Never raises."""
    given = body.get("prompt")
    prompts = [*(as_list(given) or [given]), body.get("suffix")]
    return [text for text in prompts if isinstance(text, str)]


def fault_event(fault: Fault) -> bytes:
    """An error in mid-stream: the SDK raises at a chunk that has `error`."""
    return encode(None, dumps(openai_error(fault)))


OPENAI_COMPLETIONS = Dialect(
    name="openai.completions",
    operation="text_completion",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=openai_fault_body,
    prompt_texts=prompt_texts,
    stream_reader=CompletionsReader,
    fault_event=fault_event,
    end_marks=(b"\ndata: [DONE]", b"\ndata:[DONE]"),
)
