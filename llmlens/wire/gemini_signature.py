"""Signatures of other providers where Google's have their place, which holds bytes. No I/O.

google-genai decodes it from base64 and sends it back in base64 for URLs, so only a text that comes out as it went in
may stand there as it is; every other is enclosed.
"""

import base64
import binascii

_OURS = b"signed elsewhere: "


def enclosed(signature: str) -> str:
    """`signature` in a form that clients give back as it was."""
    try:
        stable = base64.urlsafe_b64encode(base64.b64decode(signature, b"-_", validate=True)).decode() == signature
    except (binascii.Error, ValueError):
        stable = False
    return signature if stable else base64.urlsafe_b64encode(_OURS + signature.encode("utf-8", "replace")).decode()


def opened(signature: str | None) -> str | None:
    """The other way round."""
    if signature is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(signature)
        return raw.removeprefix(_OURS).decode() if raw.startswith(_OURS) else signature
    except (binascii.Error, ValueError):
        return signature
