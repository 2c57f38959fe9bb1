"""A JSON array of objects that arrives in pieces. No I/O.

Gemini streams one where the caller did not ask for server-sent events.
"""

import re

from llmlens.errors import WireError
from llmlens.wire.sse import MAX_EVENT_BYTES

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')


class JsonArray:
    """Feed it bytes in any split; each element that is an object or array comes out as its own JSON text.

    What stands between the elements is not looked at, and what follows the end of the array neither.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "_max", "_over", "_parts", "_size")

    def __init__(self, max_element_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_element_bytes
        self._parts: list[bytes] = []  # of the unfinished element
        self._size = 0
        self._depth = 0  # 1 is the array itself
        self._in_string = False
        self._escaped = False  # the last byte was a backslash in a string
        self._over = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next `chunk`; return the elements it completed.

        Raises:
            WireError: one element grew past `max_element_bytes`.
        """
        out: list[bytes] = []
        at, start = 0, 0
        while not self._over and (end := self._next(chunk, at)) > 0:
            at, mark = end, chunk[end - 1]
            if self._in_string or mark == 0x22:  # "
                continue
            if mark in b"{[":
                self._depth += 1
                start = end - 1 if self._depth == 2 else start
                continue
            self._depth -= 1
            if self._depth == 1:
                self._hold(chunk[start:end])
                out.append(b"".join(self._parts))
                self._parts, self._size = [], 0
            self._over = self._depth <= 0
        if self._depth > 1:
            self._hold(chunk[start:])
        return out

    def _next(self, chunk: bytes, at: int) -> int:
        """One past the next mark from `at` on (a bracket, or the quote that opens or closes a string); 0 for none."""
        if not self._in_string:
            found = _OUTSIDE.search(chunk, at)
            self._in_string = found is not None and found[0] == b'"'
            return found.end() if found else 0
        if self._escaped and at < len(chunk):
            self._escaped, at = False, at + 1
        while found := _INSIDE.search(chunk, at):
            at = found.end()
            if found[0] == b'"':
                self._in_string = False
                return at
            if at == len(chunk):
                self._escaped = True
                return 0
            at += 1
        return 0

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max:
            raise WireError(f"element larger than {self._max} bytes")
        self._parts.append(part)
