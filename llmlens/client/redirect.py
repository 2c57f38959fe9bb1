"""The SDK door: calls that SDKs and HTTP libraries make to known LLM providers go to the gateway instead.

| library | what is replaced | SDKs that stand on it |
| --- | --- | --- |
| httpx2 | `Client.send`, `AsyncClient.send` | openai 3, anthropic 2, google-genai 3, mistralai 3, langchain-openai |
| httpx | `Client.send`, `AsyncClient.send` | cohere, groq, ollama, litellm |
| aiohttp | `ClientSession._request` | google-genai async |
| requests | `Session.send` | |
| urllib3 | `HTTPConnectionPool.urlopen` | botocore, boto3 |

Each is replaced only where it is imported, now or later. Nothing but calls to the origins that the gateway publishes is
touched. After a call the request shows its own URL again, and none of our headers.
"""

import logging
import sys
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, Final, TypeVar

from llmlens.client.detour import Detour
from llmlens.client.late_import import AfterImport
from llmlens.client.seam import Seam
from llmlens.client.seam_aiohttp import AiohttpSeam
from llmlens.client.seam_httpx import HttpxSeam
from llmlens.client.seam_requests import RequestsSeam
from llmlens.client.seam_urllib3 import Urllib3Seam
from llmlens.client.session import Session
from llmlens.client.session import session as process_session
from llmlens.settings import loopback_without_proxy

log = logging.getLogger("llmlens")

C = TypeVar("C")


class Redirect:
    """The detour of one process, through every HTTP library that it has imported or will import."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._detour = Detour(session)
        self._seams: dict[str, Seam] = {
            seam.library: seam
            for seam in (
                HttpxSeam("httpx2", self._detour),
                HttpxSeam("httpx", self._detour),
                AiohttpSeam(self._detour),
                RequestsSeam(self._detour),
                Urllib3Seam(self._detour),
            )
        }
        self._patched: dict[str, ModuleType] = {}
        self._notes: dict[str, str] = {}
        self._lock = threading.RLock()
        self._later = AfterImport(dict.fromkeys(self._seams, self._imported))
        self._installed = False

    @property
    def installed(self) -> bool:
        """Whether the libraries are patched (as opposed to single clients being attached)."""
        return self._installed

    def report(self) -> list[dict[str, Any]]:
        """One row per library: library, version (None: not installed), imported, patched, captured (calls so far), and
        note: why it is not patched, or None."""
        return [
            {
                "library": name,
                "version": _version(name),
                "imported": name in sys.modules,
                "patched": name in self._patched,
                "captured": self._detour.captured.get(name, 0),
                "note": self._notes.get(name) or (None if name in sys.modules else "not imported"),
            }
            for name in self._seams
        ]

    def begin(self) -> None:
        """Patch what is imported, and watch for the rest. Raises GatewayError; then nothing is patched."""
        loopback_without_proxy()
        self._detour.learn()
        with self._lock:
            self._detour.active = True
            self._installed = True
            self._later.begin()
            for name in self._seams:
                if name in sys.modules:
                    self._imported(sys.modules[name])

    def end(self) -> list[str]:
        """Put every original back; returns what could not be, in words."""
        with self._lock:
            self._later.end()
            self._installed = False
            notes = [note for seam in self._seams.values() for note in self._guarded(seam.library, seam.restore) or ()]
            for seam in self._seams.values():
                self._guarded(seam.library, seam.detach)
            self._patched = {}
            self._detour.active = False
            return notes

    def attach(self, client: Any) -> None:
        """Let this one client take the detour. Raises TypeError for what is no client of a library we know."""
        loopback_without_proxy()
        self._detour.learn()
        with self._lock:
            self._detour.active = True
            inner = _http_client(client)
            for name, seam in self._seams.items():
                if name in sys.modules and seam.attach(sys.modules[name], inner):
                    return
        raise TypeError(
            f"cannot attach {type(client).__module__}.{type(client).__qualname__}: it is no client of "
            f"{', '.join(self._seams)}, and holds none that llmlens can see; give it the address `lens.base_url()`"
        )

    def _imported(self, module: ModuleType) -> None:
        """Patch `module`. One that fails must not stop the others, nor the import."""
        name = module.__name__
        with self._lock:
            if self._installed:
                self._notes.pop(name, None)
                self._guarded(name, self._seams[name].restore)  # after a reload the classes are new ones
                self._guarded(name, lambda: self._seams[name].patch(module))
                self._patched.pop(name, None)
                if name not in self._notes:
                    self._patched[name] = module

    def _guarded(self, name: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:  # noqa: BLE001  whatever an unknown version of the library does: the user's work goes on
            self._notes[name] = f"{type(error).__name__}: {error}"
            log.warning("llmlens does not capture calls through %s: %r", name, error)
            return None


def _http_client(client: Any) -> Any:
    """The HTTP client inside of an SDK's client, which has no public name; openai and anthropic say `_client`."""
    for path in (("_client",), ("_client_wrapper", "httpx_client", "httpx_client")):
        found = client
        for name in path:
            found = getattr(found, name, None)
        if hasattr(found, "event_hooks"):
            return found
    return client


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ── of this process ───────────────────────────────────────────────────────────────────────────────────────────────


class _Process:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.redirect: Redirect | None = None


_PROCESS: Final = _Process()


def _of_process(session: Session | None) -> Redirect:
    if session is None and _PROCESS.redirect is not None:
        return _PROCESS.redirect
    wanted = session or process_session()
    if _PROCESS.redirect is None or _PROCESS.redirect.session is not wanted:
        if _PROCESS.redirect is not None:
            _PROCESS.redirect.end()
        _PROCESS.redirect = Redirect(wanted)
    return _PROCESS.redirect


def install(session: Session | None = None) -> Redirect:
    """Capture the LLM calls of this process from now on. A second time does nothing. Starts the gateway if need be.

    Raises:
        GatewayError: there is no gateway and none can be started; then nothing is captured, and calls go as before.
    """
    with _PROCESS.lock:
        redirect = _of_process(session)
        if not redirect.installed:
            redirect.begin()
        return redirect


def uninstall() -> list[str]:
    """Put everything back as it was, attached clients too. Returns what could not be put back, in words."""
    with _PROCESS.lock:
        redirect, _PROCESS.redirect = _PROCESS.redirect, None
        return redirect.end() if redirect else []


def installed() -> Redirect | None:
    """What captures the calls of this process, if anything does."""
    redirect = _PROCESS.redirect
    return redirect if redirect is not None and redirect.installed else None


def attach(client: C) -> C:
    """Capture the LLM calls of this one client, whatever else is captured; returns it.

    It may be an OpenAI or Anthropic client, or one of httpx2, httpx, aiohttp or requests. `lens.unpatch()` and
    `%unload_ext llmlens` release it.

    Raises:
        TypeError: it is none of these.
        GatewayError: there is no gateway and none can be started.
    """
    with _PROCESS.lock:
        _of_process(None).attach(client)
    return client
