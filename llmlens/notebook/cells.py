"""Which cell is running: from IPython's events to the `Provenance` that travels with every call.

A cell is known by the first of: `info.cell_id` (JupyterLab, VS Code), the metadata of the execute request (Colab has a
word of its own), and, where the front end says nothing (nbclient, a terminal), by execution count and source hash.
"""

import hashlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from llmlens.client import cell
from llmlens.records import Provenance
from llmlens.settings import variable

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

log = logging.getLogger("llmlens")

VSCODE_SCHEME = "vscode-notebook-cell"


class CellTracker:
    """Tells `client.cell` what runs. Cells nest (`run_cell` inside a cell), so what was entered is kept on a stack."""

    def __init__(self, shell: "InteractiveShell") -> None:
        self.shell = shell
        self.run_id = str(uuid4())
        self.last_cell: Provenance | None = None  # the cell before the one that runs
        self._entered: list[tuple[Provenance, Any]] = []

    @property
    def current(self) -> Provenance | None:
        return self._entered[-1][0] if self._entered else None

    def begin(self) -> None:
        """Register. The cell that loads the extension is entered already: calls after `%load_ext` in it are its own."""
        self.shell.events.register("pre_run_cell", self.before)
        self.shell.events.register("post_run_cell", self.after)
        running = _running(self.shell)
        if running is not None:
            self._enter(running, stored=True)

    def end(self) -> None:
        """Unregister, and leave whatever is still entered."""
        for event, callback in (("pre_run_cell", self.before), ("post_run_cell", self.after)):
            if callback in self.shell.events.callbacks[event]:
                self.shell.events.unregister(event, callback)
        while self._entered:
            cell.left(self._entered.pop()[1])

    def before(self, info: "ExecutionInfo") -> None:
        """A cell starts. IPython would show the user whatever this raises, so it raises nothing."""
        try:
            self._enter(info)
        except Exception:  # the log of a cell's place must not break the cell
            log.exception("llmlens could not tell which cell is running")

    def _enter(self, info: "ExecutionInfo", *, stored: bool = False) -> None:
        where = provenance(self.shell, info, self.run_id, stored=stored)
        self._entered.append((where, cell.entered(where)))

    def after(self, result: "ExecutionResult") -> None:
        """The innermost cell has ended."""
        try:
            if self._entered:
                self.last_cell, token = self._entered.pop()
                cell.left(token)
        except Exception:
            log.exception("llmlens could not leave a cell")


def provenance(shell: "InteractiveShell", info: "ExecutionInfo", run_id: str, *, stored: bool = False) -> Provenance:
    """Where the cell that `info` announces stands. Git's part is added by `client.cell` when it is known.

    `stored` says that the cell's source is in the history already, as it is once the cell runs.
    """
    source = info.raw_cell or ""
    cell_id = _cell_id(info, _parent_metadata(shell))
    return Provenance(
        notebook=_notebook(shell, cell_id),
        cell_id=cell_id,
        execution_count=_number(shell, info, stored=stored),
        cell_sha=hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:16],
        run_id=run_id,
    )


def _number(shell: "InteractiveShell", info: "ExecutionInfo", *, stored: bool) -> int:
    """N of `In [N]`. IPython counts up before the cell runs (9.18) or after it (8); the history knows which."""
    history = shell.history_manager
    if not info.store_history or history is None:
        return shell.execution_count
    counted_up = len(history.input_hist_parsed) - stored < shell.execution_count
    return shell.execution_count - counted_up


def _cell_id(info: "ExecutionInfo", parent: Mapping[str, Any]) -> str | None:
    given = getattr(info, "cell_id", None)
    if given:
        return str(given)
    for metadata in (_mapping(getattr(info, "cell_meta", None)), parent):
        colab = _mapping(metadata.get("colab"))
        for found in (metadata.get("cellId"), metadata.get("cell_id"), colab.get("cell_id")):
            if found:
                return str(found)
    return None


def _running(shell: "InteractiveShell") -> "ExecutionInfo | None":
    """The cell that a kernel is running; None in a terminal and while a kernel starts."""
    from IPython.core import interactiveshell

    new_info: Any = interactiveshell.ExecutionInfo
    parent = _mapping(getattr(shell, "parent_header", None))
    content = _mapping(parent.get("content"))
    if parent.get("msg_type") != "execute_request" or content.get("silent"):
        return None
    metadata = _parent_metadata(shell)
    info: ExecutionInfo = new_info(content.get("code", ""), True, False, True, metadata.get("cellId"), metadata)
    return info


def _parent_metadata(shell: "InteractiveShell") -> Mapping[str, Any]:
    """The metadata of the execute request; empty outside of a kernel."""
    return _mapping(_mapping(getattr(shell, "parent_header", None)).get("metadata"))


def _mapping(given: Any) -> Mapping[str, Any]:
    """`given` where it is a mapping, which no front end promises."""
    return given if isinstance(given, Mapping) else {}


def _notebook(shell: "InteractiveShell", cell_id: str | None) -> str | None:
    """The notebook's path. Jupyter's own variable is stale after a rename, so VS Code's words come first."""
    path = shell.user_ns.get("__vsc_ipynb_file__")
    if isinstance(path, str) and path:
        return path
    if cell_id and cell_id.startswith(VSCODE_SCHEME):
        return unquote(urlsplit(cell_id).path) or None
    return variable("JPY_SESSION_NAME")
