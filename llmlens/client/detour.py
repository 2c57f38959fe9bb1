"""Which requests of other libraries go to the gateway, and what they need for it. The seams (`seam_….py`) act on it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from llmlens.catalog.origins import fits
from llmlens.client import cell
from llmlens.client.gateway import Gateway
from llmlens.client.session import Session
from llmlens.errors import GatewayError
from llmlens.wire import headers as names

DIRECT: Final = "`%unload_ext llmlens` (or `lens.unpatch()`) makes calls go to the provider directly"
RETRY_AFTER_S: Final = 5.0
"""After a start that failed, calls fail at once for this long: an SDK's own retries must not start one each time."""
PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a request goes instead: `url`, and the headers to set for that journey (they hold the key)."""

    url: str
    headers: Mapping[str, str]
    gateway: Gateway

    def __repr__(self) -> str:
        return f"<Aim {self.url}>"

    @property
    def host(self) -> str:
        """For the Host header."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True)
class Place:
    """A URL prefix: an origin in its normal form (lower case, no default port; `*` for a label of the host), and a path
    without a final slash."""

    origin: str
    path: str

    @classmethod
    def of(cls, url: str) -> "Place":
        origin, path = split(url)
        return cls(origin, path.partition("?")[0].rstrip("/"))

    def holds(self, origin: str, path: str) -> bool:
        """A prefix ends at a "/", at a "?" or at the end."""
        rest = path[len(self.path) :]
        return fits(self.origin, origin) and path.startswith(self.path) and (not rest or rest[0] in "/?")


def split(url: str) -> tuple[str, str]:
    """(origin, path and query) of a URL. Credentials and fragment are left out, the default port too."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    try:
        port = parts.port
    except ValueError:
        return "", ""
    origin = f"{scheme}://{host}" if port in (None, PORTS.get(scheme)) else f"{scheme}://{host}:{port}"
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@dataclass(slots=True)
class Detour:
    """The rule, for one session. `captured` counts the calls that each library sent to the gateway."""

    session: Session
    active: bool = True
    captured: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _gateway: Gateway | None = None
    _origins: tuple[Place, ...] = ()
    _bases: tuple[Place, ...] = ()  # the gateway's own addresses, former ones too: clients keep a base_url
    _failed: tuple[float, str] | None = None

    def learn(self) -> None:
        """Ask the gateway which calls are its own. Blocking. Raises GatewayError."""
        origins, gateway = self.session.origins, self.session.gateway
        with self._lock:
            self._gateway = gateway
            self._origins = tuple(Place.of(origin) for origin in origins)
            addresses = (gateway.url, gateway.url.replace("//127.0.0.1:", "//localhost:"))
            self._bases = tuple(dict.fromkeys((*map(Place.of, addresses), *self._bases)))

    def aim(self, url: str, given: Mapping[str, str]) -> Aim | None:
        """Where a request to `url` with the headers `given` (any case) goes; None: it is not ours, or ready already."""
        gateway = self._gateway
        if not self.active or gateway is None:
            return None
        origin, path = split(url)
        base = next((place for place in self._bases if place.holds(origin, path)), None)
        if base is not None:
            return _bound(gateway, path[len(base.path) :], given)
        if any(place.holds(origin, path) for place in self._origins):
            headers = {**gateway.headers, names.ORIGIN: origin, **_where(given)}
            return Aim(gateway.url + path, headers, gateway)
        return None

    def count(self, library: str) -> None:
        """One more call of `library` goes to the gateway."""
        with self._lock:
            self.captured[library] = self.captured.get(library, 0) + 1

    def mend(self, gone: Gateway) -> None:
        """Nothing listens at `gone` any more: find or start another gateway. Blocking.

        Raises:
            GatewayError: in vain; says what to do.
        """
        failed = self._failed
        if failed is not None and monotonic() < failed[0]:
            raise GatewayError(failed[1])
        try:
            self.session.reconnected(gone)
            self.learn()
        except GatewayError as error:
            message = f"{error}; {DIRECT}"
            self._failed = monotonic() + RETRY_AFTER_S, message
            raise GatewayError(message) from error
        self._failed = None


def unreachable(aim: Aim) -> str:
    """What to say when the gateway was found, and is gone again."""
    return f"the llmlens gateway at {aim.gateway.url} does not answer; {DIRECT}"


def _bound(gateway: Gateway, path: str, given: Mapping[str, str]) -> Aim | None:
    """A request that knows the gateway's address gets what it lacks: a key and its cell."""
    key = given.get(names.KEY)
    if key == gateway.key.reveal():
        return None  # sent by llmlens itself, or on its way from one HTTP library through another
    # Whatever key it carries may be one of an earlier gateway: this one's own key comes along in any case.
    mine = {} if key is not None else gateway.headers
    return Aim(gateway.url + path, {**mine, **_where(given)}, gateway)


def _where(given: Mapping[str, str]) -> dict[str, str]:
    """The cell's headers; what the caller says himself stays."""
    if any(name in given for name in (names.NOTEBOOK, names.CELL, names.RUN)):
        return {}
    return cell.headers()
