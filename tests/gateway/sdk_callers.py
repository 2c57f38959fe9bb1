"""The official SDKs as callers of a gateway's unified doors, and what each of them understood of an answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from google import genai
from google.genai import errors, types

from llmlens.wire.finish import MEANINGS
from tests.conftest import KEY

QUESTION: Any = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True)
class Seen:
    """What an SDK made of an answer. `ended` is "stop", "tools", "length", "filter" or None."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    ended: str | None = None
    usage: tuple[int, int] | None = None
    created_s: float | None = None
    ids: tuple[str, ...] = ()


def meaning(word: str | None, calls: object) -> str | None:
    """Why an answer ended, in the four ways that every dialect can tell apart."""
    if word is None:
        return None
    coarse = {"stop_sequence": "stop", "context": "length", "pause": "stop"}
    found = MEANINGS.get(word.lower(), "stop")
    kind = coarse.get(found, found)
    return "tools" if kind == "stop" and calls else kind


def parsed(arguments: str) -> Any:
    """The arguments of a call as an object, which Anthropic and Gemini need: what is none is kept under a name."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = arguments
    return value or {} if isinstance(value, dict | None) else {"arguments": value}


# ── OpenAI chat completions ───────────────────────────────────────────────────────────────────────────────────────


def ask_chat(client: openai.OpenAI, model: str, *, stream: bool, **more: Any) -> Seen:
    asked = {"model": model, "messages": QUESTION, **more}
    if not stream:
        return seen_chat(client.chat.completions.create(**asked))
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
        try:
            for _event in events:
                pass
            return seen_chat(events.get_final_completion())
        except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):  # what this helper makes of it
            return seen_chat(events.current_completion_snapshot)


def seen_chat(done: Any) -> Seen:
    assert done.object == "chat.completion"
    choice = done.choices[0]
    message, calls = choice.message, choice.message.tool_calls or []
    assert message.role == "assistant"
    return Seen(
        (message.content or "") + (message.refusal or ""),
        (message.model_extra or {}).get("reasoning_content") or "",
        [(c.function.name, parsed(c.function.arguments)) for c in calls],
        meaning(choice.finish_reason, calls),
        None if done.usage is None else (done.usage.prompt_tokens, done.usage.completion_tokens),
        done.created,
        tuple(c.id for c in calls),
    )


# ── OpenAI Responses ──────────────────────────────────────────────────────────────────────────────────────────────


def ask_responses(client: openai.OpenAI, model: str, *, stream: bool, **more: Any) -> Seen:
    asked = {"model": model, "input": "hi", **more}
    if not stream:
        return seen_responses(client.responses.create(**asked))
    with client.responses.stream(**asked) as events:
        done = [event.response for event in events if event.type in ("response.completed", "response.incomplete")]
    return seen_responses(done[0])


def seen_responses(done: Any) -> Seen:
    assert done.object == "response"
    calls = [item for item in done.output if item.type == "function_call"]
    said = [part for item in done.output if item.type == "message" for part in item.content]
    thoughts = [item for item in done.output if item.type == "reasoning"]
    why = done.incomplete_details.reason if done.status == "incomplete" else done.status
    return Seen(
        "".join(part.text if part.type == "output_text" else part.refusal for part in said),
        "".join(part.text for item in thoughts for part in item.summary),
        [(c.name, parsed(c.arguments)) for c in calls],
        meaning(why, calls),
        None if done.usage is None else (done.usage.input_tokens, done.usage.output_tokens),
        done.created_at,
        tuple(c.call_id for c in calls),
    )


# ── Anthropic Messages ────────────────────────────────────────────────────────────────────────────────────────────


def ask_messages(client: anthropic.Anthropic, model: str, *, stream: bool, **more: Any) -> Seen:
    asked = {"model": model, "messages": QUESTION, "max_tokens": 500, **more}
    if not stream:
        return seen_messages(client.messages.create(**asked))
    with client.messages.stream(**asked) as events:
        for _event in events:
            pass
        return seen_messages(events.get_final_message())


def seen_messages(done: Any) -> Seen:
    assert (done.type, done.role) == ("message", "assistant")
    calls = [block for block in done.content if block.type == "tool_use"]
    usage = done.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return Seen(
        "".join(block.text for block in done.content if block.type == "text"),
        "".join(block.thinking for block in done.content if block.type == "thinking"),
        [(block.name, block.input) for block in calls],
        meaning(done.stop_reason, calls),
        (usage.input_tokens + cached, usage.output_tokens),
        None,
        tuple(block.id for block in calls),
    )


# ── Gemini ────────────────────────────────────────────────────────────────────────────────────────────────────────


def ask_gemini(client: genai.Client, model: str, *, stream: bool, **more: Any) -> Seen:
    asked = {"model": model, "contents": "hi", **more}
    if not stream:
        return seen_gemini([client.models.generate_content(**asked)])
    return seen_gemini(list(client.models.generate_content_stream(**asked)))


def seen_gemini(chunks: list[Any]) -> Seen:
    told = [c for chunk in chunks for c in chunk.candidates or [] if not c.index]
    parts = [part for c in told if c.content is not None for part in c.content.parts or []]
    calls = [part.function_call for part in parts if part.function_call]
    words = [c.finish_reason.value for c in told if c.finish_reason]
    blocked = [c.prompt_feedback.block_reason.value for c in chunks if c.prompt_feedback]
    usage = chunks[-1].usage_metadata
    return Seen(
        "".join(part.text or "" for part in parts if not part.thought),
        "".join(part.text or "" for part in parts if part.thought),
        [(call.name, call.args) for call in calls],
        meaning(words[-1] if words else "safety" if blocked else None, calls),
        None if usage is None else (usage.prompt_token_count or 0,
                                    (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)),
        None,
        tuple(call.id for call in calls),
    )  # fmt: skip


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────────────────

ERRORS = (openai.APIError, anthropic.APIError, errors.APIError)
UNCACHED = {"x-llmlens-cache": "off"}
ASK: dict[str, Callable[..., Seen]] = {
    "openai.chat": ask_chat,
    "openai.responses": ask_responses,
    "anthropic.messages": ask_messages,
    "gemini.generate": ask_gemini,
}


def clients(url: str, headers: dict[str, str] = UNCACHED) -> dict[str, Any]:
    """Dialect → a client of its SDK, for the gateway at `url`."""
    of_openai = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0, default_headers=headers)
    once = types.HttpRetryOptions(attempts=1)
    return {
        "openai.chat": of_openai,
        "openai.responses": of_openai,
        "anthropic.messages": anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0, default_headers=headers),
        "gemini.generate": genai.Client(
            api_key=KEY, http_options=types.HttpOptions(base_url=url, retry_options=once, headers=headers)
        ),
    }
