"""The SDK door: real SDKs and HTTP libraries, captured once each; everything else untouched."""

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
import requests

from llmlens.client import cell, redirect
from llmlens.client.ask import ask
from llmlens.records import Provenance
from tests.client.conftest import PROVIDER_KEYS, session_to
from tests.client.fake_gateway import KEY, Seen, as_models_do, fake_gateway

OPENAI = "https://api.openai.com"
CHAT = OPENAI + "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
BODY = {"model": "gpt-5", "messages": HELLO}


@pytest.fixture
def door(session):
    return redirect.install()


def the_call(fake) -> Seen:
    """The only call there was."""
    assert [seen.path for seen in fake.calls] == [fake.calls[0].path]
    return fake.calls[0]


def check_openai(fake, path="/v1/chat/completions") -> None:
    seen = the_call(fake)
    assert seen.path == path
    assert seen.headers["x-llmlens-origin"] == OPENAI
    assert seen.headers["x-llmlens-key"] == KEY
    assert seen.headers["host"] == fake.url.removeprefix("http://")
    assert seen.headers["authorization"] == f"Bearer {PROVIDER_KEYS['OPENAI_API_KEY']}"


# ── SDKs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def text_of(chunks) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_openai(fake, door):
    with openai.OpenAI() as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-5", messages=HELLO)
        assert raw.parse().choices[0].message.content == "hi there"
    check_openai(fake)
    assert str(raw.http_response.url) == CHAT
    assert KEY not in repr(raw.http_response.request.headers.raw)
    assert {row["library"]: row["captured"] for row in door.report()} == {
        "httpx2": 1, "httpx": 0, "aiohttp": 0, "requests": 0, "urllib3": 0}  # fmt: skip


def test_openai_stream(fake, door):
    with openai.OpenAI() as client, client.chat.completions.create(stream=True, **BODY) as stream:
        assert text_of(stream) == "hi there"
    check_openai(fake)


async def test_openai_async_and_its_stream(fake, door):
    async with openai.AsyncOpenAI() as client:
        answer = await client.chat.completions.create(**BODY)
        assert answer.choices[0].message.content == "hi there"
        check_openai(fake)
        stream = await client.chat.completions.create(stream=True, **BODY)
        assert text_of([chunk async for chunk in stream]) == "hi there"
    assert len(fake.calls) == 2


def test_anthropic(fake, door):
    with anthropic.Anthropic() as client:
        message = client.messages.create(model="claude-opus-4-1", max_tokens=9, messages=HELLO)
        assert message.content[0].text == "hi there"
        seen = the_call(fake)
        assert (seen.path, seen.headers["x-llmlens-origin"]) == ("/v1/messages", "https://api.anthropic.com")
        assert seen.headers["authorization"] == f"Bearer {PROVIDER_KEYS['ANTHROPIC_API_KEY']}"  # so does anthropic 2
        with client.messages.stream(model="claude-opus-4-1", max_tokens=9, messages=HELLO) as stream:
            assert "".join(stream.text_stream) == "hi there"
    assert len(fake.calls) == 2


async def test_anthropic_async(fake, door):
    async with anthropic.AsyncAnthropic() as client:
        await client.messages.create(model="claude-opus-4-1", max_tokens=9, messages=HELLO)
    assert the_call(fake).path == "/v1/messages"


def failing_once(handler, seen):
    if len(handler.fake.calls) == 1:
        handler.reply(503, {"error": {"message": "busy"}}, {"retry-after-ms": "1"})
    else:
        as_models_do(handler, seen)


def test_a_retry_of_the_sdk_is_redirected_too(settings):
    with fake_gateway(failing_once) as fake, session_to(fake, settings):
        redirect.install()
        with openai.OpenAI() as client:
            client.chat.completions.create(**BODY)
        assert [seen.headers["x-llmlens-origin"] for seen in fake.calls] == [OPENAI, OPENAI]


def refusing(handler, seen):
    handler.reply(401, {"error": {"message": "wrong key", "code": "invalid_api_key"}})


def test_an_error_of_the_sdk_shows_the_provider_and_no_key(settings):
    with fake_gateway(refusing) as fake, session_to(fake, settings):
        redirect.install()
        with openai.OpenAI() as client, pytest.raises(openai.AuthenticationError, match="wrong key") as told:
            client.chat.completions.create(**BODY)
    error = told.value
    assert str(error.request.url) == str(error.response.url) == CHAT
    assert not [name for name in error.request.headers if name.startswith("x-llmlens")]
    assert error.request.headers["host"] == "api.openai.com"
    assert KEY not in f"{error!r} {vars(error)!r}"


