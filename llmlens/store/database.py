"""The one DuckDB file: opened, locked, migrated, and closed off from everything but a private temp directory.

Every connection of the process shares these settings, and they are locked: no file, network, extension or Python
variable can be reached by SQL, whoever wrote it. `enable_external_access` can be turned off while open but never on.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import threading
from pathlib import Path
from types import TracebackType

import duckdb

from llmlens.errors import StoreError, StoreLocked
from llmlens.store import schema

# The newest storage version that DuckDB 1.5.5 still reads. DuckDB 2.0's own default is refused by 1.5.5.
STORAGE_VERSION = "v1.5.0"
_HOLDER = re.compile(r"\(PID (\d+)\)")


TAKEN_NAMES = frozenset({"log", "main", "temp", "system", "memory", "information_schema", "pg_catalog"})


class Database:
    """An open store. Thread-safe: every thread takes its own `cursor()`.

    `temp_directory` (0700, random name, gone at close) is the only place of the file system that SQL can reach.
    """

    def __init__(self, path: Path, memory_limit_mb: int) -> None:
        """Use `Database.open`."""
        self.path = path
        self.memory_limit_mb = memory_limit_mb
        self._lock = threading.Lock()
        prefix = f"llmlens-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}-"
        self.temp_directory = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            self._connection = self._connect()
            self._remove_leftovers(prefix)
        except BaseException:
            shutil.rmtree(self.temp_directory, ignore_errors=True)
            raise
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, memory_limit_mb: int = 256) -> "Database":
        """Open or create the store at `path` and bring its schema up to date.

        Raises:
            StoreLocked: another process holds the file; the message names its PID.
            StoreError: not a store, written by a newer llmlens, or the directory cannot be written.
        """
        if path.stem.lower() in TAKEN_NAMES:
            raise StoreError(
                f"a store cannot be called {path.name!r}: DuckDB names the database after the file, and "
                f"{path.stem!r} is taken inside it; choose another name, e.g. llmlens.duckdb"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(_unusable(path, error.strerror or str(error))) from error
        return cls(path.absolute(), memory_limit_mb)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own onto the same database; close it. Temp tables and views are private to it.

        Raises:
            StoreError: the store is closed.
        """
        with self._lock:
            if self._closed:
                raise StoreError(f"store {self.path} is closed")
            return self._connection.cursor()

    def reopen(self) -> None:
        """Open the file anew, after an error that made DuckDB give the instance up. Old cursors are dead then.

        Raises:
            StoreError: it cannot be opened now; call again later.
        """
        with self._lock:
            self._connection.close()
            self._connection = self._connect()

    def close(self) -> None:
        """Close the file and remove the private temp directory. Harmless when done twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._connection.close()
        shutil.rmtree(self.temp_directory, ignore_errors=True)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _remove_leftovers(self, prefix: str) -> None:
        """The temp directories of killed processes. We hold the lock of the store, so none of them is in use."""
        for folder in self.temp_directory.parent.glob(prefix + "*"):
            if folder != self.temp_directory:
                shutil.rmtree(folder, ignore_errors=True)

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = _connect(self.path, self.temp_directory, self.memory_limit_mb)
        try:
            self.path.chmod(0o600)  # bodies of calls are private
            schema.bring_up_to_date(connection, self.path)
            _close_off(connection, self.temp_directory)
        except BaseException:
            connection.close()
            raise
        return connection


def _connect(path: Path, temp: Path, memory_limit_mb: int) -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "storage_compatibility_version": STORAGE_VERSION,
        "memory_limit": f"{memory_limit_mb}MB",
        "threads": "1",  # a lookup is faster with one; queries of several threads still run side by side
        "temp_directory": str(temp),
        "wal_autocheckpoint": "1GB",  # the default of 16 MB stalls the writer; `Writer` checkpoints when idle
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",  # else SQL reads the variables of our own stack frames
        "preserve_insertion_order": "true",
    }
    try:
        return duckdb.connect(str(path), config=settings)
    except duckdb.ConnectionException as error:
        raise StoreLocked(
            f"store {path} is already open in this process (PID {os.getpid()}); share that one"
        ) from error
    except duckdb.Error as error:
        raise _cannot_open(path, str(error)) from error


def _close_off(connection: duckdb.DuckDBPyConnection, temp: Path) -> None:
    """Give up, for good, all that SQL of a user must not have."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET allowed_directories = [" + schema.quoted(str(temp)) + "]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _cannot_open(path: Path, message: str) -> StoreError:
    if "lock" in message.lower() and (holder := _HOLDER.search(message)):
        return StoreLocked(
            f"store {path} is held by another process (PID {holder[1]}); use that gateway, or stop it first"
        )
    if "lock" in message.lower():
        return StoreLocked(f"store {path} is held by another process: {_first_line(message)}")
    if "newer version of DuckDB" in message or "version number" in message:
        return StoreError(f"store {path} was written by a newer DuckDB than {duckdb.__version__}; upgrade duckdb")
    if "not a valid DuckDB" in message:
        return StoreError(f"{path} is not a DuckDB file; move it away or choose another store")
    return StoreError(_unusable(path, _first_line(message)))


def _unusable(path: Path, reason: str) -> str:
    hint = "choose a directory you can write to (LLMLENS_STORE)"
    if os.strerror(errno.ENOSPC) in reason:
        hint = "free some disk space"
    return f"store {path} cannot be opened: {reason}; {hint}"


def _first_line(message: str) -> str:
    return message.strip().split("\n", 1)[0].removeprefix("IO Error: ")
