"""Where the gateway is: read the state file of the project's store, ask whether it is well, or start one.

| what is found | what happens |
| --- | --- |
| LLMLENS_URL | that one is used, with LLMLENS_KEY; nothing is started |
| a well gateway of this version or a newer one | it is used |
| an older one | it is asked to stop, and replaced |
| a dead process, or another one on its port | it is replaced |
| a process that lives but does not answer | GatewayError: `llmlens stop` |

Whoever starts or stops one holds the file lock, so two kernels that start at the same time end with one gateway.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llmlens.client.door import NotListening, fetch
from llmlens.client.process import alive, end, looks_like_ours
from llmlens.errors import GatewayError
from llmlens.records import Secret
from llmlens.settings import Settings
from llmlens.wire import headers as names

HEALTH_TIMEOUT_S = 5.0
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.02
MAX_LOG_BYTES = 4 * 1024 * 1024
LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that answered. `pid` is None for one that LLMLENS_URL names."""

    url: str
    key: Secret
    pid: int | None
    version: str
    store: Path | None
    config_sha: str | None = None  # of the llmlens.toml it was started under; None: not ours to replace

    @property
    def headers(self) -> dict[str, str]:
        """The headers by which it knows us. They hold the key: do not show them."""
        return {names.KEY: self.key.reveal()}


def connect(
    settings: Settings,
    *,
    start: bool = True,
    command: Sequence[str] | None = None,
    health_timeout_s: float = HEALTH_TIMEOUT_S,
) -> Gateway:
    """The gateway of `settings`; started when there is none and `start` is True. Blocks for at most about 40 s.

    `command` replaces `python -m llmlens` (tests). One that says nothing for `health_timeout_s` hangs.

    Raises:
        GatewayError: none runs and `start` is False; it could not be started (with the last lines of its log); it
            does not answer; the folder of the store cannot be written. Says what to do.
    """
    if settings.url:
        return _given(settings, settings.url)
    found = _find(settings, health_timeout_s)
    if isinstance(found, Gateway) and not _outdated(found, settings):
        return found
    if not start:
        if isinstance(found, Gateway):
            return found
        raise GatewayError(f"no gateway runs for {settings.store}; `%load_ext llmlens` or `llmlens serve` starts one")
    with _lock(settings):
        found = _find(settings, health_timeout_s)
        if isinstance(found, Gateway):
            if not _outdated(found, settings):
                return found
            _stop(settings, found, STOP_TIMEOUT_S)
        elif found is not None:
            _await_end(settings, found, STOP_TIMEOUT_S)
        return _start(settings, command)


