"""`%load_ext llmlens`: everything that one kernel needs, put in place and taken away again.

The loaded extension is found again through the magics it registered, so loading twice does nothing the second time.
Loading says nothing when all is well.
"""

from typing import TYPE_CHECKING, Any

from llmlens.client import cell, gateway, redirect
from llmlens.errors import LensError
from llmlens.notebook.cells import CellTracker
from llmlens.notebook.completion import Completion
from llmlens.notebook.magics import LensMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MAGICS = {"line": ("llm", "lens", "lens_sql"), "cell": ("llm", "lens_sql")}


class Extension:
    """llmlens in one shell."""

    def __init__(self, shell: "InteractiveShell") -> None:
        self.shell = shell
        self.cells = CellTracker(shell)
        self.completion = Completion(self)
        self.shown: Any = None  # what `%llm` drew already, so that Out need not draw it again
        self._magics = LensMagics(shell, self)
        self._replaced: dict[tuple[str, str], Any] = {}

    def begin(self) -> None:
        """Put everything in place, then find the gateway; without one, say so and stay, for `%lens doctor`."""
        self._register_magics()
        self.completion.begin()
        self.cells.begin()
        cell.carry_into_threads()
        try:
            redirect.install()
        except LensError as error:
            print(f"llmlens is loaded, but calls are not captured: {error}\n%lens doctor says more.")  # noqa: T201

    def end(self) -> None:
        """Take everything back, in the opposite order."""
        redirect.uninstall()
        cell.stop_carrying()
        self.cells.end()
        self.completion.end()
        self._unregister_magics()

    def _register_magics(self) -> None:
        known = self.shell.magics_manager.magics
        self._replaced = {
            (kind, name): known[kind][name] for kind, names in MAGICS.items() for name in names if name in known[kind]
        }
        self.shell.register_magics(self._magics)

    def _unregister_magics(self) -> None:
        manager = self.shell.magics_manager
        for kind, names in MAGICS.items():
            for name in names:
                manager.magics[kind].pop(name, None)
                if (kind, name) in self._replaced:
                    manager.magics[kind][name] = self._replaced[kind, name]
        manager.registry.pop(type(self._magics).__name__, None)
        if self._magics in self.shell.configurables:
            self.shell.configurables.remove(self._magics)
