"""aiohttp: a client middleware that every request passes last, handed in through `ClientSession._request`.

Redirects, cookies and auth happen outside of it and see the provider's URL only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from llmlens.client.detour import Aim, Detour, unreachable
from llmlens.client.seam import Attached, Patch
from llmlens.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator

Sending = Callable[[Any], Awaitable[Any]]


class AiohttpSeam:
    library = "aiohttp"

    def __init__(self, detour: Detour) -> None:
        self._detour = detour
        self._patches: list[Patch] = []
        self._attached = Attached()

    def patch(self, module: ModuleType) -> None:
        """Raises AttributeError or KeyError where the library does not look as known."""
        self._patches = [Patch.put(module.ClientSession, "_request", lambda kept: self._requester(module, kept))]

    def restore(self) -> list[str]:
        notes = [note for patch in self._patches if (note := patch.undo())]
        self._patches = []
        return notes

    def attach(self, module: ModuleType, client: Any) -> bool:
        if not isinstance(client, module.ClientSession):
            return False
        if client not in self._attached:
            ours = self._middleware(module)
            client._middlewares = (*client._middlewares, ours)

            def release(one: Any) -> None:
                one._middlewares = tuple(m for m in one._middlewares if m is not ours)

            self._attached.add(client, release)
        return True

    def detach(self) -> None:
        self._attached.release_all()

    def _requester(self, module: ModuleType, kept: Callable[..., Any]) -> Callable[..., Any]:
        ours = self._middleware(module)

        async def _request(session: Any, *args: Any, **kwargs: Any) -> Any:
            if self._detour.active:
                given = kwargs.get("middlewares")
                kwargs["middlewares"] = (*(session._middlewares if given is None else given), ours)
            return await kept(session, *args, **kwargs)

        return _request

    def _middleware(self, module: ModuleType) -> Callable[[Any, Sending], Awaitable[Any]]:
        async def detour(request: Any, handler: Sending) -> Any:
            aim = self._aim(request)
            if aim is None:
                return await handler(request)
            self._detour.count(self.library)
            try:
                return await _sent(request, aim, handler)
            except module.ClientConnectorError as error:
                again = await self._mended(module, aim, request, error)
            try:
                return await _sent(request, again, handler)
            except module.ClientConnectorError as error:
                raise _failure(module, error, unreachable(again)) from error

        return detour

    def _aim(self, request: Any) -> Aim | None:
        return self._detour.aim(str(request.url), request.headers)

    async def _mended(self, module: ModuleType, aim: Aim, request: Any, error: Exception) -> Aim:
        """The gateway is gone; nothing was sent."""
        try:
            await asyncio.to_thread(self._detour.mend, aim.gateway)
        except GatewayError as failed:
            raise _failure(module, error, str(failed)) from error
        return self._aim(request) or aim


async def _sent(request: Any, aim: Aim, handler: Sending) -> Any:
    with _turned(request, aim):
        response = await handler(request)
    with suppress(AttributeError):
        response._request_info = request.request_info  # as it is now: the provider's URL, none of our headers
    return response


@contextmanager
def _turned(request: Any, aim: Aim) -> "Iterator[None]":
    """For this while `request` leads to the gateway, past any proxy."""
    kept = {name: getattr(request, name) for name in ("url", "headers", "proxy", "proxy_auth", "proxy_headers")}
    request.headers = request.headers.copy()
    request.headers.update({**aim.headers, "Host": aim.host})
    request.url = type(request.url)(aim.url, encoded=True)
    request.proxy = request.proxy_auth = request.proxy_headers = None
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(request, name, value)


def _failure(module: ModuleType, error: Exception, message: str) -> Exception:
    made: Exception = module.ClientConnectorError(error.args[0], OSError(getattr(error, "errno", None), message))
    return made
