"""Numbers and tables as text."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.plain import clean, count, money, one_line, seconds, size, table, width


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(None, "–"), ("0", "$0"), ("0.000123456", "$0.00012"), ("0.0099", "$0.0099"), ("0.05", "$0.0500"),
     ("12.346", "$12.35"), ("1234.5", "$1,234.50"), ("NaN", "–")],
)  # fmt: skip
def test_money(usd, shown):
    assert money(usd and Decimal(usd)) == shown


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(None, "–"), (0.0, "0.0 ms"), (0.0004, "0.4 ms"), (0.123, "123 ms"), (1.5, "1.50 s"), (75, "1 min 15 s"),
     (900, "15 min"),
     (7200, "2 h 0 min")],
)  # fmt: skip
def test_seconds(duration, shown):
    assert seconds(duration) == shown


def test_counts_and_sizes():
    assert [count(None), count(0), count(1234567)] == ["–", "0", "1,234,567"]
    assert [size(None), size(0), size(999), size(12_345), size(5e9)] == ["–", "0 B", "999 B", "12.3 kB", "5.0 GB"]


@given(st.text())
def test_clean_text_cannot_drive_a_terminal(text):
    assert not set(clean(text)) & {"\x1b", "\r", "\b", "\x9b", "\u202e"}


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line(text, limit):
    assert len(one_line(text, limit)) <= limit
    assert "\n" not in one_line(text, limit)


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1))
def test_a_row_is_a_line_and_numbers_end_at_the_same_place(rows):
    lines = table(("name", "value"), [(name, f"{value}|") for name, value in rows], right=frozenset({1})).split("\n")
    assert len(lines) == len(rows) + 1
    assert len({width(line) for line in lines}) == 1


def test_a_table():
    assert (
        table(("model", "n"), [("a", "1"), ("日本", "12")], right=frozenset({1})) == "model   n\na       1\n日本   12"
    )
