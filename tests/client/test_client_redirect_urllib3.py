"""The SDK door for what uses urllib3 directly: botocore, and pools of one's own. What comes through requests counts once."""

from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from botocore.session import get_session

from llmlens.client import cell, redirect
from llmlens.client.gateway import stop
from llmlens.client.session import Session, use
from llmlens.records import Provenance
from tests.client.conftest import session_to
from tests.client.fake_gateway import KEY, fake_gateway
from tests.client.test_client_redirect import BODY, CHAT, OPENAI

BEDROCK = "https://bedrock-runtime.*.amazonaws.com"
ORIGINAL = urllib3.HTTPConnectionPool.urlopen


@pytest.fixture
def door(session):
    yield redirect.install()
    redirect.uninstall()
    assert urllib3.HTTPConnectionPool.urlopen is ORIGINAL


def captured(door) -> dict[str, int]:
    return {row["library"]: row["captured"] for row in door.report() if row["captured"]}


def test_a_pool_manager(fake, door):
    token = cell.entered(Provenance(cell_id="c", execution_count=4))
    with urllib3.PoolManager(headers={"Authorization": "Bearer sk-theirs", "Host": "api.openai.com"}) as http:
        answer = http.request("POST", CHAT + "?a=%2F", json=BODY)
        streamed = http.request("POST", CHAT, json={**BODY, "stream": True}, preload_content=False)
        assert b"hi" in b"".join(streamed.stream())
    cell.left(token)
    assert answer.json()["id"] == "r1"
    assert "127.0.0.1" not in answer.url
    seen = fake.calls[0]
    assert (seen.path, seen.json) == ("/v1/chat/completions?a=%2F", BODY)
    assert seen.headers["host"] == urlsplit(fake.url).netloc
    assert seen.headers["authorization"] == "Bearer sk-theirs"
    told = (seen.headers["x-llmlens-origin"], seen.headers["x-llmlens-key"], seen.headers["x-llmlens-cell"])
    assert told == (OPENAI, KEY, "c; n=4")
    assert len(fake.calls) == 2
    assert captured(door) == {"urllib3": 2}


def moving(handler, seen):
    if seen.path == "/v1/chat/completions":
        handler.reply(307, {}, {"location": "/v1/new"})
    elif seen.path == "/v1/away":
        handler.reply(307, {}, {"location": handler.fake.origins[-1] + "/elsewhere"})
    else:
        handler.reply(200, {})


def test_redirects_stay_with_the_provider_and_our_key_with_us(settings):
    with fake_gateway() as other, fake_gateway(moving) as fake, session_to(fake, settings):
        redirect.install()
        fake.origins.append(other.url)  # after the install: a stranger
        with urllib3.PoolManager() as http:
            http.request("POST", CHAT, json=BODY)
            assert [seen.path for seen in fake.calls] == ["/v1/chat/completions", "/v1/new"]
            assert {seen.headers["x-llmlens-origin"] for seen in fake.calls} == {OPENAI}
            http.request("POST", OPENAI + "/v1/away", json=BODY)
        assert not [name for seen in other.calls for name in seen.headers if name.startswith("x-llmlens")]
        assert len(other.calls) == 1


def test_a_call_of_requests_is_captured_once(fake, door):
    requests.post(CHAT, json=BODY, timeout=9)
    assert len(fake.calls) == 1
    assert captured(door) == {"requests": 1}


def test_strangers_are_not_touched(fake, door):
    with fake_gateway() as other, urllib3.PoolManager() as http:
        http.request("POST", other.url + "/?u=" + CHAT, json=BODY)
    assert not [name for seen in other.calls for name in seen.headers if name.startswith("x-llmlens")]
    assert fake.calls == []


def test_a_gateway_that_went_is_started_again(settings, process):
    former = use(Session(settings, command=process()))
    try:
        redirect.install()
        with urllib3.PoolManager() as http:
            assert http.request("POST", CHAT, json=BODY).status == 200
            stop(settings)
            assert http.request("POST", CHAT, json=BODY).status == 200
    finally:
        redirect.uninstall()
        use(former)


def test_without_a_gateway_the_error_says_what_to_do(settings):
    with fake_gateway() as lost, session_to(lost, settings):
        redirect.install()
        lost.server.shutdown()
        lost.server.server_close()
        with urllib3.PoolManager() as http:
            with pytest.raises(urllib3.exceptions.NewConnectionError, match="unload_ext"):
                http.request("POST", CHAT, json=BODY, retries=False)
            with pytest.raises(urllib3.exceptions.MaxRetryError, match="unload_ext") as told:
                http.request("POST", CHAT, json=BODY, retries=1)
        assert KEY not in f"{told.value!r}"


# ── botocore ──────────────────────────────────────────────────────────────────────────────────────────────────────


def conversing(handler, seen):
    handler.reply(200, {"output": {"message": {"role": "assistant", "content": [{"text": "hi there"}]}},
                        "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
                        "metrics": {"latencyMs": 1}})  # fmt: skip


def bedrock():
    return get_session().create_client(
        "bedrock-runtime", "eu-west-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


def test_botocore_with_its_own_signature(settings):
    with fake_gateway(conversing, origins=(BEDROCK,)) as fake, session_to(fake, settings):
        redirect.install()
        answer = bedrock().converse(modelId="amazon.nova-micro-v1:0",
                                    messages=[{"role": "user", "content": [{"text": "hello"}]}])  # fmt: skip
        assert answer["output"]["message"]["content"] == [{"text": "hi there"}]
    (seen,) = fake.calls
    assert seen.path == "/model/amazon.nova-micro-v1%3A0/converse"
    assert seen.headers["x-llmlens-origin"] == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")


def test_botocore_without_a_gateway(settings):
    with fake_gateway(conversing, origins=(BEDROCK,)) as lost, session_to(lost, settings):
        redirect.install()
        lost.server.shutdown()
        lost.server.server_close()
        with pytest.raises(EndpointConnectionError) as told:
            bedrock().converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hello"}]}])
    assert "unload_ext" in str(told.value.kwargs["error"])
