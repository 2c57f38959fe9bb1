"""The gateway process: build the house, listen, say where in the state file, stop in good order.

`run` is what `llmlens serve` calls. `Gateway` is the same thing in one piece, for a thread of the kernel and for tests.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import uvicorn

from llmlens.catalog.price_list import newest
from llmlens.errors import GatewayError, StoreError
from llmlens.gateway.admit import OWNER, Gate
from llmlens.gateway.app import App
from llmlens.gateway.books import House
from llmlens.gateway.cache import Cache, Entry, Stored
from llmlens.gateway.control import Control
from llmlens.gateway.http1 import Pool
from llmlens.gateway.live import Live
from llmlens.gateway.log import Log, Pending
from llmlens.gateway.models import Models
from llmlens.gateway.route import Router
from llmlens.gateway.rows import RowMaker
from llmlens.gateway.sim import SimUpstream
from llmlens.gateway.upstream import HttpUpstream, SimulatedUpstream
from llmlens.records import CacheMode, Secret
from llmlens.settings import Settings, secret_of
from llmlens.store import STANDARD_VIEWS, Database, Journal, Reader, Writer, journal_directory

logger = logging.getLogger("llmlens.gateway")

# A transaction costs as much as some hundred rows. The journal makes rows durable, and queries flush first, so nobody
# waits for this but the live feed.
BATCH_WAIT_S = 0.5
GRACE_S = 10.0  # how long running calls may take to end when the gateway stops


@dataclass(slots=True)
class Gateway:
    """An open store and the application in front of it. `close` writes what is pending."""

    settings: Settings
    key: Secret
    app: App
    database: Database
    journal: Journal
    writer: Writer[Pending]
    house: House
    live: Live
    http: HttpUpstream
    stopping: threading.Event
    recovered: int

    @classmethod
    def open(cls, settings: Settings, key: Secret | None = None) -> "Gateway":
        """Open the store, replay the journal, load the cache's index.

        Raises:
            StoreLocked, StoreError: another process owns the store, or it cannot be used.
        """
        key = key or Secret("llk-" + secrets.token_urlsafe(24))
        _make_folder(settings.store)
        with ExitStack() as undo:
            database = Database.open(settings.store, memory_limit_mb=settings.gateway.database_memory_mb)
            undo.callback(database.close)
            journal = Journal(journal_directory(settings.store), fsync=settings.gateway.journal_fsync)
            undo.callback(journal.close)
            rows, live = _row_maker(settings), Live()
            writer: Writer[Pending] = Writer(
                database,
                journal,
                rows_of=lambda pending: pending.made(rows),
                rows_of_payload=rows.of_payload,
                on_committed=live.publish,
                max_pending_bytes=settings.gateway.max_pending_bytes,
                batch_wait_s=BATCH_WAIT_S,
            )
            recovered = writer.start()
            undo.callback(writer.close)
            if recovered:
                logger.info("%d calls recovered from the journal", recovered)
            http, house = _house(settings, key, journal, writer, rows)
            stopping = threading.Event()
            app = _app(settings, house, writer, Reader(database, STANDARD_VIEWS), live, stopping)
            undo.pop_all()
        return cls(settings, key, app, database, journal, writer, house, live, http, stopping, recovered)

    def close(self) -> None:
        """Write everything that is pending, then let go of the store."""
        self.house.log.close()
        self.writer.close()
        self.journal.close()
        self.database.close()


def run(settings: Settings, *, detached: bool = False, key: str | None = None) -> None:
    """Serve until told to stop (POST /lens/stop, SIGTERM, SIGINT, or idle when `detached`). Blocking.

    Raises:
        GatewayError: the port is taken.
        StoreLocked, StoreError: another process owns the store, or it cannot be used.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    with listening(settings, key=key) as (gateway, server, sock):
        address = address_of(sock)
        if not detached:
            sys.stderr.write(f"llmlens {version('llmlens')} on {address}, store {settings.store}\n")
        with state_file(settings, gateway, sock, detached=detached):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: gateway.stopping.set())
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(serve_until(gateway, server, sock, settings.gateway.idle_stop_s if detached else None))


@contextmanager
def listening(settings: Settings, *, key: str | None = None) -> Iterator[tuple[Gateway, uvicorn.Server, socket.socket]]:
    """An open gateway and a bound socket, not serving yet."""
    secret = Secret(key) if key else settings.key
    gateway = Gateway.open(settings, secret)
    try:
        sock = _bind(settings.gateway.host, settings.gateway.port)
        config = uvicorn.Config(
            cast("Any", gateway.app),
            access_log=False,
            proxy_headers=False,
            log_config=None,
            server_header=False,
            date_header=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(GRACE_S),
            h11_max_incomplete_event_size=65_536,
        )
        server = _Server(config)
        try:
            yield gateway, server, sock
        finally:
            sock.close()
    finally:
        gateway.close()


