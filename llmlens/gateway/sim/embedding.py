"""Embeddings that mean something without a model: words hashed into a vector (the "hashing trick"), length 1.

Every stem adds to one dimension with a sign, both taken from its SHA-256; pairs of neighbours add half as much. Texts
that share words therefore point the same way, and texts that share none are nearly at right angles.
Source: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
"""

import base64
import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from typing import Final

from llmlens.gateway.sim.texts import bigrams, stems, words

DIMENSIONS: Final = 256


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of `dimensions` numbers with length 1; never all zero, and never NaN."""
    tokens = stems(text) or words(text) or list(text.strip() or " ")
    vector = [0.0] * dimensions
    for token in tokens:
        _add(vector, token, 1.0)
    for pair in bigrams(tokens):
        _add(vector, pair, 0.5)
    length = sqrt(sum(x * x for x in vector))
    if length < 1e-9:  # opposite signs in one dimension can cancel
        _add(vector, text, 1.0)
        length = sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def to_base64(vector: Sequence[float]) -> str:
    """Little-endian float32, as OpenAI sends `encoding_format: base64`."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _add(vector: list[float], token: str, weight: float) -> None:
    number = _hash(token)
    vector[(number >> 1) % len(vector)] += weight if number & 1 else -weight


@lru_cache(maxsize=16_384)
def _hash(token: str) -> int:
    return int.from_bytes(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()[:8], "big")
