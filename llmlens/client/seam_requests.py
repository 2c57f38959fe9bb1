"""requests: `Session.send`. A response hook of ours restores the request before cookies and redirects look at it."""

import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from llmlens.client.detour import Aim, Detour, unreachable
from llmlens.client.seam import Attached, Patch
from llmlens.errors import GatewayError


class RequestsSeam:
    library = "requests"

    def __init__(self, detour: Detour) -> None:
        self._detour = detour
        self._patches: list[Patch] = []
        self._attached = Attached()

    def patch(self, module: ModuleType) -> None:
        """Raises AttributeError or KeyError where the library does not look as known."""
        self._patches = [Patch.put(module.Session, "send", lambda kept: self._sender(module, kept))]

    def restore(self) -> list[str]:
        notes = [note for patch in self._patches if (note := patch.undo())]
        self._patches = []
        return notes

    def attach(self, module: ModuleType, client: Any) -> bool:
        if not isinstance(client, module.Session):
            return False
        if client not in self._attached:
            send, known = self._sender(module, type(client).send), weakref.ref(client)
            client.send = lambda *args, **kwargs: send(known(), *args, **kwargs)
            self._attached.add(client, lambda one: one.__dict__.pop("send", None))
        return True

    def detach(self) -> None:
        self._attached.release_all()

    def _sender(self, module: ModuleType, kept: Callable[..., Any]) -> Callable[..., Any]:
        def send(session: Any, request: Any, **kwargs: Any) -> Any:
            aim = self._aim(request)
            if aim is None:
                return kept(session, request, **kwargs)
            self._detour.count(self.library)
            try:
                return _sent(session, request, kwargs, aim, kept)
            except module.ConnectionError as error:
                if not _nobody_listened(error):
                    raise
                again = self._mended(module, aim, request, error)
            try:
                return _sent(session, request, kwargs, again, kept)
            except module.ConnectionError as error:
                if not _nobody_listened(error):
                    raise
                raise module.ConnectionError(unreachable(again), request=request) from error

        return send

    def _aim(self, request: Any) -> Aim | None:
        url, headers = getattr(request, "url", None), getattr(request, "headers", None)
        if not isinstance(url, str) or headers is None:
            return None
        return self._detour.aim(url, {name.lower(): _text(value) for name, value in headers.items()})

    def _mended(self, module: ModuleType, aim: Aim, request: Any, error: Exception) -> Aim:
        try:
            self._detour.mend(aim.gateway)
        except GatewayError as failed:
            raise module.ConnectionError(str(failed), request=request) from error
        return self._aim(request) or aim


def _sent(session: Any, request: Any, kwargs: dict[str, Any], aim: Aim, kept: Callable[..., Any]) -> Any:
    """Send `request` to the gateway. The request shows its own URL and headers again as soon as the head is here."""
    url, headers, hooks = request.url, request.headers, request.hooks

    def restore(response: Any = None, **_: Any) -> None:
        request.url, request.headers, request.hooks = url, headers, hooks
        if response is not None:
            response.url = url

    request.headers = headers.copy()
    request.headers.update(aim.headers)
    request.headers.pop("Host", None)  # urllib3 writes the one of the URL
    request.hooks = {**hooks, "response": [restore, *hooks.get("response", [])]}
    request.url = aim.url
    try:
        # Proxies were chosen for the provider; the gateway has its own way to it.
        return kept(session, request, **{**kwargs, "proxies": {}})
    finally:
        restore()


def _nobody_listened(error: BaseException) -> bool:
    """No connection could be made, so nothing was sent: urllib3 says NewConnectionError."""
    reason = error.args[0] if error.args else None
    return "NewConnectionError" in (type(reason).__name__, type(getattr(reason, "reason", None)).__name__)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
