"""Newline-delimited JSON: bytes in, lines out, and back; and what all readers of such streams share. No I/O."""

from collections.abc import Iterator
from typing import Any

from llmlens.errors import WireError
from llmlens.records import Piece, Reply
from llmlens.wire.accumulate import pieces_of
from llmlens.wire.json_text import dumps, loads
from llmlens.wire.sse import MAX_EVENT_BYTES

MEDIA_TYPE = "application/x-ndjson"
_SPACE = b" \t\r\n\xef\xbb\xbf"  # with the bytes of a UTF-8 byte-order mark


class Decoder:
    """Feed it bytes in any split; the lines are the same. Blank ones and the space around a line are left out."""

    __slots__ = ("_held", "_max", "_parts")

    def __init__(self, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_line_bytes
        self._parts: list[bytes] = []  # pieces of the unfinished line, joined once: linear time for any split
        self._held = 0  # bytes in _parts

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that the next `chunk` finished.

        Raises:
            WireError: one line grew past `max_line_bytes`.
        """
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._hold(end)
            yield from self.end()
        self._hold(rest)

    def end(self) -> list[bytes]:
        """The last line, where it lacked its newline."""
        line, self._parts, self._held = b"".join(self._parts).strip(_SPACE), [], 0
        return [line] if line else []

    def _hold(self, part: bytes) -> None:
        self._held += len(part)
        if self._held > self._max:
            raise WireError(f"line larger than {self._max} bytes")
        if part:
            self._parts.append(part)


class LineReader:
    """Base of the `StreamReader`s over NDJSON.

    A server may answer with JSON over several lines (an error, indented): while no line is an object, all are kept, and
    at the end read as one plain answer.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._unread: list[bytes] | None = []  # None once a line was an object
        self._size = 0

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take the next bytes; return the pieces they completed.

        Raises:
            WireError: one line, or a plain body, grew past MAX_EVENT_BYTES.
        """
        out: list[Piece] = []
        for line in self._decoder.feed(chunk):
            self._line(line, out)
        return out

    def end(self) -> list[Piece]:
        """The connection is closed: return what was still held back."""
        out: list[Piece] = []
        for line in self._decoder.end():
            self._line(line, out)
        if self._unread:
            body, self._unread = b"\n".join(self._unread), []
            return pieces_of(self._plain(body))
        self._finish(out)
        return out

    def _line(self, line: bytes, out: list[Piece]) -> None:
        try:
            # some servers frame the same lines as server-sent events, when the client says that it takes them
            value = loads(line.removeprefix(b"data:"))
        except WireError:
            value = None
        if isinstance(value, dict):
            self._unread = None
            self._object(value, out)
        elif self._unread is not None:
            self._size += len(line)
            if self._size > MAX_EVENT_BYTES:
                raise WireError(f"plain body larger than {MAX_EVENT_BYTES} bytes")
            self._unread.append(line)

    def _object(self, data: dict[str, Any], out: list[Piece]) -> None:
        """Append the pieces of one line to `out`; never raises."""
        raise NotImplementedError

    def _finish(self, out: list[Piece]) -> None:
        """Append what the end of the connection itself says."""

    def _plain(self, body: bytes) -> Reply:
        """Read a plain answer."""
        raise NotImplementedError


def encode(value: Any) -> bytes:
    """One line."""
    return dumps(value) + b"\n"
