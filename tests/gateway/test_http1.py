"""The gateway's HTTP/1.1 client on real sockets, on asyncio's own loop and on uvloop."""

import asyncio
import socket
from pathlib import Path

import pytest

from llmlens.errors import UpstreamFailed, UpstreamTimeout
from llmlens.gateway.http1 import (
    KEEP_IDLE_S,
    MAX_BUFFERED_BYTES,
    BrokenAnswer,
    Silent,
)
from llmlens.gateway.upstream import HttpUpstream, Outgoing
from tests.gateway.loopback import CHUNKED, HI, OK, Run, Wire, answering, ask, body_of, echo, pooled, served, silent
from tests.gateway.loopback_tls import LOCALHOST, server_context

# ── on sockets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_sent(run: Run) -> None:
    async def show(wire: Wire) -> None:
        while True:
            head, body = await wire.request()
            shown = head.encode("latin-1") + body
            await wire.send(OK + b"content-length: %d\r\n\r\n%b" % (len(shown), shown))

    async def scenario() -> None:
        async with served(show) as server, pooled() as pool:
            _, _, sent = await ask(
                pool, f"{server.url}/a%2Fb%c3?q=%20+&&k", b"\0\xff", **{"x-a": "caf\xe9", "accept": "*/*"}
            )
            assert sent == (
                b"POST /a%2Fb%c3?q=%20+&&k HTTP/1.1\r\nhost: 127.0.0.1:" + str(server.port).encode()
                + b"\r\nx-a: caf\xe9\r\naccept: */*\r\ncontent-length: 2\r\n\r\n\0\xff"
            )  # fmt: skip
            for method, length in (
                ("GET", b""),
                ("DELETE", b""),
                ("POST", b"content-length: 0"),
                ("PUT", b"content-length: 0"),
            ):
                _, _, sent = await ask(pool, server.url, b"", method)
                assert sent.startswith(f"{method} / HTTP/1.1\r\n".encode())
                assert (length in sent) if length else (b"content-length" not in sent)
            assert server.opened == 1

    run(scenario())


def test_head_requests_end_with_the_head(run: Run) -> None:
    async def scenario() -> None:
        async with served(answering(OK + b"content-length: 5\r\n\r\n")) as server, pooled() as pool:
            for _ in range(2):
                status, headers, body = await ask(pool, server.url, b"", "HEAD")
                assert (status, headers, body) == (200, [(b"content-length", b"5")], b"")
            await server.until(0)

    run(scenario())


def test_bodies_stay_as_they_were_compressed(run: Run) -> None:
    packed = b"\x1f\x8b\x08\0junk"

    async def scenario() -> None:
        raw = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(packed), packed)
        async with served(answering(raw)) as server, pooled() as pool:
            assert (await ask(pool, server.url))[2] == packed

    run(scenario())


# ── connections: kept, dropped, never mixed up ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (HI, True), (CHUNKED + b"2\r\nhi\r\n0\r\nx: y\r\n\r\n", True), (b"HTTP/1.1 304 X\r\ncontent-length: 5\r\n\r\n", True),
        (HI + b"\r\n", True), (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", False), (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", False),
        (HI + HI, False), (HI + OK + b"content-length: 9\r\n\r\nhalf", False), (HI + b"H", False), (HI + b"\0", False),
        (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi more", False),
    ],
)  # fmt: skip
def test_a_connection_is_kept_only_where_nothing_is_left_on_it(run: Run, raw: bytes, kept: bool) -> None:
    async def scenario() -> None:
        async with served(answering(raw)) as server, pooled() as pool:
            first = await ask(pool, server.url)
            assert await ask(pool, server.url) == first
            assert server.opened == (1 if kept else 2)
            await server.until(1 if kept else 0)

    run(scenario())


def test_what_comes_unasked_ends_the_connection(run: Run) -> None:
    async def chatty(wire: Wire) -> None:
        await wire.request()
        await wire.send(HI)
        await go.wait()
        await wire.send(OK + b"content-length: 6\r\n\r\npoison")
        await wire.gone()

    async def scenario() -> None:
        async with served(chatty) as server, pooled() as pool:
            await ask(pool, server.url)
            go.set()
            await server.until(0)
            assert (await ask(pool, server.url))[2] == b"hi"

    go = asyncio.Event()
    run(scenario())


