import asyncio
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest

from llmlens.client import cell
from llmlens.records import Provenance
from llmlens.wire.headers import decode_provenance

A, B = Provenance(cell_id="a", execution_count=1), Provenance(cell_id="b", execution_count=2)


@pytest.fixture
def in_a():
    token = cell.entered(A)
    yield
    cell.left(token)


def test_cells_nest():
    assert cell.current() is None
    outer = cell.entered(A)
    inner = cell.entered(B)
    assert cell.current() == B
    cell.left(inner)
    assert cell.current() == A
    cell.left(outer)
    assert cell.current() is None
    assert cell.headers() == {}


def test_a_cell_may_end_in_another_context_than_it_began_in():
    token = copy_context().run(cell.entered, A)
    cell.left(token)
    assert cell.current() is None


def test_headers_carry_the_cell(in_a):
    assert decode_provenance(cell.headers()) == A


def seen_by_a_thread() -> Provenance | None:
    seen: list[Provenance | None] = []
    thread = threading.Thread(target=lambda: seen.append(cell.current()))
    thread.start()
    thread.join()
    return seen[0]


def test_a_thread_keeps_the_cell_it_was_started_in(in_a, threads_know_their_cell):
    go, seen = threading.Event(), []

    def late() -> None:
        go.wait()
        seen.extend([cell.current(), seen_by_a_thread()])

    thread = threading.Thread(target=late)
    thread.start()
    token = cell.entered(B)
    go.set()
    thread.join()
    assert seen == [A, A]
    assert seen_by_a_thread() == B
    cell.left(token)


def test_an_executor_task_keeps_the_cell_it_was_submitted_in(threads_know_their_cell):
    with ThreadPoolExecutor(1) as pool:
        token = cell.entered(A)
        first = pool.submit(cell.current)
        cell.left(token)
        outside = pool.submit(cell.current)  # the worker was started in A
        token = cell.entered(B)
        second = pool.map(lambda _: cell.current(), [1])
        cell.left(token)
        assert [first.result(), outside.result(), *second] == [A, None, B]


async def test_asyncio_tasks_and_their_threads_keep_their_cell(threads_know_their_cell):
    token = cell.entered(A)
    task = asyncio.create_task(asyncio.to_thread(cell.current))
    cell.left(token)
    assert await task == A


def test_carrying_is_undone_exactly(in_a):
    before = threading.Thread.start, ThreadPoolExecutor.submit
    cell.carry_into_threads()
    cell.carry_into_threads()
    assert seen_by_a_thread() == A
    cell.stop_carrying()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before
    assert seen_by_a_thread() is None


def test_carrying_passes_through_below_the_patch_of_another_tool(in_a, monkeypatch):
    cell.carry_into_threads()
    ours = threading.Thread.start
    with monkeypatch.context() as other:
        other.setattr(threading.Thread, "start", lambda self: ours(self))
        cell.stop_carrying()
        assert seen_by_a_thread() is None
    cell.stop_carrying()
    assert getattr(threading.Thread.start, "_llmlens", None) is None


def test_carry_fixes_the_cell_of_a_function(in_a):
    look = cell.carry(cell.current)
    token = cell.entered(B)
    assert look() == A
    assert cell.carry(cell.current, A)() == A
    cell.left(token)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)


def test_git_state_is_the_commit_and_whether_tracked_files_differ(tmp_path):
    assert cell.git_state(tmp_path / "nowhere") == (None, None)
    git(tmp_path, "init")
    assert cell.git_state(tmp_path) == (None, None)
    (tmp_path / "f").write_text("1")
    git(tmp_path, "add", "f")
    git(tmp_path, "commit", "-m", "one")
    (tmp_path / "untracked").write_text("1")
    commit, dirty = cell.git_state(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    assert dirty is False
    (tmp_path / "f").write_text("2")
    assert cell.git_state(tmp_path) == (commit, True)


def test_git_is_asked_once_per_execution_of_a_cell(tmp_path, monkeypatch):
    git(tmp_path, "init")
    (tmp_path / "f").write_text("1")
    git(tmp_path, "add", "f")
    git(tmp_path, "commit", "-m", "one")
    monkeypatch.chdir(tmp_path)
    token = cell.entered(Provenance(cell_id="a", execution_count=1, run_id="r"))
    first = decode_provenance(cell.headers())
    (tmp_path / "f").write_text("2")
    assert decode_provenance(cell.headers()) == first
    assert first.git_dirty is False
    cell.left(token)
    token = cell.entered(Provenance(cell_id="a", execution_count=2, run_id="r"))
    assert decode_provenance(cell.headers()).git_dirty is True
    cell.left(token)
