"""The path of a call, through the real HTTP door, against a provider that does what the test says."""

import gzip
import json
from typing import Any

import httpx2
import pytest

from tests.conftest import KEY, lab
from tests.scripted_upstream import Asked, Line

CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-2026",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
EVENTS = [
    {"id": "c1", "object": "chat.completion.chunk", "model": "m-2026", "choices": [{"index": 0, "delta": d}]}
    for d in ({"role": "assistant", "content": ""}, {"content": "h"}, {"content": "i"})
] + [
    {"id": "c1", "object": "chat.completion.chunk", "model": "m-2026",
     "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
     "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}},
]  # fmt: skip
SSE = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in EVENTS) + b"data: [DONE]\n\n"
BODY = json.dumps(CHAT, indent=1).encode()  # not how anybody would re-encode it


async def whole(asked: Asked, line: Line) -> None:
    await line.answer(200, BODY, "x-provider-header: kept")


async def streamed(asked: Asked, line: Line) -> None:
    await line.begin_stream()
    for at in range(0, len(SSE), 37):
        await line.chunk(SSE[at : at + 37])
    await line.end_stream()


def test_the_same_dialect_goes_through_byte_for_byte(start, upstream):
    provider = upstream(whole)
    gateway = start(lab(provider.url))
    body = b'{ "model" : "lab/m", "messages":[{"role":"user","content":"\xc3\xa9 \\u00e9"}], "top_p":1.0, "seed":7 }'
    answer = gateway.http.post("/v1/chat/completions", content=body, headers={"x-request-id": "r1"})
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["x-provider-header"] == "kept"
    asked = provider.asked[0]
    assert asked.target == "/v1/chat/completions"
    assert asked.body == body.replace(b"lab/m", b"m")
    assert asked.headers["x-request-id"] == "r1"
    assert not [h for h in asked.headers if h.startswith("x-llmlens")]
    assert "authorization" not in asked.headers, "our own key must not reach a provider"
    row = gateway.row()
    assert row["call_id"] == answer.headers["x-llmlens-call-id"]
    assert (row["outcome"], row["provider"], row["model_sent"], row["model_served"]) == (
        "complete", "lab", "m", "m-2026")  # fmt: skip
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (5, 2, "provider")
    assert row["text"] == "hi"
    assert row["cost_usd"] is None, "an unknown price is NULL"


