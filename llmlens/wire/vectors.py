"""How many vectors of how many numbers a JSON text holds, without parsing the numbers. No I/O."""

import msgspec
from msgspec import Raw

_items = msgspec.json.Decoder(list[Raw]).decode
_kinds = msgspec.json.Decoder(dict[str, Raw]).decode
_REFUSED = (msgspec.MsgspecError, UnicodeError, RecursionError)


def count_vectors(raw: bytes) -> tuple[int | None, int | None]:
    """(vectors, numbers in the first) of an array of vectors, or of an object of such arrays by type: then the first
    that has any. A vector is an array of numbers, or base64 of little-endian float32. (None, None) of anything else."""
    try:
        if raw.startswith(b"{"):
            counted = [count_vectors(bytes(kind)) for kind in _kinds(raw).values()]
            return next((c for c in counted if c[0]), (0, None) if (0, None) in counted else (None, None))
        vectors = _items(raw)
    except _REFUSED:
        return None, None
    return len(vectors), dimensions(bytes(vectors[0])) if vectors else None


def dimensions(raw: bytes) -> int | None:
    """Numbers in one vector; None where it is neither an array nor a text."""
    if raw.startswith(b"["):
        return raw.count(b",") + 1 if raw.strip(b"[] \r\n\t") else 0
    if raw.startswith(b'"'):
        text = raw.strip(b'"').replace(b"\\/", b"/").rstrip(b"=")
        return len(text) * 3 // 4 // 4
    return None
