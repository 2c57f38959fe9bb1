"""One HTTP exchange with the gateway, over the standard library: no proxy, no pool, and any thread can break it off.

An HTTP library's pool cannot be told by another thread to give up a read; a socket of our own can (`Exchange.abort`).
"""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from llmlens.errors import GatewayError

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 1830.0  # a little longer than the gateway's own total_timeout_s
CHUNK_BYTES = 64 * 1024


class NotListening(GatewayError):
    """No connection to the gateway: nothing was sent."""


@dataclass(slots=True)
class Exchange:
    """A request that was sent. `begin` waits for the status line, then `chunks` gives the body as it comes."""

    connection: http.client.HTTPConnection
    sock: socket.socket
    aborted: bool = False
    _response: http.client.HTTPResponse | None = field(default=None, init=False)

    def begin(self) -> tuple[int, Mapping[str, str]]:
        """Status and headers (lower-case names).

        Raises:
            OSError, http.client.HTTPException: the gateway broke off, or was too slow.
        """
        response = self._response = self.connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}

    def chunks(self) -> Iterator[bytes]:
        """The body, each piece as soon as it is there.

        Raises:
            OSError, http.client.HTTPException: the body ended before its end.
        """
        response = cast("http.client.HTTPResponse", self._response)
        while chunk := response.read1(CHUNK_BYTES):
            yield chunk

    def body(self) -> bytes:
        """The whole body."""
        return cast("http.client.HTTPResponse", self._response).read()

    def abort(self) -> None:
        """Break off, from any thread: a read that waits in another one ends at once."""
        self.aborted = True
        with suppress(OSError):  # it has ended already
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection. Only by the thread that reads."""
        if self._response is not None:
            self._response.close()
        self.connection.close()


def send(
    url: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    timeout_s: float = READ_TIMEOUT_S,
) -> Exchange:
    """Connect to `url` and send one request; `path` is added to the path of `url`. `timeout_s` is between two reads.

    Raises:
        NotListening: no connection, so nothing was sent.
        OSError: the connection broke while the request was sent.
    """
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, connect_timeout_s)
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        raise NotListening(f"no gateway answers at {url}: {error.strerror or error}") from error
    sock = connection.sock  # the connection forgets it when the answer begins
    sock.settimeout(timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, {"connection": "close", **headers})
    except BaseException:
        connection.close()
        raise
    return Exchange(connection, sock)


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=timeout_s)


def fetch(
    url: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    timeout_s: float = 60.0,
) -> tuple[int, Mapping[str, str], bytes]:
    """One whole exchange: status, headers, body.

    Raises:
        NotListening: no connection, so nothing was sent.
        GatewayError: the connection broke, or nothing came for `timeout_s`.
    """
    try:
        exchange = send(url, method, path, headers, body, timeout_s=timeout_s)
        try:
            status, answered = exchange.begin()
            return status, answered, exchange.body()
        finally:
            exchange.close()
    except (OSError, http.client.HTTPException) as error:
        raise GatewayError(f"the gateway at {url} broke off {method} {path}: {error!r}") from error


def error_of(body: bytes) -> tuple[str, str | None]:
    """(message, code) of an error the gateway answers as JSON; the text itself where it is none."""
    try:
        error: Any = json.loads(body)["error"]
        return str(error["message"]), error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:500].decode("utf-8", "replace"), None
