"""A real IPython shell in this process, on a real gateway with the simulated provider."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput, capture_output
from traitlets.config import Config

from llmlens import settings as configuration
from llmlens.client import session as sessions
from llmlens.gateway.serve import in_thread
from llmlens.notebook.extension import unload
from llmlens.records import Secret

KEY = "llk-notebook-0123456789abcdef"


@dataclass
class Cell:
    """What one executed cell gave."""

    out: str
    displays: list[RichOutput]
    value: Any
    error: BaseException | None


@dataclass
class Notebook:
    """A shell whose cells are run as a front end does."""

    shell: InteractiveShell

    def run(self, source: str, **options: Any) -> Cell:
        with capture_output() as captured:
            done = self.shell.run_cell(source, store_history=True, **options)
        return Cell(
            captured.stdout + captured.stderr,
            captured.outputs,
            done.result,
            done.error_in_exec or done.error_before_exec,
        )

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[configuration.Settings]:
    """A gateway for all tests of a file; gives the settings of a kernel that uses it."""
    found = configuration.load(store=tmp_path_factory.mktemp("store") / "store.duckdb", environ={})
    with in_thread(found, key=KEY) as (url, _):
        yield replace(found, url=url, key=Secret(KEY))


@pytest.fixture
def environment(gateway: configuration.Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The gateway of the tests is the one that this process finds."""
    monkeypatch.setenv("LLMLENS_URL", str(gateway.url))
    monkeypatch.setenv("LLMLENS_KEY", KEY)
    former = sessions.use(None)
    yield
    sessions.use(former)


@pytest.fixture
def shell(tmp_path: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A fresh IPython with nothing in its history."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=config)
    yield made
    unload(made)
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(shell: InteractiveShell) -> Notebook:
    """The shell with llmlens loaded."""
    book = Notebook(shell)
    assert book.run("%load_ext llmlens").out == ""
    return book
