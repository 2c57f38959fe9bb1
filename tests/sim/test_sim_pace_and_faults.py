"""How the simulated models keep time, and how the faulty ones fail. A clock of our own; nothing sleeps."""

import json

import pytest

from llmlens.catalog.simulated import SIM_MODELS


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def paced(make_sim, clock):
    return lambda speed: make_sim(speed=speed, sleep=clock.sleep, monotonic=clock.monotonic)


@pytest.mark.parametrize("model", ["large", "medium", "small", "slow", "echo"])
@pytest.mark.parametrize("speed", [1, 0.1])
async def test_streams_and_plain_answers_take_the_models_time(paced, clock, model, speed):
    """First token after first_token_s, then tokens_per_s; both kinds of answer end at the same moment."""
    sim, row = paced(speed), SIM_MODELS[model]
    prompt = {"model": model, "messages": [{"role": "user", "content": "Tell me what you know of trams and harbours"}]}
    reply = await sim.send("/chat/completions", {**prompt, "stream": True})
    assert clock.now == 0
    moments = [clock.now async for chunk in reply.chunks if b'"content":"' in chunk and b'"content":""' not in chunk]
    ended = clock.now
    assert moments[0] == pytest.approx(speed * row.first_token_s, abs=0.002)
    n_pieces = len(moments)
    assert moments[-1] == pytest.approx(speed * (row.first_token_s + (n_pieces - 1) / row.tokens_per_s), abs=0.01)
    clock.now = 0.0
    plain = await sim.send("/chat/completions", prompt)
    assert clock.now == pytest.approx(ended, abs=0.002)
    assert plain.status == 200


async def test_speed_0_does_not_wait(paced, clock):
    await paced(0).text("Hi", "slow")
    assert clock.now == 0


async def test_a_stream_can_be_left(sim):
    body = {"model": "large", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    reply = await sim.send("/chat/completions", body)
    await anext(reply.chunks)
    await reply.aclose()
    assert [chunk async for chunk in reply.chunks] == []
    await reply.aclose()


async def test_down_is_down(sim):
    for _ in range(3):
        status, body = await sim.chat("Hi", "down")
        assert (status, body["error"]["type"]) == (503, "server_error")


async def test_flaky_fails_a_third_of_the_time_and_never_twice_in_a_row(sim):
    first = [(await sim.chat(f"Prompt {i}", "flaky"))[0] for i in range(300)]
    again = [(await sim.chat(f"Prompt {i}", "flaky"))[0] for i in range(300)]
    assert set(first) == {200, 503}
    assert 75 <= first.count(503) <= 125
    assert all(second == 200 for status, second in zip(first, again, strict=True) if status == 503)


async def test_flaky_fails_the_same_way_everywhere(sim, make_sim):
    other = make_sim()
    assert [(await sim.chat(f"P{i}", "flaky"))[0] for i in range(40)] == [
        (await other.chat(f"P{i}", "flaky"))[0] for i in range(40)
    ]


async def test_flaky_tells_samples_apart(sim):
    assert len({(await sim.chat("The same prompt", "flaky", sample=i))[0] for i in range(30)}) == 2


async def test_the_memory_of_flaky_is_bounded(make_sim):
    sim = make_sim(max_remembered=10)
    for i in range(50):
        await sim.chat(f"Prompt {i}", "flaky")
    assert len(sim.upstream._flaky) <= 10


async def test_limited_refuses_every_second_request(sim):
    seen = []
    for _ in range(6):
        reply = await sim.send(
            "/chat/completions", {"model": "limited", "messages": [{"role": "user", "content": "x"}]}
        )
        seen.append((reply.status, reply.headers.get("retry-after")))
        body = json.loads(await reply.body())
    assert seen == [(200, None), (429, "1")] * 3
    assert body["error"]["code"] == "rate_limit_exceeded"
