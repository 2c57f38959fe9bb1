"""Act on a module right after it is imported, whenever that is.

A finder at the head of `sys.meta_path` looks the module up as usual and wraps its loader for that one time. When the
module's code runs, `__spec__.loader` and `__loader__` are the original again, so reload, pickle, inspect and resources
see nothing of it.
"""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast


class AfterImport:
    """`actions` by module name; each is called with the module after every import and reload of it."""

    def __init__(self, actions: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._actions = dict(actions)
        self._looking = threading.local()

    def begin(self) -> None:
        """Watch from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, cast("Any", self))

    def end(self) -> None:
        """Watch no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(cast("Any", self))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question. None where we have no interest, or are asked by ourselves."""
        if fullname not in self._actions or getattr(self._looking, "name", None) == fullname:
            return None
        before, self._looking.name = getattr(self._looking, "name", None), fullname
        try:
            spec = _found(fullname, path, target)
        finally:
            self._looking.name = before
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast("Any", _Loader(spec.loader, self._actions[fullname]))
        return spec


def _found(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """What the other finders say, in their order."""
    for finder in list(sys.meta_path):
        look = getattr(finder, "find_spec", None)
        if look is not None and (spec := look(fullname, path, target)) is not None:
            return cast("ModuleSpec", spec)
    return None


class _Loader:
    """The original loader, and one action after it."""

    def __init__(self, original: Any, action: Callable[[ModuleType], None]) -> None:
        self._original = original
        self._action = action

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return cast("ModuleType | None", self._original.create_module(spec))

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._original
        module.__loader__ = self._original
        self._original.exec_module(module)
        self._action(module)
