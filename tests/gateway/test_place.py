"""Where a URL leads and what the head of a request may hold."""

import pytest

from llmlens.errors import UpstreamFailed
from llmlens.gateway.place import Place, head_of, place_of, proxy_at
from llmlens.gateway.upstream import HttpUpstream, Outgoing
from tests.gateway.loopback import Run, pooled

# ── URLs and headers ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "place", "host", "target"),
    [
        ("http://h", (False, "h", 80), "h", "/"),
        ("HTTPS://H.example/", (True, "h.example", 443), "h.example", "/"),
        ("http://h?q=1", (False, "h", 80), "h", "/?q=1"),
        ("http://h/p?", (False, "h", 80), "h", "/p?"),
        ("http://h/p?a=1#f?g", (False, "h", 80), "h", "/p?a=1"),
        ("http://h#f", (False, "h", 80), "h", "/"),
        (
            "http://h:8080/a%2fb/%C3%a9/../;x=1?q=%20+%2B&",
            (False, "h", 8080),
            "h:8080",
            "/a%2fb/%C3%a9/../;x=1?q=%20+%2B&",
        ),
        ("http://h//twice//", (False, "h", 80), "h", "//twice//"),
        ("http://h/\xe9", (False, "h", 80), "h", "/\xe9"),
        ("http://[::1]:81/x", (False, "::1", 81), "[::1]:81", "/x"),
        ("https://[2001:DB8::1]/x", (True, "2001:db8::1", 443), "[2001:db8::1]", "/x"),
        ("http://b\xfccher.example/", (False, "xn--bcher-kva.example", 80), "xn--bcher-kva.example", "/"),
        ("http://h:/x", (False, "h", 80), "h", "/x"),
        ("http://h:443/x", (False, "h", 443), "h:443", "/x"),
        ("http://h/http://other/", (False, "h", 80), "h", "/http://other/"),
    ],
)
def test_where_a_url_leads(url: str, place: tuple[bool, str, int], host: str, target: str) -> None:
    assert place_of(url, None) == (Place(*place, None), host, target)
    assert place_of(url, "http://p")[2] == (target if place[0] else f"http://{host}{target}")


@pytest.mark.parametrize(
    "url",
    [
        "", "h", "h/p", "ftp://h/", "http://", "http:///p", "http://:80/", "http:h", "http://h:x/", "http://h:65536/",
        "http://h:-1/", "http://[::1/", "http://h/a b", "http://h/a\r\nx: y", "http://h/a\n", "http://h/\t", "http://h/\0",
        " http://h/", "http://h\r/", "http://h/\x7f", "http://me:pw@h/", "http://me@h/", "http://h\\@other/",
        "http://" + "\xfc" * 80 + ".example/",
    ],
)  # fmt: skip
def test_urls_that_cannot_be_sent(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        place_of(url, None)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://a..b/", f"http://{'a' * 64}.example/", f"http://{'a.' * 300}example/", "http://h%41/"]
)
def test_names_that_cannot_be_looked_up(run: Run, url: str) -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            with pytest.raises(UpstreamFailed):
                await HttpUpstream(pool).send(Outgoing("POST", url, {}, b""))

    run(scenario())


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "\r", "a\0b", "\u20ac"])
@pytest.mark.parametrize("where", ["name", "value", "method", "target"])
def test_nothing_is_smuggled_into_a_request(where: str, value: str) -> None:
    place, host, _ = place_of("http://h", None)
    parts = {"method": "POST", "target": "/", "name": "x", "value": "y"} | {where: value}
    with pytest.raises(ValueError, match=r"line break|cannot carry"):
        head_of(parts["method"], parts["target"], host, {parts["name"]: parts["value"]}, b"", place)


@pytest.mark.parametrize("name", ["host", "content-length", "transfer-encoding", "connection"])
def test_the_frame_is_the_clients_own(name: str) -> None:
    place, host, target = place_of("http://h", None)
    with pytest.raises(ValueError, match=name):
        head_of("POST", target, host, {"accept": "*/*", name: "x"}, b"", place)


def test_proxies_that_cannot_be_used() -> None:
    for url in ("socks5://h:1", "https://h:1", "http://", "http://:80"):
        with pytest.raises(ValueError, match="only http:// proxies"):
            proxy_at(url)
    with pytest.raises(ValueError, match="cannot be read") as caught:
        proxy_at("http://me:pa/ss@h")
    assert "pa" not in str(caught.value)
    assert proxy_at("http://h") == ("h", 80, None)
    assert proxy_at("[::1]:3128") == ("::1", 3128, None)
