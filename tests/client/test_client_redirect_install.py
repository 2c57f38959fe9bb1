"""The SDK door: when the gateway goes away, and putting the patches in place and taking them away, exactly."""

import inspect
import pickle
import subprocess
import sys

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
import requests
import urllib3

from llmlens.client import redirect
from llmlens.client.gateway import stop
from llmlens.client.session import Session, use
from llmlens.errors import GatewayError
from tests.client.conftest import session_to
from tests.client.fake_gateway import KEY, chat_chunk, fake_gateway
from tests.client.test_client_redirect import BODY, CHAT, HELLO, check_openai, door

__all__ = ["door"]  # a fixture

ORIGINALS = {
    (httpx2.Client, "send"): httpx2.Client.send,
    (httpx2.AsyncClient, "send"): httpx2.AsyncClient.send,
    (httpx.Client, "send"): httpx.Client.send,
    (httpx.AsyncClient, "send"): httpx.AsyncClient.send,
    (aiohttp.ClientSession, "_request"): aiohttp.ClientSession._request,
    (requests.Session, "send"): requests.Session.send,
    (urllib3.HTTPConnectionPool, "urlopen"): urllib3.HTTPConnectionPool.urlopen,
}


def untouched() -> bool:
    return all(owner.__dict__[name] is kept for (owner, name), kept in ORIGINALS.items())


# ── the gateway goes away ─────────────────────────────────────────────────────────────────────────────────────────


def close(fake) -> None:
    fake.server.shutdown()
    fake.server.server_close()


@pytest.mark.parametrize("make", [httpx2.Client, httpx.Client, requests.Session])
async def test_without_a_gateway_the_error_says_what_to_do(fake, settings, make):
    with fake_gateway() as lost, session_to(lost, settings):
        redirect.install()
        close(lost)
        with make() as client, pytest.raises(Exception, match=r"%unload_ext llmlens") as told:
            client.post(CHAT, json=BODY)
        kinds = {httpx2.Client: httpx2.ConnectError, httpx.Client: httpx.ConnectError}
        assert type(told.value) is kinds.get(make, requests.ConnectionError)
        assert str(told.value.request.url) == CHAT
        assert KEY not in repr(told.value)


async def test_without_a_gateway_async_clients_say_it_too(settings):
    with fake_gateway() as lost, session_to(lost, settings):
        redirect.install()
        close(lost)
        async with httpx2.AsyncClient() as client:
            with pytest.raises(httpx2.ConnectError, match="unload_ext"):
                await client.post(CHAT, json=BODY)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError, match="unload_ext"):
                await session.post(CHAT, json=BODY)


async def test_a_gateway_that_went_is_found_or_started_again(settings, process):
    """A process, stopped between the calls: each library starts the next one."""
    former = use(Session(settings, command=process()))
    try:
        redirect.install()
        stop(settings)
        with httpx2.Client() as client:
            assert client.post(CHAT, content=(part for part in [b"{}"])).status_code == 200
        stop(settings)
        async with httpx2.AsyncClient() as aclient:
            assert (await aclient.post(CHAT, json=BODY)).status_code == 200
        stop(settings)
        assert requests.post(CHAT, json=BODY, timeout=30).status_code == 200  # noqa: ASYNC210
        stop(settings)
        async with aiohttp.ClientSession() as session, session.post(CHAT, json=BODY) as response:
            assert response.status == 200
    finally:
        redirect.uninstall()
        use(former)


# ── putting it in place and taking it away ────────────────────────────────────────────────────────────────────────


def test_install_twice_and_uninstall_exactly(session):
    door = redirect.install()
    assert redirect.install() is door
    assert redirect.installed() is door
    assert all(row["patched"] and row["imported"] and row["note"] is None for row in door.report())
    assert inspect.signature(httpx2.Client.send) == inspect.signature(ORIGINALS[httpx2.Client, "send"])
    assert pickle.loads(pickle.dumps(httpx2.Client.send)) is httpx2.Client.send
    assert redirect.uninstall() == []
    assert untouched()
    assert redirect.installed() is None
    assert redirect.uninstall() == []


def test_nothing_is_patched_without_a_gateway(settings):
    with fake_gateway() as lost, session_to(lost, settings):
        close(lost)
        with pytest.raises(GatewayError):
            redirect.install()
        assert untouched()


def test_a_patch_on_top_of_ours_stays_and_passes_through(fake, door, monkeypatch):
    ours = httpx2.Client.send
    with monkeypatch.context() as other:
        other.setattr(httpx2.Client, "send", lambda self, *a, **k: ours(self, *a, **k))
        notes = redirect.uninstall()
        assert notes == ["another tool patched Client.send on top; llmlens only passes through there"]
        with fake_gateway() as stranger, httpx2.Client(trust_env=False) as client:
            client.post(stranger.url + "/v1/chat/completions", json=BODY)
    httpx2.Client.send = ORIGINALS[httpx2.Client, "send"]
    assert fake.calls == []
    assert untouched()


