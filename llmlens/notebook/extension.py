"""`%load_ext llmlens`: everything that one kernel needs, put in place and taken away again.

The loaded extension is found again through the magics it registered, so loading twice does nothing the second time.
Loading says nothing when all is well.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmlens.client import cell, gateway, redirect
from llmlens.client import session as sessions
from llmlens.client.door import fetch
from llmlens.errors import LensError
from llmlens.notebook.answers import Rendering
from llmlens.notebook.cells import CellTracker
from llmlens.notebook.completion import Completion
from llmlens.notebook.magics import LensMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from llmlens.settings import Settings

MAGICS = {"line": ("llm", "lens", "lens_sql"), "cell": ("llm", "lens_sql")}
MODELS_TIMEOUT_S = 10.0


def load(shell: "InteractiveShell") -> None:
    """Load into `shell`; where it is loaded already, only what is missing (a gateway, say) is tried again."""
    extension = loaded(shell)
    if extension is None:
        extension = Extension(shell)
        extension.begin()
    extension.capture()


def unload(shell: "InteractiveShell") -> None:
    """Take everything back. Does nothing where it is not loaded."""
    extension = loaded(shell)
    if extension is not None:
        extension.end()


def loaded(shell: "InteractiveShell") -> "Extension | None":
    """The extension of `shell`, if it is loaded."""
    magics = dict.get(shell.magics_manager.registry, LensMagics.__name__)
    return magics.extension if isinstance(magics, LensMagics) else None


class Extension:
    """llmlens in one shell."""

    def __init__(self, shell: "InteractiveShell") -> None:
        self.shell = shell
        self.cells = CellTracker(shell)
        self.completion = Completion(self)
        self.rendering = Rendering(shell)
        self._magics = LensMagics(shell, self)
        self._replaced: dict[tuple[str, str], Any] = {}

    def begin(self) -> None:
        """Put everything in place that needs no gateway."""
        self._register_magics()
        self.completion.begin()
        self.rendering.begin()
        self.cells.begin()
        cell.carry_into_threads()

    def capture(self) -> None:
        """Find or start the gateway and lead all calls to it. Without one, say so and stay, for `%lens doctor`."""
        try:
            redirect.install()
        except LensError as error:
            print(  # noqa: T201  the one thing that loading has to say
                f"llmlens: LLM calls are NOT captured: {error}\n%lens doctor says more; %reload_ext llmlens tries again"
            )

    def end(self) -> None:
        """Take everything back, in the opposite order."""
        for note in redirect.uninstall():
            print(f"llmlens: {note}")  # noqa: T201
        cell.stop_carrying()
        self.cells.end()
        self.rendering.end()
        self.completion.end()
        self._unregister_magics()
        sessions.close()

    def settings(self) -> "Settings":
        """The settings of this process. Raises SettingsError."""
        return sessions.session().settings

    def models(self) -> Sequence[str]:
        """What can be called, as a running gateway says; nothing without one. Starts none."""
        try:
            found = gateway.connect(self.settings(), start=False)
            return models_in(fetch(found.url, "GET", "/v1/models", found.headers, timeout_s=MODELS_TIMEOUT_S)[2])
        except LensError:
            return []

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
        manager.registry.pop(LensMagics.__name__, None)
        configurables: list[Any] = self.shell.configurables
        if self._magics in configurables:
            configurables.remove(self._magics)


def models_in(body: bytes) -> list[str]:
    """The ids in the answer of GET /v1/models; empty for anything else."""
    import json

    try:
        return [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        return []
