"""Bad requests and bad providers: an error in the caller's own dialect, and a row that says what happened."""

import gzip
import json

import anthropic
import openai
import pytest

from tests.conftest import KEY, Running, lab
from tests.gateway.test_answer import BODY, SSE, whole
from tests.scripted_upstream import Asked, Line

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
FAST = "[gateway]\nmax_attempts = 1\nmax_body_bytes = 100000\nmax_answer_bytes = 200000\n"


def openai_client(gateway: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0)


def anthropic_client(gateway: Running) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key=KEY, max_retries=0)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"\xff\xfe\x00", 400, "not JSON"),
        (b'"text"', 400, "JSON object"),
        (b'[{"model":"lab/m"}]', 400, "JSON object"),
        (b'{"messages":[]}', 400, "model"),
        (b'{"model":7,"messages":[]}', 400, "model"),
        (b'{"model":"lab/m","messages":"hi","stream":"yes"}', 400, "stream"),
        (b'{"model":"nowhere/m","messages":[]}', 404, "nowhere/m"),
        (b'{"model":"no-such-model","messages":[]}', 404, "no-such-model"),
        (b'{"model":"lab/m","messages":[],"x":"' + b"x" * 100_000 + b'"}', 413, "max_body_bytes"),
        (b"[" * 50_000, 400, "not JSON"),
    ],
)
def test_a_bad_request_is_refused_in_its_dialect_and_logged(start, upstream, path, body, status, says):
    provider = upstream(whole)
    gateway = start(FAST + lab(provider.url))
    answer = gateway.http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert says in error["message"]
    if path == MESSAGES:
        assert answer.json()["type"] == "error"
    else:
        assert set(error) >= {"message", "type", "param", "code"}
    assert not provider.asked
    row = gateway.row()
    assert (row["outcome"], row["http_status"]) == ("denied", status)
    assert says in row["error_message"]


def test_a_stranger_gets_401_and_no_row(start):
    gateway = start()
    for headers in ({}, {"authorization": "Bearer llk-wrong"}, {"x-api-key": KEY + "x"}):
        clean = {"authorization": ""} | headers
        answer = gateway.http.post(CHAT, json={"model": "sim/echo", "messages": []}, headers=clean)
        assert answer.status_code == 401
        assert KEY not in answer.text
    assert gateway.rows() == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"])
def test_a_foreign_host_or_origin_is_refused(start, host):
    gateway = start()
    for headers in ({"host": host}, {"origin": f"http://{host}"}):
        answer = gateway.http.get("/lens/health", headers=headers)
        assert answer.status_code == 403
        assert "allowed_hosts" in answer.json()["error"]["message"]


def test_an_unknown_origin_is_not_a_way_out(start, upstream):
    provider = upstream(whole)
    gateway = start()  # the provider is not declared
    answer = gateway.http.post(CHAT, json={"model": "m"}, headers={"x-llmlens-origin": provider.url})
    assert answer.status_code == 403
    assert not provider.asked


async def html(asked: Asked, line: Line) -> None:
    await line.answer(200, b"<html><body>Sign in to the wifi</body></html>", content_type="text/html")


async def html_502(asked: Asked, line: Line) -> None:
    await line.answer(502, b"<html>Bad gateway</html>", content_type="text/html")


async def not_json(asked: Asked, line: Line) -> None:
    await line.answer(200, BODY[:50])


async def slams(asked: Asked, line: Line) -> None:
    line.cut()


async def half_a_body(asked: Asked, line: Line) -> None:
    await line.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n" + BODY[:40])
    line.cut()


async def bomb(asked: Asked, line: Line) -> None:
    await line.answer(200, gzip.compress(b" " * 5_000_000), "content-encoding: gzip")


async def not_gzip(asked: Asked, line: Line) -> None:
    await line.answer(200, BODY, "content-encoding: gzip")


