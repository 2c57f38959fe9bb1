"""The control API under `/lens/…`, on Starlette: health, status, query, tokens, live feed, cache, stop.

All but health need a key.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from os import getpid
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from llmlens.errors import BadRequest, Denied, Forbidden, QueryError, StoreError
from llmlens.gateway import counting
from llmlens.gateway.books import House
from llmlens.gateway.live import Live
from llmlens.records import Principal
from llmlens.settings import Settings
from llmlens.store import Reader, Writer

PARQUET = "application/vnd.apache.parquet"
FORMATS = {PARQUET: "parquet", "application/json": "json", "text/csv": "csv"}
MAX_QUERY_BYTES = 256 * 1024 * 1024
FLUSH_S = 10.0


class Query(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /lens/query. `frames`: table name → Parquet file, base64."""

    sql: str
    params: list[Any] | dict[str, Any] | None = None
    frames: dict[str, str] = {}
    max_rows: int = 1_000_000
    timeout_s: float = 30.0


class Prune(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /lens/cache/prune. With neither, what has expired goes."""

    older_than_s: float | None = None
    max_bytes: int | None = None


@dataclass(slots=True)
class Control:
    """What the control API can see and do. `calls` counts those since the start, `stop` ends the process."""

    settings: Settings
    house: House
    writer: Writer[Any]
    reader: Reader
    live: Live
    calls: Callable[[], int]
    stop: Callable[[], None]
    started: float

    def app(self) -> Starlette:
        """The routes, as an ASGI application."""
        return Starlette(
            routes=[
                Route("/lens/health", self.health, methods=["GET"]),
                Route("/lens/status", self._for_owner(self.status), methods=["GET"]),
                Route("/lens/origins", self._for_owner(self.origins), methods=["GET"]),
                Route("/lens/query", self._for_owner(self.query), methods=["POST"]),
                Route("/lens/tokens", self._for_owner(self.tokens), methods=["POST"]),
                Route("/lens/live", self._for_owner(self.feed), methods=["GET"]),
                Route("/lens/cache/prune", self._for_owner(self.prune), methods=["POST"]),
                Route("/lens/stop", self._for_owner(self.end), methods=["POST"]),
                Route("/lens/{path:path}", self.nowhere),
                Route("/{path:path}", self.nowhere),
            ],
        )

    async def health(self, request: Request) -> Response:
        """Is it alive, and can it log? Needs no key, so it says nothing else."""
        failing = self._failing()
        body = {"status": "failing" if failing else "ok", "version": _version(), "pid": getpid(),
                "store": str(self.settings.store)}  # fmt: skip
        return JSONResponse(body)

    async def status(self, request: Request, who: Principal) -> Response:
        """The state of the gateway in numbers."""
        cache, store = self.house.cache, self.settings.store
        logged = await self._query("SELECT count(*) AS calls FROM calls", fmt="json")
        body = {
            "version": _version(),
            "pid": getpid(),
            "store": str(store),
            "store_bytes": store.stat().st_size if store.exists() else 0,
            "uptime_s": round(time.monotonic() - self.started, 1),
            "calls": msgspec.json.decode(logged)[0]["calls"],
            "calls_since_start": self.calls(),
            "cache": {"entries": len(cache.index), "bytes": cache.size_bytes, "memory_bytes": cache.memory_bytes},
            "pending": self.writer.pending,
            "rejected": self.writer.rejected,
            "lost": self.house.log.lost,
            "failing": self._failing(),
            "idle_stop_s": self.settings.gateway.idle_stop_s,
            "config": str(self.settings.config) if self.settings.config else None,
        }
        return JSONResponse(body)

    async def origins(self, request: Request, who: Principal) -> Response:
        """The URL prefixes whose calls a kernel should send here."""
        found = {
            prefix: provider.name
            for provider in self.house.router.providers.values()
            if provider.capture
            for prefix in provider.prefixes
        }
        return JSONResponse({"origins": sorted(found), "providers": found})

    async def query(self, request: Request, who: Principal) -> Response:
        """Read-only SQL over the views. The answer is Parquet, or what Accept asks for: JSON or CSV."""
        body = await _body(request)
        try:
            asked = msgspec.json.decode(body, type=Query)
            frames = {name: base64.b64decode(data, validate=True) for name, data in asked.frames.items()}
        except (msgspec.DecodeError, ValueError) as error:
            raise BadRequest(f"the body is not a query: {error}; see {Query.__doc__}") from error
        kind = next((t for t in FORMATS if t in request.headers.get("accept", "")), PARQUET)
        answer = await self._query(asked.sql, asked.params, frames, asked.max_rows, asked.timeout_s, FORMATS[kind])
        return Response(answer, media_type=kind)

    async def tokens(self, request: Request, who: Principal) -> Response:
        """Count the input tokens of {"text", "model"} or of a chat request of any dialect, and give its model's limits.
        Nothing is sent and nothing is logged."""
        return JSONResponse(await counting.tokens(await _body(request), self.settings.providers))

    async def feed(self, request: Request, who: Principal) -> Response:
        """Finished calls as they are committed, as server-sent events."""
        return StreamingResponse(self.live.listen(), media_type="text/event-stream")

    async def prune(self, request: Request, who: Principal) -> Response:
        """Forget stored answers; the calls stay in the log."""
        try:
            asked = msgspec.json.decode(await _body(request) or b"{}", type=Prune)
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is not a prune request: {error}") from error
        now = datetime.now(UTC)
        older_than = now - timedelta(seconds=asked.older_than_s) if asked.older_than_s is not None else None
        done = self.writer.prune_cache(expired_at=now, older_than=older_than, max_bytes=asked.max_bytes)
        keys = await asyncio.wrap_future(done)
        self.house.cache.forget(keys)
        return JSONResponse({"pruned": len(keys), "entries": len(self.house.cache.index)})

    async def end(self, request: Request, who: Principal) -> Response:
        """Stop: running calls end, the log is written, then the process exits."""
        self.stop()
        return JSONResponse({"status": "stopping", "pid": getpid()})

    async def nowhere(self, request: Request) -> Response:
        """A page that is not there."""
        return _error(404, f"nothing at {request.url.path!r}; the control API is /lens/health, /lens/status, "
                      "/lens/query, /lens/tokens, /lens/live, /lens/origins, /lens/cache/prune, /lens/stop",
                      "not_found")  # fmt: skip

    def _for_owner(
        self, act: Callable[[Request, Principal], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            try:
                who, _ = self.house.gate.who(dict(request.headers))
                if who.role not in ("owner", "admin"):
                    raise Forbidden("this needs the owner's or an admin's key")
                return await act(request, who)
            except Denied as denial:
                return _error(denial.status, str(denial), denial.code)
            except QueryError as error:
                return _error(400, str(error), "query_error")
            except StoreError as error:
                return _error(503, str(error), "store_error")

        return route

    async def _query(
        self, sql: str, params: Any = None, frames: Any = None, max_rows: int = 1_000_000, timeout_s: float = 30.0,
        fmt: str = "parquet",
    ) -> bytes:  # fmt: skip
        await asyncio.to_thread(self.writer.flush, FLUSH_S)
        run = partial(self.reader.query, sql, params, frames=frames or {}, max_rows=max_rows, timeout_s=timeout_s,
                      format=fmt)  # type: ignore[arg-type]  # fmt: skip
        return await asyncio.to_thread(run)

    def _failing(self) -> str | None:
        return self.house.log.failing or self.writer.failing


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_QUERY_BYTES:
            raise BadRequest(f"the body has more than {MAX_QUERY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _error(status: int, message: str, code: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "llmlens_error", "code": code}}, status)


def _version() -> str:
    return version("llmlens")