def test_many_at_once_get_their_own_answers(run: Run) -> None:
    async def scenario() -> None:
        async with served(echo) as server, pooled(max_idle=8) as pool:
            for _ in range(3):
                bodies = [b"%d" % n * (1 + n * 97 % 5000) for n in range(100)]
                answers = await asyncio.gather(*[ask(pool, server.url, body) for body in bodies])
                assert [body for _, _, body in answers] == bodies
                await server.until(8)
        await server.until(0)

    run(scenario())


def test_what_was_idle_too_long_is_not_used_again(run: Run) -> None:
    now = [1000.0]

    async def scenario() -> None:
        async with served(echo) as server, pooled(clock=lambda: now[0]) as pool:
            await ask(pool, server.url)
            now[0] += KEEP_IDLE_S - 1
            await ask(pool, server.url)
            assert server.opened == 1
            now[0] += KEEP_IDLE_S
            await ask(pool, server.url)
            assert server.opened == 2
            await server.until(1)
            now[0] += KEEP_IDLE_S - 1
            pool.sweep()
            await asyncio.gather(ask(pool, server.url), ask(pool, server.url))
            assert server.opened == 3
            now[0] += KEEP_IDLE_S
            pool.sweep()
            await server.until(0)
            assert (await ask(pool, server.url, b"x"))[2] == b"x"

    run(scenario())


def test_a_closed_pool_keeps_nothing(run: Run) -> None:
    async def scenario() -> None:
        async with served(echo) as server, pooled() as pool:
            await ask(pool, server.url)
            response = await pool.request("POST", server.url, {}, b"late")
            pool.close()
            assert await body_of(response) == b"late"
            await server.until(0)

    run(scenario())


@pytest.mark.parametrize("rude", [False, True])
def test_a_kept_connection_that_was_closed_is_not_used(run: Run, rude: bool) -> None:
    async def once(wire: Wire) -> None:
        await wire.request()
        await wire.send(HI)
        await go.wait()
        if rude:
            wire.reset()

    async def scenario() -> None:
        async with served(once) as server, pooled() as pool:
            await ask(pool, server.url)
            go.set()
            await server.until(0)
            for _ in range(5):  # the news has to travel
                await asyncio.sleep(0)
            assert (await ask(pool, server.url))[0] == 200
            assert server.opened == 2

    go = asyncio.Event()
    run(scenario())


@pytest.mark.parametrize("rude", [False, True])
@pytest.mark.parametrize(
    ("method", "answer", "opened"),
    [("GET", b"", 2), ("DELETE", b"", 2), ("POST", b"", None), ("PATCH", b"", None), ("GET", b"HTTP", None)],
)
def test_only_what_may_be_sent_twice_is_sent_twice(
    run: Run, method: str, answer: bytes, opened: int | None, rude: bool
) -> None:
    """RFC 9112, 9.3.1: on a kept connection that closed as the request was under way, once, if nothing came back."""
    asked: list[str] = []

    async def second_kills(wire: Wire) -> None:
        await wire.request()
        await wire.send(HI)
        head, _ = await wire.request()
        asked.append(head.split(" ")[0])
        await wire.send(answer)
        if rude:
            wire.reset()

    async def scenario() -> None:
        async with served(second_kills) as server, pooled() as pool:
            await ask(pool, server.url)
            if opened is None:
                with pytest.raises(BrokenAnswer):
                    await ask(pool, server.url, b"{}", method)
                assert server.opened == 1
            else:
                assert (await ask(pool, server.url, b"", method))[0] == 200
                assert server.opened == opened
            assert asked == [method]

    run(scenario())


def test_nothing_is_sent_twice_on_a_fresh_connection(run: Run) -> None:
    async def rude(wire: Wire) -> None:
        await wire.request()

    async def scenario() -> None:
        async with served(rude) as server, pooled() as pool:
            with pytest.raises(BrokenAnswer, match="hung up without an answer"):
                await ask(pool, server.url, b"", "GET")
            assert server.opened == 1

    run(scenario())


