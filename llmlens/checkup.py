"""How things are: the gateway's status, and the doctor's `Finding`s about what stands in the way. Shows no secret.

Used by the notebook and by the CLI, which do not import each other.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from llmlens.errors import GatewayError, LensError
from llmlens.plain import count, seconds, size
from llmlens.settings import Settings, variable

if TYPE_CHECKING:
    from llmlens.client.redirect import Redirect
    from llmlens.client.session import Session

Mark = Literal["ok", "warn", "bad", "info"]
SIGNS: dict[Mark, str] = {"ok": "✓", "warn": "!", "bad": "✗", "info": "·"}

# distribution → the module whose presence in sys.modules means "in use"
SDKS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google-genai": "google.genai",
    "mistralai": "mistralai",
    "cohere": "cohere",
    "groq": "groq",
    "ollama": "ollama",
    "litellm": "litellm",
    "langchain-openai": "langchain_openai",
    "boto3": "boto3",
}
BASE_URLS = (
    "OPENAI_BASE_URL",
    "ANTHROPIC_BASE_URL",
    "GOOGLE_GEMINI_BASE_URL",
    "GROQ_BASE_URL",
    "CO_API_URL",
    "OLLAMA_HOST",
)
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
UNKNOWN_BASE_URL = (
    "points at no provider that llmlens knows, so calls to it are not captured; "
    "add [providers.NAME] with this base_url to llmlens.toml"
)
PROXY_IN_THE_WAY = (
    "NO_PROXY does not name 127.0.0.1, so clients that are given the gateway's address go to the proxy instead"
)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "*"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: how it is, about what, and what it means or what to do."""

    mark: Mark
    about: str
    says: str


def surroundings(settings: Settings, gateway_url: str | None = None) -> Iterator[Finding]:
    """The log, keys, base URLs, proxies and SDKs, as this process sees them."""
    yield _log_folder(settings)
    yield from _keys(settings)
    yield from _base_urls(settings, gateway_url)
    yield from _proxies()
    yield from _sdks()


def _log_folder(settings: Settings) -> Finding:
    if settings.url:
        return Finding("info", "log", "kept by the gateway that LLMLENS_URL names")
    folder = settings.store.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if os.access(folder, os.W_OK):
        return Finding("ok", "log", f"{settings.store} can be written")
    return Finding("bad", "log", f"{folder} cannot be written; set LLMLENS_STORE to a file in a folder that can")


def _keys(settings: Settings) -> Iterator[Finding]:
    """A line for each key that is there, and one for all that are not."""
    missing = []
    for provider in settings.providers.values():
        variables = provider.key_env.split("|") if provider.key_env else []
        if there := next((name for name in variables if variable(name)), None):
            yield Finding("ok", f"key for {provider.name}", f"{there} set")
        elif variables:
            missing.append(f"{provider.name} ({' or '.join(variables)})")
    if missing:
        yield Finding("info", "no key for", f"{', '.join(missing)}: calls there have to bring their own")


def _base_urls(settings: Settings, gateway_url: str | None) -> Iterator[Finding]:
    from llmlens.catalog.providers import provider_for_url

    for name in BASE_URLS:
        url = variable(name)
        if url:
            found = provider_for_url(url.lower(), settings.providers)
            if gateway_url and url.startswith(gateway_url):
                yield Finding("ok", name, "points at the gateway itself")
            elif found:
                yield Finding("ok", name, f"points at {found[0].name}; calls to it are captured")
            else:
                yield Finding("warn", name, UNKNOWN_BASE_URL)


def _proxies() -> Iterator[Finding]:
    names = [name for name in PROXIES if variable(name)]
    if not names:
        return
    spared = {host.strip() for name in ("NO_PROXY", "no_proxy") for host in (variable(name) or "").split(",")}
    if spared & LOOPBACK:
        yield Finding("ok", "proxy", f"{', '.join(names)} set; NO_PROXY spares the gateway")
    else:
        yield Finding("warn", "proxy", f"{', '.join(names)} set; {PROXY_IN_THE_WAY}")


def _sdks() -> Iterator[Finding]:
    for distribution, module in SDKS.items():
        try:
            number = version(distribution)
        except PackageNotFoundError:
            continue
        yield Finding("info", distribution, f"{number}{', imported' if module in sys.modules else ''}")


# ── the gateway ───────────────────────────────────────────────────────────────────────────────────────────────────


def status_of(session: "Session") -> dict[str, Any]:
    """What the gateway says of itself, and its address.

    Raises:
        GatewayError: none can be reached, or it does not take our key.
    """
    from llmlens.client.door import error_of

    code, body = session.fetch("GET", "/lens/status", timeout_s=15)
    if code != 200:
        raise GatewayError(f"the gateway at {session.gateway.url} does not say how it is: {error_of(body)[0]}")
    return {"url": session.gateway.url, **json.loads(body)}


def status_rows(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`status` in words: label and value."""
    cache, idle = status.get("cache") or {}, status.get("idle_stop_s")
    rows = [
        ("gateway", f"{status['url']} (pid {status['pid']}, version {status['version']})"),
        ("health", f"cannot log: {status['failing']}" if status.get("failing") else "ok"),
        ("up", seconds(status.get("uptime_s"))),
        ("store", f"{status['store']} ({size(status.get('store_bytes'))})"),
        ("calls logged", count(status.get("calls"))),
        ("cache", f"{count(cache.get('entries'))} answers ({size(cache.get('bytes'))})"),
    ]
    if status.get("pending"):
        rows.append(("being written", f"{count(status['pending'])} calls, safe in the journal"))
    if status.get("lost"):
        rows.append(("not logged", f"{count(status['lost'])} calls"))
    if idle:
        rows.append(("stops itself", f"after {seconds(idle)} without a call"))
    return rows


def gateway_findings(connect: Callable[[], "Session"]) -> Iterator[Finding]:
    """Does it run, is it of this version, can it log?"""
    try:
        status = status_of(connect())
    except LensError as error:
        yield Finding("bad", "gateway", str(error))
        return
    yield Finding("ok", "gateway", f"answers at {status['url']} (pid {status['pid']}, version {status['version']})")
    ours = version("llmlens")
    if status["version"] != ours:
        yield Finding("warn", "version", f"the gateway is {status['version']}, this process is {ours}")
    if status.get("failing"):
        yield Finding("bad", "writing", str(status["failing"]))
    else:
        yield Finding("ok", "writing", f"{count(status.get('calls'))} calls in {status['store']}")


def captures(redirect: "Redirect | None") -> Iterator[Finding]:
    """Which HTTP libraries lead to the gateway, and why the others do not."""
    if redirect is None:
        yield Finding("bad", "capture", "calls of SDKs are not captured; %reload_ext llmlens tries again")
        return
    for row in redirect.report():
        about = row["library"]
        if row["patched"]:
            yield Finding("ok", about, f"{row['version']}, captured ({count(row['captured'])} calls so far), "
                          "clients that were made before too")  # fmt: skip
        elif row["version"] is None:
            yield Finding("info", about, "not installed")
        elif row["imported"]:
            yield Finding("bad", about, f"{row['version']}, NOT captured: {row['note'] or 'for no reason known'}")
        else:
            yield Finding("ok", about, f"{row['version']}, will be captured as soon as it is imported")
