import asyncio
import json
import os
import signal
import socket
import threading
from contextlib import contextmanager
from decimal import Decimal

import pytest

from llmlens.client import cell
from llmlens.client.ask import aask, ask, astream, stream
from llmlens.errors import CallError, GatewayError
from llmlens.records import Provenance, Usage
from tests.client.conftest import PROVIDER_KEYS, session_to
from tests.client.fake_gateway import KEY, RECEIPT, chat_chunk, fake_gateway, receipt_line


def test_an_answer_says_what_it_took(session, fake):
    answer = ask("hello", "sim/small")
    assert str(answer) == answer.text == "hi there"
    assert (answer.model, answer.provider, answer.model_served, answer.simulated) == ("sim/small", "sim", "small", True)
    assert answer.usage == Usage(3, 2)
    assert (answer.cost_usd, answer.saved_usd) == (Decimal("0.00001"), None)
    assert (answer.latency_s, answer.first_token_s, answer.cache) == (0.25, 0.125, "miss")
    assert (answer.call_id, answer.error, answer.finish_reason, answer.outcome) == ("c-1", None, "stop", "complete")
    assert answer.reply.complete
    assert answer.tool_calls == ()
    assert repr(answer) == "<Answer sim/small: 'hi there'>"


def test_what_is_sent(session, fake):
    ask("hello", "lab/x", system="be brief", temperature=0.5, max_tokens=7, cache="refresh", tags={"größe": 1}, top_p=1)
    sent = fake.calls[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.json == {
        "model": "lab/x",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 7,
        "top_p": 1,
    }
    ours = {name: value for name, value in sent.headers.items() if name.startswith("x-llmlens-")}
    assert json.loads(ours.pop("x-llmlens-tags")) == {"größe": 1}
    assert ours == {"x-llmlens-key": KEY, "x-llmlens-receipt": "1", "x-llmlens-cache": "refresh"}
    assert "authorization" not in sent.headers


def test_messages_pass_as_they_are(session, fake):
    messages = [{"role": "user", "content": [{"type": "text", "text": "{x} {{y}}"}], "odd": None}]
    ask(messages, "sim/small")
    assert fake.calls[0].json["messages"] == messages


def test_a_key_goes_to_its_own_provider_only(session, fake):
    for model in ("openai/gpt-5", "gpt-5", "claude-opus-4-1", "sim/small", "nobody/x"):
        ask("hello", model, max_tokens=1)
    openai = f"Bearer {PROVIDER_KEYS['OPENAI_API_KEY']}"
    anthropic = f"Bearer {PROVIDER_KEYS['ANTHROPIC_API_KEY']}"
    assert [s.headers.get("authorization") for s in fake.calls] == [openai, openai, anthropic, None, None]
    assert ["max_completion_tokens" in s.json for s in fake.calls] == [True, True, False, False, False]


def test_without_a_model_the_simulated_one_answers(session, fake):
    assert ask("hello").model == "sim/small"


def test_what_cannot_be_asked_is_refused_at_once(session, fake):
    with pytest.raises(TypeError, match="messages"):
        ask("hello", messages=[])
    with pytest.raises(ValueError, match="cache must be"):
        ask("hello", cache="yes")
    with pytest.raises(ValueError, match="n must be"):
        ask("hello", n=0)
    assert fake.calls == []


def test_several_answers_are_several_samples(session, fake):
    assert [str(a) for a in ask("hello", n=3)] == ["hi there"] * 3
    assert sorted(s.headers["x-llmlens-sample"] for s in fake.calls) == ["0", "1", "2"]
    assert asyncio.run(aask("hello", n=2))[1].text == "hi there"


def test_in_a_cell_the_gateway_counts_the_samples(session, fake):
    token = cell.entered(Provenance(cell_id="c", execution_count=3))
    late = stream("hello")
    ask("hello", n=2)
    cell.left(token)
    assert late.answer.text == "hi there"  # read in no cell; it belongs to the one that asked
    assert [s.headers["x-llmlens-cell"] for s in fake.calls] == ["c; n=3"] * 3
    assert all("x-llmlens-sample" not in s.headers for s in fake.calls)


def test_a_stream_gives_pieces_then_the_answer(session, fake):
    pieces = stream("hello")
    assert list(pieces) == ["hi", " there"]
    assert pieces.answer.text == "hi there"
    assert list(ask("hello", stream=True)) == ["hi", " there"]


async def test_async_stream(session, fake):
    pieces = astream("hello")
    assert [piece async for piece in pieces] == ["hi", " there"]
    assert (await pieces.answer()).cost_usd == Decimal("0.00001")
    assert (await aask("hello")).text == "hi there"


@contextmanager
def answering(answer, settings):
    with fake_gateway(answer) as fake, session_to(fake, settings):
        yield fake


def denied(handler, seen):
    error = {"message": "too many calls.", "type": "rate_limit", "code": "rate_limited"}
    handler.reply(429, {"error": error}, {"x-llmlens-call-id": "c-9", "x-llmlens-provider": "lab"})


def test_a_failed_call_raises_in_plain_words(settings):
    with answering(denied, settings):
        with pytest.raises(
            CallError, match=r"^lab/x did not answer \[429\]: too many calls\. What to do: wait"
        ) as told:
            ask("hello", "lab/x")
        assert told.value.call_id == "c-9"
        assert told.value.fault.code == "rate_limited"
        with pytest.raises(CallError):
            list(stream("hello", "lab/x"))
        with pytest.raises(CallError):
            asyncio.run(aask("hello", "lab/x", n=2))
        answer = ask("hello", "lab/x", raises=False)
        assert (answer.text, answer.outcome, answer.error and answer.error.status) == ("", "error", 429)
        assert list(stream("hello", "lab/x", raises=False)) == []
        assert "too many" in repr(answer)


def plain(handler, seen):
    message = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
    body = {"id": "r", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    handler.reply(200, body, {"x-llmlens-receipt": json.dumps({**RECEIPT, "cost_usd": None, "saved_usd": "0.5"})})


def test_a_provider_that_does_not_stream_is_read_too(settings):
    with answering(plain, settings):
        answer = ask("hello")
    assert [call.name for call in answer.tool_calls] == ["f"]
    assert (answer.text, answer.cost_usd, answer.saved_usd) == ("", None, Decimal("0.5"))


def spoofed(handler, seen):
    """The text talks of receipts, the provider sends a false one, and chunks break in the middle of the true one."""
    handler.begin_stream()
    data = chat_chunk("\n: llmlens-receipt {}") + receipt_line(call_id="false") + chat_chunk(finish="stop")
    data += b"data: [DONE]\n\n" + receipt_line(call_id="true")
    for at in range(0, len(data), 7):
        handler.chunk(data[at : at + 7])
    handler.chunk(b"")


def test_the_last_receipt_counts_however_it_is_cut(settings):
    with answering(spoofed, settings):
        assert ask("hello").call_id == "true"


def cut(handler, seen):
    handler.begin_stream()
    handler.chunk(chat_chunk("half an"))
    handler.close_connection = True


def test_a_cut_stream_is_not_an_answer(settings):
    with answering(cut, settings):
        with pytest.raises(CallError, match="broke off"):
            ask("hello")
        answer = ask("hello", raises=False)
        assert (answer.text, answer.outcome) == ("half an", "incomplete")
        assert asyncio.run(aask("hello", raises=False)).outcome == "incomplete"


def endless(handler, seen):
    handler.begin_stream()
    handler.chunk(chat_chunk("first"))
    handler.until_gone()


def silent(handler, seen):
    handler.until_gone()


def test_an_interrupt_closes_the_connection_at_once(settings):
    with answering(endless, settings) as fake:
        pieces = stream("hello")
        assert next(pieces) == "first"
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)

        def interrupted() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0.05)  # rings while `next` waits
            next(pieces)

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        signal.signal(signal.SIGALRM, before)
        assert fake.gone.get(timeout=10) == "/v1/chat/completions"
        assert (pieces.answer.text, pieces.answer.outcome, pieces.answer.error) == ("first", "cancelled", None)


