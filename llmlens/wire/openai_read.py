"""Answers of OpenAI chat completions and its many look-alikes, plain and streamed → `Piece`s. No I/O.

A chunk is decoded into typed structs, which is three times faster than into dicts; whatever has an unexpected type goes
through `_forgiving` into the same structs, so there is one meaning and two doors.
"""

from typing import Any

import msgspec
from msgspec import Struct

from llmlens.errors import WireError
from llmlens.records import (
    Choice,
    CostSeen,
    Ended,
    Faulted,
    Finished,
    Piece,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    Usage,
    UsageSeen,
)
from llmlens.wire.accumulate import Accumulator
from llmlens.wire.faults import fault_of_body, fault_of_error, fault_of_json
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, dumps, loads
from llmlens.wire.openai_usage import usage_of
from llmlens.wire.reading import SseReader
from llmlens.wire.sse import Event
from llmlens.wire.stated_cost import stated_cost_usd


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None  # custom tools


class _Tool(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Function | None = None
    extra_content: dict[str, Any] | None = None  # Google: the signature


class _Message(Struct, gc=False):
    """`delta` of a chunk or `message` of a plain answer; they say the same things."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None  # DeepSeek and most look-alikes
    reasoning: str | None = None  # OpenRouter, Groq, Cerebras
    reasoning_details: list[Any] | None = None  # OpenRouter: repeats `reasoning`, or is all there is
    refusal: str | None = None
    tool_calls: list[_Tool] | None = None
    function_call: _Function | None = None
    thinking_blocks: list[Any] | None = None  # ours (and LiteLLM's): Anthropic's thinking with its signature


class _Choice(Struct, gc=False):
    index: int | None = None
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    error: Any = None  # OpenRouter
    stop_reason: str | int | None = None  # vLLM: the stop sequence that hit, or a token id


class _Chunk(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class ChatReader(SseReader):
    """Reads a stream of chat completion chunks.

    The answer is whole at `[DONE]`, or, for servers that send none, when the connection closes after every choice
    named its finish reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._model: str | None = None
        self._open: dict[int, bool] = {}  # choice → finish reason still awaited
        self._tools: dict[int, _ToolNumbers] = {}
        self._thought: dict[int, list[str]] = {}  # choice → thinking whose signature may still come
        self._over = False  # ended or faulted

    def _event(self, event: Event, out: list[Piece]) -> None:
        try:
            chunk = _decode(event.data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            if event.data.strip() == "[DONE]":
                self._done(out)
                return
            try:
                chunk = _forgiving(loads(event.data))
            except WireError:
                return  # cut off by the end of the stream, or a proxy's chatter
        if chunk.choices is None and chunk.error is None:
            chunk.error = _bare_error(event)
        self.pieces(chunk, out, streamed=True)

    def _finish(self, out: list[Piece]) -> None:
        if self._open and not any(self._open.values()):
            self._done(out)

    def _plain(self, body: bytes) -> Reply:
        return read_reply(200, body)

    def _done(self, out: list[Piece]) -> None:
        if not self._over:
            self._over = True
            out.append(Ended())

    def pieces(self, chunk: _Chunk, out: list[Piece], *, streamed: bool) -> None:
        """Append what `chunk` says to `out`."""
        if (chunk.id and self._id is None) or (chunk.model and self._model is None):
            self._start(chunk, out)
        for choice in chunk.choices or ():
            # Perplexity sends both: the delta is the news, the message what was said so far
            message = (choice.delta or choice.message) if streamed else (choice.message or choice.delta)
            index = choice.index or 0
            if message is not None:
                self._message(message, index, out)
            if choice.finish_reason:
                self._open[index] = False
                stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
                out.append(Finished(choice.finish_reason, stop, index))
            elif index not in self._open:
                self._open[index] = True
            if choice.error:
                self._fail(choice.error, out)
        if chunk.usage or chunk.x_groq:
            self._usage(chunk, out)
        if chunk.error:
            self._fail(chunk.error, out)

    def _start(self, chunk: _Chunk, out: list[Piece]) -> None:
        self._id, self._model = self._id or chunk.id or None, self._model or chunk.model or None
        out.append(Started(self._id, self._model))

    def _usage(self, chunk: _Chunk, out: list[Piece]) -> None:
        raw = chunk.usage or as_dict((chunk.x_groq or {}).get("usage"))
        if usage := usage_of(raw):
            out.append(UsageSeen(usage))
        if (usd := stated_cost_usd(raw)) is not None:
            out.append(CostSeen(usd))

    def _fail(self, error: Any, out: list[Piece]) -> None:
        self._over = True
        out.append(Faulted(fault_of_error(error)))

    def _message(self, message: _Message, index: int, out: list[Piece]) -> None:
        if message.thinking_blocks:
            # they repeat `reasoning_content`, with the signature
            out += _thinking_blocks(message.thinking_blocks, index, "".join(self._thought.pop(index, ())))
        elif text := message.reasoning_content or message.reasoning:
            self._thought.setdefault(index, []).append(text)
            out.append(ThinkingDelta(text, None, None, index))
        elif message.reasoning_details:
            texts = [as_dict(d).get("text") or as_dict(d).get("summary") for d in message.reasoning_details]
            out += [ThinkingDelta(text, choice=index) for text in texts if isinstance(text, str)]
        if content := message.content:
            if isinstance(content, str):
                out.append(TextDelta(content, index))
            else:
                out += _contents(content, index)
        if message.refusal:
            out.append(RefusalDelta(message.refusal, index))
        if message.tool_calls or message.function_call:
            self._calls(message, index, out)

    def _calls(self, message: _Message, choice: int, out: list[Piece]) -> None:
        numbers = self._tools.setdefault(choice, _ToolNumbers())
        for call in message.tool_calls or ():
            body = call.function or call.custom or _Function()
            number = numbers.of(call, body)
            signature = signature_of(call.extra_content)
            out.append(ToolDelta(number, call.id or None, body.name or None, _arguments(body), choice, signature))
        if (legacy := message.function_call) is not None:
            out.append(ToolDelta(0, None, legacy.name or None, _arguments(legacy), choice))


class _ToolNumbers:
    """Which tool call a delta belongs to.

    OpenAI numbers them. Mistral does not, and some servers say 0 for every one: a new id with a name is a new call,
    and what has neither belongs to the last.
    """

    __slots__ = ("_ids", "_last", "_of_index")

    def __init__(self) -> None:
        self._of_index: dict[int, int] = {}
        self._ids: list[str | None] = []
        self._last = -1

    def of(self, call: _Tool, body: _Function) -> int:
        """The number of the call that `call` starts or continues."""
        if call.index is None:
            known = self._ids.index(call.id) if call.id and call.id in self._ids else -1
            if known >= 0:
                return known
            if self._ids and not call.id and not body.name:
                return self._last
            return self._new(call.id)
        number = self._of_index.get(call.index)
        if number is None or (call.id and body.name and self._ids[number] and call.id != self._ids[number]):
            number = self._of_index[call.index] = self._new(call.id)
        elif call.id and self._ids[number] is None:
            self._ids[number] = call.id
        return number

    def _new(self, call_id: str | None) -> int:
        self._ids.append(call_id or None)
        self._last = len(self._ids) - 1
        return self._last


def signature_of(extra_content: Any) -> str | None:
    """The signature of a tool call, which Google AI and Vertex put there under their own names."""
    extra = as_dict(extra_content)
    found = (as_str(as_dict(extra.get(name)).get("thought_signature")) for name in ("google", "vertex"))
    return next(filter(None, found), None)


def _arguments(body: _Function) -> str:
    raw = body.arguments if body.arguments is not None else body.input
    return dumps(raw).decode() if isinstance(raw, dict) else raw or ""


def _contents(content: list[Any], choice: int) -> list[Piece]:
    """Content that is a list of parts (Mistral: text and thinking in one)."""
    out: list[Piece] = []
    for part in content:
        if isinstance(part, str):
            out.append(TextDelta(part, choice))
            continue
        fields = as_dict(part)
        if fields.get("type") == "thinking":
            inner = fields.get("thinking")
            texts = [inner] if isinstance(inner, str) else [as_dict(p).get("text") for p in as_list(inner)]
            out += [ThinkingDelta(text, choice=choice) for text in texts if isinstance(text, str)]
        elif fields.get("type") == "refusal" and isinstance(fields.get("refusal"), str):
            out.append(RefusalDelta(fields["refusal"], choice))
        elif isinstance(fields.get("text"), str):
            out.append(TextDelta(fields["text"], choice))
    return out


def _thinking_blocks(blocks: list[Any], choice: int, said: str) -> list[Piece]:
    """What `blocks` say beyond `said`, which came without its signature."""
    out: list[Piece] = []
    for block in map(as_dict, blocks):
        if block.get("type") == "redacted_thinking":
            out.append(ThinkingDelta(redacted=as_str(block.get("data")) or "", choice=choice))
            continue
        text, signature = as_str(block.get("thinking")) or "", as_str(block.get("signature"))
        if signature and said and text.startswith(said):
            text, said = text[len(said) :], ""
        out.append(ThinkingDelta(text, signature, None, choice))
    return out


def _bare_error(event: Event) -> Any:
    """The error that an event is as a whole, without an `error` field (Mistral), or None."""
    try:
        value = loads(event.data)
    except WireError:
        return None
    raw = as_dict(value[0] if isinstance(value, list) and value else value)
    if raw.get("error") is None and (event.name == "error" or raw.get("object") == "error"):
        return raw or value
    return raw.get("error")


def _forgiving(value: Any) -> _Chunk:
    """The same chunk from JSON with unexpected types; what cannot be understood is left out."""
    raw = as_dict(value)
    choices = raw.get("choices")
    return _Chunk(
        id=as_str(raw.get("id")),
        model=as_str(raw.get("model")),
        choices=[_forgiving_choice(as_dict(c)) for c in choices] if isinstance(choices, list) else None,
        usage=as_dict(raw.get("usage")) or None,
        error=raw.get("error"),
        x_groq=as_dict(raw.get("x_groq")) or None,
    )


def _forgiving_choice(raw: dict[str, Any]) -> _Choice:
    return _Choice(
        index=as_int(raw.get("index")),
        delta=_forgiving_message(raw.get("delta")),
        message=_forgiving_message(raw.get("message")),
        finish_reason=as_str(raw.get("finish_reason")),
        error=raw.get("error"),
        stop_reason=as_str(raw.get("stop_reason")),
    )


def _forgiving_message(value: Any) -> _Message | None:
    if not isinstance(value, dict):
        return None
    content = value.get("content")
    return _Message(
        content=content if isinstance(content, str | list) else None,
        reasoning_content=as_str(value.get("reasoning_content")),
        reasoning=as_str(value.get("reasoning")),
        reasoning_details=as_list(value.get("reasoning_details")) or None,
        refusal=as_str(value.get("refusal")),
        tool_calls=[_forgiving_tool(as_dict(t)) for t in as_list(value.get("tool_calls"))],
        function_call=_forgiving_function(value.get("function_call")),
        thinking_blocks=as_list(value.get("thinking_blocks")) or None,
    )


def _forgiving_tool(raw: dict[str, Any]) -> _Tool:
    return _Tool(
        index=as_int(raw.get("index")),
        id=as_str(raw.get("id")),
        function=_forgiving_function(raw.get("function")),
        custom=_forgiving_function(raw.get("custom")),
        extra_content=as_dict(raw.get("extra_content")) or None,
    )


def _forgiving_function(value: Any) -> _Function | None:
    if not isinstance(value, dict):
        return None
    arguments = value.get("arguments")
    return _Function(
        name=as_str(value.get("name")),
        arguments=arguments if isinstance(arguments, str | dict) else None,
        input=as_str(value.get("input")),
    )


def read_reply(status: int, body: bytes) -> Reply:
    """A plain answer; never raises. What is no chat completion becomes a Fault or an incomplete, empty Reply."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    try:
        chunk = _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        try:
            chunk = _forgiving(loads(body))
        except WireError:
            return Reply(complete=False)
    if not chunk.choices and not chunk.error and (fault := fault_of_json(loads(body))):
        return Reply(chunk.id, chunk.model, fault=fault, complete=False)
    return _said_plainly(chunk) or _read_whole(chunk)


def _said_plainly(chunk: _Chunk) -> Reply | None:
    """The Reply of what nearly every answer is: one choice that says a text and nothing else."""
    choices = chunk.choices
    if choices is None or len(choices) != 1 or chunk.error or chunk.x_groq:
        return None
    choice = choices[0]
    message, usage = choice.message, chunk.usage
    if message is None or choice.error or choice.stop_reason or not isinstance(text := message.content, str):
        return None
    if message.tool_calls or message.reasoning_content or message.reasoning or message.reasoning_details:
        return None
    if message.refusal or message.function_call or message.thinking_blocks or not text.isascii():
        return None
    return Reply(
        chunk.id or None,
        chunk.model or None,
        (Choice(choice.index or 0, (Text(text),) if text else (), choice.finish_reason or None),),
        usage_of(usage) if usage else Usage(),
        stated_cost_usd=stated_cost_usd(usage) if usage else None,
    )


def _read_whole(chunk: _Chunk) -> Reply:
    reader, folded = ChatReader(), Accumulator()
    out: list[Piece] = []
    reader.pieces(chunk, out, streamed=False)
    if chunk.choices and not reader._over:
        out.append(Ended())
    folded.add(out)
    return folded.reply()