@pytest.mark.parametrize("tls", [False, True])
def test_whenever_it_is_cancelled_nothing_is_left_behind(run: Run, tls: bool, tmp_path: Path, trust: None) -> None:
    async def scenario() -> None:
        context = server_context(tmp_path, LOCALHOST) if tls else None
        async with served(echo, context) as server, pooled() as pool:
            done = 0
            for steps in range(60):
                asking = asyncio.create_task(ask(pool, server.url, b"%d" % steps * 100))
                for _ in range(steps):
                    await asyncio.sleep(0.0005 if tls and steps % 2 else 0)
                asking.cancel()
                ended = (await asyncio.gather(asking, return_exceptions=True))[0]
                done += not isinstance(ended, BaseException)
                assert isinstance(ended, asyncio.CancelledError) or ended[2] == b"%d" % steps * 100
                assert (await ask(pool, server.url, b"next"))[2] == b"next"
            assert done < 60
            await server.until(sum(map(len, pool._idle.values())))
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert len(others) == 0 or all("serve" in repr(task) or "wait_for" in repr(task) for task in others)

    run(scenario())


def test_an_answer_that_is_given_up_ends_its_connection(run: Run) -> None:
    async def endless(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + b"2\r\nhi\r\n")
        await wire.gone()

    async def scenario() -> None:
        async with served(endless) as server, pooled() as pool:
            response = await pool.request("POST", server.url, {}, b"")
            assert await response.read() == b"hi"
            reading = asyncio.create_task(response.read())
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            response.close()
            response.close()
            with pytest.raises(BrokenAnswer):
                await response.read()
            await server.until(0)

    run(scenario())


# ── large bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slow_reader_slows_the_provider(run: Run) -> None:
    size, sent = 64 << 20, [0]

    async def flood(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"content-length: %d\r\n\r\n" % size)
        while sent[0] < size:
            await wire.send(b"x" * (1 << 20))
            sent[0] += 1 << 20
        await wire.request()
        await wire.send(HI)

    async def scenario() -> None:
        async with served(flood) as server, pooled() as pool:
            response = await pool.request("POST", server.url, {}, b"")
            stuck = -1
            while stuck != sent[0]:
                stuck = sent[0]
                await asyncio.sleep(0.05)
            assert stuck < 48 << 20, "the rest is with the provider"
            assert response._held < 4 * MAX_BUFFERED_BYTES
            assert len(await body_of(response)) == size
            assert (await ask(pool, server.url))[2] == b"hi"
            assert server.opened == 1

    run(scenario())


@pytest.mark.parametrize("size", [MAX_BUFFERED_BYTES + 1, 3 * MAX_BUFFERED_BYTES])
def test_a_connection_that_waited_for_the_reader_at_the_very_end_can_be_used_again(run: Run, size: int) -> None:
    async def scenario() -> None:
        async with served(echo) as server, pooled(silence_s=5) as pool:
            for _ in range(3):
                response = await pool.request("POST", server.url, {}, b"x" * size)
                await asyncio.sleep(0.05)  # all of it may come before it is read
                assert len(await body_of(response)) == size
                assert (await ask(pool, server.url, b"next"))[2] == b"next"
            assert server.opened == 1

    run(scenario())


def test_a_provider_that_waits_for_the_reader_is_not_silent(run: Run) -> None:
    async def flood(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"content-length: %d\r\n\r\n" % (32 << 20))
        await wire.send(b"x" * (32 << 20))
        await wire.gone()

    async def scenario() -> None:
        async with served(flood) as server, pooled(silence_s=0.2) as pool:
            response = await pool.request("POST", server.url, {}, b"")
            await asyncio.sleep(0.7)
            assert len(await body_of(response)) == 32 << 20

    run(scenario())


