"""Which cell a call belongs to: a ContextVar that asyncio tasks, threads and executor tasks inherit.

A thread keeps the cell it was started in, a task of a `ThreadPoolExecutor` the one it was submitted in; Python carries
context variables into asyncio tasks by itself, but not into these two. Whoever sends a call reads `headers()` at that
moment, so a stream that is read later, in another cell, still belongs to the cell that asked.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from llmlens.records import Provenance
from llmlens.wire.headers import NOWHERE, encode_provenance

GIT_TIMEOUT_S = 2.0

P = ParamSpec("P")
R = TypeVar("R")

CELL: Final[ContextVar[Provenance | None]] = ContextVar("llmlens_cell", default=None)
"""None: nobody said. `NOWHERE`: outside of any cell, whatever the thread was started in."""

_INHERITED: Final["WeakKeyDictionary[threading.Thread, Provenance]"] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Token:
    """What `left` needs: the cell that was current before."""

    before: Provenance | None


def current() -> Provenance | None:
    """The cell this code runs for: the context's, else the one its thread was started in; None outside of cells."""
    where = CELL.get() or _INHERITED.get(threading.current_thread())
    return None if where is None or where == NOWHERE else where


def entered(provenance: Provenance) -> Token:
    """A cell begins, possibly inside another one. Give the token to `left` when it ends."""
    token = Token(CELL.get())
    CELL.set(provenance)
    return token


def left(token: Token) -> None:
    """The cell has ended; the one around it, if any, is current again.

    A `ContextVar.reset` would raise here: ipykernel ends a cell in another context than the one it began in.
    """
    CELL.set(token.before)


def headers() -> dict[str, str]:
    """The `x-llmlens-…` headers that say where a call comes from; empty outside of cells.

    The commit is looked up once per execution of a cell, at its first call, and that takes GIT_TIMEOUT_S at most.
    """
    where = current()
    return {} if where is None else encode_provenance(_GIT.completed(where))


def carry(target: Callable[P, R], provenance: Provenance | None = None) -> Callable[P, R]:
    """`target`, which runs in the cell it was made in (or in `provenance`), whichever thread calls it."""
    where = provenance or current() or NOWHERE

    @wraps(target)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        token = CELL.set(where)
        try:
            return target(*args, **kwargs)
        finally:
            CELL.reset(token)

    return run


# ── threads ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Carrier:
    """The two patches, and what they replaced."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    start: Callable[..., None] | None = None
    submit: Callable[..., "Future[Any]"] | None = None
    active: bool = False


_CARRIER: Final = _Carrier()


def carry_into_threads() -> None:
    """From now on new threads and executor tasks know their cell. Does nothing when it is on already."""
    with _CARRIER.lock:
        _CARRIER.active = True
        if getattr(threading.Thread.start, "_llmlens", None) is None:
            _CARRIER.start = threading.Thread.start
            threading.Thread.start = _start_of(_CARRIER.start)  # type: ignore[method-assign]
        if getattr(ThreadPoolExecutor.submit, "_llmlens", None) is None:
            _CARRIER.submit = ThreadPoolExecutor.submit
            ThreadPoolExecutor.submit = _submit_of(_CARRIER.submit)  # type: ignore[method-assign]


def stop_carrying() -> None:
    """Undo `carry_into_threads`. Where another tool patched on top, ours stays and only passes through."""
    with _CARRIER.lock:
        _CARRIER.active = False
        if getattr(threading.Thread.start, "_llmlens", None) is _CARRIER and _CARRIER.start is not None:
            threading.Thread.start = _CARRIER.start  # type: ignore[method-assign]
        if getattr(ThreadPoolExecutor.submit, "_llmlens", None) is _CARRIER and _CARRIER.submit is not None:
            ThreadPoolExecutor.submit = _CARRIER.submit  # type: ignore[method-assign]


def _start_of(original: Callable[..., None]) -> Callable[..., None]:
    def start(self: threading.Thread) -> None:
        if _CARRIER.active and (where := current()) is not None:
            _INHERITED[self] = where
        original(self)

    start.__name__, start.__qualname__, start.__doc__ = "start", "Thread.start", original.__doc__
    start._llmlens = _CARRIER  # type: ignore[attr-defined]
    return start


def _submit_of(original: Callable[..., "Future[Any]"]) -> Callable[..., "Future[Any]"]:
    def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        # Outside of cells too: the worker may have been started in a cell that this task has nothing to do with.
        return (
            original(self, _run_in, current() or NOWHERE, fn, *args, **kwargs)
            if _CARRIER.active
            else original(self, fn, *args, **kwargs)
        )

    submit.__name__, submit.__qualname__, submit.__doc__ = "submit", "ThreadPoolExecutor.submit", original.__doc__
    submit._llmlens = _CARRIER  # type: ignore[attr-defined]
    return submit


def _run_in(where: Provenance, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    token = CELL.set(where)
    try:
        return fn(*args, **kwargs)
    finally:
        CELL.reset(token)


# ── git ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def git_state(folder: str | Path) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the work tree that `folder` lies in; dirty means that tracked files differ from the commit.

    (None, None) outside of a work tree, without git, or before the first commit. When a huge tree takes longer than
    GIT_TIMEOUT_S in all, `dirty` is None. Never raises.
    """
    until = time.monotonic() + GIT_TIMEOUT_S
    commit = _git(folder, GIT_TIMEOUT_S / 2, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return None, None
    changes = _git(folder, until - time.monotonic(), "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git(folder: str | Path, timeout_s: float, *arguments: str) -> str | None:
    # No optional locks: a `git status` in the background must not make the user's own git command fail.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


@dataclass(slots=True)
class _GitOfCell:
    """The git state of the cell that was asked for last. A new execution is a new Provenance and asks again."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    where: Provenance | None = None
    known: Provenance | None = None

    def completed(self, where: Provenance) -> Provenance:
        """`where` with commit and dirty flag filled in, if it does not have them."""
        if where.git_commit is not None or where.run_id is None:
            return where
        with self.lock:
            if self.known is None or self.where != where:
                commit, dirty = git_state(Path.cwd())
                self.where, self.known = where, replace(where, git_commit=commit, git_dirty=dirty)
            return self.known


_GIT: Final = _GitOfCell()
