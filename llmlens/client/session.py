"""`Session`: what a process holds of the gateway. One per process, made when it is first needed.

The gateway may go at any time (it stops itself when idle, somebody kills it). Calls recover by themselves: when nothing
listens any more they ask for `reconnected`, which finds or starts one, and send once more.
"""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from llmlens.client.door import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Exchange, NotListening, error_of, fetch, send
from llmlens.client.gateway import Gateway, connect
from llmlens.errors import GatewayError
from llmlens.settings import Settings, load

if TYPE_CHECKING:
    import httpx2


class Session:
    """Settings, the gateway, and the way to send it something. Thread-safe; asks for a gateway when first used.

    `command` replaces `python -m llmlens serve` (tests).
    """

    def __init__(
        self, settings: Settings | None = None, gateway: Gateway | None = None, *, command: Sequence[str] | None = None
    ) -> None:
        self.settings = settings or load()
        self._command = command
        self._gateway = gateway
        self._origins: tuple[Gateway, tuple[str, ...]] | None = None
        self._lock = threading.Lock()
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<llmlens.Session {self._gateway.url if self._gateway else 'not connected'}>"

    @property
    def gateway(self) -> Gateway:
        """The gateway; found or started at the first use. Raises GatewayError."""
        with self._lock:
            if self._gateway is None:
                self._gateway = connect(self.settings, command=self._command)
            return self._gateway

    def reconnected(self, gone: Gateway) -> Gateway:
        """A gateway in place of `gone`, which does not listen any more. Blocking; the first to ask does the work.

        Raises:
            GatewayError: there is none and none can be started.
        """
        with self._lock:
            if self._gateway is None or self._gateway is gone:
                self._gateway = None
                self._gateway = connect(self.settings, command=self._command)
            return self._gateway

    @property
    def origins(self) -> tuple[str, ...]:
        """The URL prefixes whose calls belong to the gateway, as it states them; asked once per gateway."""
        gateway = self.gateway
        known = self._origins
        if known is None or known[0] is not gateway:
            status, body = self.fetch("GET", "/lens/origins")
            if status != 200:
                raise GatewayError(f"the gateway does not say which calls to send it: {error_of(body)[0]}")
            known = self._origins = self.gateway, tuple(json.loads(body)["origins"])
        return known[1]

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Exchange:
        """Send one request, with our key; the answer is read from what is returned.

        Raises:
            GatewayError: there is no gateway, and none can be started.
            OSError: the connection broke while the request was sent.
        """
        gateway = self.gateway
        try:
            return send(gateway.url, method, path, {**headers, **gateway.headers}, body)
        except NotListening:
            gateway = self.reconnected(gateway)
            return send(gateway.url, method, path, {**headers, **gateway.headers}, body)

    def fetch(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> tuple[int, bytes]:  # fmt: skip
        """One whole exchange: status and body.

        Raises:
            GatewayError: there is no gateway and none can be started, or it broke off.
        """

        def at(gateway: Gateway) -> tuple[int, bytes]:
            given = {**(headers or {}), **gateway.headers}
            status, _, answer = fetch(gateway.url, method, path, given, body, timeout_s=timeout_s)
            return status, answer

        gateway = self.gateway
        try:
            return at(gateway)
        except NotListening:
            return at(self.reconnected(gateway))

    def async_client(self) -> "httpx2.AsyncClient":
        """The HTTP client of the running event loop. It keeps no idle connection, so a loop may just be closed."""
        import httpx2  # 0.1 s

        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None or client.is_closed:
            client = self._async_clients[loop] = httpx2.AsyncClient(
                trust_env=False,
                verify=self.gateway.url.startswith("https"),
                timeout=httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=None),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return client

    def close(self) -> None:
        """Forget the gateway; it goes on. The session may be used again."""
        with self._lock:
            self._gateway = self._origins = None
            self._async_clients.clear()


class _Process:
    """The session of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.session: Session | None = None


_PROCESS: Final = _Process()


def session() -> Session:
    """The session of this process; made from `llmlens.toml` and the environment at the first call.

    Raises:
        SettingsError: the configuration is wrong.
    """
    with _PROCESS.lock:
        if _PROCESS.session is None:
            _PROCESS.session = Session()
        return _PROCESS.session


def use(chosen: Session | None) -> Session | None:
    """Make `chosen` the session of this process (None: the next call makes one anew); returns the former one."""
    with _PROCESS.lock:
        former, _PROCESS.session = _PROCESS.session, chosen
        return former


def close() -> None:
    """Let go of the session of this process, if there is one."""
    former = use(None)
    with suppress(GatewayError):
        if former is not None:
            former.close()
