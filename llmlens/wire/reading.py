"""What all readers of event streams share: framing, and answers that are no stream after all. No I/O."""

from llmlens.errors import WireError
from llmlens.records import Piece, Reply
from llmlens.wire.accumulate import pieces_of
from llmlens.wire.sse import MAX_EVENT_BYTES, Decoder, Event

SPACE = b" \t\r\n\xef\xbb\xbf"  # with the bytes of a UTF-8 byte-order mark


class SseReader:
    """Base of the `StreamReader`s over server-sent events.

    A server may answer a streaming request with plain JSON under status 200 (an error, or it knows no streams): when
    the first byte is `{` or `[`, which no event stream begins with, the whole body is read as a plain answer.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._sniffed = False
        self._body: list[bytes] | None = None
        self._size = 0

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take the next bytes; return the pieces they completed.

        Raises:
            WireError: one event, or a plain body, grew past MAX_EVENT_BYTES.
        """
        if not self._sniffed:
            chunk = self._sniff(chunk)
        if self._body is not None:
            self._hold(chunk)
            return []
        out: list[Piece] = []
        for event in self._decoder.feed(chunk):
            self._event(event, out)
        return out

    def end(self) -> list[Piece]:
        """The connection is closed: return what was still held back."""
        if self._body is not None:
            body, self._body = b"".join(self._body), []
            return pieces_of(self._plain(body)) if body else []
        out: list[Piece] = []
        for event in self._decoder.end():
            self._event(event, out)
        self._finish(out)
        return out

    def _sniff(self, chunk: bytes) -> bytes:
        first = chunk.lstrip(SPACE)[:1]
        if first:
            self._sniffed = True
            if first in (b"{", b"["):
                self._body = []
        return chunk

    def _hold(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_EVENT_BYTES:
            raise WireError(f"plain body larger than {MAX_EVENT_BYTES} bytes")
        if self._body is not None:
            self._body.append(chunk)

    def _event(self, event: Event, out: list[Piece]) -> None:
        """Append the pieces of one event to `out`; never raises."""
        raise NotImplementedError

    def _finish(self, out: list[Piece]) -> None:
        """Append what the end of the connection itself says."""

    def _plain(self, body: bytes) -> Reply:
        """Read a plain answer."""
        raise NotImplementedError
