"""urllib3: `HTTPConnectionPool.urlopen`, for what uses it directly (botocore, so boto3).

A pool leads to one host, so the request goes through another one, which leads to the gateway and has the settings of
the first. requests stands on urllib3 too: its own seam has turned the request by then, and `Detour.aim` lets it pass.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from llmlens.client.detour import Aim, Detour, unreachable
from llmlens.client.seam import Patch
from llmlens.errors import GatewayError


class Urllib3Seam:
    library = "urllib3"

    def __init__(self, detour: Detour) -> None:
        self._detour = detour
        self._patches: list[Patch] = []
        self._pools: WeakKeyDictionary[Any, tuple[str, Any]] = WeakKeyDictionary()  # → gateway's address, pool to it

    def patch(self, module: ModuleType) -> None:
        """Raises AttributeError or KeyError where the library does not look as known."""
        self._patches = [Patch.put(module.HTTPConnectionPool, "urlopen", lambda kept: self._opener(module, kept))]

    def restore(self) -> list[str]:
        notes = [note for patch in self._patches if (note := patch.undo())]
        self._patches = []
        self._pools.clear()
        return notes

    def attach(self, module: ModuleType, client: Any) -> bool:
        """Never: its clients make their pools as they go."""
        return False

    def detach(self) -> None:
        """Nothing was attached."""

    def _opener(self, module: ModuleType, kept: Callable[..., Any]) -> Callable[..., Any]:
        def urlopen(
            pool: Any, method: str, url: str, body: Any = None, headers: Any = None, *rest: Any, **kw: Any
        ) -> Any:
            given = pool.headers if headers is None else headers
            aim = self._aim(pool, url, given)
            if aim is None:
                return kept(pool, method, url, body, headers, *rest, **kw)

            def sent(aim: Aim) -> Any:
                path, ours = aim.url.removeprefix(aim.gateway.url), {**_without_host(given), **aim.headers}
                response = kept(self._pool(module, pool, aim), method, path, body, ours, *rest, **kw)
                response.url = url
                return response

            self._detour.count(self.library)
            try:
                return sent(aim)
            except module.exceptions.HTTPError as error:
                if not _nobody_listened(module, error):
                    raise
                again = self._mended(module, pool, url, given, aim, error)
            try:
                return sent(again)
            except module.exceptions.HTTPError as error:
                if not _nobody_listened(module, error):
                    raise
                raise _failure(module, pool, url, error, unreachable(again)) from error

        return urlopen

    def _aim(self, pool: Any, url: str, headers: Any) -> Aim | None:
        host = f"[{pool.host}]" if ":" in pool.host else pool.host
        whole = f"{pool.scheme}://{host}:{pool.port}{url}" if url.startswith("/") else url
        return self._detour.aim(whole, {_text(name).lower(): _text(value) for name, value in headers.items()})

    def _pool(self, module: ModuleType, pool: Any, aim: Aim) -> Any:
        known = self._pools.get(pool)
        if known is None or known[0] != aim.gateway.url:
            size = getattr(pool.pool, "maxsize", 1)
            made = module.connection_from_url(
                aim.gateway.url, maxsize=size, block=pool.block, timeout=pool.timeout, retries=pool.retries
            )
            known = self._pools[pool] = aim.gateway.url, made
        return known[1]

    def _mended(self, module: ModuleType, pool: Any, url: str, headers: Any, aim: Aim, error: Exception) -> Aim:
        try:
            self._detour.mend(aim.gateway)
        except GatewayError as failed:
            raise _failure(module, pool, url, error, str(failed)) from error
        return self._aim(pool, url, headers) or aim


def _nobody_listened(module: ModuleType, error: Exception) -> bool:
    """No connection could be made, so nothing was sent."""
    return isinstance(getattr(error, "reason", error), module.exceptions.NewConnectionError)


def _failure(module: ModuleType, pool: Any, url: str, error: Exception, message: str) -> Exception:
    """The library's own error, of the kind of `error`."""
    made: Exception = module.exceptions.NewConnectionError(pool, message)
    return module.exceptions.MaxRetryError(pool, url, made) if hasattr(error, "reason") else made


def _without_host(headers: Any) -> dict[Any, Any]:
    """urllib3 writes the one of its pool. By name, since a name that comes twice has one text."""
    return {name: headers[name] for name in headers if _text(name).lower() != "host"}


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
