"""Server-sent events: bytes in, `Event` out, and back. No I/O.

Source: WHATWG HTML, "Interpreting an event stream". A lone CR is treated as text: no provider ends lines with it, and a
decoder that waited for the byte after each CR could not promise that any split gives the same events at the same time.
"""

from msgspec import Struct

from llmlens.errors import WireError

# An inline image (base64) is the largest thing seen in one event; 16 MiB holds a 12 MB picture.
MAX_EVENT_BYTES = 16 * 1024 * 1024


class Event(Struct, frozen=True, gc=False):
    """One dispatched event. `data` keeps inner newlines and drops the final one. (A Struct: four times faster to make
    than a frozen dataclass, and this is the hottest object of the gateway.)"""

    name: str
    data: str


class Decoder:
    """Feed it bytes in any split; the events are the same. `pending` bytes wait for the end of their line."""

    __slots__ = ("_data", "_held", "_max", "_name", "_parts", "_size", "_started")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._parts: list[bytes] = []  # pieces of the unfinished line, joined once: linear time for any split
        self._held = 0  # bytes in _parts
        self._data: list[str] = []  # lines of the unfinished event
        self._size = 0  # characters in _data
        self._name = ""
        self._started = False

    @property
    def pending(self) -> bytes:
        """Bytes of the unfinished line."""
        return b"".join(self._parts)

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next `chunk` (any length, any split); return finished events.

        Raises:
            WireError: one event grew past `max_event_bytes`.
        """
        if chunk[:6] == b"data: " and self._whole(chunk):
            return [Event("message", chunk[6:-2].decode("utf-8", "replace"))]
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            self._hold(chunk)
            return []
        whole = chunk[:cut]
        if self._parts:
            self._hold(whole)
            whole = b"".join(self._parts)
            self._parts, self._held = [], 0
        if cut < len(chunk):
            self._hold(chunk[cut:])
        return self._text(whole.decode("utf-8", "replace"))

    def _whole(self, chunk: bytes) -> bool:
        """`chunk` is one event of one line, and nothing came before it: what most servers send."""
        size = len(chunk)
        return (
            chunk.find(b"\n") == size - 2
            and chunk[-1:] == b"\n"
            and chunk[-3:-2] != b"\r"
            and size <= self._max
            and self._started
            and not (self._parts or self._data or self._name)
        )

    def end(self) -> list[Event]:
        """The stream is over: return the event that lacked its final blank line, if any.

        The standard discards it; a last `data: [DONE]` without a newline is still an end mark to us.
        """
        rest, self._parts, self._held = b"".join(self._parts), [], 0
        return self._text(rest.decode("utf-8", "replace") + "\n\n")

    def _hold(self, part: bytes) -> None:
        self._held += len(part)
        if self._held + self._size > self._max:
            raise _too_large(self._max)
        if part:
            self._parts.append(part)

    def _text(self, text: str) -> list[Event]:
        """Whole lines: most are whole events of one or two lines, which need no look at each line."""
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        if len(text) > self._max or self._data or self._name:
            return self._lines(text)
        events: list[Event] = []
        blocks = text.split("\n\n")
        rest = blocks.pop()
        for block in blocks:
            if block.startswith("data: ") and "\n" not in block:
                events.append(Event("message", block[6:]))
                continue
            head, found, data = block.partition("\ndata: ")
            if found and head.startswith("event: ") and "\n" not in data and "\n" not in head:
                events.append(Event(head[7:], data))
            else:
                events += self._lines(block + "\n\n")
        if rest:
            events += self._lines(rest)
        return events

    def _lines(self, text: str) -> list[Event]:
        """Any whole lines, one by one."""
        events: list[Event] = []
        lines = text.split("\n")
        lines.pop()  # `text` ends with a newline, so the last is empty
        for line in lines:
            if line:
                self._field(line)
            else:
                if self._data:
                    events.append(Event(self._name or "message", "\n".join(self._data)))
                self._data, self._name, self._size = [], "", 0
        return events

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(value)
            if self._size > self._max:
                raise _too_large(self._max)
            self._data.append(value)
        elif name == "event":
            self._name = value
        # a comment, or a field we have no use for


def _too_large(limit: int) -> WireError:
    return WireError(f"event larger than {limit} bytes")


def encode(name: str | None, data: str | bytes) -> bytes:
    """One event as bytes. `name` None writes no `event:` line; each line of `data` gets its own `data:` field."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    if b"\n" in raw:
        raw = raw.replace(b"\n", b"\ndata: ")
    if name is None:
        return b"data: " + raw + b"\n\n"
    return b"event: " + name.encode() + b"\ndata: " + raw + b"\n\n"