def stop(settings: Settings, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Stop the gateway of `settings.store`: False when none runs. It writes its log first; one that hangs is killed.

    Raises:
        GatewayError: it is still there after `timeout_s`, or another user's process has its pid.
    """
    if settings.url:
        raise GatewayError(f"LLMLENS_URL names {settings.url}, which was not started here; stop it where it runs")
    try:
        found = _find(settings, min(HEALTH_TIMEOUT_S, timeout_s))
    except Hung as hung:
        return _kill(settings, hung.pid, timeout_s)
    if found is None:
        return False
    if isinstance(found, Gateway):
        _stop(settings, found, timeout_s)
    else:
        _await_end(settings, found, timeout_s)
    return True


def base_url() -> str:
    """The address for clients that take one: `OpenAI(base_url=lens.base_url(), api_key="…")`. Starts the gateway."""
    from llmlens.client.session import session  # it imports this module

    return session().gateway.url + "/v1"


def health(url: str, timeout_s: float = HEALTH_TIMEOUT_S) -> dict[str, Any]:
    """What the gateway at `url` says of itself: status, version, pid, store.

    Raises:
        NotListening: nothing listens there.
        GatewayError: something does, but it is too slow, or no llmlens gateway.
    """
    status, _, body = fetch(url, "GET", "/lens/health", {}, timeout_s=timeout_s)
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if status != 200 or not isinstance(said, dict) or "version" not in said:
        raise GatewayError(f"what listens at {url} is no llmlens gateway (status {status})")
    return said


# ── finding ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Hung(GatewayError):
    """The gateway's process lives but does not answer."""

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


@dataclass(frozen=True, slots=True)
class Ending:
    """A process that lives but listens no more: it is writing its log, or its pid belongs to another one now."""

    pid: int


def _given(settings: Settings, url: str) -> Gateway:
    url = url.rstrip("/")
    if not settings.key:
        raise GatewayError(f"LLMLENS_URL is {url}, but LLMLENS_KEY is not set; ask whoever runs that gateway for a key")
    try:
        said = health(url)
    except NotListening as error:
        raise GatewayError(f"{error}; it is the one that LLMLENS_URL names: start it, or unset LLMLENS_URL") from error
    return Gateway(url, settings.key, None, str(said["version"]), None)


def _find(settings: Settings, timeout_s: float) -> Gateway | Ending | None:
    """What the state file leads to; None when there is nothing, or only what a dead gateway left behind."""
    state = _read_state(settings.state_file)
    if state is None or not alive(state["pid"]):
        return None
    pid, host, port = state["pid"], state["host"], state["port"]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  listens everywhere: loopback reaches it
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    try:
        said = health(url, timeout_s)
    except NotListening:
        return Ending(pid) if looks_like_ours(pid) else None
    except GatewayError as error:
        if not looks_like_ours(pid):
            return None
        raise Hung(f"the gateway (pid {pid}) does not answer: {error}; `llmlens stop` ends it", pid) from error
    if said.get("pid") != pid:
        return None
    return Gateway(url, Secret(state["key"]), pid, str(said["version"]), settings.store, state["config_sha"])


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        owner = path.stat().st_uid
        state = json.loads(path.read_text("utf-8"))
        state = {"pid": int(state["pid"]), "host": str(state["host"]), "port": int(state["port"]),
                 "key": str(state["key"]), "config_sha": state.get("config_sha")}  # fmt: skip
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise _not_ours(path) from error
    except (OSError, ValueError, KeyError, TypeError):
        return None  # cut short or of another make: as good as none
    # A state file that another user wrote could lead our calls, and the provider keys in them, to that user.
    if hasattr(os, "getuid") and owner not in (os.getuid(), 0):
        raise _not_ours(path)
    return state


def _not_ours(path: Path) -> GatewayError:
    return GatewayError(
        f"the gateway of {path} was started by another user; set LLMLENS_URL and LLMLENS_KEY to share it, "
        "or LLMLENS_STORE for a store of your own"
    )


def _outdated(found: Gateway, settings: Settings) -> bool:
    """Of an older version, or started by a notebook under an llmlens.toml that has changed since."""
    return _older(found.version) or found.config_sha not in (None, settings.config_sha)


def _older(theirs: str) -> bool:
    return _numbers(theirs) < _numbers(version("llmlens"))


def _numbers(text: str) -> tuple[int, ...]:
    """The release part of a version: "1.12.0rc1" → (1, 12, 0)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _stop(settings: Settings, gateway: Gateway, timeout_s: float) -> None:
    with suppress(GatewayError):  # it may be gone before it has answered
        fetch(gateway.url, "POST", "/lens/stop", gateway.headers, b"", timeout_s=timeout_s)
    if gateway.pid is not None:
        _await_end(settings, Ending(gateway.pid), timeout_s)


def _await_end(settings: Settings, ending: Ending, timeout_s: float) -> None:
    def gone() -> bool:
        state = _read_state(settings.state_file)
        return not alive(ending.pid) or (state is not None and state["pid"] != ending.pid)

    if not _poll(gone, timeout_s):
        raise Hung(f"the gateway (pid {ending.pid}) did not stop within {timeout_s:.0f} s; `llmlens stop` ends it",
                   ending.pid)  # fmt: skip


def _kill(settings: Settings, pid: int, timeout_s: float) -> bool:
    """End a gateway that does not listen to requests. Nothing is lost: answered calls are in its journal."""
    for hard in (False, True):
        if not end(pid, hard=hard):
            raise GatewayError(f"the gateway (pid {pid}) may not be stopped by this user")
        if _poll(lambda: not alive(pid), timeout_s / 2):
            settings.state_file.unlink(missing_ok=True)
            return True
    raise GatewayError(f"the gateway (pid {pid}) cannot be stopped; end it with the system's own means")


def _poll(ready: Callable[[], bool], timeout_s: float) -> bool:
    until = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True


# ── starting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _lock(settings: Settings) -> "_Held":
    try:
        settings.lock_file.parent.mkdir(parents=True, exist_ok=True)
        return _Held(FileLock(settings.lock_file, timeout=START_TIMEOUT_S + STOP_TIMEOUT_S, thread_local=False))
    except OSError as error:
        raise _unwritable(settings, error) from error


class _Held:
    """The file lock, with errors that say what they mean."""

    def __init__(self, lock: FileLock) -> None:
        self._file_lock = lock

    def __enter__(self) -> None:
        path = self._file_lock.lock_file
        try:
            self._file_lock.acquire()
        except Timeout as error:
            raise GatewayError(f"another process has been starting the gateway for too long (lock {path})") from error
        except (OSError, NotImplementedError) as error:
            raise GatewayError(
                f"cannot lock {path}: {error}; set LLMLENS_STORE to a file in a folder that can be written"
            ) from error

    def __exit__(self, *_: object) -> None:
        self._file_lock.release()


def _unwritable(settings: Settings, error: OSError) -> GatewayError:
    return GatewayError(
        f"the folder {settings.store.parent} cannot be written ({error.strerror or error}); "
        "set LLMLENS_STORE to a file in a folder that can"
    )


def _start(settings: Settings, command: Sequence[str] | None) -> Gateway:
    """Start a detached gateway and wait until it answers. The caller holds the lock."""
    settings.state_file.unlink(missing_ok=True)
    log_start = _log_size(settings.log_file)
    process = _spawn(settings, [*(command or _serve_command()), *_serve_options(settings)])
    # Somebody has to wait for a child, or it stays in the process table when it ends.
    threading.Thread(target=process.wait, name="llmlens-gateway-reaper", daemon=True).start()
    found: list[Gateway] = []

    def ready() -> bool:
        if process.poll() is not None:
            return True
        with suppress(GatewayError):
            if isinstance(gateway := _find(settings, HEALTH_TIMEOUT_S), Gateway):
                found.append(gateway)
        return bool(found)

    if _poll(ready, START_TIMEOUT_S) and found:
        return found[0]
    if process.poll() is None:
        what = f"the gateway (pid {process.pid}) was not ready within {START_TIMEOUT_S:.0f} s"
    else:
        what = f"the gateway ended at once (exit status {process.returncode})"
    raise GatewayError(
        f"{what}. Its log {settings.log_file} says:\n{_log_tail(settings.log_file, log_start)}\n"
        "`llmlens serve` in a terminal shows more; `llmlens doctor` checks the surroundings"
    )


def _serve_command() -> list[str]:
    if not sys.executable:
        raise GatewayError("this Python does not know its own executable; run `llmlens serve` in a terminal instead")
    # -P: a random.py in the project must not take the place of Python's own.
    return [sys.executable, "-P", "-m", "llmlens"]


def _serve_options(settings: Settings) -> list[str]:
    config = ["--config", str(settings.config)] if settings.config else []
    return ["serve", "--detached", "--store", str(settings.store), *config, "--port", str(settings.gateway.port)]


def _spawn(settings: Settings, command: list[str]) -> "subprocess.Popen[bytes]":
    fresh = os.O_TRUNC if _log_size(settings.log_file) > MAX_LOG_BYTES else 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | fresh
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        log = os.open(settings.log_file, flags, 0o600)
    except OSError as error:
        raise _unwritable(settings, error) from error
    try:
        return subprocess.Popen(  # noqa: S603
            command, cwd=settings.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=True, **detached
        )
    except OSError as error:
        raise GatewayError(f"cannot run {command[0]}: {error.strerror}") from error
    finally:
        os.close(log)


def _log_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _log_tail(path: Path, start: int) -> str:
    try:
        written = path.read_bytes()
    except OSError as error:
        return f"(not readable: {error.strerror})"
    lines = written[start if start <= len(written) else 0 :].decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-LOG_LINES:]) or "(nothing)"
