"""httpx2 and legacy httpx: `Client.send` and `AsyncClient.send`.

The request is rewritten by an event hook that runs after the user's own request hooks, and restored by one that runs
before the user's response hooks. So hooks, auth flows, redirects and cookies all see the provider's URL, and each
redirected or retried request passes the same way.
"""

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from llmlens.client.detour import Aim, Detour, unreachable
from llmlens.client.seam import Attached, Patch
from llmlens.errors import GatewayError


@dataclass(slots=True)
class Flight:
    """One `send` of `request`: what it has rewritten (also redirected requests), with their own URL and headers."""

    client: Any
    request: Any
    module: ModuleType
    detour: Detour
    rewritten: list[tuple[Any, Aim, Any, Any]] = field(default_factory=list)

    def rewrite(self, request: Any) -> None:
        """Turn `request` to the gateway, if it is one of ours. Its own headers object stays as it is."""
        aim = self.detour.aim(str(request.url), request.headers)
        if aim is not None:
            self.rewritten.append((request, aim, request.url, request.headers))
            request.headers = self.module.Headers(request.headers.raw)
            request.headers.update({**aim.headers, "Host": aim.host})
            request.url = self.module.URL(aim.url)

    def restore(self, request: Any = None) -> None:
        """Give `request` (without one: all) its own URL and headers back."""
        for entry in list(self.rewritten):
            known, _, url, headers = entry
            if request is None or known is request:
                known.url, known.headers = url, headers
                self.rewritten.remove(entry)

    def landed(self, response: Any) -> None:
        """The response's head is here."""
        if any(known is response.request for known, *_ in self.rewritten):
            self.restore(response.request)
            self.client.cookies.extract_cookies(response)  # under the provider's name, not the gateway's

    def gone(self, error: Any) -> Aim | None:
        """Where the request was going that could not connect; None: not to the gateway. All requests are restored."""
        failed = getattr(error, "_request", None)
        aim = next((aim for known, aim, *_ in self.rewritten if known is failed), None)
        self.restore()
        return aim

    def failure(self, message: str) -> Exception:
        """The library's own connection error."""
        error: Exception = self.module.ConnectError(message, request=self.request)
        return error


_FLIGHT: ContextVar[Flight | None] = ContextVar("llmlens_flight", default=None)


def _before(request: Any) -> None:
    if (flight := _FLIGHT.get()) is not None:
        flight.rewrite(request)


def _after(response: Any) -> None:
    if (flight := _FLIGHT.get()) is not None:
        flight.landed(response)


async def _abefore(request: Any) -> None:
    _before(request)


async def _aafter(response: Any) -> None:
    _after(response)


_HOOKS = {False: (_before, _after), True: (_abefore, _aafter)}


