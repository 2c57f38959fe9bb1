"""What the HTTP libraries have in common: a public method that is replaced, put back, and counted on."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol


class Seam(Protocol):
    """How one HTTP library is made to take the detour. Nothing is imported for it: `module` is what the user imported.

    `library` is the name of the module. `attach` returns False for a client of another library.
    """

    library: str

    def patch(self, module: ModuleType) -> None: ...
    def restore(self) -> list[str]: ...
    def attach(self, module: ModuleType, client: Any) -> bool: ...
    def detach(self) -> None: ...


@dataclass(slots=True)
class Patch:
    """One method of a class, replaced. `kept` is what the class itself defined."""

    owner: type
    name: str
    ours: Callable[..., Any]
    kept: Callable[..., Any]

    @classmethod
    def put(cls, owner: type, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> "Patch":
        """Replace `owner.name` by what `make` makes of it; the new one looks like the old one."""
        kept = owner.__dict__[name]
        ours = make(kept)
        for attribute in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
            setattr(ours, attribute, getattr(kept, attribute, None))
        ours.__wrapped__ = kept  # type: ignore[attr-defined]  # inspect.signature follows it
        setattr(owner, name, ours)
        return cls(owner, name, ours, kept)

    def undo(self) -> str | None:
        """Put the original back. Where another tool has patched on top, ours stays; says so."""
        if self.owner.__dict__.get(self.name) is self.ours:
            setattr(self.owner, self.name, self.kept)
            return None
        return f"another tool patched {self.owner.__qualname__}.{self.name} on top; llmlens only passes through there"


@dataclass(slots=True)
class Attached:
    """Clients that take the detour by themselves, each with how to release it; held weakly."""

    releases: list[tuple["weakref.ref[Any]", Callable[[Any], None]]] = field(default_factory=list)

    def add(self, client: Any, release: Callable[[Any], None]) -> None:
        self.releases = [pair for pair in self.releases if pair[0]() is not None]
        self.releases.append((weakref.ref(client), release))

    def __contains__(self, client: object) -> bool:
        return any(known() is client for known, _ in self.releases)

    def release_all(self) -> None:
        for known, release in self.releases:
            client = known()
            if client is not None:
                release(client)
        self.releases = []
