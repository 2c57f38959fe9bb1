"""The ways to a place: TLS, proxies, names with several addresses."""

import asyncio
import base64
import gc
import socket
import ssl
from pathlib import Path
from typing import cast

import pytest

from llmlens.errors import UpstreamFailed
from llmlens.gateway.http1 import (
    BrokenAnswer,
)
from llmlens.gateway.upstream import HttpUpstream, Outgoing
from tests.gateway.loopback import HI, OK, Run, Wire, answering, ask, body_of, echo, pooled, served
from tests.gateway.loopback_tls import ELSEWHERE, LOCALHOST, server_context

# ── TLS ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tls_with_an_authority_of_ones_own(run: Run, tmp_path: Path, trust: None) -> None:
    async def scenario() -> None:
        async with served(echo, server_context(tmp_path, LOCALHOST)) as server, pooled() as pool:
            for host in ("127.0.0.1", "localhost"):
                for body in (b"hi", b"x" * (5 << 20)):
                    assert (await ask(pool, f"https://{host}:{server.port}", body))[2] == body
            assert server.opened == 2
        ends = answering(OK + b"\r\nto the end", hang_up=True)
        async with served(ends, server_context(tmp_path, LOCALHOST)) as server, pooled() as pool:
            assert (await ask(pool, server.url))[2] == b"to the end"

    run(scenario())


def test_the_first_tls_connections_share_one_context(run: Run, tmp_path: Path, trust: None) -> None:
    async def scenario() -> None:
        async with served(echo, server_context(tmp_path, LOCALHOST)) as server, pooled() as pool:
            first = asyncio.create_task(ask(pool, server.url))
            await asyncio.sleep(0)
            others = [asyncio.create_task(ask(pool, server.url)) for _ in range(5)]
            first.cancel()  # whoever waits for the context, it is made
            assert {answer[0] for answer in await asyncio.gather(*others)} == {200}

    run(scenario())


def test_a_certificate_that_nobody_vouches_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with served(echo, server_context(tmp_path, LOCALHOST)) as server, pooled() as pool:
            with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
                await ask(pool, server.url)
            upstream = HttpUpstream(pool)
            with pytest.raises(UpstreamFailed, match=r"cannot be reached.*certificate verify failed"):
                await upstream.send(Outgoing("POST", server.url, {}, b""))
            await server.until(0)

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    run(scenario())


def test_a_certificate_of_somebody_else(run: Run, tmp_path: Path, trust: None) -> None:
    async def scenario() -> None:
        async with served(echo, server_context(tmp_path, ELSEWHERE)) as server, pooled() as pool:
            for host, why in (("127.0.0.1", "IP address mismatch"), ("localhost", "Hostname mismatch")):
                with pytest.raises(ssl.SSLCertVerificationError, match=why):
                    await ask(pool, f"https://{host}:{server.port}")
            await server.until(0)

    run(scenario())


def test_the_server_is_told_its_name_and_http1(run: Run, tmp_path: Path, trust: None) -> None:
    names: list[str | None] = []

    async def scenario() -> None:
        context = server_context(tmp_path, LOCALHOST)
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda _, name, __: names.append(name)
        async with served(echo, context) as server, pooled() as pool:
            await ask(pool, f"https://localhost:{server.port}")
            (wire,) = server.open
            assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"

    run(scenario())
    assert names == ["localhost"]


def test_no_tls_where_tls_is_expected(run: Run) -> None:
    async def scenario() -> None:
        async with served(answering(HI)) as server, pooled() as pool:
            task = asyncio.create_task(ask(pool, server.url.replace("http", "https")))
            await server.until(1)
            for wire in server.open:
                wire.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(OSError, match=r"(?i)wrong version number|record"):
                await task
            await server.until(0)

    run(scenario())


# ── proxies ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def proxying(wire: Wire) -> None:
    """CONNECT, blindly."""
    head, _ = await wire.request()
    assert head.startswith("CONNECT "), head
    host, _, port = head.split(" ")[1].rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    await wire.send(b"HTTP/1.0 200 Connection established\r\nvia: test\r\n\r\n")

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    await asyncio.gather(pipe(wire.reader, writer), pipe(reader, wire.writer))


def test_through_a_proxy_without_tls(run: Run) -> None:
    async def show(wire: Wire) -> None:
        while True:
            head, _ = await wire.request()
            await wire.send(OK + b"content-length: %d\r\n\r\n%b" % (len(head), head.encode()))

    async def scenario() -> None:
        async with served(show) as proxy, pooled() as pool:
            at = proxy.url.replace("http://", "http://me%40home:p%3Aw@")
            for _ in range(2):
                _, _, sent = await ask(pool, "http://there.invalid:81/p?q#f", proxy=at)
                assert sent.startswith(b"POST http://there.invalid:81/p?q HTTP/1.1\r\nhost: there.invalid:81\r\n")
                pair = base64.b64encode(b"me@home:p:w")
                assert b"proxy-authorization: Basic " + pair + b"\r\n" in sent
            assert proxy.opened == 1
            _, _, sent = await ask(pool, "http://there.invalid", proxy=proxy.url.removeprefix("http://"))
            assert sent.startswith(b"POST http://there.invalid/ HTTP/1.1\r\nhost: there.invalid\r\n")
            assert b"proxy-authorization" not in sent

    run(scenario())