def test_base_url_of_the_gateway_gets_key_and_cell(fake, door):
    token = cell.entered(Provenance(cell_id="c", execution_count=4))
    with openai.OpenAI(base_url=fake.url.replace("127.0.0.1", "localhost") + "/v1") as client:
        client.chat.completions.create(**BODY)
        client.with_options(api_key="llk-mine").chat.completions.create(**BODY)
    cell.left(token)
    first, second = fake.calls
    assert (first.headers["x-llmlens-key"], first.headers["x-llmlens-cell"]) == (KEY, "c; n=4")
    assert "x-llmlens-origin" not in first.headers
    assert second.headers["authorization"] == "Bearer llk-mine"
    assert second.headers["x-llmlens-key"] == KEY, "for the case that llk-mine is of an earlier gateway"
    assert second.headers["x-llmlens-cell"] == "c; n=4"


def test_many_threads_with_one_client_are_captured_once_each(fake, door, threads_know_their_cell):
    def call(number: int) -> str:
        token = cell.entered(Provenance(cell_id="c", execution_count=number))
        answer = client.chat.completions.create(**{**BODY, "user": str(number)})
        cell.left(token)
        return answer.choices[0].message.content

    with openai.OpenAI() as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(24))) == ["hi there"] * 24
    sent = {int(seen.json["user"]): seen.headers["x-llmlens-cell"] for seen in fake.calls}
    assert sent == {number: f"c; n={number}" for number in range(24)}
    assert len(fake.calls) == 24


async def test_many_tasks_with_one_client_are_captured_once_each(fake, door):
    async def call(number: int) -> None:
        cell.entered(Provenance(cell_id="c", execution_count=number))
        await client.chat.completions.create(**{**BODY, "user": str(number)})

    async with openai.AsyncOpenAI() as client:
        await asyncio.gather(*map(call, range(24)))
    sent = {int(seen.json["user"]): seen.headers["x-llmlens-cell"] for seen in fake.calls}
    assert sent == {number: f"c; n={number}" for number in range(24)}
    assert len(fake.calls) == 24


def test_our_own_calls_are_not_captured(fake, door):
    ask("hello", "gpt-5")
    assert "x-llmlens-origin" not in the_call(fake).headers
    assert all(row["captured"] == 0 for row in door.report())


# ── HTTP libraries ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("library", [httpx2, httpx])
def test_httpx_hooks_auth_and_cookies_see_the_provider(fake, door, library):
    seen = []

    class Signed(library.Auth):
        def auth_flow(self, request):
            request.headers["signature"] = f"of {request.url}"
            yield request

    def watch(request):
        seen.append((str(request.url), "x-llmlens-key" in request.headers))

    hooks = {"request": [watch], "response": [lambda response: watch(response.request)]}
    with library.Client(event_hooks=hooks, auth=Signed(), cookies={"c": "1"}) as client:
        body = (part for part in [b'{"model":', b' "gpt-5"}'])
        response = client.post(CHAT + "?a=%2F&b", content=body, headers={"X-LLMLens-Tags": '{"t": 1}'})
        assert response.json()["id"] == "r1"
        assert str(response.url) == str(response.request.url) == CHAT + "?a=%2F&b"
    assert seen == [(CHAT + "?a=%2F&b", False)] * 2
    sent = the_call(fake)
    assert sent.path == "/v1/chat/completions?a=%2F&b"
    assert sent.body == b'{"model": "gpt-5"}'
    assert sent.headers["signature"] == f"of {CHAT}?a=%2F&b"
    assert (sent.headers["cookie"], sent.headers["x-llmlens-tags"]) == ("c=1", '{"t": 1}')
    redirect.uninstall()
    assert client.event_hooks == hooks


def setting_cookies(handler, seen):
    handler.reply(200, {}, {"set-cookie": "session=1; Path=/"})


@pytest.mark.parametrize("library", [httpx2, httpx, requests])
def test_cookies_are_kept_under_the_provider(settings, library):
    with fake_gateway(setting_cookies) as fake, session_to(fake, settings):
        redirect.install()
        make = library.Session if library is requests else library.Client
        with make() as client:
            client.post(CHAT, json=BODY)
            client.post(CHAT, json=BODY)
        assert fake.calls[1].headers.get("cookie") == "session=1"


def moving(handler, seen):
    if seen.path == "/v1/old":
        handler.reply(307, {}, {"location": "/v1/new"})
    elif seen.path == "/v1/away":
        handler.reply(307, {}, {"location": handler.fake.origins[-1] + "/elsewhere"})
    else:
        as_models_do(handler, seen)


