"""Images and documents → parts of Gemini's requests. No I/O."""

import base64
from collections.abc import MutableMapping

from llmlens.records import Document, Image, Other, Part
from llmlens.wire.gemini_write import RawPart

# A file needs a type; a URL says it at best by how it ends.
_TYPES = {"png": "image/png", "gif": "image/gif", "webp": "image/webp", "heic": "image/heic", "heif": "image/heif"}


def media_part(part: Part, dropped: MutableMapping[str, None]) -> RawPart | None:
    """`part` as inline data or as a file; None, and its name in `dropped`, for what is neither."""
    if isinstance(part, Image):
        if part.detail not in (None, "auto"):
            dropped["image_url.detail"] = None
        end = (part.url or "").partition("?")[0].rpartition(".")[2].lower()
        default = _TYPES.get(end, "image/jpeg") if part.url else "image/png"
        return _blob(part.url, part.data, part.media_type or default)
    if isinstance(part, Document):
        if part.name is not None:
            dropped["document.name"] = None  # Vertex has a field for it, which Google AI refuses
        if part.text is not None:
            return _blob(None, base64.b64encode(part.text.encode("utf-8", "replace")).decode(), "text/plain")
        return _blob(part.url, part.data, part.media_type or "application/pdf")
    dropped[str(part.value.get("type", "other")) if isinstance(part, Other) else "other"] = None
    return None


def _blob(url: str | None, data: str | None, media_type: str) -> RawPart:
    if url is not None:
        return {"fileData": {"mimeType": media_type, "fileUri": url}}
    return {"inlineData": {"mimeType": media_type, "data": data or ""}}
