"""How to reach a URL: the place a connection leads to, the head of a request, the way through a proxy."""

import asyncio
import base64
import re
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

MAX_PROXY_ANSWER_BYTES = 65_536
OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})

_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")  # urlsplit would drop some of them in silence
_OPEN = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r]")


class BrokenAnswer(OSError):
    """The other side hung up, or what came is not HTTP."""


class Place(NamedTuple):
    """Where a connection leads. `proxy` is the proxy's URL."""

    tls: bool
    host: str
    port: int
    proxy: str | None


@lru_cache(maxsize=4096)
def place_of(url: str, proxy: str | None) -> tuple[Place, str, str]:
    """(place, Host header, request target) of `url`. The target is the URL's own, byte for byte.

    Raises:
        ValueError: no http(s) URL with a host, or something in it that cannot be sent. Does not quote the URL.
    """
    if _UNSENDABLE.search(url):
        raise ValueError("the URL holds a space or a control character")
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise ValueError("not an http(s) URL with a host")
    if "@" in split.netloc:
        raise ValueError("the URL holds credentials; they belong into a header")
    tls = split.scheme == "https"
    host = split.hostname if split.hostname.isascii() else split.hostname.encode("idna").decode()
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if split.port is None else f"{shown}:{split.port}"
    target = url[len(split.scheme) + 3 + len(split.netloc) :].partition("#")[0]
    target = target if target.startswith("/") else f"/{target}"
    if proxy is not None and not tls:
        target = f"http://{netloc}{target}"
    port = split.port if split.port is not None else 443 if tls else 80
    return Place(tls, host, port, proxy), netloc, target


def head_of(method: str, target: str, netloc: str, headers: Mapping[str, str], body: bytes, place: Place) -> bytes:
    """The head of a request. `headers` have lower-case names, and none of OWN_HEADERS.

    Raises:
        ValueError: a header or the target cannot be sent.
    """
    if not OWN_HEADERS.isdisjoint(headers):
        raise ValueError(f"{', '.join(sorted(OWN_HEADERS & headers.keys()))}: not the caller's to say")
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {netloc}", *[f"{name}: {value}" for name, value in headers.items()]]
    if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        lines.append(f"content-length: {len(body)}")
    if place.proxy is not None and not place.tls and (credentials := proxy_at(place.proxy)[2]):
        lines.append(f"proxy-authorization: {credentials}")
    if method == "HEAD":
        lines.append("connection: close")  # the parser cannot know that no body comes
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) or head.count("\r") != len(lines) or "\0" in head:
        raise ValueError("a header or the URL holds a line break")
    try:
        return (head + "\r\n\r\n").encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"a header or the URL holds {head[error.start]!r}, which HTTP cannot carry") from None


@lru_cache(maxsize=64)
def proxy_at(url: str) -> tuple[str, int, str | None]:
    """(host, port, Proxy-Authorization) of a proxy's URL.

    Raises:
        ValueError: no http:// proxy. Does not quote the URL, which may hold a password.
    """
    try:
        split = urlsplit(url if "://" in url else f"http://{url}")
        port = split.port or 80
    except ValueError:
        raise ValueError("the proxy's URL cannot be read") from None
    if split.scheme != "http" or not split.hostname:
        raise ValueError(f"only http:// proxies can be used, not {split.scheme}://")
    credentials = None
    if split.username is not None:
        pair = f"{unquote(split.username)}:{unquote(split.password or '')}"
        credentials = "Basic " + base64.b64encode(pair.encode()).decode()
    return split.hostname, port, credentials


async def tunnel(place: Place, inner: asyncio.Protocol, context: ssl.SSLContext) -> asyncio.Transport:
    """Through the proxy by CONNECT (RFC 9110, 9.3.6), then TLS with the place itself.

    Raises:
        OSError, ValueError: no proxy, no tunnel or no TLS.
    """
    host, port, credentials = proxy_at(cast("str", place.proxy))
    loop = asyncio.get_running_loop()
    transport, proxy = await loop.create_connection(_Proxy, host, port)
    try:
        there = f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}"
        who = f"proxy-authorization: {credentials}\r\n" if credentials else ""
        transport.write(f"CONNECT {there} HTTP/1.1\r\nhost: {there}\r\n{who}\r\n".encode("latin-1"))
        await proxy.answered
        proxy.check()
        secured = await loop.start_tls(transport, inner, context, server_hostname=place.host)
    except BaseException:
        transport.abort()
        raise
    return cast("asyncio.Transport", secured)


class _Proxy(asyncio.Protocol):
    """What a proxy answers to CONNECT; `answered` is done when nothing more is to be waited for."""

    def __init__(self) -> None:
        self.answer = b""
        self.answered = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if b"\r\n\r\n" in self.answer or len(self.answer) > MAX_PROXY_ANSWER_BYTES:
            self._done()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def _done(self) -> None:
        if not self.answered.done():
            self.answered.set_result(None)

    def check(self) -> None:
        """Raises BrokenAnswer where no tunnel stands."""
        if b"\r\n" not in self.answer or not self.answer.startswith(b"HTTP/"):
            raise BrokenAnswer("the proxy gave no HTTP answer")
        if not _OPEN.match(self.answer):
            status = self.answer.split(b"\r\n", 1)[0].decode("latin-1")
            raise BrokenAnswer(f"the proxy refused the connection: {status[:200]}")
        if not self.answer.endswith(b"\r\n\r\n"):  # a TLS server does not speak first
            raise BrokenAnswer("the proxy's answer does not end where it should")