def test_a_stream_goes_through_byte_for_byte_and_its_row_is_that_of_the_plain_answer(start, upstream):
    async def script(asked: Asked, line: Line) -> None:
        await (streamed if json.loads(asked.body).get("stream") else whole)(asked, line)

    gateway = start(lab(upstream(script).url))
    plain = gateway.chat("lab/m")
    stream = gateway.chat("lab/m", stream=True)
    assert (plain.content, stream.content) == (BODY, SSE)
    first, second = gateway.rows()
    same = ["text", "finish_reason", "input_tokens", "output_tokens", "model_served", "response_id", "outcome"]
    assert [first[c] for c in same] == [second[c] for c in same]
    assert second["first_token_s"] is not None
    assert second["first_token_s"] <= second["latency_s"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_call_again_is_a_hit_and_the_provider_is_not_asked(start, upstream, stream):
    provider = upstream(streamed if stream else whole)
    gateway = start(lab(provider.url) + '[prices."lab/*"]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 10\n')
    answers = [gateway.chat("lab/m", stream=stream) for _ in range(3)]
    assert [a.headers["x-llmlens-cache"] for a in answers] == ["miss", "hit", "hit"]
    assert len({a.content for a in answers}) == 1
    assert len(provider.asked) == 1
    rows = gateway.rows()
    assert [r["cache"] for r in rows] == ["miss", "hit", "hit"]
    assert [float(r["cost_usd"]) for r in rows] == [25e-6, 0, 0]
    assert [r["saved_usd"] and float(r["saved_usd"]) for r in rows] == [None, 25e-6, 25e-6]
    assert {r["cached_from"] for r in rows[1:]} == {rows[0]["call_id"]}
    assert rows[2]["response"] == rows[0]["response"], "the view shows a hit's answer"


@pytest.mark.parametrize("stream", [False, True])
def test_a_hit_survives_a_restart(start, upstream, tmp_path, stream):
    provider = upstream(streamed if stream else whole)
    first = start(lab(provider.url), store=tmp_path / "a.duckdb")
    answer = first.chat("lab/m", stream=stream)
    first.stop()
    again = start(lab(provider.url), store=tmp_path / "a.duckdb").chat("lab/m", stream=stream)
    assert again.headers["x-llmlens-cache"] == "hit"
    assert again.content == answer.content
    assert len(provider.asked) == 1


def test_cache_modes(start, upstream):
    provider = upstream(whole)
    gateway = start(lab(provider.url))

    def ask(mode: str) -> Any:
        return gateway.chat("lab/m", headers={"x-llmlens-cache": mode})

    refused = ask("only")
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "cache_miss"
    assert ask("off").headers["x-llmlens-cache"] == "off"
    assert ask("on").headers["x-llmlens-cache"] == "miss"
    assert ask("only").headers["x-llmlens-cache"] == "hit"
    assert ask("refresh").headers["x-llmlens-cache"] == "miss"
    assert ask("on").headers["x-llmlens-cache"] == "hit"
    assert len(provider.asked) == 3
    wrong = ask("maybe")
    assert wrong.status_code == 400
    assert "on, off, refresh, only" in wrong.json()["error"]["message"]


def test_an_answer_past_its_time_is_asked_for_again(start, upstream):
    provider = upstream(whole)
    gateway = start(lab(provider.url))
    for _ in range(2):
        gateway.chat("lab/m", headers={"x-llmlens-ttl": "0"})
    assert len(provider.asked) == 2


def test_prune_forgets_answers_and_keeps_the_calls(start, upstream):
    provider = upstream(whole)
    gateway = start(lab(provider.url))
    gateway.chat("lab/m")
    pruned = gateway.http.post("/lens/cache/prune", json={"older_than_s": 0}).json()
    assert pruned == {"pruned": 1, "entries": 0}
    assert gateway.chat("lab/m").headers["x-llmlens-cache"] == "miss"
    assert len(gateway.rows()) == 2


def test_gzip_goes_through_packed_and_is_logged_unpacked(start, upstream):
    async def script(asked: Asked, line: Line) -> None:
        assert asked.headers["accept-encoding"] == "gzip"
        await line.answer(200, gzip.compress(BODY), "content-encoding: gzip")

    gateway = start(lab(upstream(script).url))
    for _ in range(2):
        answer = gateway.chat("lab/m", headers={"accept-encoding": "gzip, br, zstd"})
        assert answer.content == BODY
    first, second = gateway.rows()
    assert first["text"] == second["text"] == "hi"
    assert second["cache"] == "hit"


def test_another_providers_dialect_is_translated(start, upstream):
    provider = upstream(whole)
    gateway = start(lab(provider.url))
    answer = gateway.http.post(
        "/v1/messages",
        json={"model": "lab/m", "max_tokens": 9, "top_k": 3, "messages": [{"role": "user", "content": "hello"}]},
    )
    message = answer.json()
    assert message["type"] == "message"
    assert message["content"][0]["text"] == "hi"
    assert message["usage"]["input_tokens"] == 5
    assert answer.headers["x-llmlens-dropped"] == "top_k"
    sent = json.loads(provider.asked[0].body)
    assert sent["model"] == "m"
    assert sent["messages"] == [{"role": "user", "content": "hello"}]
    row = gateway.row()
    assert (row["dialect"], row["upstream_dialect"]) == ("anthropic.messages", "openai.chat")
    assert row["dropped"] == ["top_k"]
    assert row["text"] == "hi"


def test_unknown_paths_pass_through_and_are_logged(start, upstream):
    async def script(asked: Asked, line: Line) -> None:
        await line.answer(200, b'{"object":"list"}')

    provider = upstream(script)
    gateway = start(lab(provider.url))
    answer = gateway.http.get("/lab/v1/files?limit=2")
    assert answer.json() == {"object": "list"}
    assert provider.asked[0].target == "/v1/files?limit=2"
    row = gateway.row()
    assert (row["operation"], row["path"], row["outcome"], row["cache"]) == ("raw", "/v1/files", "complete", "off")


def test_origin_native_and_unified_doors_are_the_same_call(start, upstream):
    provider = upstream(whole)
    gateway = start(lab(provider.url))
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    native = gateway.http.post("/lab/v1/chat/completions", json=body)
    origin = gateway.http.post("/v1/chat/completions", json=body, headers={"x-llmlens-origin": provider.url})
    unified = gateway.http.post("/v1/chat/completions", json=body | {"model": "lab/m"})
    assert [a.headers["x-llmlens-cache"] for a in (native, origin, unified)] == ["miss", "hit", "hit"]
    assert len(provider.asked) == 1


def test_models_lists_every_provider_that_answers(start, upstream):
    async def script(asked: Asked, line: Line) -> None:
        await line.answer(200, b'{"data":[{"id":"m1"},{"id":"org/m2"}]}')

    gateway = start(lab(upstream(script).url))
    ids = {m["id"] for m in gateway.http.get("/v1/models").json()["data"]}
    assert {"lab/m1", "lab/org/m2", "sim/small"} <= ids


def test_a_key_in_the_query_is_a_key_and_not_logged(start, upstream):
    seen = []

    async def script(asked, line):
        seen.append((asked.target, asked.headers.get("x-goog-api-key")))
        await line.answer(200, b'{"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}')

    provider = upstream(script)
    gateway = start(f'[providers.gemini]\nbase_url = "{provider.url}/v1beta"\n')
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    with httpx2.Client(base_url=gateway.url, trust_env=False) as stranger:
        path = "/gemini/v1beta/models/gemini-2.5-flash:generateContent"
        assert stranger.post(f"{path}?key={KEY}&a=b", json=body).status_code == 200
        headers = {"x-llmlens-key": KEY}
        assert stranger.post(f"{path}?key=AIza-canary-0123", json=body, headers=headers).status_code == 200
    assert seen[0] == ("/v1beta/models/gemini-2.5-flash:generateContent?a=b", None)
    assert seen[1] == ("/v1beta/models/gemini-2.5-flash:generateContent", "AIza-canary-0123")
    assert "AIza-canary-0123" not in str(gateway.rows())
