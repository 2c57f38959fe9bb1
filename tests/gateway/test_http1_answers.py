"""What counts as an answer: the law is that any split of its bytes gives the same."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.gateway.http1 import (
    MAX_HEAD_BYTES,
    BrokenAnswer,
    Connection,
    Pool,
)
from llmlens.gateway.place import Place
from tests.gateway.loopback import CHUNKED, HI, OK, Run, Wire, ask, body_of, pooled, served

# ── the law ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Deaf(asyncio.Transport):
    """A transport for a connection that is fed by hand."""

    def write(self, data: Any) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


def fed(parts: list[bytes], method: bytes = b"POST") -> tuple[Any, ...]:
    """(status, headers, body, how it ended) of an answer that comes in `parts`, then the end of the line."""

    async def scenario() -> tuple[Any, ...]:
        connection = Connection(Pool(1, 1, 1), Place(False, "h", 80, None))
        connection.connection_made(Deaf())
        asking = asyncio.create_task(connection.exchange(method + b" / HTTP/1.1\r\n\r\n", b"", 1e6, 1e6))
        await asyncio.sleep(0)
        for part in parts:
            connection.data_received(part)
        connection.eof_received()
        connection.connection_lost(None)
        try:
            response = await asking
        except BrokenAnswer as error:
            return None, None, None, str(error)
        body = []
        try:
            while part := await response.read():
                body.append(part)
        except BrokenAnswer as error:
            return response.status, response.headers, b"".join(body), str(error)
        return response.status, response.headers, b"".join(body), "complete"

    with asyncio.Runner() as runner:
        return runner.run(scenario())


HEAD_OF_LIMIT = OK + b"x: " + b"y" * (MAX_HEAD_BYTES - len(OK) - 7) + b"\r\n\r\n"
assert len(HEAD_OF_LIMIT) == MAX_HEAD_BYTES

# name → (the bytes, status, body, how it ends); `hung up` is a break without a word
ANSWERS: dict[str, tuple[bytes, int | None, bytes | None, str]] = {
    "length": (HI, 200, b"hi", "complete"),
    "empty": (OK + b"content-length: 0\r\n\r\n", 200, b"", "complete"),
    "chunks": (CHUNKED + b"2;a=b\r\nhi\r\n1\r\n!\r\n0\r\n\r\n", 200, b"hi!", "complete"),
    "odd case": (OK + b"Transfer-Encoding: Chunked \r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi", "complete"),
    "trailers": (CHUNKED + b"2\r\nhi\r\n0\r\nx-t: 1\r\nx-u:\r\n\r\n", 200, b"hi", "complete"),
    "to the end": (OK + b"\r\nall of it", 200, b"all of it", "complete"),
    "to the end, empty": (OK + b"\r\n", 200, b"", "complete"),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old", "complete"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", "complete"),
    "no content with a length": (b"HTTP/1.1 204 X\r\ncontent-length: 5\r\n\r\n", 204, b"", "complete"),
    "not modified": (b"HTTP/1.1 304 X\r\ncontent-length: 5\r\n\r\n", 304, b"", "complete"),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + HI, 200, b"hi", "complete"),
    "hints": (b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 3 + HI, 200, b"hi", "complete"),
    "offers h2": (OK + b"connection: upgrade, close\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", "complete"),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", "complete"),
    "more than the answer": (HI + HI, 200, b"hi", "complete"),
    "junk after it": (HI + b"\0junk", 200, b"hi", "complete"),
    "cut length": (OK + b"content-length: 9\r\n\r\nhi", 200, b"hi", ""),
    "cut chunks": (CHUNKED + b"5\r\nhi", 200, b"hi", ""),
    "no last chunk": (CHUNKED + b"2\r\nhi\r\n", 200, b"hi", ""),
    "cut trailers": (CHUNKED + b"2\r\nhi\r\n0\r\nx-t", 200, b"hi", ""),
    "nothing": (b"", None, None, "it hung up without an answer"),
    "half a head": (OK + b"x: y\r\n", None, None, "it hung up without an answer"),
    "only hints": (b"HTTP/1.1 103 X\r\n\r\n", None, None, "it hung up without an answer"),
    "no chunk": (CHUNKED + b"zz\r\n", 200, b"", "Invalid character in chunk size"),
    "chunk without end": (CHUNKED + b"2\r\nhi!!0\r\n\r\n", 200, b"hi", "Expected LF after chunk data"),
    "huge chunk": (CHUNKED + b"f" * 17 + b"\r\n", 200, b"", "Chunk size overflow"),
    "two lengths": (OK + b"content-length: 2\r\n" + b"content-length: 3\r\n\r\nhi!", None, None, "Duplicate Content-Length"),
    "length and chunks": (OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", None, None,
                          "Transfer-Encoding can't be present with Content-Length"),
    "chunks and length": (CHUNKED[:-2] + b"content-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n", None, None,
                          "Content-Length can't be present with Transfer-Encoding"),
    "negative length": (OK + b"content-length: -2\r\n\r\nhi", None, None, "Invalid character in Content-Length"),
    "list of lengths": (OK + b"content-length: 2, 2\r\n\r\nhi", None, None, "Invalid character in Content-Length"),
    "huge length": (OK + b"content-length: 99999999999999999999\r\n\r\nhi", None, None, "Content-Length overflow"),
    "coded transfer": (OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", None, None, "other than chunked"),
    "coded last": (OK + b"transfer-encoding: chunked, gzip\r\n\r\n2\r\nhi\r\n0\r\n\r\n", None, None, "other than chunked"),
    "status 000": (b"HTTP/1.1 000 X\r\ncontent-length: 2\r\n\r\nhi", None, None, "nobody asked for a status 0"),
    "status 999": (b"HTTP/1.1 999 X\r\ncontent-length: 2\r\n\r\nhi", None, None, "nobody asked for a status 999"),
    "switched": (b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n\1\2", None, None, "a status 101"),
    "switched to nothing": (b"HTTP/1.1 101 X\r\n\r\n\1\2", None, None, "a status 101"),
    "html": (b"<html>no</html>", None, None, "not HTTP/1.1"),
    "tls": (b"\x15\x03\x01\x00\x02\x02\x46", None, None, "not HTTP/1.1"),
    "http/2": (b"\0\0\x12\x04\0\0\0\0\0", None, None, "not HTTP/1.1"),
    "folded": (OK + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\nhi", None, None, "whitespace after header value"),
    "space before colon": (OK + b"x : 2\r\n\r\nhi", None, None, "Invalid header token"),
    "no colon": (OK + b"garbage\r\n\r\n", None, None, "Invalid header token"),
    "NUL": (OK + b"x: \0\r\n\r\n", None, None, "Invalid header value char"),
    "lone CR": (OK + b"x: a\rcontent-length: 9\r\n\r\n", None, None, "Missing expected LF"),
    "lone LF": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", None, None, "Missing expected CR"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_whole_and_byte_by_byte(name: str) -> None:
    raw, status, body, end = ANSWERS[name]
    whole = fed([raw])
    assert (whole[0], whole[2]) == (status, body)
    assert whole[3] == end if end in ("", "complete") else end in whole[3]
    assert fed([raw[at : at + 1] for at in range(len(raw))]) == whole


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 200)))
def test_any_split_gives_the_same_answer(name: str, cuts: list[int]) -> None:
    raw = ANSWERS[name][0]
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    assert fed([raw[a:b] for a, b in pairwise(edges)]) == fed([raw])


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=4)), max_size=4), st.integers(1, 50))  # fmt: skip
def test_whatever_comes_there_is_an_answer_or_a_break(name: str, edits: list[tuple[int, bytes]], size: int) -> None:
    raw = bytearray(ANSWERS[name][0])
    for at, data in edits:
        raw[at : at + len(data)] = data
    ended = fed([bytes(raw)])
    assert ended == fed([bytes(raw[at : at + size]) for at in range(0, len(raw), size)])
    assert ended[0] is None or 200 <= ended[0] <= 599


@pytest.mark.parametrize("size", [1 << 30, 262_144, 65_536, 1000])
@pytest.mark.parametrize("after", [b"", b"2\r\nhi\r\n0\r\n\r\n", b"9000\r\n" + b"z" * 0x9000 + b"\r\n0\r\n\r\n"])
def test_a_head_has_a_limit_to_the_byte(size: int, after: bytes) -> None:
    fits = HEAD_OF_LIMIT.replace(b"y" * 28, b"", 1)[:-2] + b"transfer-encoding: chunked\r\n\r\n"
    long = fits.replace(b"x: ", b"x: y")
    assert len(fits) == MAX_HEAD_BYTES
    parts = lambda raw: [raw[at : at + size] for at in range(0, len(raw), size)]  # noqa: E731
    assert fed(parts(fits + after))[0] == 200
    assert fed(parts(long + after))[3] == f"its headers have more than {MAX_HEAD_BYTES} bytes"


@pytest.mark.parametrize("endless", [b"x-t: " + b"y" * 1000, b"x: y\r\n"])
def test_trailers_cannot_grow_without_bound(endless: bytes) -> None:
    parts = [CHUNKED + b"2\r\nhi\r\n0\r\n", *[endless] * (MAX_HEAD_BYTES // len(endless) + 1)]
    assert fed(parts)[2:] == (b"hi", f"its headers have more than {MAX_HEAD_BYTES} bytes")


def test_hints_without_end_are_an_end() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    assert "its headers" in fed([hints] * (MAX_HEAD_BYTES // len(hints) + 1))[3]


def test_headers_as_they_came() -> None:
    raw = (
        OK
        + b"X-Odd-Case: A\r\nSet-Cookie: a\r\nset-cookie: b\r\nx-empty:\r\nx-latin: \xe9\xff\r\nx-ws: \t a b \r\ncontent-length: 0\r\n\r\n"
    )
    _, headers, _, _ = fed([raw])
    assert headers[:5] == [
        (b"x-odd-case", b"A"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"x-empty", b""), (b"x-latin", b"\xe9\xff"),
    ]  # fmt: skip
    assert headers[5][1].strip() == b"a b"
    assert b"x-t" not in dict(fed([ANSWERS["trailers"][0]])[1]), "what comes late is no header"
    assert b"link" not in dict(fed([ANSWERS["hints"][0]])[1]), "nor what comes early"


@pytest.mark.parametrize("head", [b"content-length: 5\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n", b"\r\n"])
def test_head_has_no_body_whatever_it_says(head: bytes) -> None:
    raw = OK + head
    assert fed([raw], b"HEAD")[::3] == (200, "complete")
    assert fed([raw[at : at + 1] for at in range(len(raw))], b"HEAD")[2:] == (b"", "complete")


@pytest.mark.parametrize("name", ANSWERS)
def test_it_is_the_same_on_a_socket(run: Run, name: str) -> None:
    raw, status, body, end = ANSWERS[name]

    async def drip(wire: Wire) -> None:
        await wire.request()
        for at in range(len(raw)):
            await wire.send(raw[at : at + 1])
            await asyncio.sleep(0)

    async def scenario() -> None:
        async with served(drip) as server, pooled() as pool:
            if status is None:
                with pytest.raises(BrokenAnswer):
                    await ask(pool, server.url)
            elif end == "complete":
                assert (await ask(pool, server.url))[::2] == (status, body)
            else:
                response = await pool.request("POST", server.url, {}, b"{}")
                with pytest.raises(BrokenAnswer):
                    await body_of(response)
            await server.until(0)

    run(scenario())
