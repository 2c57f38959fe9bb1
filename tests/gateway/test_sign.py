"""The signature of a request to Bedrock is the one that botocore gives the same request."""

import re
import sys

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from llmlens.errors import SettingsError
from llmlens.gateway.sign import find_credentials, region_of, sign, signed_headers
from llmlens.wire.dialects import BEDROCK_CONVERSE

URL = "https://bedrock-runtime.eu-central-1.amazonaws.com" + BEDROCK_CONVERSE.call_path("anthropic.claude-v2:1", True)
HEADERS = {
    "content-type": "application/json",
    "user-agent": "x",
    "authorization": "Bearer old",
    "x-amzn-bedrock-trace": "ENABLED",
    "accept-encoding": "gzip",
}
BODY = b'{"messages":[]}'


@pytest.mark.parametrize("token", [None, "session-token"])
def test_the_signature_is_botocores(token: str | None) -> None:
    credentials = Credentials("AKIDEXAMPLE", "secret", token)
    signed = sign(HEADERS, "POST", URL, BODY, "eu-central-1", credentials)
    # signed again by botocore at the time that the first signature names
    covered = {k: v for k, v in signed.items() if k in signed_headers(signed["authorization"])}
    request = AWSRequest("POST", URL, data=BODY, headers=covered)
    request.context["timestamp"] = signed["x-amz-date"]
    auth = SigV4Auth(credentials, "bedrock", "eu-central-1")
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert signed["authorization"].endswith(f"Signature={signature}")
    assert (
        f"Credential=AKIDEXAMPLE/{signed['x-amz-date'][:8]}/eu-central-1/bedrock/aws4_request"
        in signed["authorization"]
    )
    assert signed.get("x-amz-security-token") == token
    assert (signed["user-agent"], signed["accept-encoding"]) == ("x", "gzip")


def test_what_a_proxy_may_change_is_not_signed() -> None:
    signed = sign(HEADERS, "POST", URL, BODY, "eu-central-1", Credentials("a", "b"))
    assert signed_headers(signed["authorization"]) == {"content-type", "host", "x-amz-date", "x-amzn-bedrock-trace"}
    again = sign(signed | {"user-agent": "y"}, "POST", URL, BODY, "eu-central-1", Credentials("a", "b"))
    if again["x-amz-date"] == signed["x-amz-date"]:
        assert again["authorization"] == signed["authorization"]
    assert signed_headers("Bearer x") == frozenset()


def test_botocores_own_request_is_covered() -> None:
    """The headers of a call that a real client has signed, which must go out as they came."""
    session, seen = botocore.session.Session(), []
    session.set_credentials("a", "b")
    client = session.create_client("bedrock-runtime", region_name="eu-central-1")

    def stop(request: AWSRequest, **_: object) -> None:
        seen.append(request)
        raise RuntimeError("not sent")

    client.meta.events.register("before-send.bedrock-runtime", stop)
    with pytest.raises(RuntimeError, match="not sent"):
        client.converse_stream(modelId="anthropic.claude-v2:1", messages=[{"role": "user", "content": [{"text": "x"}]}])
    authorization = seen[0].headers["Authorization"]
    text = authorization.decode() if isinstance(authorization, bytes) else authorization
    assert {"content-type", "host", "x-amz-date"} <= signed_headers(text)
    assert seen[0].url == URL


def test_the_region_is_in_the_address() -> None:
    assert region_of(URL) == "eu-central-1"
    assert region_of("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/model") == "us-gov-west-1"
    assert region_of("https://vpce-0a.bedrock-runtime.us-east-1.vpce.amazonaws.com") == "us-east-1"
    assert region_of("http://127.0.0.1:9000/v1") is None


def test_no_credentials_are_an_error_that_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                 "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(SettingsError, match="AWS_BEARER_TOKEN_BEDROCK"):
        find_credentials()
    with pytest.raises(SettingsError, match=re.escape("profile (nobody)")):
        find_credentials("nobody")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert find_credentials().get_frozen_credentials().access_key == "k"


def test_without_botocore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(SettingsError, match=re.escape("pip install 'llmlens[bedrock]'")):
        sign(HEADERS, "POST", URL, BODY, "eu-central-1", Credentials("a", "b"))