def test_a_provider_that_still_takes_the_request_is_not_silent(run: Run) -> None:
    size = 24 << 20

    async def slow(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.1)
            await wire.reader.readexactly(size // 6)
        await wire.send(HI)
        await wire.gone()

    async def scenario() -> None:
        async with served(slow) as server, pooled(silence_s=0.3) as pool:
            assert (await ask(pool, server.url, b"x" * size))[0] == 200

    run(scenario())


@pytest.mark.parametrize("keep", [True, False])
def test_an_answer_before_the_request_is_sent_counts_and_ends_the_connection(run: Run, keep: bool) -> None:
    async def too_large(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        if keep:
            await go.wait()
            await wire.gone()

    async def scenario() -> None:
        async with served(too_large) as server, pooled() as pool:
            for _ in range(3):
                assert (await ask(pool, server.url, b"x" * (32 << 20)))[::2] == (413, b"no")
            assert server.opened == 3
            go.set()
            await server.until(0)

    go = asyncio.Event()
    run(scenario())


# ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silence_before_the_answer_and_within_it(run: Run) -> None:
    async def half(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + b"2\r\nhi\r\n")
        await wire.gone()

    async def scenario() -> None:
        async with served(silent) as server, pooled(silence_s=0.05) as pool:
            with pytest.raises(Silent, match=r"0\.05 s without a byte"):
                await ask(pool, server.url, b"", "GET")
            await server.until(0)
            assert server.opened == 1
        async with served(half) as server, pooled(silence_s=0.05) as pool:
            response = await pool.request("POST", server.url, {}, b"")
            assert await response.read() == b"hi"
            with pytest.raises(Silent):
                await response.read()
            await server.until(0)

    run(scenario())


def test_a_drip_is_not_silence_but_ends_in_time(run: Run) -> None:
    async def drip(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        while not wire.reader.at_eof():
            await wire.send(b"1\r\n.\r\n")
            await asyncio.sleep(0.02)

    async def scenario() -> None:
        async with served(drip) as server, pooled(silence_s=0.2, total_s=0.5) as pool:
            response = await pool.request("POST", server.url, {}, b"")
            with pytest.raises(Silent, match="the whole took too long"):
                await body_of(response)
            await server.until(0)

    run(scenario())


def test_a_kept_connection_has_no_clock_running(run: Run) -> None:
    async def scenario() -> None:
        async with served(echo) as server, pooled(silence_s=0.05) as pool:
            await ask(pool, server.url)
            await asyncio.sleep(0.12)
            await ask(pool, server.url)
            assert server.opened == 1

    run(scenario())


@pytest.mark.parametrize("through_proxy", [False, True])
def test_a_connection_that_does_not_come_about(run: Run, through_proxy: bool) -> None:
    async def scenario() -> None:
        async with served(silent) as hangs, pooled(connect_s=0.1) as pool:
            url = "https://localhost/" if through_proxy else hangs.url.replace("http", "https")
            with pytest.raises(Silent, match=r"no connection within 0.1 s"):
                await ask(pool, url, proxy=hangs.url if through_proxy else None)
            await hangs.until(0)

    run(scenario())


def test_nobody_there(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        async def scenario() -> None:
            async with pooled() as pool:
                for url in (f"http://127.0.0.1:{port}", f"http://localhost:{port}", f"https://127.0.0.1:{port}"):
                    with pytest.raises(OSError, match=r"(?i)connect|refused"):
                        await ask(pool, url)
                with pytest.raises(OSError, match=r"."):
                    await ask(pool, "http://nowhere.invalid/")

        run(scenario())


# ── the seam ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_gateway_is_told(run: Run) -> None:
    async def cut(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"content-length: 9\r\n\r\nhi")

    async def scenario() -> None:
        async with served(cut) as server, served(silent) as quiet, pooled(silence_s=0.05) as pool:
            upstream = HttpUpstream(pool)
            incoming = await upstream.send(Outgoing("POST", f"{server.url}/v1?key=secret", {}, b""))
            assert await incoming.read() == b"hi"
            with pytest.raises(
                UpstreamFailed, match=f"^127.0.0.1:{server.port} broke off its answer before it was complete"
            ):
                await incoming.read()
            with pytest.raises(UpstreamTimeout, match="did not answer in time") as caught:
                await upstream.send(Outgoing("POST", f"{quiet.url}/v1?key=secret", {}, b""))
            assert "secret" not in str(caught.value)
            with pytest.raises(
                UpstreamFailed, match=r"^http://h/v1 cannot be reached: the URL holds credentials"
            ) as failed:
                await upstream.send(Outgoing("POST", "http://me:secret@h/v1?key=secret", {}, b""))
            assert "secret" not in str(failed.value)
            await upstream.close()

    run(scenario())
