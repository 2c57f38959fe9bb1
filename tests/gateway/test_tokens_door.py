"""Counting tokens at the gateway: `/lens/tokens`, and the counters of Anthropic and Gemini for everybody's models."""

import json

import anthropic
import pytest
from google import genai

from tests.conftest import KEY, lab
from tests.scripted_upstream import Asked, Line

HELLO = [{"role": "user", "content": "hello"}]
PDF = [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}]}]
CLAUDE, GEMINI = "/v1/messages/count_tokens", "/v1beta/models/{}:countTokens"


# ── /lens/tokens ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_counted_with_the_limits_of_its_model(start):
    answer = start().http.post("/lens/tokens", json={"model": "gpt-5.1", "text": "hello"})
    assert answer.status_code == 200
    assert answer.json() == {
        "input_tokens": 1,
        "estimated": False,
        "encoding": "o200k_base",
        "how": "tiktoken o200k_base; text",
        "at_least": 1,
        "context_tokens": 400_000,
        "max_output_tokens": 128_000,
    }


@pytest.mark.parametrize(
    ("body", "n_tokens"),
    [
        ({"messages": HELLO}, 8),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}], "max_tokens": 5}, 8),
        ({"messages": [{"role": "user", "content": [{"text": "hello"}]}], "inferenceConfig": {}}, 8),
        ({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}, 8),
        ({"input": "hello", "text": {"format": {"type": "text"}}}, 8),
        ({"messages": HELLO, "options": {"num_predict": 3}}, 8),
        ({"system": "hello", "messages": HELLO}, 13),
        ({"text": ""}, 0),
        ({"messages": []}, 3),
    ],
)
def test_chat_requests_of_any_dialect_are_counted(start, body, n_tokens):
    answer = start().http.post("/lens/tokens", json={"model": "openai/gpt-4o", **body})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["input_tokens"], answer.json()["max_output_tokens"]) == (n_tokens, 16_384)


def test_unknown_is_null_and_says_why(start):
    found = start().http.post("/lens/tokens", json={"model": "lab/m", "messages": PDF}).json()
    assert (found["input_tokens"], found["at_least"], found["estimated"]) == (None, 7, True)
    assert "unknown: a document" in found["how"]
    assert (found["context_tokens"], found["max_output_tokens"]) == (None, None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"[]", "must be a JSON object, not list"),
        (b'{"text": "x"}', "names no model"),
        (b'{"model": 7, "text": "x"}', "names no model"),
        (b'{"model": "gpt-4o"}', 'either "text"'),
        (b'{"model": "gpt-4o", "text": "x", "messages": []}', 'either "text"'),
        (b'{"model": "gpt-4o", "messages": "x"}', "'messages' must be an array"),
        (b'{"model": "gpt-4o", "messages": [{"content": "x"}]}', "'role' is missing"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(start, body, says):
    answer = start().http.post("/lens/tokens", content=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


def test_it_needs_the_key_and_logs_nothing(start):
    gateway = start()
    body = {"model": "gpt-4o", "text": "x"}
    assert gateway.http.post("/lens/tokens", json=body, headers={"authorization": "Bearer llk-x"}).status_code == 401
    assert gateway.http.post("/lens/tokens", json=body).status_code == 200
    assert gateway.rows() == []


# ── the counters of Anthropic and Gemini ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "body", "answered"),
    [
        (CLAUDE, {"model": "lab/gpt-4o", "messages": HELLO}, {"input_tokens": 8}),
        (CLAUDE, {"model": "sim/small", "system": "hello", "messages": HELLO}, {"input_tokens": 13}),
        (GEMINI.format("lab/gpt-4o"), {"contents": [{"parts": [{"text": "hello"}]}]}, {"totalTokens": 8}),
        (GEMINI.format("gpt-4o"), {"generateContentRequest": {"model": "models/x", "contents": [
            {"parts": [{"text": "hello"}]}]}}, {"totalTokens": 8}),
    ],
)  # fmt: skip
def test_the_gateway_counts_for_who_has_no_counter(start, upstream, path, body, answered):
    async def nobody(asked: Asked, line: Line) -> None:
        line.cut()

    provider = upstream(nobody)
    gateway = start(lab(provider.url))
    answer = gateway.http.post(path, json=body)
    assert (answer.status_code, answer.json()) == (200, answered)
    assert answer.headers["content-type"] == "application/json"
    row = gateway.row()
    assert (row["operation"], row["outcome"], row["attempts"]) == ("count_tokens", "complete", 0)
    assert row["input_tokens"] == next(iter(answered.values()))
    assert row["model_sent"] in ("gpt-4o", "small")
    assert provider.asked == []


def test_an_estimate_is_called_one_also_from_the_cache(start):
    gateway = start()
    answers = [gateway.http.post(CLAUDE, json={"model": "gpt-4o", "messages": HELLO}) for _ in range(2)]
    assert [(a.json(), a.headers["x-llmlens-cache"]) for a in answers] == [
        ({"input_tokens": 8}, "miss"),
        ({"input_tokens": 8}, "hit"),
    ]
    assert [a.headers.get("x-llmlens-estimated") for a in answers] == ["1", "1"]
    assert [row["usage_source"] for row in gateway.rows()] == ["estimated", "estimated"]


def test_a_provider_that_has_a_counter_is_asked(start, upstream):
    async def counts(asked: Asked, line: Line) -> None:
        await line.answer(200, json.dumps({"input_tokens": 99}).encode())

    provider = upstream(counts)
    gateway = start(lab(provider.url, "anthropic", "claudes"))
    answer = gateway.http.post(CLAUDE, json={"model": "claudes/m", "messages": HELLO})
    assert answer.json() == {"input_tokens": 99}
    assert "x-llmlens-estimated" not in answer.headers
    row = gateway.row()
    assert (row["usage_source"], row["attempts"], len(provider.asked)) == ("provider", 1, 1)


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (CLAUDE, {"model": "gpt-4o", "messages": PDF}, "at least 7 are known"),
        (CLAUDE, {"model": "gpt-4o", "messages": "x"}, "'messages' must be an array"),
        (CLAUDE, {"model": "no-such-model", "messages": HELLO}, "no provider serves"),
        (GEMINI.format("gpt-4o"), {"contents": 7}, "'contents'"),
        (GEMINI.format("gpt-4o"), {}, "'contents' is missing"),
    ],
)
def test_what_cannot_be_counted_is_an_error_in_the_callers_dialect(start, path, body, says):
    gateway = start()
    answer = gateway.http.post(path, json=body)
    assert answer.status_code in (400, 404)
    assert says in answer.json()["error"]["message"]
    assert ("status" in answer.json()["error"]) is ("v1beta" in path)
    row = gateway.row()
    assert (row["outcome"], row["input_tokens"], row["usage_source"]) == ("denied", None, None)


def test_the_sdks_count_with_models_of_others(start):
    url = start().url
    claude = anthropic.Anthropic(api_key=KEY, base_url=url)
    assert claude.messages.count_tokens(model="gpt-4o", messages=HELLO).input_tokens == 8
    with pytest.raises(anthropic.BadRequestError, match="cannot be counted"):
        claude.messages.count_tokens(model="gpt-4o", messages=PDF)
    gemini = genai.Client(api_key=KEY, http_options={"base_url": url})
    assert gemini.models.count_tokens(model="gpt-4o", contents="hello").total_tokens == 8
    gemini.close()
    claude.close()