@contextmanager
def in_thread(settings: Settings, *, key: str | None = None) -> Iterator[tuple[str, Gateway]]:
    """Serve from a thread of this process, where a process of its own is not possible; gives the address."""
    with listening(settings, key=key) as (gateway, server, sock), state_file(settings, gateway, sock):

        def serve() -> None:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(serve_until(gateway, server, sock, None))

        thread = threading.Thread(target=serve, name="llmlens-gateway", daemon=True)
        thread.start()
        try:
            yield address_of(sock), gateway
        finally:
            gateway.stopping.set()
            thread.join(GRACE_S + 5)


@contextmanager
def state_file(settings: Settings, gateway: Gateway, sock: socket.socket, *, detached: bool = False) -> Iterator[None]:
    """While it runs, the gateway says where to find it, to its own user only."""
    host, port = sock.getsockname()[:2]
    state = {
        "pid": os.getpid(),
        "host": host,
        "port": port,
        "key": gateway.key.reveal(),
        "version": version("llmlens"),
        "started_at": datetime.now(UTC).isoformat(),
        "store": str(settings.store),
        # One that somebody runs by hand is his to restart; a detached one is replaced when the file has changed.
        "config_sha": settings.config_sha if detached else None,
    }
    path = settings.state_file
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(state, file)
    temporary.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text("utf-8")).get("pid") == os.getpid():
                path.unlink()


def address_of(sock: socket.socket) -> str:
    """http://host:port of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_until(gateway: Gateway, server: uvicorn.Server, sock: socket.socket, idle_stop_s: float | None) -> None:
    """Serve until `gateway.stopping` is set, or nothing was asked for `idle_stop_s`."""
    gateway.live.loop = asyncio.get_running_loop()
    _collect_less()
    watcher = asyncio.create_task(_watch(gateway, server, idle_stop_s))
    try:
        await server.serve(sockets=[sock])
    finally:
        watcher.cancel()
        await gateway.http.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _collect_less() -> None:
    """What is loaded by now stays: do not look through it again and again. Calls make little garbage in cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: `run` has its own, and a thread may not have any."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _watch(gateway: Gateway, server: uvicorn.Server, idle_stop_s: float | None) -> None:
    seen, since = -1, time.monotonic()
    while not gateway.stopping.is_set():
        await asyncio.sleep(0.05)
        if gateway.app.calls != seen or gateway.app.running:
            seen, since = gateway.app.calls, time.monotonic()
        if idle_stop_s is not None and time.monotonic() - since > idle_stop_s:
            logger.info("nothing asked for %.0f s: stopping", idle_stop_s)
            break
    server.should_exit = True


def _house(
    settings: Settings, key: Secret, journal: Journal, writer: Writer[Pending], rows: RowMaker
) -> tuple[HttpUpstream, House]:
    g = settings.gateway
    http = HttpUpstream(Pool(g.connect_timeout_s, g.first_byte_timeout_s, g.total_timeout_s))
    router = Router(
        settings.providers,
        http,
        SimulatedUpstream(SimUpstream()),
        lambda provider: secret_of(provider.key_env),
        max_attempts=g.max_attempts,
        max_retry_wait_s=g.max_retry_wait_s,
        deadline_s=g.total_timeout_s,
    )
    log = Log(journal, writer, (key.reveal(),), g.on_log_failure == "refuse", g.max_pending_bytes)
    gate = Gate(g.max_body_bytes)
    gate.add_key(key.reveal(), OWNER)
    return http, House(log, gate, _cache(settings, writer), router, rows, g.max_answer_bytes, g.cache_ttl_s)


def _row_maker(settings: Settings) -> RowMaker:
    return RowMaker(
        settings.prices, settings.gateway.max_answer_bytes, settings.providers, newest(settings.price_file)
    )  # fmt: skip


def _app(
    settings: Settings, house: House, writer: Writer[Pending], reader: Reader, live: Live, stopping: threading.Event
) -> App:
    g = settings.gateway
    control = Control(settings, house, writer, reader, live, lambda: app.calls, stopping.set, time.monotonic())
    hosts = frozenset(h.lower() for h in (*g.allowed_hosts, g.host))
    app = App(house, settings.providers, Models(house.router), control.app(), cast("CacheMode", g.cache), hosts)
    return app


def _cache(settings: Settings, writer: Writer[Pending]) -> Cache:
    async def load(call_id: str) -> Stored | None:
        row = await asyncio.to_thread(writer.read_answer, call_id)
        if row is None or row.response_body is None:
            return None
        return Stored(call_id, row.response_type or "application/json", row.upstream_dialect or row.dialect or "",
                      row.response_body, row.stream)  # fmt: skip

    g = settings.gateway
    cache = Cache(load, g.cache_memory_bytes, g.cache_entries)
    cache.warm((e.key, Entry(e.call_id, e.created_at, e.expires_at, e.size_bytes)) for e in writer.load_cache_index())
    return cache


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise GatewayError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port, or stop what listens there"
        ) from error
    sock.listen(2048)
    return sock


def _make_folder(store: Path) -> None:
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {store.parent}: {error.strerror}; set LLMLENS_STORE") from error
