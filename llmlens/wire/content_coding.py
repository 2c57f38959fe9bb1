"""Content-Encoding: compressed bodies → plain bytes, bounded. No I/O. Source: RFC 9110, 8.4."""

import zlib

from llmlens.errors import WireError

SUPPORTED = ("gzip", "deflate", "identity")
"""What the gateway may offer a provider, since it must read what comes back."""


def accepted(asked: str | None) -> str:
    """The caller's Accept-Encoding, less what cannot be read here. "identity" when nothing is left.

    A caller that states none gets none (RFC 9110 would allow any).
    """
    kept = [item.strip() for item in (asked or "").split(",") if item.split(";")[0].strip().lower() in SUPPORTED]
    return ", ".join(kept) or "identity"


def decoded(encoding: str | None, chunks: list[bytes], max_bytes: int) -> list[bytes]:
    """`chunks` decompressed one by one, so that each keeps its place in time.

    Raises:
        WireError: an encoding that is not SUPPORTED, bytes that are not of it, or more than `max_bytes` come out.
    """
    name = (encoding or "identity").strip().lower()
    if name in ("", "identity"):
        return chunks
    if name not in ("gzip", "x-gzip", "deflate"):
        raise WireError(f"content encoding {name!r} cannot be read; known: {', '.join(SUPPORTED)}")
    raw_deflate = name == "deflate" and not (chunks and chunks[0][:1] == b"\x78")
    decoder = zlib.decompressobj(-zlib.MAX_WBITS if raw_deflate else zlib.MAX_WBITS | 32)
    out, size = [], 0
    try:
        for chunk in chunks:
            part = decoder.decompress(chunk, max_bytes - size + 1)
            size += len(part)
            if size > max_bytes:
                raise WireError(f"the answer unpacks to more than {max_bytes} bytes")
            out.append(part)
    except zlib.error as error:
        raise WireError(f"the answer is not valid {name}: {error}") from error
    return out
