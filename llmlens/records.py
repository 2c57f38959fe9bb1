"""The things llmlens speaks of, as frozen dataclasses. No I/O, no clock.

Token counts follow OpenTelemetry GenAI: `input_tokens` counts every input token, `cache_read_tokens` and
`cache_write_tokens` are parts of it; `output_tokens` counts every output token, `reasoning_tokens` is a part of it.
Unknown is None, never 0. Times are aware UTC, durations are seconds (`…_s`), money is Decimal USD (`…_usd`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hmac import compare_digest
from typing import Any, Literal

Operation = Literal["chat", "text_completion", "embeddings", "count_tokens", "models", "raw"]
CacheMode = Literal["on", "off", "refresh", "only"]
CacheOutcome = Literal["hit", "miss", "off"]
Outcome = Literal["complete", "error", "denied", "cancelled", "incomplete"]
Role = Literal["system", "developer", "user", "assistant", "tool"]


# ── what a conversation is made of ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text. `cache_control` is Anthropic's cache mark, kept for the dialects that know it."""

    text: str
    cache_control: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image by `url`, or inline as base64 `data` of `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file by `url`, or inline as base64 `data` (plain text as `text`)."""

    url: str | None = None
    data: str | None = None
    text: str | None = None
    media_type: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """Visible reasoning. `signature` proves it to the provider that wrote it; `redacted` is its opaque form."""

    text: str
    signature: str | None = None
    redacted: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model says no, in a field of its own (OpenAI)."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants `name` called. `arguments` is JSON text as it came, which may be cut or not JSON at all.

    `signature` is the opaque proof of the thinking behind it, which Gemini wants back.
    """

    id: str | None
    name: str
    arguments: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool call `tool_call_id` gave."""

    tool_call_id: str
    parts: tuple["Part", ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """A block that only its own dialect understands (server tools, citations …), kept as it came."""

    dialect: str
    value: Mapping[str, Any]


Part = Text | Image | Document | Thinking | Refusal | ToolCall | ToolResult | Other


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. Tool results are `ToolResult` parts of a `tool` message."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is its JSON schema."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`tool` means: this one, by `name`."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """`json`: any object; `schema`: this JSON schema."""

    kind: Literal["text", "json", "schema"]
    name: str | None = None
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request in no dialect: the hub that every translation passes through.

    `extra` holds the parameters of the inbound dialect that have no place here, by their own names. Whoever builds
    another dialect's body from it lists what was left behind.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoning_budget_tokens: int | None = None
    n: int | None = None
    user: str | None = None
    stream_usage: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


# ── what an answer says ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the provider states them, in the meaning of OpenTelemetry (see the head of this file)."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __bool__(self) -> bool:
        """True when at least one count is known."""
        return any(v is not None for v in (self.input_tokens, self.output_tokens, self.cache_read_tokens,
                                           self.cache_write_tokens, self.reasoning_tokens))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as a provider (or this gateway) states it. `type`, `code` and `param` are the provider's own words."""

    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of possibly several. `finish_reason` is the provider's own word."""

    index: int = 0
    parts: tuple[Part, ...] = ()
    finish_reason: str | None = None
    stop_sequence: str | None = None
    finish_detail: str | None = None  # why, where the reason itself does not say (Responses: `incomplete_details`)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider answered, in no dialect. `complete` is False when a stream broke off before its end mark."""

    response_id: str | None = None
    model: str | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    fault: Fault | None = None
    complete: bool = True
    n_vectors: int | None = None  # embeddings
    dimensions: int | None = None
    stated_cost_usd: Decimal | None = None  # what the provider says it charged
    created_s: int | None = None  # Unix time to show to a caller; not read from answers

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the first choice."""
        return self.choices[0].parts if self.choices else ()

    @property
    def text(self) -> str | None:
        """All text of the first choice, joined; None when it has none."""
        texts = [p.text for p in self.parts if isinstance(p, Text)]
        return "".join(texts) if texts else None

    @property
    def reasoning_text(self) -> str | None:
        """All visible thinking of the first choice, joined; None when it has none."""
        texts = [p.text for p in self.parts if isinstance(p, Thinking) and p.text]
        return "".join(texts) if texts else None

    @property
    def refusal(self) -> str | None:
        texts = [p.text for p in self.parts if isinstance(p, Refusal)]
        return "".join(texts) if texts else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(p for p in self.parts if isinstance(p, ToolCall))

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason if self.choices else None


# ── pieces of a streamed answer ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Started:
    """The answer has an id and names its model. Fields a later piece repeats are taken from the first that knows."""

    response_id: str | None = None
    model: str | None = None
    created_s: int | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    choice: int = 0


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolDelta:
    """A piece of tool call number `index` of its choice; `id` and `name` come once, `arguments` is appended."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    choice: int = 0
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class OtherDelta:
    """A whole block that only its own dialect understands."""

    part: Other
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The choice has ended. The last non-None reason wins."""

    reason: str | None
    stop_sequence: str | None = None
    choice: int = 0
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class UsageSeen:
    """The counts known so far; each one replaces the former, and None leaves it as it was."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class CostSeen:
    """What the provider says this answer costs; each one replaces the former."""

    usd: Decimal


@dataclass(frozen=True, slots=True)
class Faulted:
    """The stream itself reports an error."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Ended:
    """The dialect's end mark was seen: the answer is whole."""


Piece = (
    Started | TextDelta | ThinkingDelta | RefusalDelta | ToolDelta | OtherDelta
    | Finished | UsageSeen | CostSeen | Faulted | Ended
)  # fmt: skip
CONTENT_PIECES = (TextDelta, ThinkingDelta, RefusalDelta, ToolDelta, OtherDelta)


# ── one call through the gateway ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `scope` partitions the cache: answers are never shared across scopes."""

    key_id: str
    role: Literal["owner", "admin", "member", "viewer"] = "owner"
    user: str | None = None
    team: str | None = None

    @property
    def scope(self) -> str:
        return self.key_id


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where in a notebook a call came from. All None outside of one."""

    notebook: str | None = None
    cell_id: str | None = None
    execution_count: int | None = None
    cell_sha: str | None = None  # first 16 hex digits of the SHA-256 of the cell's source
    run_id: str | None = None  # one kernel session
    git_commit: str | None = None
    git_dirty: bool | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One place a call can be sent to: `provider` and the model name that it knows."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one target. `http_status` is None when no answer came."""

    provider: str
    model: str | None
    http_status: int | None
    error: str | None
    started_s: float  # after the call came in
    latency_s: float


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One row of the log, in the column order of the table `calls` (store/migrations)."""

    call_id: str
    started_at: datetime
    outcome: Outcome
    operation: Operation
    # who and where
    key_id: str | None = None
    user_name: str | None = None
    team: str | None = None
    notebook: str | None = None
    cell_id: str | None = None
    execution_count: int | None = None
    cell_sha: str | None = None
    run_id: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    client: str | None = None  # User-Agent
    traceparent: str | None = None
    tags: str | None = None  # a JSON object
    # what was asked
    dialect: str | None = None
    method: str | None = None
    path: str | None = None
    model_asked: str | None = None
    stream: bool = False
    request_body: bytes | None = None
    # where it went
    provider: str | None = None
    model_sent: str | None = None
    upstream_dialect: str | None = None  # only where it was translated
    dropped: str | None = None  # a JSON list: what the target cannot carry, and `answer.…` that the caller cannot
    attempts: int = 0
    simulated: bool = False
    # what came back
    http_status: int | None = None  # as the caller saw it
    response_id: str | None = None
    model_served: str | None = None
    text: str | None = None
    reasoning_text: str | None = None
    refusal: str | None = None
    tool_calls: str | None = None  # a JSON list of {id, name, arguments}
    finish_reason: str | None = None
    n_choices: int | None = None
    n_vectors: int | None = None
    dimensions: int | None = None
    response_type: str | None = None  # Content-Type
    response_body: bytes | None = None  # decoded; None on a hit (see `cached_from`)
    chunk_timeline: bytes | None = None  # little-endian (uint32 end offset, float32 seconds) per chunk of a stream
    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_param: str | None = None
    retry_after_s: float | None = None
    # what it took
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: Literal["provider", "estimated"] | None = None
    cost_usd: Decimal | None = None
    price_source: str | None = None
    latency_s: float | None = None
    first_token_s: float | None = None
    overhead_s: float | None = None  # the gateway's own part of the time until the answer began
    # the cache
    cache: CacheOutcome | None = None
    cache_key: str | None = None  # hex
    sample: int | None = None
    cached_from: str | None = None  # call_id whose answer was replayed
    saved_usd: Decimal | None = None
    # added since
    stated_cost_usd: Decimal | None = None  # what the provider says it charged
    finish_detail: str | None = None


class Secret:
    """A string that does not show itself: `str`, `repr`, format and pickling give no part of it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Call it where the bytes leave the process, nowhere else."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret('…')"

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        raise TypeError("a Secret cannot be pickled")
