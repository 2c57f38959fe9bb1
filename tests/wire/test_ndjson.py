"""Law: any split of the bytes gives the same lines, and no line grows without bound."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.wire.ndjson import Decoder

LINES = ['{"a":1}', '"é"', "[]"]
RAW = '\ufeff{"a":1}\r\n\n  "é" \n[]'.encode()


@given(st.lists(st.integers(0, len(RAW)), max_size=8))
def test_any_split_gives_the_same_lines(cuts: list[int]) -> None:
    decoder = Decoder()
    places = sorted({0, *cuts, len(RAW)})
    found = [line for a, b in pairwise(places) for line in decoder.feed(RAW[a:b])]
    assert [line.decode() for line in [*found, *decoder.end()]] == LINES
    assert decoder.end() == []


def test_a_line_has_a_bound() -> None:
    decoder = Decoder(max_line_bytes=8)
    assert list(decoder.feed(b"12345678\n1234")) == [b"12345678"]
    with pytest.raises(WireError, match="larger than 8 bytes"):
        list(decoder.feed(b"56789"))
    with pytest.raises(WireError, match="larger than 8 bytes"):
        list(Decoder(max_line_bytes=8).feed(b"123456789\n"))