def test_through_a_proxy_with_tls(run: Run, tmp_path: Path, trust: None) -> None:
    seen: list[str] = []

    async def noting(wire: Wire) -> None:
        await proxying(wire)

    async def scenario() -> None:
        async with (
            served(echo, server_context(tmp_path, LOCALHOST)) as server,
            served(noting) as proxy,
            pooled() as pool,
        ):
            for body in (b"one", b"x" * (3 << 20), b"three"):
                assert (await ask(pool, f"https://localhost:{server.port}/", body, proxy=proxy.url))[2] == body
                gc.collect()  # what made the tunnel is gone; it must not take the connection along
            assert (proxy.opened, server.opened) == (1, 1)
            seen.extend(str(n) for n in (proxy.opened, server.opened))

    run(scenario())
    assert seen == ["1", "1"]


def test_the_proxy_gets_credentials_and_the_place_does_not(run: Run) -> None:
    asked: list[str] = []

    async def refusing(wire: Wire) -> None:
        asked.append((await wire.request())[0])
        await wire.send(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 6\r\n\r\nsecret")
        await wire.gone()

    async def scenario() -> None:
        async with served(refusing) as proxy, pooled() as pool:
            with pytest.raises(
                BrokenAnswer, match=r"the proxy refused the connection: HTTP/1.1 407 Proxy Auth"
            ) as caught:
                await ask(pool, "https://[::1]:444/", proxy=proxy.url.replace("//", "//me:pw@"), authorization="key")
            assert "pw" not in str(caught.value)
            await proxy.until(0)

    run(scenario())
    pair = base64.b64encode(b"me:pw").decode()
    assert asked == [f"CONNECT [::1]:444 HTTP/1.1\r\nhost: [::1]:444\r\nproxy-authorization: Basic {pair}\r\n\r\n"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "no HTTP answer"), (b"HTTP/1.1 200 OK\r\n", "no HTTP answer|does not end"), (b"SSH-2.0-x\r\n\r\n", "no HTTP answer"),
        (b"x" * 100_000, "no HTTP answer"), (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "refused the connection: HTTP/1.1 502"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "does not end where it should"), (b"HTTP/1.1 2000 OK\r\n\r\n", "refused"),
    ],
)  # fmt: skip
def test_a_proxy_that_opens_no_tunnel(run: Run, answer: bytes, why: str) -> None:
    async def scenario() -> None:
        async with served(answering(answer, hang_up=True)) as proxy, pooled() as pool:
            with pytest.raises(BrokenAnswer, match=why):
                await ask(pool, "https://localhost:1/", proxy=proxy.url)
            await proxy.until(0)

    run(scenario())


def test_a_tunnel_to_nowhere_near_tls(run: Run) -> None:
    async def scenario() -> None:
        async with served(answering(HI)) as server, served(proxying) as proxy, pooled(connect_s=0.5) as pool:
            with pytest.raises(OSError, match=r"."):
                await ask(pool, f"https://localhost:{server.port}/", proxy=proxy.url)
            await proxy.until(0)

    run(scenario())


def test_whenever_a_tunnel_is_cancelled_nothing_is_left_behind(run: Run, tmp_path: Path, trust: None) -> None:
    async def scenario() -> None:
        async with (
            served(echo, server_context(tmp_path, LOCALHOST)) as server,
            served(proxying) as proxy,
            pooled() as pool,
        ):
            for steps in range(40):
                asking = asyncio.create_task(ask(pool, f"https://localhost:{server.port}/", b"hi", proxy=proxy.url))
                for _ in range(steps):
                    await asyncio.sleep(0.0005)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                if steps % 10 == 9:
                    assert (await ask(pool, f"https://localhost:{server.port}/", b"hi", proxy=proxy.url))[2] == b"hi"
            await proxy.until(sum(map(len, pool._idle.values())))

    run(scenario())


# ── names with several addresses ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_localhost_is_found_at_either_address(run: Run, family: socket.AddressFamily) -> None:
    async def scenario() -> None:
        async with served(echo, host="127.0.0.1" if family == socket.AF_INET else "::1") as server, pooled() as pool:
            assert (await ask(pool, f"http://localhost:{server.port}", b"x"))[2] == b"x"
            assert (await ask(pool, server.url, b"y"))[2] == b"y"

    try:
        with socket.socket(family) as probe:
            probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        found = {info[0] for info in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    except OSError:
        pytest.skip("no such address here")
    if family not in found:
        pytest.skip("localhost has no such address here")
    run(scenario())


def test_connections_send_at_once_and_stay_known_to_routers(run: Run) -> None:
    async def scenario() -> None:
        async with served(echo) as server, pooled() as pool:
            response = await pool.request("POST", server.url, {}, b"x" * (1 << 20))
            connection = response._connection or next(iter(pool._idle.values()))[0]
            sock = cast("asyncio.Transport", connection.transport).get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await body_of(response)

    run(scenario())
