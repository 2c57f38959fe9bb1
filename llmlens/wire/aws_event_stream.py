"""The binary event streams of AWS (`application/vnd.amazon.eventstream`): bytes in, `Frame` out, and back. No I/O.

A frame is: total length, length of the headers, CRC-32 of those eight bytes; the headers; the payload; CRC-32 of all
before it. Numbers are big-endian. Source: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html and
https://smithy.io/2.0/aws/amazon-eventstream.html.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct, error, unpack_from
from zlib import crc32

from llmlens.errors import WireError

MEDIA_TYPE = "application/vnd.amazon.eventstream"
MAX_FRAME_BYTES = 24 * 1024 * 1024  # as in the SDKs of AWS, which bound the payload
MAX_HEADER_BYTES = 128 * 1024

_PRELUDE = Struct("!III")
_CRC = Struct("!I")
_SMALLEST = _PRELUDE.size + _CRC.size

Value = str | int | bool | bytes
"""Of a header. A timestamp is an int (milliseconds since 1970), a UUID its sixteen bytes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. Names of headers that the protocol itself defines begin with a colon."""

    headers: Mapping[str, Value]
    payload: bytes

    def text(self, name: str) -> str:
        """Header `name` where it is text, else ""."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class Decoder:
    """Feed it bytes in any split; the frames are the same, and so is the error after the last good one."""

    __slots__ = ("_buffer", "_error", "_max", "_total")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max = max_frame_bytes
        self._buffer = bytearray()
        self._total = 0  # length of the frame being read; 0 until its prelude is here
        self._error: WireError | None = None

    @property
    def pending(self) -> bytes:
        """Bytes of the unfinished frame."""
        return bytes(self._buffer)

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next `chunk` (any length, any split); return finished frames.

        Raises:
            WireError: a checksum, a length or a header is wrong, or a frame is larger than `max_frame_bytes`. Frames
                before it are returned first: then the next call raises. Nothing can be read after it.
        """
        if self._error is not None:
            raise self._error
        self._buffer += chunk
        frames: list[Frame] = []
        start = 0
        try:
            while (end := self._end(start)) is not None:
                frames.append(_frame(bytes(self._buffer[start:end])))
                start, self._total = end, 0
        except WireError as e:
            self._error = e
            if not frames:
                raise
        del self._buffer[:start]
        return frames

    def end(self) -> bytes:
        """The connection is closed: return what was left of a frame that broke off.

        Raises:
            WireError: as `feed`.
        """
        if self._error is not None:
            raise self._error
        return self.pending

    def _end(self, start: int) -> int | None:
        """Where the frame at `start` ends; None where it is not whole yet."""
        if not self._total:
            if len(self._buffer) - start < _PRELUDE.size:
                return None
            self._total = self._length(start)
        end = start + self._total
        return end if len(self._buffer) >= end else None

    def _length(self, start: int) -> int:
        total, headers, crc = _PRELUDE.unpack_from(self._buffer, start)
        if crc32(self._buffer[start : start + 8]) != crc:
            raise WireError("not an AWS event stream: the checksum of a prelude is wrong")
        if total > self._max or headers > MAX_HEADER_BYTES:
            raise WireError(f"event stream frame larger than {self._max} bytes, or headers over {MAX_HEADER_BYTES}")
        if total < _SMALLEST + headers:
            raise WireError(f"event stream frame of {total} bytes cannot hold {headers} bytes of headers")
        return int(total)


def whole(data: bytes) -> int:
    """How many bytes of `data` are whole frames; where it is no event stream, all of them. Checks no content."""
    start = 0
    while len(data) - start >= _PRELUDE.size:
        total, _headers, crc = _PRELUDE.unpack_from(data, start)
        if crc32(data[start : start + 8]) != crc or total < _SMALLEST:
            return len(data)
        if start + total > len(data):
            break
        start += total
    return start


def encode(headers: Mapping[str, Value], payload: bytes) -> bytes:
    """One frame as bytes.

    Raises:
        WireError: a name is longer than 255 bytes, a value than 65,535, or a number than 64 bits.
    """
    try:
        head = b"".join(_header(name, value) for name, value in headers.items())
        prelude = _PRELUDE.pack(_SMALLEST + len(head) + len(payload), len(head), 0)[:8]
    except (error, ValueError) as e:
        raise WireError(f"cannot be written as a frame: {e}") from e
    frame = prelude + _CRC.pack(crc32(prelude)) + head + payload
    return frame + _CRC.pack(crc32(frame))


# ── headers ───────────────────────────────────────────────────────────────────────────────────────────────────────

_TEXT, _BYTES, _LONG, _TRUE, _FALSE = 7, 6, 5, 0, 1


def _header(name: str, value: Value) -> bytes:
    raw = name.encode()
    head = Struct("!B").pack(len(raw)) + raw
    if isinstance(value, bool):
        return head + bytes([_TRUE if value else _FALSE])
    if isinstance(value, int):
        return head + Struct("!Bq").pack(_LONG, value)
    kind, content = (_TEXT, value.encode()) if isinstance(value, str) else (_BYTES, value)
    return head + Struct("!BH").pack(kind, len(content)) + content


def _fixed(form: str) -> Callable[[bytes, int], tuple[Value, int]]:
    number = Struct(form)
    return lambda data, at: (number.unpack_from(data, at)[0], at + number.size)


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    (size,) = unpack_from("!H", data, at)
    end = at + 2 + size
    if end > len(data):
        raise WireError("a header of an event stream frame is longer than all of them together")
    return data[at + 2 : end], end


def _string(data: bytes, at: int) -> tuple[str, int]:
    raw, end = _sized(data, at)
    return raw.decode("utf-8", "replace"), end


_READ: Mapping[int, Callable[[bytes, int], tuple[Value, int]]] = {
    _TRUE: lambda _data, at: (True, at),
    _FALSE: lambda _data, at: (False, at),
    2: _fixed("!b"),
    3: _fixed("!h"),
    4: _fixed("!i"),
    _LONG: _fixed("!q"),
    _BYTES: _sized,
    _TEXT: _string,
    8: _fixed("!q"),  # a timestamp
    9: _fixed("!16s"),  # a UUID
}


def _frame(raw: bytes) -> Frame:
    if crc32(raw[:-4]) != _CRC.unpack_from(raw, len(raw) - 4)[0]:
        raise WireError("the checksum of an event stream frame is wrong")
    (size,) = unpack_from("!I", raw, 4)
    end = _PRELUDE.size + size
    return Frame(_headers(raw[_PRELUDE.size : end]), raw[end:-4])


def _headers(data: bytes) -> dict[str, Value]:
    headers: dict[str, Value] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name, kind = data[at + 1 : name_end].decode("utf-8", "replace"), data[name_end]
            headers[name], at = _READ[kind](data, name_end + 1)
    except (IndexError, KeyError, error) as e:
        raise WireError(f"a header of an event stream frame cannot be read: {e!r}") from e
    return headers
