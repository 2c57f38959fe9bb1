"""The journal: any sequence of appends, cut anywhere, replays as a prefix; and no failed append stays behind."""

import os
import resource
import signal
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import StoreError
from llmlens.store.journal import HEADER, Journal, Position, journal_directory, whole_records

PAYLOADS = st.lists(st.binary(max_size=200), min_size=1, max_size=20)


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


@given(PAYLOADS, st.data())
def test_a_journal_cut_anywhere_replays_a_prefix(payloads, data):
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for payload in payloads:
            journal.append(payload)
        (segment,) = segments(Path(folder))
        size = segment.stat().st_size
        cut = data.draw(st.integers(0, size))
        os.truncate(segment, cut)
        ends = [sum(len(p) + HEADER.size for p in payloads[: n + 1]) for n in range(len(payloads))]
        whole = [payload for payload, end in zip(payloads, ends, strict=True) if end <= cut]
        assert [payload for _, payload in Journal(Path(folder)).replay()] == whole


@given(PAYLOADS, st.data())
def test_a_flipped_byte_is_noticed(payloads, data):
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for payload in payloads:
            journal.append(payload)
        (segment,) = segments(Path(folder))
        content = bytearray(segment.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        found, _ = whole_records(bytes(content))
        assert [payload for _, payload in found] == payloads[: len(found)]


@given(PAYLOADS, st.integers(1, 500), st.randoms())
def test_segments_go_once_all_their_records_are_committed(payloads, segment_bytes, random):
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), segment_bytes=segment_bytes)
        positions = [journal.append(payload) for payload in payloads]
        assert positions == sorted(set(positions))
        assert [journal.read(position) for position in positions] == payloads
        random.shuffle(positions)
        keep = positions.pop()
        for position in positions:
            journal.committed([position])
        journal.close()
        assert [int(file.stem) for file in segments(Path(folder))] == [keep.segment]
        journal.committed([keep])
        assert segments(Path(folder)) == []


def test_zeros_after_a_power_loss_are_no_records(tmp_path):
    assert whole_records(bytes(100)) == ([], 0)


def test_directory_and_files_are_private(tmp_path):
    directory = journal_directory(tmp_path / "lens.duckdb")
    assert directory.name == "lens.duckdb.journal"
    Journal(directory).append(b"secret")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in segments(directory)} == {0o600}


def test_new_records_never_go_behind_a_torn_tail(tmp_path):
    Journal(tmp_path).append(b"one")
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b"\x05\x00\x00\x00half")
    journal = Journal(tmp_path)
    replayed = list(journal.replay())
    journal.append(b"two")
    assert [payload for _, payload in replayed] == [b"one"]
    assert (tmp_path / "rejected" / "000000001-11.bin").read_bytes() == b"\x05\x00\x00\x00half"
    journal.committed([position for position, _ in replayed])
    assert [payload for _, payload in Journal(tmp_path).replay()] == [b"two"]


def test_a_record_set_aside_keeps_its_bytes_and_the_reason(tmp_path):
    journal = Journal(tmp_path)
    position = journal.append(b"odd one")
    journal.set_aside(position, "why")
    journal.committed([position])
    journal.close()
    assert {file.name: file.read_bytes() for file in (tmp_path / "rejected").iterdir()} == {
        "000000001-0.bin": b"odd one",
        "000000001-0.txt": b"why",
    }
    assert segments(tmp_path) == []


def test_fsync_journal_reads_the_same(tmp_path):
    Journal(tmp_path, fsync=True).append(b"safe")
    assert [payload for _, payload in Journal(tmp_path).replay()] == [b"safe"]


def test_a_missing_record_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="no record at"):
        Journal(tmp_path).read(Position(7, 0))


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Journal(tmp_path / "x")


@pytest.fixture
def small_files():
    """No file of this process may grow past 10,000 bytes: the kernel refuses with EFBIG, after a partial write."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_partial_write_leaves_nothing_behind(tmp_path, small_files):
    journal = Journal(tmp_path)
    journal.append(b"a" * 6_000)
    with pytest.raises(StoreError, match=r"File too large.*ulimit -f"):
        journal.append(b"b" * 6_000)
    journal.append(b"c" * 100)
    assert [payload for _, payload in Journal(tmp_path).replay()] == [b"a" * 6_000, b"c" * 100]


def fill(journal: Journal) -> None:
    while True:
        journal.append(b"x" * 50_000)


def test_a_full_disk(full_disk):
    journal = Journal(full_disk / "j")
    with pytest.raises(StoreError, match=r"No space left.*free some disk space"):
        fill(journal)
    (full_disk / "ballast").unlink()
    journal.append(b"fits again")
    *sizes, last = [len(payload) for _, payload in Journal(full_disk / "j").replay()]
    assert set(sizes) == {50_000}
    assert last == 10


def test_a_read_only_directory(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    directory = tmp_path / "j"
    journal = Journal(directory)
    directory.chmod(0o500)
    with pytest.raises(StoreError, match=r"Permission denied.*LLMLENS_STORE"):
        journal.append(b"x")
    directory.chmod(0o700)
    assert journal.append(b"x") == Position(1, 0)
