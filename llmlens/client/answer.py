"""`Answer`: one call as its caller sees it; `Reading` makes one out of the bytes that the gateway sends. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, cast

from llmlens.errors import CallError, WireError
from llmlens.records import CacheOutcome, Fault, Outcome, Reply, TextDelta, ToolCall, Usage
from llmlens.wire import headers as names
from llmlens.wire.accumulate import Accumulator
from llmlens.wire.dialect import StreamReader
from llmlens.wire.openai_chat import OPENAI_CHAT

RECEIPT_BYTES: Final = 64 * 1024
ERROR_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What one call gave. `str(answer)` is its text.

    model:         the name that was asked for; `provider` and `model_served` say who answered.
    text:          all text of the answer; "" where there is none (an error, or tool calls only).
    reply:         the whole answer: parts, thinking, refusal, tool calls.
    usage:         token counts; None for what is not known. Estimated where the provider stated none (`usage_source`).
    cost_usd:      what this call cost: 0 for an answer from the cache, None where no price is known.
    saved_usd:     what an answer from the cache would have cost.
    latency_s, first_token_s: as the gateway measured them; as seen from here if it did not say.
    cache:         "hit", "miss" or "off". `sample` is the number of this answer among identical calls.
    simulated:     made by the simulated provider: no model said this.
    call_id:       its row in `lens.calls()`.
    outcome:       "complete", "error", "denied", "cancelled" or "incomplete".
    error:         what went wrong; None when nothing did.
    """

    model: str
    text: str
    reply: Reply
    usage: Usage
    outcome: Outcome
    cost_usd: Decimal | None = None
    saved_usd: Decimal | None = None
    latency_s: float | None = None
    first_token_s: float | None = None
    cache: CacheOutcome | None = None
    sample: int | None = None
    provider: str | None = None
    model_served: str | None = None
    simulated: bool = False
    call_id: str | None = None
    error: Fault | None = None
    finish_reason: str | None = None
    usage_source: str | None = None
    attempts: int | None = None
    dropped: tuple[str, ...] = ()

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools the model wants called."""
        return self.reply.tool_calls

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        said = f"error={self.error.message!r}" if self.error else repr(_shortened(self.text))
        return f"<Answer {self.model}: {said}>"

    def raise_for_error(self) -> None:
        """Raises CallError if the call did not end well; it says what to do, and carries the fault and the call id."""
        if self.error is not None:
            raise CallError(_told(self), self.error, self.call_id)


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Reading:
    """One answer on its way in: `begin`, `feed` for each chunk, `end`."""

    model: str
    status: int = field(default=0, init=False)
    first_token_s: float | None = field(default=None, init=False)
    _headers: Mapping[str, str] = field(default_factory=dict, init=False)
    _reader: StreamReader | None = field(default=None, init=False)
    _folded: Accumulator = field(default_factory=Accumulator, init=False)
    _plain: list[bytes] = field(default_factory=list, init=False)
    _plain_bytes: int = field(default=0, init=False)
    _tail: bytes = field(default=b"", init=False)
    _fault: Fault | None = field(default=None, init=False)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """The status line and the headers (lower-case names) are here."""
        self.status, self._headers = status, headers
        if status < 300 and headers.get("content-type", "").startswith("text/event-stream"):
            self._reader = OPENAI_CHAT.stream_reader()  # type: ignore[misc]  # chat has streams

    def feed(self, chunk: bytes, age_s: float) -> list[str]:
        """Take the next bytes, `age_s` after the call began; give the texts they completed."""
        if self._reader is None:
            self._plain_bytes += len(chunk)
            if self._plain_bytes <= ERROR_BYTES:
                self._plain.append(chunk)
            return []
        self._tail = (self._tail + chunk)[-RECEIPT_BYTES:]
        try:
            pieces = self._reader.feed(chunk)
        except WireError as error:
            self._fault = self._fault or Fault(str(error), "wire_error")
            return []
        self._folded.add(pieces)
        texts = [p.text for p in pieces if isinstance(p, TextDelta) and p.choice == 0 and p.text]
        if texts and self.first_token_s is None:
            self.first_token_s = age_s
        return texts

    def end(self, age_s: float, *, broken: str | None = None, cancelled: bool = False) -> Answer:
        """The connection has ended, `age_s` after the call began; `broken` says how, if it was not in good order."""
        reply = self._reply()
        receipt = self._receipt()
        fault = reply.fault or self._fault
        if fault is None and not cancelled and (broken or self.status == 0 or not reply.complete):
            fault = Fault(broken or "the answer broke off before its end", "api_error", "incomplete")
        if fault is not None and fault.status is None and self.status >= 400:
            fault = replace(fault, status=self.status)
        return self._answer(reply, receipt, fault, age_s, cancelled)

    def _reply(self) -> Reply:
        if self._reader is None:
            return OPENAI_CHAT.read_reply(self.status, b"".join(self._plain)) if self.status else Reply(complete=False)
        try:
            self._folded.add(self._reader.end())
        except WireError as error:
            self._fault = self._fault or Fault(str(error), "wire_error")
        return self._folded.reply()

    def _receipt(self) -> dict[str, Any]:
        """What the gateway says of the call. The last line counts: a provider could send a comment like it."""
        _, found, line = (b"\n" + self._tail).rpartition(b"\n" + names.RECEIPT_COMMENT)
        said = line.partition(b"\n")[0] if found else self._headers.get(names.RECEIPT, "")
        try:
            receipt = json.loads(said or "{}")
        except ValueError:
            return {}
        return receipt if isinstance(receipt, dict) else {}

    def _answer(
        self, reply: Reply, receipt: dict[str, Any], fault: Fault | None, age_s: float, cancelled: bool
    ) -> Answer:
        get = receipt.get
        return Answer(
            model=self.model,
            text=reply.text or "",
            reply=reply,
            usage=_usage(receipt) or reply.usage,
            outcome=get("outcome") or _outcome(reply, fault, cancelled),
            cost_usd=_money(get("cost_usd")),
            saved_usd=_money(get("saved_usd")),
            latency_s=_number(get("latency_s"), age_s),
            first_token_s=_number(get("first_token_s"), self.first_token_s),
            cache=cast("CacheOutcome | None", get("cache") or self._headers.get(names.CACHE)),
            sample=get("sample"),
            provider=get("provider") or self._headers.get(names.PROVIDER),
            model_served=get("model_served") or reply.model or self._headers.get(names.MODEL),
            simulated=bool(get("simulated")) or self._headers.get(names.SIMULATED) == "1",
            call_id=get("call_id") or self._headers.get(names.CALL_ID),
            error=fault,
            finish_reason=reply.finish_reason or get("finish_reason"),
            usage_source=get("usage_source"),
            attempts=get("attempts"),
            dropped=tuple(get("dropped") or ()),
        )


def _usage(receipt: Mapping[str, Any]) -> Usage:
    get = receipt.get
    return Usage(get("input_tokens"), get("output_tokens"), get("cache_read_tokens"), get("cache_write_tokens"),
                 get("reasoning_tokens"))  # fmt: skip


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(str(text))


def _number(given: float | None, otherwise: float | None) -> float | None:
    return otherwise if given is None else given


def _outcome(reply: Reply, fault: Fault | None, cancelled: bool) -> Outcome:
    if cancelled:
        return "cancelled"
    if fault is None:
        return "complete"
    return "incomplete" if reply.choices else "error"


# ── errors in words ───────────────────────────────────────────────────────────────────────────────────────────────

ADVICE: Final[Mapping[int, str]] = {
    400: "look at the parameters of this call",
    401: "set the provider's key in the environment of this notebook, and restart its kernel if you just did",
    402: "look at the provider's billing page",
    403: "this key may not do that: use another key or another model",
    404: "look at the model's name; it is written provider/model",
    408: "try again",
    413: "shorten the prompt, or raise max_body_bytes in llmlens.toml",
    429: "wait a little, or send fewer calls at once",
}
ADVICE_BY_CODE: Final[Mapping[str, str]] = {
    "cache_miss": "ask with cache='on' to have it answered by the provider",
    "invalid_api_key": ADVICE[401],
    "log_unavailable": "make room on the disk of the store, or see its log beside the store",
}


def _told(answer: Answer) -> str:
    """What happened, to what, and what to do."""
    fault = cast("Fault", answer.error)
    who = answer.model if answer.provider is None or answer.model.startswith(f"{answer.provider}/") else (
        f"{answer.model} ({answer.provider})"
    )  # fmt: skip
    status = f" [{fault.status}]" if fault.status else ""
    advice = ADVICE_BY_CODE.get(fault.code or "") or ADVICE.get(fault.status or 0) or (
        "try again; `lens.calls()` has what came so far"
    )  # fmt: skip
    if fault.retry_after_s is not None:
        advice = f"try again in {fault.retry_after_s:.0f} s"
    return f"{who} did not answer{status}: {fault.message.rstrip('. ')}. What to do: {advice}"
