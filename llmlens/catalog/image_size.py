"""The size of an image from the first bytes of its file: PNG, JPEG, GIF, WebP. No I/O, no decoding of pixels.

Sources: PNG (ISO/IEC 15948) 11.2.2 IHDR; GIF89a, 18 Logical Screen Descriptor; ITU-T T.81 (JPEG) B.2.2 frame header;
https://developers.google.com/speed/webp/docs/riff_container.
"""

import base64
import binascii
from typing import Final

Size = tuple[int, int]  # width, height in pixels
PREFIX_CHARS: Final = 8_192  # of base64; a JPEG with a long preamble is read whole
_NOT_FRAMES: Final = frozenset({0xC4, 0xC8, 0xCC})  # JPEG markers among the frame headers that are none
_BARE: Final = frozenset({0x01, *range(0xD0, 0xDA)})  # JPEG markers without a length


def size_of_base64(data: str) -> Size | None:
    """The size of the image whose file is base64 `data`; None where it is none of the known kinds, or damaged."""
    found = size_of(_decoded(data[:PREFIX_CHARS]))
    return found if found is not None or len(data) <= PREFIX_CHARS else size_of(_decoded(data))


def size_of(head: bytes) -> Size | None:
    """The size of the image whose file begins with `head`; None as above, or where `head` ends too early."""
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return _size(head, 16, 4, "big")
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _size(head, 6, 2, "little")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    return _jpeg(head) if head[:2] == b"\xff\xd8" else None


def _size(head: bytes, at: int, width: int, order: str) -> Size | None:
    if len(head) < at + 2 * width:
        return None
    pair = (int.from_bytes(head[i : i + width], order) for i in (at, at + width))  # type: ignore[arg-type]
    x, y = pair
    return (x, y) if x and y else None


def _webp(head: bytes) -> Size | None:
    kind = head[12:16]
    if kind == b"VP8 ":
        found = _size(head, 26, 2, "little")
        return (found[0] & 0x3FFF, found[1] & 0x3FFF) if found else None  # two bits of each are a scale
    if len(head) < 30:
        return None
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def _jpeg(head: bytes) -> Size | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _BARE:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            found = _size(head, at + 5, 2, "big")
            return (found[1], found[0]) if found else None
        else:
            at += 2 + max(2, int.from_bytes(head[at + 2 : at + 4], "big"))
    return None


def _decoded(data: str) -> bytes:
    text = "".join(data.split())
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return b""
