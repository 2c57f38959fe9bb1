"""The seam to the providers: `send` an `Outgoing`, get an `Incoming`. Only this file knows aiohttp."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import aiohttp
import yarl

from llmlens.errors import UpstreamFailed, UpstreamTimeout
from llmlens.gateway.sim import SimReply, SimUpstream
from llmlens.settings import proxy_of


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request to a provider, complete with its credential."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    sample: int = 0  # only the simulated provider reads it


class Incoming(Protocol):
    """One provider's answer. The body is read once, by `chunks`, which raises UpstreamFailed where it breaks off.
    `close` ends it at once and cancels what is not read."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def chunks(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None: ...


class Upstream(Protocol):
    """Anything that answers: the network, the simulated provider, a fake in a test."""

    async def send(self, request: Outgoing) -> Incoming:
        """Raises UpstreamFailed or UpstreamTimeout when no answer came."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class HttpUpstream:
    """Providers over HTTP, with pooled connections. Bodies stay as the provider compressed them."""

    connect_timeout_s: float
    first_byte_timeout_s: float
    total_timeout_s: float
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    async def send(self, request: Outgoing) -> Incoming:
        session = self._session or self._open()
        url, proxy = _place(request.url)
        try:
            response = await session.request(
                request.method,
                url,
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,
                proxy=proxy,
            )
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            raise UpstreamTimeout(f"{_shown(request.url)} did not answer in time ({_reason(error)})") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamFailed(f"{_shown(request.url)} cannot be reached: {_reason(error)}") from error
        return _HttpIncoming(response)

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=self.total_timeout_s, sock_connect=self.connect_timeout_s, sock_read=self.first_byte_timeout_s
            ),
            read_bufsize=1 << 18,
            max_line_size=32_768,
            max_field_size=32_768,
        )
        return self._session


@dataclass(slots=True)
class _HttpIncoming:
    response: aiohttp.ClientResponse
    status: int = field(init=False)
    headers: list[tuple[bytes, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.status = self.response.status
        self.headers = [(name.lower(), value) for name, value in self.response.raw_headers]

    async def chunks(self) -> AsyncIterator[bytes]:
        content = self.response.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            raise UpstreamTimeout(f"{self.response.url.host} fell silent ({_reason(error)})") from error
        except aiohttp.ClientPayloadError as error:
            raise UpstreamFailed(f"{self.response.url.host} broke off its answer before it was complete") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed(f"{self.response.url.host} broke off its answer: {_reason(error)}") from error

    def close(self) -> None:
        self.response.close()


@dataclass(slots=True)
class SimulatedUpstream:
    """The built-in simulated provider, behind the same seam."""

    sim: SimUpstream

    async def send(self, request: Outgoing) -> Incoming:
        path = request.url.removeprefix("sim:").partition("?")[0]
        return _SimIncoming(await self.sim.send(path=path, body=request.body, sample=request.sample))

    async def close(self) -> None:
        return None


@dataclass(slots=True)
class _SimIncoming:
    reply: SimReply
    status: int = field(init=False)
    headers: list[tuple[bytes, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.status = self.reply.status
        self.headers = [(name.lower().encode(), value.encode()) for name, value in self.reply.headers.items()]

    def chunks(self) -> AsyncIterator[bytes]:
        return self.reply.chunks

    def close(self) -> None:
        asyncio.ensure_future(self.reply.aclose())  # noqa: RUF006  # nothing waits for a simulated goodbye


@lru_cache(maxsize=4096)
def _place(url: str) -> tuple[yarl.URL, str | None]:
    """The parsed URL, and the proxy to it. aiohttp's own `trust_env` reads the environment and .netrc at every call."""
    return yarl.URL(url, encoded=True), proxy_of(url)


def _shown(url: str) -> str:
    """The URL without its query, which may hold a key (Gemini's does)."""
    return url.partition("?")[0]


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