def test_an_interrupt_ends_all_of_several_calls(settings):
    asked = threading.Semaphore(0)

    def counted(handler, seen):
        asked.release()
        handler.until_gone()

    def interrupt():
        for _ in range(3):
            asked.acquire(timeout=10)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the workers of pytest-xdist ignore it
    with answering(counted, settings) as fake:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            ask("hello", n=3)
        signal.signal(signal.SIGINT, before)
        for _ in range(3):
            fake.gone.get(timeout=10)


@pytest.mark.parametrize(("behaviour", "text"), [(endless, "first"), (silent, "")])
def test_another_thread_can_close_a_stream_that_waits(settings, behaviour, text):
    with answering(behaviour, settings) as fake:
        pieces = stream("hello")
        reading = threading.Thread(target=lambda: list(pieces))
        reading.start()
        while not fake.calls:
            reading.join(0.01)
        pieces.close()
        reading.join(10)
        assert not reading.is_alive()
        fake.gone.get(timeout=10)
        assert pieces.answer.text in (text, "")
        assert pieces.answer.outcome == "cancelled"


def test_leaving_a_stream_closes_it(settings):
    with answering(endless, settings) as fake:
        with stream("hello") as pieces:
            next(pieces)
        fake.gone.get(timeout=10)
        for _ in stream("hello"):  # dropped: nobody holds it any more
            break
        fake.gone.get(timeout=10)


async def test_cancelling_a_task_closes_the_connection(settings):
    with answering(endless, settings) as fake:
        pieces = astream("hello")
        assert await anext(pieces) == "first"
        task = asyncio.create_task(anext(pieces))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(fake.gone.get, timeout=10)
        assert (await pieces.answer()).outcome == "cancelled"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_call_finds_the_gateway_again(settings):
    port = free_port()
    with fake_gateway(port=port) as first, session_to(first, settings) as session:
        before = session.gateway
        assert ask("hello").text == "hi there"
        first.server.shutdown()
        first.server.server_close()
        with pytest.raises(GatewayError, match="LLMLENS_URL"):
            ask("hello")
        with fake_gateway(port=port):
            assert ask("hello").text == "hi there"
            assert asyncio.run(aask("hello")).text == "hi there"
        assert session.gateway is not before
