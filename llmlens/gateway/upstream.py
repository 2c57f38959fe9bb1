"""The seam to the providers: `send` an `Outgoing`, get an `Incoming`. The network is `http1`'s."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import msgspec

from llmlens.errors import UpstreamFailed, UpstreamTimeout
from llmlens.gateway.http1 import Pool, Response
from llmlens.gateway.sim import SimReply, SimUpstream
from llmlens.settings import proxy_of


class Outgoing(msgspec.Struct, frozen=True):
    """One request to a provider, complete with its credential."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    sample: int = 0  # only the simulated provider reads it


class Incoming(Protocol):
    """One provider's answer. `read` gives the next bytes of the body, and none at its end; it raises UpstreamFailed
    where the answer breaks off. `close` ends it at once and cancels what is not read."""

    status: int
    headers: list[tuple[bytes, bytes]]

    async def read(self) -> bytes: ...

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

    pool: Pool

    async def send(self, request: Outgoing) -> Incoming:
        try:
            response = await self.pool.request(
                request.method, request.url, request.headers, request.body, _proxy(request.url)
            )
        except TimeoutError as error:
            raise UpstreamTimeout(f"{_shown(request.url)} did not answer in time ({_reason(error)})") from error
        except (OSError, ValueError) as error:
            raise UpstreamFailed(f"{_shown(request.url)} cannot be reached: {_reason(error)}") from error
        return _HttpIncoming(response, request.url)

    async def close(self) -> None:
        self.pool.close()


class _HttpIncoming:
    __slots__ = ("_url", "headers", "response", "status")

    def __init__(self, response: Response, url: str) -> None:
        self.response, self._url = response, url
        self.status, self.headers = response.status, response.headers

    async def read(self) -> bytes:
        try:
            return await self.response.read()
        except TimeoutError as error:
            raise UpstreamTimeout(f"{_host(self._url)} fell silent ({_reason(error)})") from error
        except OSError as error:
            reason = f": {error}" if str(error) else " before it was complete"
            raise UpstreamFailed(f"{_host(self._url)} broke off its answer{reason}") from error

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

    async def read(self) -> bytes:
        async for chunk in self.reply.chunks:
            if chunk:
                return chunk
        return b""

    def close(self) -> None:
        asyncio.ensure_future(self.reply.aclose())  # noqa: RUF006  # nothing waits for a simulated goodbye


_proxy = lru_cache(maxsize=4096)(proxy_of)
"""The proxy to a URL; asking the environment at every call would take longer than the call."""


def _shown(url: str) -> str:
    """The URL without what may be secret: its query (Gemini's holds a key), a user name and password."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{_host(url)}/{rest.partition('/')[2]}"


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
