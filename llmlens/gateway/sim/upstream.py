"""The simulated provider behind the gateway's upstream port: a request goes in, status, headers and bytes come out.

It speaks /chat/completions, /embeddings and /models of the OpenAI dialect. The same request (its stream flags aside)
and sample give the same answer, always; only `created` follows the clock. Every answer says that it is simulated:
header `x-llmlens-simulated: 1`, ids that begin with "sim-", system_fingerprint "simulated".
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from llmlens.catalog import tokens
from llmlens.catalog.draws import Draws
from llmlens.catalog.simulated import SIM_MODELS, SimModel
from llmlens.gateway.sim import embedding, render
from llmlens.gateway.sim.requests import ChatAsk, EmbedAsk, RequestError, read_chat, read_embed

INLINE_BYTES: Final = 16_384  # a larger body is tokenized in a thread, so that it does not hold up the event loop
FLAKY_SHARE: Final = 1 / 3
SIMULATED: Final = {"x-llmlens-simulated": "1"}
CREATED: Final = 1_767_225_600  # of the models: 2026-01-01


@dataclass(frozen=True, slots=True)
class SimReply:
    """An answer on its way. `chunks` is read once; `aclose` ends it early, and is harmless at any time."""

    status: int
    headers: dict[str, str]
    chunks: AsyncIterator[bytes]

    async def aclose(self) -> None:
        """Stop generating."""
        if isinstance(self.chunks, AsyncGenerator):
            await self.chunks.aclose()

    async def body(self) -> bytes:
        """All that is left of the answer."""
        return b"".join([chunk async for chunk in self.chunks])


@dataclass(slots=True)
class SimUpstream:
    """One simulated provider. All waiting times are multiplied by `speed`: 1 is real time, 0 does not wait.

    `sim/flaky` and `sim/limited` remember what they were asked, per instance; nothing else has a memory.
    """

    speed: float = 1.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    max_remembered: int = 4_096  # requests to sim/flaky whose attempts are counted
    _flaky: OrderedDict[str, tuple[int, bool]] = field(default_factory=OrderedDict, init=False)
    _limited: int = field(default=0, init=False)

    async def send(self, *, path: str, body: bytes = b"", sample: int = 0) -> SimReply:
        """Answer one request. `path` may begin with /v1; `sample` tells apart draws of one request.

        A plain answer is returned when it is complete; a stream at once, and `chunks` then takes its time.
        """
        started = self.monotonic()
        route = "/" + path.partition("?")[0].strip("/").removeprefix("v1/")
        try:
            if route == "/chat/completions":
                return await self._chat(read_chat(body), len(body), sample, started)
            if route == "/embeddings":
                return await self._embeddings(read_embed(body), len(body), started)
            return _models(route)
        except RequestError as refusal:
            return _error(refusal)

    async def _chat(self, ask: ChatAsk, n_bytes: int, sample: int, started: float) -> SimReply:
        self._misbehave(ask, sample)
        chat = await _off_loop(n_bytes, lambda: render.make_chat(ask, sample, int(self.wall())))
        headers = {**SIMULATED, "x-request-id": f"req_{chat.id}"}
        if ask.stream:
            headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
            return SimReply(200, headers, self._stream(ask, chat, started))
        await self._until(started, ask.model, chat.longest)
        return SimReply(200, {**headers, "content-type": "application/json"}, _once(render.plain(chat)))

    async def _stream(self, ask: ChatAsk, chat: render.Chat, started: float) -> AsyncGenerator[bytes, None]:
        for n_tokens, event in render.frames(chat, include_usage=ask.include_usage):
            await self._until(started, ask.model, n_tokens)
            yield event

    async def _until(self, started: float, model: SimModel, n_tokens: int) -> None:
        """Wait for the moment at which `model` has made `n_tokens`: a moment, not a pause, so delays do not add up."""
        due = started + self.speed * (model.first_token_s + max(0, n_tokens - 1) / model.tokens_per_s)
        left = due - self.monotonic()
        if self.speed > 0 and left > 0.001:
            await self.sleep(left)

    async def _embeddings(self, ask: EmbedAsk, n_bytes: int, started: float) -> SimReply:
        answer = await _off_loop(n_bytes, lambda: _embedded(ask))
        await self._until(started, ask.model, 1)
        headers = {**SIMULATED, "content-type": "application/json", "x-request-id": f"req_sim-{ask.key[:24]}"}
        return SimReply(200, headers, _once(msgspec.json.encode(answer)))

    def _misbehave(self, ask: ChatAsk, sample: int) -> None:
        """Raise what the model is there to raise."""
        behaviour = ask.model.behaviour
        if behaviour == "down" or (behaviour == "flaky" and self._fails(f"{ask.key}/{sample}")):
            message = f"The simulated model {ask.model.name!r} is unavailable, as it is meant to be."
            raise RequestError(503, message, code="service_unavailable", kind="server_error")
        if behaviour == "limited":
            self._limited += 1
            if self._limited % 2 == 0:
                message = "Rate limit reached for the simulated model 'limited': every second request is refused."
                raise RequestError(429, message, code="rate_limit_exceeded", kind="requests")

    def _fails(self, key: str) -> bool:
        """A third of the attempts at a request fail, drawn by request and attempt; never two of them in a row."""
        attempt, failed = self._flaky.pop(key, (0, False))
        fails = not failed and Draws(f"flaky/{key}/{attempt}").fraction() < FLAKY_SHARE
        self._flaky[key] = attempt + 1, fails
        if len(self._flaky) > self.max_remembered:
            self._flaky.popitem(last=False)
        return fails


async def _off_loop(n_bytes: int, work: Callable[[], Any]) -> Any:
    if n_bytes <= INLINE_BYTES and tokens.is_loaded():
        return work()
    return await asyncio.to_thread(work)


def _embedded(ask: EmbedAsk) -> dict[str, Any]:
    decode = tokens.encoding().decode
    rows, n_tokens = [], 0
    for i, given in enumerate(ask.inputs):
        text = given if isinstance(given, str) else decode(list(given))
        n_tokens += tokens.count(given, "sim") if isinstance(given, str) else len(given)
        vector = embedding.embed(text, ask.dimensions or embedding.DIMENSIONS)
        value = embedding.to_base64(vector) if ask.base64 else vector
        rows.append({"object": "embedding", "index": i, "embedding": value})
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "data": rows, "model": ask.model_asked, "usage": usage}


def _models(route: str) -> SimReply:
    names = [route.removeprefix("/models/")] if route.startswith("/models/") else list(SIM_MODELS)
    if route != "/models" and (not route.startswith("/models/") or names[0] not in SIM_MODELS):
        raise RequestError(404, f"Invalid URL: the simulated provider has no {route!r}.", code="unknown_url")
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "llmlens-simulated"} for name in names]
    answer = {"object": "list", "data": rows} if route == "/models" else rows[0]
    return SimReply(200, {**SIMULATED, "content-type": "application/json"}, _once(msgspec.json.encode(answer)))


def _error(refusal: RequestError) -> SimReply:
    headers = {**SIMULATED, "content-type": "application/json"}
    if refusal.status == 429:
        headers["retry-after"] = "1"
    return SimReply(refusal.status, headers, _once(msgspec.json.encode({"error": refusal.error})))


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content
