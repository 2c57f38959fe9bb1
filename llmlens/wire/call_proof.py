"""The signature of a tool call (Gemini's thoughtSignature), for dialects that have no place for it. No I/O.

It rides in the opaque block that stands right before the call, which clients send back as it came: redacted thinking
that begins with MARK.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from llmlens.records import Part, Thinking, ToolCall

MARK = "call:"  # no provider's own begins so: theirs is base64


def proof(signature: str) -> str:
    """`signature` as redacted thinking."""
    return MARK + signature


def proofs_apart(parts: Iterable[Part]) -> Iterator[Part]:
    """`parts`, each signature of a call as a block before it."""
    for part in parts:
        if isinstance(part, ToolCall) and part.signature:
            yield Thinking("", None, proof(part.signature))
        yield part


def proofs_joined(parts: Iterable[Part]) -> Iterator[Part]:
    """The other way round. A proof without a call behind it proves nothing, and is left out."""
    waiting: str | None = None
    for part in parts:
        if isinstance(part, Thinking) and part.redacted is not None and part.redacted.startswith(MARK):
            waiting = part.redacted.removeprefix(MARK)
        elif isinstance(part, ToolCall) and waiting is not None:
            yield replace(part, signature=waiting)
            waiting = None
        else:
            yield part
