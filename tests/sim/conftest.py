"""What the tests of the simulated provider share: a provider that does not wait, and plain ways to ask it."""

import json

import pytest

from llmlens.gateway.sim import SimReply, SimUpstream


class Sim:
    """Asks a `SimUpstream` in JSON."""

    def __init__(self, **options):
        self.upstream = SimUpstream(**{"speed": 0, "wall": lambda: 1_700_000_000.0, **options})

    async def send(self, path, body=None, sample=0) -> SimReply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        return await self.upstream.send(path=path, body=content, sample=sample)

    async def chat(self, prompt, model="large", sample=0, **options):
        """(status, parsed body) of a chat request; `prompt` is a string or a list of messages."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        reply = await self.send("/chat/completions", {"model": model, "messages": messages, **options}, sample)
        return reply.status, json.loads(await reply.body())

    async def text(self, prompt, model="large", sample=0, **options):
        """The text of the first choice."""
        status, body = await self.chat(prompt, model, sample, **options)
        assert status == 200, body
        return body["choices"][0]["message"]["content"]

    async def stream(self, prompt, model="large", sample=0, **options):
        """(events parsed, raw bytes) of a streamed answer."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True, **options}
        reply = await self.send("/chat/completions", body, sample)
        assert reply.headers["content-type"].startswith("text/event-stream")
        raw = await reply.body()
        return events_of(raw), raw


def events_of(raw):
    """Server-sent events, read by hand: one `data:` line each, the last one [DONE]."""
    frames = raw.decode().split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames[:-1])
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]


@pytest.fixture
def sim():
    return Sim()


@pytest.fixture
def make_sim():
    return Sim
