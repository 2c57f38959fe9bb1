"""Random-looking choices that depend on nothing but a name: the same name gives the same choices on every machine."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Draws:
    """A stream of draws from SHA-256 of (name, 0), (name, 1), …; every draw moves it on by one."""

    name: str
    _n: int = field(default=0, init=False)

    def fraction(self) -> float:
        """A number in [0, 1), uniform, with 53 bits."""
        digest = hashlib.sha256(f"{self._n}\x1f{self.name}".encode("utf-8", "surrogatepass")).digest()
        self._n += 1
        return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + int(self.fraction() * (high - low + 1))

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`, which must not be empty."""
        return options[int(self.fraction() * len(options))]
