"""An answer → the bytes of the OpenAI dialect: token by token, cut at stop sequences and at the token limit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from llmlens.catalog import tokens
from llmlens.catalog.simulated import CONTEXT_TOKENS, FINGERPRINT
from llmlens.gateway.sim.answers import Answer, compose
from llmlens.gateway.sim.requests import IMAGE_TOKENS, ChatAsk, RequestError

TOOL_CALL_TOKENS: Final = 7  # about what the frame of a function call takes
END: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Choice:
    """One finished choice. `pieces` joined is the text, or the arguments of the call of `tool`; one piece per token."""

    pieces: tuple[str, ...]
    finish_reason: str
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """A whole answer. `created` is Unix seconds."""

    id: str
    created: int
    model: str
    choices: tuple[Choice, ...]
    input_tokens: int
    output_tokens: int

    @property
    def longest(self) -> int:
        """Tokens of the longest choice: choices are generated side by side."""
        return max(len(choice.pieces) for choice in self.choices)

    @property
    def usage(self) -> dict[str, Any]:
        """OpenAI's usage object; nothing is ever read from a cache, and there is no hidden reasoning."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


def make_chat(ask: ChatAsk, sample: int, created: int) -> Chat:
    """Compose all choices of `ask` and count its tokens. CPU only; loads the encoding at the first call.

    Raises:
        RequestError: the prompt has more than CONTEXT_TOKENS tokens.
    """
    input_tokens = prompt_tokens(ask)
    if input_tokens > CONTEXT_TOKENS:
        message = f"Maximum context length is {CONTEXT_TOKENS} tokens; the messages have {input_tokens}."
        raise RequestError(400, message, param="messages", code="context_length_exceeded")
    choices = tuple(_finish(ask, compose(ask, sample, i)) for i in range(ask.n))
    frames = sum(TOOL_CALL_TOKENS for choice in choices if choice.tool)
    return Chat(
        id=f"sim-{ask.key[:24]}-{0 if ask.temperature == 0 else sample}",
        created=created,
        model=ask.model_asked,
        choices=choices,
        input_tokens=input_tokens,
        output_tokens=sum(len(choice.pieces) for choice in choices) + frames,
    )


def prompt_tokens(ask: ChatAsk) -> int:
    """Tokens of the prompt: texts, 3 per message, 1 per name, 3 for the head of the reply; schemas as JSON text.

    Source: OpenAI cookbook, "How to count tokens with tiktoken", read 2026-11-24.
    """
    total = tokens.MESSAGE_TOKENS
    for turn in ask.turns:
        total += tokens.MESSAGE_TOKENS + tokens.count(turn.role, "sim") + tokens.count(turn.text, "sim")
        total += IMAGE_TOKENS * turn.images
        if turn.name:
            total += 1 + tokens.count(turn.name, "sim")
    return total + sum(tokens.count(text, "sim") for text in ask.extra_texts)


def _finish(ask: ChatAsk, answer: Answer) -> Choice:
    if answer.tool is not None:
        pieces = split_tokens(answer.arguments)
        cut = ask.max_tokens is not None and len(pieces) > ask.max_tokens
        return Choice(pieces[: ask.max_tokens], "length" if cut else "tool_calls", answer.tool)
    starts = [at for stop in ask.stops if (at := answer.text.find(stop)) >= 0]
    pieces = split_tokens(answer.text[: min(starts)] if starts else answer.text)
    if ask.max_tokens is not None and len(pieces) > ask.max_tokens:
        return Choice(pieces[: ask.max_tokens], "length")
    return Choice(pieces, "stop")


def split_tokens(text: str) -> tuple[str, ...]:
    """`text` cut at its tokens (o200k_base). A token that ends inside a character gives "", the next one the rest."""
    if not text:
        return ()
    decode = tokens.encoding().decode_single_token_bytes
    pieces, held = [], b""
    for token in tokens.encode(text):
        held += decode(token)
        try:
            pieces.append(held.decode())
            held = b""
        except UnicodeDecodeError:
            pieces.append("")
    return tuple(pieces)


def plain(chat: Chat) -> bytes:
    """The body of an answer that is not streamed."""
    choices = [
        {"index": i, "message": _message(chat, i, choice), "logprobs": None, "finish_reason": choice.finish_reason}
        for i, choice in enumerate(chat.choices)
    ]
    return msgspec.json.encode({**_head(chat, "chat.completion"), "choices": choices, "usage": chat.usage})


def _message(chat: Chat, index: int, choice: Choice) -> dict[str, Any]:
    text = "".join(choice.pieces)
    if choice.tool is None:
        return {"role": "assistant", "content": text, "refusal": None}
    call = {"id": _call_id(chat, index), "type": "function", "function": {"name": choice.tool, "arguments": text}}
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}


def frames(chat: Chat, *, include_usage: bool) -> Iterator[tuple[int, bytes]]:
    """The events of a streamed answer, each with the number of tokens (of one choice) that had to be made before it."""
    head = _head(chat, "chat.completion.chunk") | ({"usage": None} if include_usage else {})

    def event(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice]})

    for i, choice in enumerate(chat.choices):
        yield 0, event(i, _opening(chat, i, choice))
    for n in range(chat.longest):
        for i, choice in enumerate(chat.choices):
            if n < len(choice.pieces) and choice.pieces[n]:
                yield n + 1, event(i, _delta(choice, choice.pieces[n]))
    for i, choice in enumerate(chat.choices):
        yield chat.longest, event(i, {}, choice.finish_reason)
    if include_usage:
        yield chat.longest, _event({**head, "choices": [], "usage": chat.usage})
    yield chat.longest, END


def _opening(chat: Chat, index: int, choice: Choice) -> dict[str, Any]:
    if choice.tool is None:
        return {"role": "assistant", "content": "", "refusal": None}
    function = {"name": choice.tool, "arguments": ""}
    call = {"index": 0, "id": _call_id(chat, index), "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _delta(choice: Choice, piece: str) -> dict[str, Any]:
    if choice.tool is None:
        return {"content": piece}
    return {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _call_id(chat: Chat, index: int) -> str:
    return f"call_{chat.id}-{index}"


def _head(chat: Chat, kind: str) -> dict[str, Any]:
    return {
        "id": chat.id,
        "object": kind,
        "created": chat.created,
        "model": chat.model,
        "system_fingerprint": FINGERPRINT,
        "service_tier": None,
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
