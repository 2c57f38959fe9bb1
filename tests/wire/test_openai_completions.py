"""Text completions: several prompts and choices, plain and streamed, and the SDK's own reading of errors."""

from itertools import pairwise
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.records import Choice, Fault, Reply, Text, Usage
from llmlens.wire.accumulate import read_stream
from llmlens.wire.dialects import OPENAI_COMPLETIONS, dialect_for
from llmlens.wire.json_text import dumps
from tests.wire.test_fuzz import EVENTS, OBJECTS, assert_same, event
from tests.wire.test_sdks import openai_client

Body = dict[str, Any]
DONE = b"data: [DONE]\n\n"
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def completion(*choices: Body, **fields: Any) -> Body:
    return {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [*choices], **fields}


def choice(text: str, index: int = 0, finish: str | None = None) -> Body:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def chunk(*choices: Body, **fields: Any) -> bytes:
    return event(None, completion(*choices, **fields))


def read(*chunks: bytes) -> Reply:
    return read_stream(OPENAI_COMPLETIONS, chunks)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_stream_and_the_plain_answer_are_one(answers: list[list[str]]) -> None:
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    plain = completion(*(choice("".join(words), n, "stop") for n, words in enumerate(answers)), **usage)
    chunks = [chunk(choice(word, n)) for n, words in enumerate(answers) for word in words]
    chunks += [chunk(choice("", n, "stop")) for n in range(len(answers))]
    whole = OPENAI_COMPLETIONS.read_reply(200, dumps(plain))
    assert read(*chunks, chunk(**usage), DONE) == whole
    assert [choice.finish_reason for choice in whole.choices] == ["stop"] * len(answers)
    assert whole.usage == Usage(3, 2)


CHUNKS = st.builds(lambda body: event(None, completion(body)), OBJECTS)


@given(st.lists(EVENTS | CHUNKS | st.just(DONE), max_size=6).map(b"".join), st.lists(st.integers(0, 2000), max_size=9))
def test_any_bytes_in_any_split(body: bytes, cuts: list[int]) -> None:
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    assert_same(read(*(body[a:b] for a, b in pairwise(places))), read(body))


def test_choices_and_their_ends() -> None:
    reply = read(
        chunk(choice("a", 1)), chunk(choice("b")), chunk(choice("c", 1, "length"), choice("", 0, "stop")), DONE
    )
    assert reply.choices == (Choice(0, (Text("b"),), "stop"), Choice(1, (Text("ac"),), "length"))
    assert (reply.response_id, reply.model, reply.complete) == ("cmpl-1", "m", True)


def test_a_stream_without_done_is_whole_when_every_choice_ended() -> None:
    assert read(chunk(choice("a", 0, "stop"))).complete
    assert not read(chunk(choice("a", 0, "stop"), choice("b", 1))).complete
    assert not read(chunk(choice("a"))).complete
    assert read(chunk(choice("a")), b"data: [DONE]").complete


def test_togethers_delta_beside_text_does_not_double_it() -> None:
    both = {**choice("hi"), "delta": {"role": "assistant", "content": "hi"}}
    reply = read(chunk(both, usage=None), chunk(choice("", 0, "eos"), usage={"prompt_tokens": 8, "cost": 0.5}), DONE)
    assert (reply.text, reply.finish_reason, reply.usage) == ("hi", "eos", Usage(8))
    assert str(reply.stated_cost_usd) == "0.5"


def test_the_stop_sequence_that_hit() -> None:
    body = completion({**choice("x", 0, "stop"), "stop_reason": "\n"})
    assert OPENAI_COMPLETIONS.read_reply(200, dumps(body)).choices[0].stop_sequence == "\n"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'data: {"error":{"message":"m","type":"t","code":500}}\n\n', Fault("m", "t", "500", None, 500)),
        (b'event: error\ndata: {"message":"m"}\n\n', Fault("m")),
        (b'data: {"error":"m"}\n\n', Fault("m")),
    ],
)
def test_errors_in_a_stream(body: bytes, fault: Fault) -> None:
    reply = read(chunk(choice("Hel")), body, DONE)
    assert (reply.text, reply.fault, reply.complete) == ("Hel", fault, False)


def test_errors_in_a_plain_answer() -> None:
    error = b'{"error":{"message":"m","type":"t"}}'
    assert OPENAI_COMPLETIONS.read_reply(200, error) == Reply(fault=Fault("m", "t"), complete=False)
    assert OPENAI_COMPLETIONS.read_reply(401, error).fault == Fault("m", "t", status=401)
    assert read(error).fault == Fault("m", "t")
    assert OPENAI_COMPLETIONS.read_reply(200, b"<html>") == Reply(complete=False)


def test_the_sdk_raises_our_errors() -> None:
    fault = Fault("too much", code="budget_exceeded", status=429)
    with pytest.raises(openai.RateLimitError, match="too much"):
        openai_client(429, OPENAI_COMPLETIONS.fault_body(fault)).completions.create(model="m", prompt="x")
    assert OPENAI_COMPLETIONS.fault_event is not None
    body = chunk(choice("Hel")) + OPENAI_COMPLETIONS.fault_event(fault)
    with pytest.raises(openai.APIError, match="too much"):
        list(openai_client(200, body, "text/event-stream").completions.create(model="m", prompt="x", stream=True))


@pytest.mark.parametrize(
    ("prompt", "texts", "several"),
    [
        ("a", ["a"], 1),
        (["a", "b"], ["a", "b"], 2),
        ([1, 2, 3], [], 1),  # one prompt of three tokens
        ([[1, 2], [3]], [], 2),
        ([], [], 1),
        (None, [], 1),
    ],
)
def test_prompts(prompt: Any, texts: list[str], several: int) -> None:
    assert OPENAI_COMPLETIONS.prompt_texts({"prompt": prompt}) == texts
    assert OPENAI_COMPLETIONS.prompt_texts({"prompt": prompt, "suffix": "z"}) == [*texts, "z"]
    asked = OPENAI_COMPLETIONS.read_request({"model": "m", "prompt": prompt, "n": 2, "stream": True, "max_tokens": 9})
    assert (asked.model, asked.stream, asked.max_output_tokens, asked.n) == ("m", True, 9, 2 * several)
    assert OPENAI_COMPLETIONS.read_request({"prompt": prompt, "n": 2, "best_of": 5}).n == 5 * several


def test_wrong_requests_say_what_is_wrong() -> None:
    for body in ({"model": 1}, {"best_of": "many"}, {"stream": "yes"}):
        with pytest.raises(WireError, match="must be"):
            OPENAI_COMPLETIONS.read_request(body)


def test_paths() -> None:
    paths = ("/v1/completions", "/v1/chat/completions", "/openai/deployments/x/completions")
    found = [dialect_for("openai", path).name for path in paths]
    assert found == ["openai.completions", "openai.chat", "openai.completions"]
