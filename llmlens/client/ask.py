"""`ask`, `aask`, `stream`, `astream`: one prompt, an answer with its price. Every call goes through the gateway.

A conversation is a string (one user message) or a list of OpenAI chat messages, which is sent as it is. Without a model
the simulated `sim/small` answers, which needs no key and no network; name one (`provider/model`) to ask a real one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from typing import Any, Final, Literal, overload

from llmlens.client.answer import Answer
from llmlens.client.chat import DEFAULT_MODEL, AnswerStream, AsyncAnswerStream, ChatCall, Prompt, limit_field
from llmlens.client.session import session
from llmlens.records import CacheMode

__all__ = ["DEFAULT_MODEL", "Answer", "AnswerStream", "AsyncAnswerStream", "aask", "ask", "astream", "stream"]

MAX_THREADS: Final = 32
OWN_FIELDS: Final = frozenset({"messages", "n", "stream", "stream_options"})


@overload
def ask(
    prompt: Prompt, model: str | None = None, *, system: str | None = None, temperature: float | None = None,
    max_tokens: int | None = None, n: Literal[1] = 1, cache: CacheMode | None = None,
    tags: Mapping[str, Any] | None = None, tools: Sequence[Mapping[str, Any]] | None = None,
    stream: Literal[False] = False, raises: bool = True, **params: Any,
) -> Answer: ...  # fmt: skip
@overload
def ask(
    prompt: Prompt, model: str | None = None, *, stream: Literal[True], system: str | None = None,
    temperature: float | None = None, max_tokens: int | None = None, cache: CacheMode | None = None,
    tags: Mapping[str, Any] | None = None, tools: Sequence[Mapping[str, Any]] | None = None,
    raises: bool = True, **params: Any,
) -> "AnswerStream": ...  # fmt: skip
@overload
def ask(
    prompt: Prompt, model: str | None = None, *, n: int, system: str | None = None, temperature: float | None = None,
    max_tokens: int | None = None, cache: CacheMode | None = None, tags: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None, stream: Literal[False] = False, raises: bool = True,
    **params: Any,
) -> Answer | list[Answer]: ...  # fmt: skip
def ask(
    prompt: Prompt,
    model: str | None = None,
    *,
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    n: int = 1,
    cache: CacheMode | None = None,
    tags: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    stream: bool = False,
    raises: bool = True,
    **params: Any,
) -> "Answer | list[Answer] | AnswerStream":
    """Ask `model` and wait for its answer.

    n:       this many answers, from as many calls at once; then a list. Each is a sample of its own, so that a
             notebook that runs again gets the same ones, from the cache.
    cache:   "on", "off" (neither take nor keep), "refresh" (ask anew and keep), "only" (never ask the provider);
             without it, what llmlens.toml says, which is "on" unless it says otherwise.
    tags:    a JSON object that is logged with the call.
    tools:   OpenAI tool definitions.
    stream:  give an `AnswerStream` instead, as `stream()` does.
    raises:  False gives an Answer with `.error` for a call that failed, instead of raising.
    params:  further fields of an OpenAI chat request: top_p, seed, stop, response_format …

    Raises:
        CallError: the call failed; it says why and what to do, and carries `.fault` and `.call_id`.
        GatewayError: there is no gateway and none can be started.
    """
    call = _call(prompt, model, system, temperature, max_tokens, cache, tags, tools, params)
    if stream:
        return AnswerStream(call, raises=raises)
    if n == 1:
        return _checked(AnswerStream(call, raises=False).answer, raises)
    group = token_hex(8)
    answers = _together([call.sample(group, k, n) for k in range(_count(n))])
    return [_checked(answer, raises) for answer in answers]


async def aask(
    prompt: Prompt,
    model: str | None = None,
    *,
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    n: int = 1,
    cache: CacheMode | None = None,
    tags: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    raises: bool = True,
    **params: Any,
) -> Answer | list[Answer]:
    """`ask` for async code: same arguments, same errors. Cancelling the task cancels the call at the provider."""
    call = _call(prompt, model, system, temperature, max_tokens, cache, tags, tools, params)
    if n == 1:
        return _checked(await AsyncAnswerStream(call, raises=False).answer(), raises)
    group = token_hex(8)
    streams = [AsyncAnswerStream(call.sample(group, k, n), raises=False) for k in range(_count(n))]
    answers = await asyncio.gather(*(one.answer() for one in streams))
    return [_checked(answer, raises) for answer in answers]


def stream(
    prompt: Prompt,
    model: str | None = None,
    *,
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    cache: CacheMode | None = None,
    tags: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    raises: bool = True,
    sample_of: tuple[str, int, int] | None = None,
    **params: Any,
) -> "AnswerStream":
    """Ask and give the text as it comes: `for text in lens.stream(…)`; then `.answer`. Arguments as for `ask`.

    The call is sent before this returns. A call that failed raises CallError after its last piece of text; with
    `raises=False` the loop just ends, and `.answer.error` says why.

    sample_of: (a name for the group, k, n): this is the k-th (from 0) of n identical calls that are made at once.
    """
    call = _call(prompt, model, system, temperature, max_tokens, cache, tags, tools, params)
    return AnswerStream(call.sample(*sample_of) if sample_of else call, raises=raises)


def astream(
    prompt: Prompt,
    model: str | None = None,
    *,
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    cache: CacheMode | None = None,
    tags: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    raises: bool = True,
    **params: Any,
) -> "AsyncAnswerStream":
    """`stream` for async code: `async for text in lens.astream(…)`, then `await ….answer()`.

    The call is sent when the first piece is asked for; it belongs to the cell that called `astream`.
    """
    call = _call(prompt, model, system, temperature, max_tokens, cache, tags, tools, params)
    return AsyncAnswerStream(call, raises=raises)


def _call(
    prompt: Prompt,
    model: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    cache: CacheMode | None,
    tags: Mapping[str, Any] | None,
    tools: Sequence[Mapping[str, Any]] | None,
    params: Mapping[str, Any],
) -> ChatCall:
    if taken := OWN_FIELDS & params.keys():
        raise TypeError(f"{', '.join(sorted(taken))} cannot be set here; the prompt makes the messages")
    if cache not in (None, "on", "off", "refresh", "only"):
        raise ValueError(f"cache must be on, off, refresh or only, not {cache!r}")
    here, asked = session(), model or DEFAULT_MODEL
    messages: list[Mapping[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    fields = {
        "temperature": temperature,
        limit_field(asked, here.settings): max_tokens,
        "tools": list(tools) if tools is not None else None,
        **params,
    }
    return ChatCall.of(here, asked, messages, fields, cache=cache, tags=tags)


def _count(n: int) -> int:
    if n < 1:
        raise ValueError(f"n must be 1 or more, not {n!r}")
    return n


def _checked(answer: Answer, raises: bool) -> Answer:
    if raises:
        answer.raise_for_error()
    return answer


def _together(calls: Sequence[ChatCall]) -> list[Answer]:
    """The answers of `calls`, which run at once. An interrupt breaks all of them off."""
    streams: list[AnswerStream] = []
    stopped = False

    def answered(call: ChatCall) -> Answer:
        one = AnswerStream(call, raises=False)
        streams.append(one)
        if stopped:
            one.close()
        return one.answer

    pool = ThreadPoolExecutor(min(MAX_THREADS, len(calls)), thread_name_prefix="llmlens-ask")
    try:
        return list(pool.map(answered, calls))
    finally:
        stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
        for one in streams:
            one.close()