class HttpxSeam:
    """One of the two libraries; they differ in name only."""

    def __init__(self, library: str, detour: Detour) -> None:
        self.library = library
        self._detour = detour
        self._patches: list[Patch] = []
        self._attached = Attached()
        self._hooked: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # → what _spare_proxy added
        self._lock = threading.Lock()

    def patch(self, module: ModuleType) -> None:
        """Raises AttributeError or KeyError where the library does not look as known."""
        self._patches.append(Patch.put(module.Client, "send", lambda kept: self._sender(module, kept)))
        self._patches.append(Patch.put(module.AsyncClient, "send", lambda kept: self._async_sender(module, kept)))

    def restore(self) -> list[str]:
        notes = [note for patch in self._patches if (note := patch.undo())]
        self._patches = []
        for client in list(self._hooked):
            self._unhook(client)
        return notes

    def attach(self, module: ModuleType, client: Any) -> bool:
        asynchronous = isinstance(client, module.AsyncClient)
        if not asynchronous and not isinstance(client, module.Client):
            return False
        if client not in self._attached:
            make = self._async_sender if asynchronous else self._sender
            send, known = make(module, type(client).send), weakref.ref(client)
            # By a weak reference: the client must not keep itself alive.
            client.send = lambda *args, **kwargs: send(known(), *args, **kwargs)
            self._attached.add(client, lambda one: one.__dict__.pop("send", None))
        return True

    def detach(self) -> None:
        self._attached.release_all()

    def _flight(self, module: ModuleType, client: Any, request: Any) -> Flight | None:
        """None: the request goes its own way."""
        outer = _FLIGHT.get()
        if outer is not None and outer.request is request:  # attached, and installed too
            return None
        if self._detour.aim(str(request.url), request.headers) is None:
            return None
        self._hook(module, client)
        self._detour.count(self.library)
        return Flight(client, request, module, self._detour)

    def _sender(self, module: ModuleType, kept: Callable[..., Any]) -> Callable[..., Any]:
        def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            flight = self._flight(module, client, request)
            if flight is None:
                return kept(client, request, *args, **kwargs)
            token = _FLIGHT.set(flight)
            try:
                try:
                    return kept(client, request, *args, **kwargs)
                except module.ConnectError as error:
                    if (aim := flight.gone(error)) is None:
                        raise
                    return self._resent(flight, aim, error, kept, args, kwargs)
            finally:
                _FLIGHT.reset(token)
                flight.restore()

        return send

    def _resent(
        self, flight: Flight, aim: Aim, error: Exception, kept: Callable[..., Any], args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:  # fmt: skip
        """Nothing listened, so nothing was sent: once more, to a new gateway."""
        try:
            self._detour.mend(aim.gateway)
        except GatewayError as failed:
            raise flight.failure(str(failed)) from error
        try:
            return kept(flight.client, flight.request, *args, **kwargs)
        except flight.module.ConnectError as again:
            if flight.gone(again) is None:
                raise
            raise flight.failure(unreachable(aim)) from again

    def _async_sender(self, module: ModuleType, kept: Callable[..., Any]) -> Callable[..., Any]:
        async def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            flight = self._flight(module, client, request)
            if flight is None:
                return await kept(client, request, *args, **kwargs)
            token = _FLIGHT.set(flight)
            try:
                try:
                    return await kept(client, request, *args, **kwargs)
                except module.ConnectError as error:
                    if (aim := flight.gone(error)) is None:
                        raise
                    return await self._aresent(flight, aim, error, kept, args, kwargs)
            finally:
                _FLIGHT.reset(token)
                flight.restore()

        return send

    async def _aresent(
        self, flight: Flight, aim: Aim, error: Exception, kept: Callable[..., Any], args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:  # fmt: skip
        from anyio import to_thread  # httpx stands on it, and may run under trio

        try:
            await to_thread.run_sync(self._detour.mend, aim.gateway)
        except GatewayError as failed:
            raise flight.failure(str(failed)) from error
        try:
            return await kept(flight.client, flight.request, *args, **kwargs)
        except flight.module.ConnectError as again:
            if flight.gone(again) is None:
                raise
            raise flight.failure(unreachable(aim)) from again

    def _hook(self, module: ModuleType, client: Any) -> None:
        """Our hooks at the inner end of the client's lists, which are replaced, not changed: others may be reading."""
        before, after = _HOOKS[isinstance(client, module.AsyncClient)]
        with self._lock:
            hooks = client.event_hooks
            if hooks["request"][-1:] != [before] or hooks["response"][:1] != [after]:
                client.event_hooks = {
                    "request": [*(hook for hook in hooks["request"] if hook is not before), before],
                    "response": [after, *(hook for hook in hooks["response"] if hook is not after)],
                }
            if client not in self._hooked:
                self._hooked[client] = None
                with suppress(Exception):  # see there
                    self._hooked[client] = self._spare_proxy(client)

    def _spare_proxy(self, client: Any) -> Any:
        """A client made before llmlens was loaded may have a proxy for everything: loopback must not go through it.

        There is no public way; what this adds is what NO_PROXY would have added when the client was made.
        """
        mounts = client._mounts
        host = self._detour.session.gateway.url.partition("://")[2].rpartition(":")[0]
        if mounts and host in ("127.0.0.1", "localhost", "[::1]"):
            pattern = type(next(iter(mounts)))(f"all://{host}")
            if pattern not in mounts:
                client._mounts = {pattern: None, **mounts}
                return pattern
        return None

    def _unhook(self, client: Any) -> None:
        ours = {hook for pair in _HOOKS.values() for hook in pair}
        with self._lock:
            client.event_hooks = {
                kind: [hook for hook in hooks if hook not in ours] for kind, hooks in client.event_hooks.items()
            }
            spared = self._hooked.pop(client, None)
            if spared is not None:
                client._mounts = {pattern: one for pattern, one in client._mounts.items() if pattern != spared}