async def endless(asked: Asked, line: Line) -> None:
    await line.begin_stream(content_type="application/json")
    for _ in range(100):
        await line.chunk(b" " * 10_000)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize(
    ("script", "outcome", "status"),
    [
        (html, "incomplete", 200),
        (html_502, "error", 502),
        (not_json, "incomplete", 200),
        (slams, "error", 502),
        (half_a_body, "error", 502),
        (endless, "error", 502),
    ],
)
def test_a_provider_that_answers_nonsense(start, upstream, path, script, outcome, status):
    dialect = "openai" if path == CHAT else "anthropic"
    gateway = start(FAST + lab(upstream(script).url, dialect))
    answer = gateway.http.post(path, json={"model": "lab/m", "max_tokens": 3, "messages": []})
    assert answer.status_code == status
    row = gateway.row()
    assert (row["outcome"], row["http_status"]) == (outcome, status)
    assert row["error_message"] or outcome == "incomplete"
    if script in (slams, half_a_body, endless):
        assert answer.json()["error"]["message"] == row["error_message"]
    again = gateway.http.post(path, json={"model": "lab/m", "max_tokens": 3, "messages": []})
    assert again.headers["x-llmlens-cache"] == "miss", "nonsense is never replayed"


@pytest.mark.parametrize("script", [bomb, not_gzip])
def test_a_packed_answer_that_cannot_be_read_is_said_so_in_the_row(start, upstream, script):
    gateway = start(FAST + lab(upstream(script).url))
    with gateway.http.stream(
        "POST", CHAT, json={"model": "lab/m", "messages": []}, headers={"accept-encoding": "gzip"}
    ) as answer:
        raw = b"".join(answer.iter_raw())
    assert raw, "the caller gets the provider's bytes"
    row = gateway.row()
    assert row["outcome"] in ("error", "incomplete")
    assert row["error_message"]


def cut_after(n_bytes: int, how: str):
    async def script(asked: Asked, line: Line) -> None:
        await line.begin_stream()
        await line.chunk(SSE[:n_bytes])
        if how == "clean":
            await line.end_stream()
        else:
            line.cut()

    return script


@pytest.mark.parametrize("how", ["clean", "broken"])
@pytest.mark.parametrize("n_bytes", [1, 90, 300])
def test_half_a_stream_does_not_look_like_a_whole_one(start, upstream, how, n_bytes):
    gateway = start(FAST + lab(upstream(cut_after(n_bytes, how)).url))
    with pytest.raises(openai.APIError):
        for _ in openai_client(gateway).chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "hi"}], stream=True
        ):
            pass
    row = gateway.row()
    assert row["outcome"] == "incomplete"
    assert row["error_message"]
    assert gateway.chat("lab/m", "hi", stream=True).headers["x-llmlens-cache"] == "miss"


def test_errors_are_the_sdks_own_exceptions(start):
    gateway = start(FAST)
    with pytest.raises(openai.NotFoundError, match="nowhere"):
        openai_client(gateway).chat.completions.create(model="nowhere/m", messages=[])
    with pytest.raises(anthropic.NotFoundError, match="nowhere"):
        anthropic_client(gateway).messages.create(model="nowhere/m", max_tokens=1, messages=[])
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=gateway.url + "/v1", api_key="llk-no", max_retries=0).models.list()
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=gateway.url, api_key="llk-no", max_retries=0).messages.create(
            model="sim/echo", max_tokens=1, messages=[{"role": "user", "content": "x"}]
        )


def test_a_provider_that_is_not_there(start):
    gateway = start(FAST + lab("http://127.0.0.1:9"))
    with pytest.raises(openai.InternalServerError, match="cannot be reached"):
        openai_client(gateway).chat.completions.create(model="lab/m", messages=[{"role": "user", "content": "x"}])
    row = gateway.row()
    assert (row["outcome"], row["error_code"], row["http_status"]) == ("error", "upstream_failed", 502)


def test_an_error_in_another_dialect_is_translated(start, upstream):
    async def script(asked: Asked, line: Line) -> None:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        await line.answer(529, json.dumps(error).encode(), "retry-after: 7")

    gateway = start(FAST + lab(upstream(script).url, "anthropic"))
    with pytest.raises(openai.InternalServerError, match="Overloaded") as caught:
        openai_client(gateway).chat.completions.create(model="lab/m", messages=[{"role": "user", "content": "x"}])
    assert caught.value.response.headers["retry-after"] == "7"
    row = gateway.row()
    assert (row["error_type"], row["retry_after_s"]) == ("overloaded_error", 7.0)
