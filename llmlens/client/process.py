"""Other processes of this machine: does it live, is it a gateway of ours, end it. By pid; Windows too."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

MARK = b"llmlens"


def alive(pid: int) -> bool:
    """True for a process that runs, of whichever user. One that has ended but was not waited for does not run."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # In a container without an init, nobody waits for an orphan: it stays in the table for ever.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return True


def looks_like_ours(pid: int) -> bool:
    """Whether the command line of `pid` names llmlens; False where it cannot be told. A pid may have been reused."""
    with suppress(OSError):
        return MARK in Path(f"/proc/{pid}/cmdline").read_bytes()
    if sys.platform == "win32":
        return True
    with suppress(OSError, subprocess.TimeoutExpired):
        told = subprocess.run(  # noqa: S603
            ["ps", "-o", "command=", "-p", str(pid)],  # noqa: S607
            capture_output=True,
            timeout=2,
            check=False,
        )
        return MARK in told.stdout
    return False


def end(pid: int, *, hard: bool) -> bool:
    """Ask `pid` to end, or (`hard`) end it. True unless this user may not."""
    number = signal.SIGKILL if hard and sys.platform != "win32" else signal.SIGTERM
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def _alive_on_windows(pid: int) -> bool:
    import ctypes

    still_active, query = 259, 0x1000  # STILL_ACTIVE, PROCESS_QUERY_LIMITED_INFORMATION
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(query, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == still_active
