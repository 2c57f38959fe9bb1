"""Retries, samples, coalescing, callers that hang up: what happens between the door and the provider."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import lab
from tests.gateway.test_answer import BODY, SSE, whole
from tests.scripted_upstream import Asked, Line

CELL = {"x-llmlens-run": "run-1", "x-llmlens-cell": "cell-1; n=1; sha=abc"}


def in_turn(*answers):
    """A script that gives these answers one after the other, the last one for ever."""
    left = list(answers)

    async def script(asked: Asked, line: Line) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(asked, line)

    return script


def status(code: int, *headers: str):
    async def answer(asked: Asked, line: Line) -> None:
        await line.answer(code, json.dumps({"error": {"message": f"no {code}", "type": "t"}}).encode(), *headers)

    return answer


async def slams(asked: Asked, line: Line) -> None:
    line.cut()


@pytest.mark.parametrize("first", [status(code, "retry-after-ms: 1") for code in (408, 429, 500, 502, 503, 529)])
def test_a_passing_failure_is_tried_again(start, upstream, first):
    provider = upstream(in_turn(first, whole))
    gateway = start(lab(provider.url))
    answer = gateway.chat("lab/m")
    assert (answer.status_code, answer.headers["x-llmlens-attempts"]) == (200, "2")
    row = gateway.row()
    assert (row["outcome"], row["attempts"]) == ("complete", 2)
    tries = gateway.rows("SELECT n, http_status FROM attempts ORDER BY n")
    assert [t["http_status"] for t in tries][1] == 200


def test_a_broken_connection_is_tried_again_and_both_tries_are_logged(start, upstream):
    provider = upstream(in_turn(slams, whole))
    gateway = start(lab(provider.url))
    assert gateway.chat("lab/m").status_code == 200
    first, second = gateway.rows("SELECT * FROM attempts ORDER BY n")
    assert (first["http_status"], second["http_status"]) == (None, 200)
    assert first["error"]


@pytest.mark.parametrize("code", [400, 401, 404, 422])
def test_a_lasting_failure_is_not(start, upstream, code):
    provider = upstream(status(code))
    gateway = start(lab(provider.url))
    answer = gateway.chat("lab/m")
    assert answer.status_code == code
    assert answer.json()["error"]["message"] == f"no {code}"
    assert len(provider.asked) == 1


def test_a_wait_that_is_too_long_is_left_to_the_caller(start, upstream):
    provider = upstream(status(429, "retry-after: 3600"))
    gateway = start(lab(provider.url))
    answer = gateway.chat("lab/m")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3600")
    assert len(provider.asked) == 1
    assert gateway.row()["retry_after_s"] == 3600


def test_when_all_tries_fail_the_providers_last_answer_is_given(start, upstream):
    provider = upstream(status(503, "retry-after-ms: 0"))
    gateway = start("[gateway]\nmax_attempts = 3\n" + lab(provider.url))
    answer = gateway.chat("lab/m")
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "no 503")
    assert len(provider.asked) == 3
    assert gateway.row()["attempts"] == 3


def numbered():
    """Every answer says which one it is."""
    count = iter(range(10_000))
    lock = threading.Lock()

    async def script(asked: Asked, line: Line) -> None:
        with lock:
            number = next(count)
        await line.answer(200, BODY.replace(b'"hi"', json.dumps(f"answer {number}").encode()))

    return script


def test_identical_calls_of_one_cell_are_samples_and_replay_as_they_were(start, upstream):
    provider = upstream(numbered())
    gateway = start(lab(provider.url))

    def run_cell(n: int) -> list[str]:
        headers = CELL | {"x-llmlens-cell": f"cell-1; n={n}; sha=abc"}
        return [gateway.chat("lab/m", headers=headers).json()["choices"][0]["message"]["content"] for _ in range(20)]

    first = run_cell(1)
    assert len(set(first)) == 20
    assert run_cell(2) == first
    assert len(provider.asked) == 20
    rows = gateway.rows("SELECT sample, cache FROM calls ORDER BY started_at")
    assert [r["sample"] for r in rows] == [*range(20)] * 2
    assert [r["cache"] for r in rows] == ["miss"] * 20 + ["hit"] * 20


def test_more_samples_pay_only_for_the_new_ones(start, upstream):
    provider = upstream(numbered())
    gateway = start(lab(provider.url))
    for n, calls in ((1, 3), (2, 5)):
        for _ in range(calls):
            gateway.chat("lab/m", headers=CELL | {"x-llmlens-cell": f"c; n={n}"})
    assert len(provider.asked) == 5


def test_a_failed_sample_is_taken_again_by_the_retry(start, upstream):
    provider = upstream(in_turn(status(400), whole))
    gateway = start(lab(provider.url))
    assert gateway.chat("lab/m", headers=CELL).status_code == 400
    assert gateway.chat("lab/m", headers=CELL).status_code == 200
    assert [r["sample"] for r in gateway.rows()] == [0, 0]


def test_outside_a_cell_identical_calls_are_one_and_a_header_asks_for_more(start, upstream):
    provider = upstream(numbered())
    gateway = start(lab(provider.url))
    texts = [gateway.chat("lab/m", headers={"x-llmlens-sample": k}).text for k in ("0", "1", "1", "0")]
    assert texts[0] == texts[3] == gateway.chat("lab/m").text
    assert texts[1] == texts[2] != texts[0]
    assert len(provider.asked) == 2


def test_identical_calls_in_flight_are_sent_once(start, upstream):
    release = threading.Event()

    async def script(asked: Asked, line: Line) -> None:
        import asyncio

        await asyncio.to_thread(release.wait, 20)
        await whole(asked, line)

    provider = upstream(script)
    gateway = start(lab(provider.url))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(gateway.chat, "lab/m") for _ in range(8)]
        assert provider.arrived.acquire(timeout=20)
        release.set()
        assert {a.result().content for a in answers} == {BODY}
    assert len(provider.asked) == 1
    assert sorted(r["cache"] for r in gateway.rows()) == ["hit"] * 7 + ["miss"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_hangs_up_cancels_the_provider_and_the_row_says_so(start, upstream, stream):
    half = len(SSE) // 2

    async def script(asked: Asked, line: Line) -> None:
        if stream:
            await line.begin_stream()
            await line.chunk(SSE[:half])
        await line.gone.wait()

    provider = upstream(script)
    gateway = start(lab(provider.url))
    body = {"model": "lab/m", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    raw = _open(gateway.url, json.dumps(body).encode())
    assert provider.arrived.acquire(timeout=20)
    if stream:
        seen = b""
        while b"\n\n" not in seen.partition(b"\r\n\r\n")[2]:
            seen += raw.recv(65_536)
    raw.close()
    assert provider.left.acquire(timeout=20), "the provider is still being listened to"
    row = _wait_for_row(gateway)
    assert row["outcome"] == "cancelled"
    if stream:
        assert row["response"] == SSE[:half].decode()
        assert row["usage_source"] == "estimated"


def _open(url: str, body: bytes):
    import socket

    from tests.conftest import KEY

    host, port = re.fullmatch(r"http://(.*):(\d+)", url).groups()
    sock = socket.create_connection((host, int(port)), timeout=20)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    sock.sendall(head.encode() + body)
    return sock


def _wait_for_row(gateway):
    for _ in range(500):
        if rows := gateway.rows():
            return rows[0]
    raise AssertionError("no row")


def test_the_live_feed_tells_of_every_finished_call(start, upstream):
    gateway = start(lab(upstream(whole).url))
    with gateway.http.stream("GET", "/lens/live") as feed:
        lines = feed.iter_lines()
        assert next(lines) == ": llmlens live"
        call_id = gateway.chat("lab/m").headers["x-llmlens-call-id"]
        event = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
    assert (event["call_id"], event["outcome"], event["output_tokens"]) == (call_id, "complete", 2)


def test_a_receipt_ends_a_stream_and_agrees_with_the_row(start):
    gateway = start()
    answer = gateway.chat("sim/small", "What is 2 plus 2?", stream=True, headers={"x-llmlens-receipt": "1"})
    receipt = json.loads(re.search(r"^: llmlens-receipt (.*)$", answer.text, re.M).group(1))
    row = gateway.row()
    assert receipt["cost_usd"] is not None
    assert float(receipt["cost_usd"]) == float(row["cost_usd"])
    for name in ("call_id", "outcome", "input_tokens", "output_tokens", "latency_s", "first_token_s", "simulated"):
        assert receipt[name] == pytest.approx(row[name]), name


def test_secrets_reach_neither_the_log_nor_the_journal(start, upstream, tmp_path):
    canary = "sk-canary-0123456789"

    async def echoes(asked: Asked, line: Line) -> None:
        assert asked.headers["authorization"] == f"Bearer {canary}"
        await line.answer(401, json.dumps({"error": {"message": f"Incorrect API key: {canary}"}}).encode())

    gateway = start(lab(upstream(echoes).url))
    from tests.conftest import KEY

    answer = gateway.http.post(
        "/lab/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": f"my key is {canary}"}]},
        headers={"authorization": f"Bearer {canary}", "x-llmlens-key": KEY},
    )
    assert canary in answer.text, "the caller gets what the provider said"
    row = gateway.row()
    assert canary not in json.dumps(row)
    gateway.stop()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert canary.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_an_end_mark_in_the_text_of_an_answer_ends_nothing(start, upstream, path):
    text = "The stream ends with data: [DONE] or event: message_stop, and then "
    chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    last = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "more"}, "finish_reason": "stop"}]}

    async def script(asked: Asked, line: Line) -> None:
        import asyncio

        await line.begin_stream()
        await line.chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await asyncio.sleep(0.2)  # longer than the gateway waits after an end mark
        await line.chunk(b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n")
        await line.end_stream()

    gateway = start(lab(upstream(script).url))
    body = {"model": "lab/m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    for _ in range(2):
        assert "more" in gateway.http.post(path, json=body).text
    assert [(r["outcome"], r["cache"], r["text"]) for r in gateway.rows()] == [
        ("complete", "miss", text + "more"),
        ("complete", "hit", text + "more"),
    ]


def test_a_callers_key_goes_to_no_provider_it_was_not_meant_for(start, upstream, monkeypatch):
    provider = upstream(whole)
    monkeypatch.setenv("OTHER_KEY", "sk-other-000000")
    toml = lab(provider.url, name="other") + 'api_key = "env:OTHER_KEY"\n' + lab(provider.url, "anthropic", "claudes")
    gateway = start(toml + 'api_key = "env:NOT_SET"\n' + lab(provider.url))
    from tests.conftest import KEY

    mine = {"authorization": "Bearer sk-openai-of-the-caller", "x-llmlens-key": KEY}
    for model in ("other/m", "claudes/m", "lab/m"):
        gateway.chat(model, model, headers=mine)
    keys = [a.headers.get("authorization") or a.headers.get("x-api-key") for a in provider.asked]
    # lab is declared without a key, so the caller's own goes through.
    assert keys == ["Bearer sk-other-000000", None, "Bearer sk-openai-of-the-caller"]


def test_a_translated_stream_is_read_plain(start, upstream):
    async def script(asked: Asked, line: Line) -> None:
        assert asked.headers["accept-encoding"] == "identity"
        await line.begin_stream()
        await line.chunk(SSE)
        await line.end_stream()

    gateway = start(lab(upstream(script).url))
    body = {"model": "lab/m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    answer = gateway.http.post("/v1/messages", json=body, headers={"accept-encoding": "gzip, deflate"})
    assert '"text":"h"' in answer.text


def test_the_configured_time_to_live_counts(start, upstream):
    provider = upstream(whole)
    gateway = start("[gateway]\ncache_ttl_s = 0\n" + lab(provider.url))
    assert [gateway.chat("lab/m").headers["x-llmlens-cache"] for _ in range(2)] == ["miss", "miss"]


def test_calls_sent_at_once_keep_their_order_on_a_rerun(start, upstream):
    gateway = start(lab(upstream(numbered()).url))

    def run_cell(n: int, order: list[int]) -> list[str]:
        found = {}
        for k in order:
            headers = CELL | {"x-llmlens-cell": f"c; n={n}", "x-llmlens-group": f"g{n}; k={k}; n=5"}
            found[k] = gateway.chat("lab/m", headers=headers).text
        return [found[k] for k in sorted(found)]

    assert run_cell(1, [3, 1, 4, 0, 2]) == run_cell(2, [0, 1, 2, 3, 4])


def test_those_who_wait_for_a_call_that_fails_go_at_once(start, upstream):
    release = threading.Event()

    async def script(asked: Asked, line: Line) -> None:
        import asyncio

        await asyncio.to_thread(release.wait, 20)
        await status(400)(asked, line)

    provider = upstream(script)
    gateway = start(lab(provider.url))
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(gateway.chat, "lab/m") for _ in range(5)]
        assert provider.arrived.acquire(timeout=20)
        release.set()
        assert {a.result().status_code for a in answers} == {400}
    assert len(gateway.rows()) == 5


def test_a_broken_download_looks_broken(start, upstream):
    import httpx2

    async def script(asked: Asked, line: Line) -> None:
        await line.begin_stream(content_type="application/octet-stream")
        await line.chunk(b"first half")
        line.cut()

    gateway = start(lab(upstream(script).url))
    with pytest.raises(httpx2.RemoteProtocolError):
        gateway.http.get("/lab/v1/files/f/content")
    assert gateway.row()["outcome"] == "incomplete"


def test_a_silent_provider_is_not_asked_twice(start, upstream):
    async def script(asked: Asked, line: Line) -> None:
        await line.gone.wait()

    provider = upstream(script)
    gateway = start("[gateway]\nfirst_byte_timeout_s = 0.2\n" + lab(provider.url))
    answer = gateway.chat("lab/m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert len(provider.asked) == 1


def test_one_model_can_be_asked_for_by_name(start):
    gateway = start()
    assert gateway.http.get("/v1/models/sim/small").json()["id"] == "sim/small"
    assert gateway.http.get("/v1/models/sim/none").status_code == 404
    assert "/{provider}/v1/files" in gateway.http.get("/v1/files").json()["error"]["message"]
