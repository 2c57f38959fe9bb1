"""AWS Signature Version 4 for calls to Amazon Bedrock, by botocore, which is imported only when something is signed.

Three ways lead to Bedrock, and only the third needs this file:

* the caller signed the request: bytes, path (as it was encoded) and the headers that `signed_headers` names must go out
  as they came, `host` among them, so the call must go to the origin it was signed for;
* a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK), which is a bearer token like any other;
* AWS credentials of the gateway's own: environment, profile, container or instance role, as botocore finds them.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from llmlens.errors import SettingsError

SERVICE = "bedrock"
_REGION = re.compile(r"bedrock[a-z-]*\.([a-z]{2,3}(?:-[a-z]+)+-\d{1,2})\.")
_SIGNED = re.compile(r"AWS4-[A-Z0-9-]+ .*?SignedHeaders=([^,\s]+)")
_MEANT = ("content-type", "accept")  # these and `x-amz…` are signed; a proxy may change any other


class Credentials(Protocol):
    """AWS credentials as botocore holds them: they renew themselves before they are frozen."""

    def get_frozen_credentials(self) -> Any:
        """An access key, a secret key and perhaps a token, all of one moment."""
        ...


def find_credentials(profile: str | None = None) -> Credentials:
    """The credentials that every tool of AWS would use. May ask the network (SSO, instance role): not for a loop.

    Raises:
        SettingsError: botocore is missing, there is no such profile, or there are no credentials.
    """
    session = _botocore("session").Session(profile=profile)
    try:
        found: Credentials | None = session.get_credentials()
    except _botocore("exceptions").BotoCoreError as error:
        raise SettingsError(f"AWS credentials cannot be read: {error}") from error
    if found is None:
        raise SettingsError(
            "there are no AWS credentials for Bedrock; set AWS_BEARER_TOKEN_BEDROCK (a Bedrock API key), or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    return found


def region_of(url: str) -> str | None:
    """The region in a Bedrock address ("us-east-1"); None where the address does not say it."""
    found = _REGION.search(url)
    return found[1] if found else None


def signed_headers(authorization: str) -> frozenset[str]:
    """The headers (lower-case names) that the signature in an Authorization header covers; none where there is none."""
    found = _SIGNED.match(authorization)
    return frozenset(found[1].lower().split(";")) if found else frozenset()


def sign(
    headers: Mapping[str, str], method: str, url: str, body: bytes, region: str, credentials: Credentials
) -> dict[str, str]:
    """`headers` (lower-case names) with the signature of this very request: send it at once, and unchanged.

    Raises:
        SettingsError: botocore is missing, or the credentials cannot be renewed.
    """
    auth, awsrequest = _botocore("auth"), _botocore("awsrequest")
    kept = {k: v for k, v in headers.items() if k not in ("authorization", "x-amz-date", "x-amz-security-token")}
    covered = {k: v for k, v in kept.items() if k in _MEANT or k.startswith("x-amz")}
    request = awsrequest.AWSRequest(method=method, url=url, data=body, headers=covered)
    try:
        auth.SigV4Auth(credentials.get_frozen_credentials(), SERVICE, region).add_auth(request)
    except _botocore("exceptions").BotoCoreError as error:
        raise SettingsError(f"the request cannot be signed for AWS: {error}") from error
    return kept | {name.lower(): value for name, value in request.headers.items()}


def _botocore(name: str) -> ModuleType:
    try:
        return import_module(f"botocore.{name}")
    except ImportError as error:
        raise SettingsError(
            "calls to Bedrock with AWS credentials need botocore: pip install 'llmlens[bedrock]'; "
            "a Bedrock API key in AWS_BEARER_TOKEN_BEDROCK works without"
        ) from error
