"""Server-sent events: any split gives the same events, and nothing but WireError is ever raised."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import WireError
from llmlens.wire.sse import MAX_EVENT_BYTES, Decoder, Event, encode

STREAM = (
    b"\xef\xbb\xbf: hello\r\n\r\n"
    b"data: one\n\n"
    b"event: two\ndata: 2\r\n\r\n"
    b"data:no space\ndata: second line\n\n"
    b"id: 7\nretry: 10\nevent: empty\n\n"
    b"data\n\n"
    b"data: \xe6\x97\xa5\xe6\x9c\xac \xff bad\n\n"
    b"data: lone\rCR\n\n\n\n"
    b"event: a\nevent: b\ndata: last name wins\n\n"
    b"data: [DONE]"
)
EVENTS = [
    Event("message", "one"),
    Event("two", "2"),
    Event("message", "no space\nsecond line"),
    Event("message", ""),
    Event("message", "日本 � bad"),
    Event("message", "lone\rCR"),
    Event("b", "last name wins"),
    Event("message", "[DONE]"),
]


def decoded(parts: list[bytes], decoder: Decoder | None = None) -> list[Event]:
    decoder = decoder or Decoder()
    return [event for part in parts for event in decoder.feed(part)] + decoder.end()


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    return [body[a:b] for a, b in pairwise(places)]


LINES = st.sampled_from([
    b"data: a", b"data:b", b"data", b"data: ", b"event: x", b"event:", b": c", b"id: 1", b"", b"\xff", b"data: \xe6",
    b"\xef\xbb\xbf", b"data: \xc3\xa9", b"datax: 1", b" data: 1", b"data: q\r",
])  # fmt: skip
BODIES = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\n\n"])), max_size=20).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    assert decoded(pieces(STREAM, cuts)) == EVENTS


@given(BODIES | st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_of_any_bytes(body: bytes, cuts: list[int]) -> None:
    whole = decoded([body])
    assert decoded(pieces(body, cuts)) == whole
    assert decoded([body[i : i + 1] for i in range(len(body))]) == whole


@given(st.sampled_from(["message", "error", "content_block_delta"]), st.text(st.characters(exclude_characters="\r")))
def test_what_is_written_is_read(name: str, data: str) -> None:
    assert decoded([encode(name, data)]) == [Event(name, data.encode("utf-8", "replace").decode())]


def test_events_come_as_soon_as_they_are_whole() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\nda") == [Event("message", "a")]
    assert decoder.pending == b"da"
    assert decoder.feed(b"ta: b\n\n") == [Event("message", "b")]
    assert decoder.pending == b""


@pytest.mark.parametrize(
    "parts",
    [
        [b"data: " + b"x" * 200 + b"\n\n"],
        [b"data: "] + [b"x"] * 200,
        [b"data: xxxxxxxxxxxxxxxxxxxxxxxx\n"] * 10,
        [b"data: a\n\ndata: " + b"x" * 200],
        [b"data: xxxxxxxxxxxxxxxxxxxxxxxx\n" * 10],
    ],
)
def test_the_bound_holds_in_every_split(parts: list[bytes]) -> None:
    with pytest.raises(WireError, match="larger than"):
        decoded(parts, Decoder(100))


def test_many_small_events_in_one_chunk_are_no_large_one() -> None:
    small = b"data: xxxx\n\n" * 100
    assert len(decoded([small], Decoder(100))) == 100


def test_a_large_event_byte_by_byte_is_linear() -> None:
    decoder = Decoder()
    body = b"data: " + b"x" * 200_000 + b"\n\n"
    events = [event for i in range(len(body)) for event in decoder.feed(body[i : i + 1])]
    assert [len(event.data) for event in events] == [200_000]
    assert MAX_EVENT_BYTES > 200_000