def test_one_patch_that_fails_does_not_stop_the_others(session, monkeypatch):
    monkeypatch.delattr(httpx.AsyncClient, "send")
    door = redirect.install()
    rows = {row["library"]: row for row in door.report()}
    assert (rows["httpx"]["patched"], rows["httpx2"]["patched"]) == (False, True)
    assert "send" in rows["httpx"]["note"]
    redirect.uninstall()
    assert httpx.Client.send is ORIGINALS[httpx.Client, "send"]


def test_attach_captures_one_client_only(fake, session):
    with openai.OpenAI() as client, httpx2.Client() as bare:
        assert redirect.attach(client) is client
        redirect.attach(client)
        client.chat.completions.create(**BODY)
        check_openai(fake)
        assert untouched()
        assert "send" not in bare.__dict__
        redirect.install()  # both: still once
        client.chat.completions.create(**BODY)
        assert len(fake.calls) == 2
        redirect.uninstall()
        assert "send" not in client._client.__dict__
        assert client._client.event_hooks == {"request": [], "response": []}


async def test_attach_every_kind(fake, session):
    async with openai.AsyncOpenAI() as one, httpx.AsyncClient() as two, aiohttp.ClientSession() as three:
        for client in (one, two, three):
            redirect.attach(client)
        await one.chat.completions.create(**BODY)
        await two.post(CHAT, json=BODY)
        async with three.post(CHAT, json=BODY):
            pass
    with requests.Session() as four, anthropic.Anthropic() as five:
        redirect.attach(four).post(CHAT, json=BODY)
        redirect.attach(five).messages.create(model="c", max_tokens=1, messages=HELLO)
    assert len(fake.calls) == 5
    assert untouched()
    with pytest.raises(TypeError, match="cannot attach"):
        redirect.attach(object())


def test_a_client_made_earlier_with_a_proxy_does_not_send_loopback_through_it(fake, session, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with httpx2.Client() as early, httpx2.Client(proxy="http://127.0.0.1:9") as explicit:
        mounts = dict(explicit._mounts)
        redirect.install()
        assert early.post(CHAT, json=BODY).status_code == 200
        assert explicit.post(CHAT, json=BODY).status_code == 200
        redirect.uninstall()
        assert explicit._mounts == mounts


LATER = """
import importlib, inspect, sys
from llmlens import settings
from llmlens.client import redirect
from llmlens.client.gateway import Gateway
from llmlens.client.session import Session
from llmlens.records import Secret
known = ("httpx2", "httpx", "aiohttp", "requests", "urllib3")
assert not [name for name in known if name in sys.modules], "something was imported"
url = sys.argv[1]
session = Session(settings.load(environ={}), Gateway(url, Secret("k"), None, "99", None))
door = redirect.install(session)
assert [row["note"] for row in door.report()] == ["not imported"] * 5
finders = len(sys.meta_path)
import httpx2, httpx, requests, aiohttp
for module, make in ((httpx2, httpx2.Client), (httpx, httpx.Client), (requests, requests.Session)):
    assert module.__spec__.loader is module.__loader__ and "llmlens" not in type(module.__loader__).__module__
    assert inspect.getsource(module)
    with make() as client:
        assert client.post("https://api.openai.com/v1/chat/completions", json={}).status_code == 200
assert all(row["patched"] for row in door.report())
importlib.reload(requests)
importlib.reload(requests.sessions)
importlib.reload(requests)
with requests.Session() as client:
    assert client.post("https://api.openai.com/v1/chat/completions", json={}).status_code == 200
assert requests.__loader__ is requests.__spec__.loader
redirect.uninstall()
assert len(sys.meta_path) == finders - 1
assert not hasattr(httpx2.Client.send, "__wrapped__") and not hasattr(requests.Session.send, "__wrapped__")
print("all well")
"""


def test_libraries_imported_later_are_captured_too(fake):
    command = [sys.executable, "-W", "error", "-c", LATER, fake.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "all well\n", done.stderr
    assert len(fake.calls) == 4


def test_importing_the_client_loads_no_library():
    heavy = (
        "duckdb",
        "pandas",
        "altair",
        "numpy",
        "openai",
        "anthropic",
        "aiohttp",
        "requests",
        "urllib3",
        "httpx",
        "httpx2",
    )
    code = (
        "import sys; import llmlens.client.redirect, llmlens.client.ask, llmlens.client.query;"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_interrupted_stream_of_an_sdk_reaches_the_gateway(settings):
    def endless(handler, seen):
        handler.begin_stream()
        handler.chunk(chat_chunk("first"))
        handler.until_gone()

    with fake_gateway(endless) as fake, session_to(fake, settings):
        redirect.install()
        with openai.OpenAI() as client:
            stream = client.chat.completions.create(stream=True, **BODY)
            next(iter(stream))
            stream.close()
        fake.gone.get(timeout=10)