@pytest.mark.parametrize("library", [httpx2, httpx, requests])
def test_redirects_stay_with_the_provider_and_our_key_with_us(settings, library):
    with fake_gateway() as other, fake_gateway(moving) as fake, session_to(fake, settings):
        redirect.install()
        fake.origins.append(other.url)  # after the install: a stranger
        make = library.Session if library is requests else lambda: library.Client(follow_redirects=True)
        with make() as client:
            response = client.post(OPENAI + "/v1/old", json=BODY)
            assert str(response.url) == OPENAI + "/v1/new"
            assert [str(one.url) for one in response.history] == [OPENAI + "/v1/old"]
            assert [seen.path for seen in fake.calls] == ["/v1/old", "/v1/new"]
            client.post(OPENAI + "/v1/away", json=BODY)
        assert not [name for name in the_call(other).headers if name.startswith("x-llmlens")]


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_httpx_async(fake, door, library):
    async with library.AsyncClient() as client:
        response = await client.post(CHAT, json=BODY)
        async with client.stream("POST", CHAT, json={**BODY, "stream": True}) as streamed:
            assert str(streamed.request.url) == CHAT
            assert b"hi" in await streamed.aread()
    assert str(response.request.url) == CHAT
    assert len(fake.calls) == 2


def test_requests(fake, door, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    hooked = []
    with requests.Session() as session:
        response = session.post(CHAT, json=BODY, hooks={"response": lambda r, **_: hooked.append(r.url)},
                                headers={"authorization": f"Bearer {PROVIDER_KEYS['OPENAI_API_KEY']}"})  # fmt: skip
    assert response.json()["id"] == "r1"
    check_openai(fake)
    assert hooked == [response.url] == [response.request.url] == [CHAT]
    assert not [name for name in response.request.headers if name.startswith("x-llmlens")]
    with requests.post(CHAT, json={**BODY, "stream": True}, stream=True, timeout=9) as streamed:
        assert pickle.loads(pickle.dumps(streamed)).url == CHAT
    assert len(fake.calls) == 2


async def test_aiohttp(fake, door):
    seen = []

    async def watch(request, handler):
        seen.append((str(request.url), "x-llmlens-key" in request.headers))
        return await handler(request)

    headers = {"authorization": f"Bearer {PROVIDER_KEYS['OPENAI_API_KEY']}"}
    async with aiohttp.ClientSession(OPENAI, middlewares=(watch,), headers=headers, trust_env=True) as session:
        async with session.post("/v1/chat/completions", params={"a": "/"}, json=BODY) as response:
            assert (await response.json())["id"] == "r1"
        check_openai(fake, "/v1/chat/completions?a=/")
        assert str(response.url) == str(response.request_info.url) == CHAT + "?a=/"
        assert not [name for name in response.request_info.headers if name.lower().startswith("x-llmlens")]
    assert seen == [(CHAT + "?a=/", False)]


async def test_aiohttp_errors_hold_no_key(settings):
    with fake_gateway(refusing) as fake, session_to(fake, settings):
        redirect.install()
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            with pytest.raises(aiohttp.ClientResponseError) as told:
                await session.post(CHAT, json=BODY)
    assert str(told.value.request_info.real_url) == CHAT
    assert KEY not in repr(told.value)
    assert "127.0.0.1" not in repr(told.value)


async def test_only_known_origins_are_touched(fake, door):
    with fake_gateway() as other:
        for url in (other.url + "/v1/chat/completions", other.url + "/?u=https://api.openai.com/v1"):
            with httpx2.Client(trust_env=False) as client, httpx.Client(trust_env=False) as legacy:
                client.post(url, json=BODY)
                legacy.post(url, json=BODY)  # noqa: ASYNC212
                assert client.event_hooks == {"request": [], "response": []}
            requests.post(url, json=BODY, timeout=9)  # noqa: ASYNC210
            async with aiohttp.ClientSession() as session, session.post(url, json=BODY):
                pass
        assert len(other.calls) == 8
        assert not [name for seen in other.calls for name in seen.headers if name.startswith("x-llmlens")]
    assert fake.calls == []


def test_a_prefix_ends_where_a_name_ends(fake, door):
    aim = door._detour.aim
    for url in ("https://api.openai.com", "https://API.openai.com:443/v1?x", "https://u:p@api.openai.com/v1#f"):
        found = aim(url, {})
        assert found is not None
        assert found.url.startswith(fake.url + "/")
        assert "u:p" not in found.url
    for url in ("https://api.openai.com.evil.org/v1", "http://api.openai.com/v1", "https://api.openai.com:8443/v1",
                "wss://api.openai.com/v1/realtime", "https://x/https://api.openai.com", "", "/v1"):  # fmt: skip
        assert aim(url, {}) is None
