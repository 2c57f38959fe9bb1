"""The journal: finished calls on disk before DuckDB has them. `kill -9` loses none of them.

A segment is a file of records `<length u32><crc32 u32><payload>`, little-endian. The checksum is seeded with the
length, so a tail of zeros (a crash of the machine) is no record. What a killed process left half-written is noticed
by length or checksum; everything before it is whole. `fsync` protects against power loss, too, at ~0.15 ms a record.
"""

import errno
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from llmlens.errors import StoreError

HEADER = struct.Struct("<II")
SEGMENT_BYTES = 16 * 1024 * 1024
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HINTS = {
    errno.ENOSPC: "free some disk space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another store (LLMLENS_STORE)",
    errno.EACCES: "make the directory writable, or choose another store (LLMLENS_STORE)",
    errno.EPERM: "make the directory writable, or choose another store (LLMLENS_STORE)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


class Position(NamedTuple):
    """Where a record lies: `segment` number, byte `offset` of its header. Later records compare greater."""

    segment: int
    offset: int


def journal_directory(store: Path) -> Path:
    """`<store>.journal`, next to the database file."""
    return store.with_name(store.name + ".journal")


def checksum(payload: bytes) -> int:
    """CRC-32 of the payload, seeded with its length."""
    return zlib.crc32(payload, len(payload) ^ 0x6C656E73)


def whole_records(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """The records of a segment's bytes as (offset, payload), and how many bytes at the head they take."""
    records, offset = [], 0
    while offset + HEADER.size <= len(data):
        length, crc = HEADER.unpack_from(data, offset)
        payload = data[offset + HEADER.size : offset + HEADER.size + length]
        if len(payload) != length or checksum(payload) != crc:
            break
        records.append((offset, payload))
        offset += HEADER.size + length
    return records, offset


class Journal:
    """Append-only segments in `directory`, which nobody else may use: whoever opens a Journal holds the lock of the
    database file (`Database.open`) before and for as long as the journal is open.

    `append` is for one thread; the other methods are for any. Segments of earlier processes are only ever read; new
    records go to a new segment. What is unreadable is kept in `rejected/`, never deleted.
    """

    def __init__(self, directory: Path, *, fsync: bool = False, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Create `directory` (0700) where missing. Raises StoreError when it cannot be used."""
        self.directory = directory
        self.fsync = fsync
        self.segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._live: dict[int, int] = {}  # records per segment that DuckDB has not yet
        self._fd = -1
        self._end = 0  # of the current segment, where the next record goes
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            self._old = self._segments()
        except OSError as error:
            raise self._failed("cannot be opened", error) from error
        self._segment = max(self._old, default=0)

    def append(self, payload: bytes) -> Position:
        """Write one record with one `write`. For the event loop: microseconds, unless `fsync` is on.

        Raises:
            StoreError: disk full, read-only or gone; nothing of the record stays behind.
        """
        size = HEADER.size + len(payload)
        with self._lock:
            try:
                if self._fd < 0 or (self._end and self._end + size > self.segment_bytes):
                    self._start_segment()
                self._write(HEADER.pack(len(payload), checksum(payload)) + payload)
            except OSError as error:
                raise self._failed("cannot take another call", error) from error
            position = Position(self._segment, self._end)
            self._end += size
            self._live[self._segment] += 1
        return position

    def read(self, position: Position) -> bytes:
        """The payload at `position`. Raises StoreError when it is not there (any more)."""
        try:
            with self._path(position.segment).open("rb") as file:
                file.seek(position.offset)
                length, crc = HEADER.unpack(file.read(HEADER.size))
                payload = file.read(length)
        except (OSError, struct.error) as error:
            raise StoreError(f"journal {self.directory} has no record at {position}: {error}") from error
        if len(payload) != length or checksum(payload) != crc:
            raise StoreError(f"journal {self.directory} is damaged at {position}")
        return payload

    def committed(self, positions: Iterable[Position]) -> None:
        """These records are in DuckDB; name each once. A segment goes once all of its records are."""
        with self._lock:
            for segment, _ in positions:
                self._live[segment] -= 1
        self._sweep()

    def trim(self) -> None:
        """Drop the current segment when DuckDB has all of it: bodies do not linger while nothing happens."""
        with self._lock:
            if self._fd >= 0 and not self._live[self._segment]:
                self._close_segment()
        self._sweep()

    def set_aside(self, position: Position, reason: str) -> None:
        """Copy a record that cannot be logged to `rejected/`, with the reason beside it.

        Raises:
            StoreError: it cannot be copied; the record is still in the journal.
        """
        self._reject(f"{position.segment:09d}-{position.offset}", self.read(position), reason)

    def replay(self) -> Iterator[tuple[Position, bytes]]:
        """The whole records that an earlier process left behind, oldest first. Once, before anything is appended."""
        for segment in self._old:
            try:
                data = self._path(segment).read_bytes()
                records, end = whole_records(data)
                if end < len(data):
                    self._reject(f"{segment:09d}-{end}", data[end:], "the record is cut off or damaged")
            except OSError as error:
                raise self._failed("cannot be read", error) from error
            with self._lock:
                if records:
                    self._live[segment] = len(records)
            if not records:
                self._remove(segment)
            for offset, payload in records:
                yield Position(segment, offset), payload
        self._old = []

    def close(self) -> None:
        """Close; a segment that DuckDB has all of does not stay behind."""
        self.trim()
        with self._lock:
            self._close_segment()

    def _write(self, record: bytes) -> None:
        """All of `record` at the end of the current segment, or nothing. Raises OSError."""
        try:
            written = os.write(self._fd, record)
            while written < len(record):  # the disk took a part: the next write says why
                written += os.write(self._fd, record[written:])
            if self.fsync:
                os.fsync(self._fd)
        except OSError:
            try:
                os.ftruncate(self._fd, self._end)
            except OSError:
                self._close_segment()  # its torn tail stays the last thing in it
            raise

    def _start_segment(self) -> None:
        fd = os.open(self._path(self._segment + 1), _NEW, 0o600)
        self._close_segment()
        self._segment += 1
        self._fd, self._end = fd, 0
        self._live[self._segment] = 0
        if self.fsync:
            folder = os.open(self.directory, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _sweep(self) -> None:
        """Remove the segments that hold nothing DuckDB lacks, except the one being written."""
        with self._lock:
            current = self._segment if self._fd >= 0 else None
            done = [segment for segment, live in self._live.items() if not live and segment != current]
            for segment in done:
                del self._live[segment]
        for segment in done:
            self._remove(segment)

    def _close_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _path(self, segment: int) -> Path:
        return self.directory / f"{segment:09d}.seg"

    def _segments(self) -> list[int]:
        return sorted(int(file.stem) for file in self.directory.glob("*.seg") if file.stem.isdecimal())

    def _remove(self, segment: int) -> None:
        try:
            self._path(segment).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("cannot drop a segment", error) from error

    def _reject(self, name: str, data: bytes, reason: str) -> None:
        folder = self.directory / "rejected"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for suffix, content in ((".bin", data), (".txt", reason.encode("utf-8", "backslashreplace"))):
                with open(folder / (name + suffix), "wb", opener=_private) as file:
                    file.write(content)
        except OSError as error:
            raise self._failed("cannot set a record aside", error) from error

    def _failed(self, what: str, error: OSError) -> StoreError:
        hint = _HINTS.get(error.errno or 0, "look at that directory")
        return StoreError(f"journal {self.directory} {what}: {error.strerror or error} ({error.errno}); {hint}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
