"""Loading, loading again, unloading; and which cell a call is logged under."""

import hashlib
import subprocess
import sys
import threading
from types import SimpleNamespace

import httpx2
import pytest
from IPython.core.magic import Magics

import llmlens as lens
from llmlens.client import cell
from llmlens.notebook.cells import provenance
from llmlens.notebook.extension import loaded
from tests.notebook.conftest import Notebook

HEAVY = (
    "duckdb",
    "pandas",
    "altair",
    "scipy",
    "starlette",
    "aiohttp",
    "httpx2",
    "httpx",
    "openai",
    "anthropic",
    "IPython",
)


def state_of(shell):
    """Everything that loading changes."""
    return (
        {event: list(callbacks) for event, callbacks in shell.events.callbacks.items()},
        {kind: dict(magics) for kind, magics in shell.magics_manager.magics.items()},
        set(shell.magics_manager.registry),
        list(shell.configurables),
        {key: list(chain.chain) for key, chain in shell.strdispatchers["complete_command"].strs.items()},
        set(shell.display_formatter.formatters["text/html"].type_printers),
        set(shell.display_formatter.formatters["text/plain"].type_printers),
        set(shell.display_formatter.ipython_display_formatter.type_printers),
        httpx2.Client.send,
        httpx2.AsyncClient.send,
        threading.Thread.start,
    )


def test_loading_is_silent_idempotent_and_taken_back(shell):
    shell.run_line_magic("unload_ext", "llmlens")  # IPython loads its own magics when they are first used
    before, book = state_of(shell), Notebook(shell)
    assert book.run("%load_ext llmlens").out == ""
    once = state_of(shell)
    assert once != before
    extension = loaded(shell)
    lens.load_ipython_extension(shell)
    assert loaded(shell) is extension
    assert state_of(shell) == once
    assert book.run("%reload_ext llmlens").out == ""
    assert [len(part) for part in state_of(shell)[:5]] == [len(part) for part in once[:5]]
    assert book.run("%unload_ext llmlens").out == ""
    assert state_of(shell) == before
    lens.unload_ipython_extension(shell)  # a second time does nothing


def test_a_magic_of_the_same_name_comes_back(shell):
    def mine(line):
        return "mine"

    shell.register_magic_function(mine, "line", "lens")
    shell.run_line_magic("load_ext", "llmlens")
    shell.run_line_magic("unload_ext", "llmlens")
    assert shell.run_line_magic("lens", "") == "mine"
    assert not any(isinstance(c, Magics) and type(c).__name__ == "LensMagics" for c in shell.configurables)


def test_without_a_gateway_it_says_so_and_the_doctor_works(shell, gateway, monkeypatch):
    monkeypatch.setenv("LLMLENS_URL", "http://127.0.0.1:9")
    book = Notebook(shell)
    told = book.run("%load_ext llmlens").out
    assert "NOT captured" in told
    assert "%lens doctor" in told
    assert "Traceback" not in told
    doctor = book.run("%lens doctor")
    assert "✗  gateway" in doctor.out + str([d.data for d in doctor.displays])
    assert "UsageError" in book.run("%lens status").out
    assert "error" in book.run("%%llm sim/echo\nhello").out
    monkeypatch.setenv("LLMLENS_URL", gateway.url)  # it has come up
    assert book.run("%reload_ext llmlens").out == ""
    assert book.run("%llm sim/echo hello").value.text


def test_a_call_is_logged_under_its_cell(notebook):
    source = "import llmlens as lens; answer = lens.ask('where am I', 'sim/echo')"
    notebook.run(source, cell_id="cell-7")
    count = notebook.shell.execution_count - 1
    row = lens.calls(cell="cell-7").iloc[-1]
    assert (row.cell_id, row.execution_count) == ("cell-7", count)
    assert row.cell_sha == hashlib.sha256(source.encode()).hexdigest()[:16]
    assert row.run_id == loaded(notebook.shell).cells.run_id
    assert cell.current() is None


def test_nested_cells_and_failing_cells_leave_in_order(notebook):
    notebook.run("import llmlens as lens; from llmlens.client import cell")
    notebook.run("get_ipython().run_cell('inner = cell.current()'); outer = cell.current()", cell_id="outer")
    assert notebook["outer"].cell_id == "outer"
    assert notebook["inner"].cell_id is None
    notebook.run("1/0", cell_id="bad")
    assert cell.current() is None
    notebook.run("now = cell.current()", cell_id="good")
    assert notebook["now"].cell_id == "good"


def test_a_callback_that_fails_is_not_the_users_problem(notebook, monkeypatch):
    monkeypatch.setattr(cell, "entered", lambda where: 1 / 0)
    ran = notebook.run("x = 1 + 1")
    assert (ran.out, notebook["x"]) == ("", 2)


@pytest.mark.parametrize(
    ("info", "parent", "cell_id"),
    [
        ({"cell_id": "lab"}, {"metadata": {"cellId": "other"}}, "lab"),
        ({"cell_meta": {"cellId": "meta"}}, {}, "meta"),
        ({"cell_meta": {"colab": {"cell_id": "colab"}}}, {}, "colab"),
        ({}, {"metadata": {"cellId": "parent"}}, "parent"),
        ({}, {"metadata": {"colab": {"cell_id": "colab2"}}}, "colab2"),
        ({}, {}, None),
        ({"cell_meta": "odd"}, {"metadata": "odd"}, None),
    ],
)
def test_the_cell_is_known_by_the_first_that_says_so(shell, info, parent, cell_id):
    shell.parent_header = parent
    fields = {"raw_cell": "x", "store_history": True, "cell_id": None, "cell_meta": None, **info}
    where = provenance(shell, SimpleNamespace(**fields), "run")
    assert where.cell_id == cell_id
    assert where.cell_sha is not None
    assert where.execution_count == 1


def test_the_notebook_is_known(shell, monkeypatch):
    info = SimpleNamespace(raw_cell="", store_history=True, cell_id=None, cell_meta=None)
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/ada/a.ipynb")
    assert provenance(shell, info, "run").notebook == "/home/ada/a.ipynb"
    uri = SimpleNamespace(**{**vars(info), "cell_id": "vscode-notebook-cell:/home/ada/b%20c.ipynb#W0sZmlsZQ%3D%3D"})
    assert provenance(shell, uri, "run").notebook == "/home/ada/b c.ipynb"
    shell.user_ns["__vsc_ipynb_file__"] = "/home/ada/d.ipynb"
    assert provenance(shell, uri, "run").notebook == "/home/ada/d.ipynb"


def test_importing_is_thin():
    code = f"import sys, llmlens; dir(llmlens); print([m for m in {HEAVY} if m in sys.modules], len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")


def test_loading_needs_no_heavy_module():
    heavy = [name for name in HEAVY if name != "IPython"]
    code = "import sys, IPython.core.interactiveshell, llmlens.notebook.extension;"
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    assert set(lens.__all__) <= set(dir(lens))
    for name in lens.__all__:
        assert getattr(lens, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lens.nothing  # noqa: B018
