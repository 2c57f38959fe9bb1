"""Newer prices from a file or the installed package: checked whole, written in one step, honoured when newer."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from llmlens.catalog.price_list import PriceList, newest, shipped
from llmlens.catalog.price_update import DATA_URL, Updated, update_prices
from llmlens.catalog.prices import price
from llmlens.errors import SettingsError
from llmlens.records import Usage

NOW = shipped().taken_at + timedelta(days=1)
# One provider as genai-prices publishes it (format v2), with what prices do not need.
PUBLISHED = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "https://api",
        "extractors": [{"root": "usage"}],
        "models": [
            {
                "id": "gpt-4o",
                "match": {"or": [{"equals": "gpt-4o"}, {"starts_with": "gpt-4o-2"}]},
                "description": "x",
                "context_window": 128000,
                "prices": [
                    {"prices": {"input_mtok": 0.1, "output_mtok": 1}},
                    {
                        "constraint": {"start_date": "2026-10-01"},
                        "prices": {"input_mtok": {"base": 7, "tiers": [{"start": 9, "price": 8}]}, "output_mtok": 2},
                    },
                ],
            }
        ],
    }
]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(PUBLISHED))
    return path


def usd_per_mtok(listed: PriceList, at: datetime = NOW, n: int = 1) -> Decimal:
    priced = price("openai", "gpt-4o", Usage(n, 0), at, listed=listed)
    assert priced is not None
    return priced.cost_usd * 1_000_000 / n


def test_prices_from_a_file_are_used_when_newer(tmp_path: Path, published: Path) -> None:
    cached = tmp_path / "deep" / "prices.json"
    done = update_prices(cached, NOW, published)
    assert done == Updated(cached, f"genai-prices data in data.json, {NOW:%Y-%m-%d}", 1, 1)
    listed = newest(cached)
    assert usd_per_mtok(listed) == 7
    assert usd_per_mtok(listed, n=10) == 8
    assert usd_per_mtok(listed, datetime(2026, 9, 30, tzinfo=UTC)) == Decimal("0.1")
    assert price("openai", "gpt-4o", Usage(1, 1), NOW, listed=listed).source == done.source
    assert b"description" not in cached.read_bytes()
    assert list(cached.parent.iterdir()) == [cached]


def test_an_older_file_does_not_hide_newer_shipped_prices(tmp_path: Path, published: Path) -> None:
    cached = tmp_path / "prices.json"
    update_prices(cached, shipped().taken_at - timedelta(days=1), published)
    assert newest(cached) is shipped()
    assert newest(tmp_path / "nothing.json") is shipped()
    assert newest(None) is shipped()


def test_what_was_written_can_be_read_from_again(tmp_path: Path, published: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    update_prices(first, NOW, published)
    update_prices(second, NOW, first)
    assert first.read_bytes().splitlines()[1:] == second.read_bytes().splitlines()[1:]


def test_the_installed_package_is_a_source_too(tmp_path: Path) -> None:
    done = update_prices(tmp_path / "prices.json", NOW, Path("genai-prices"))
    assert done.source == shipped().source
    assert done.n_models == shipped().check()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not JSON"),
        ("{}", "an array of providers"),
        ("[]", "no providers"),
        ("[1]", "format v2"),
        ('[{"id": "a"}]', "format v2"),
        ('[{"id": "a", "models": [{"id": "m"}]}]', "prices of 'a'"),
        ('[{"id": "a", "models": [{"id": "m", "match": {"sounds_like": "m"}, "prices": {}}]}]', "sounds_like"),
        ('[{"id": "a", "models": [{"id": "m", "match": {"regex": "("}, "prices": {}}]}]', "prices of 'a'"),
        ('[{"id": "a", "models": [{"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": -1}}]}]', "0 or more"),
        (
            '[{"id": "a", "models": [{"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": "x"}}]}]',
            "prices of",
        ),
    ],
)
def test_a_bad_file_changes_nothing_and_says_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    cached, bad = tmp_path / "prices.json", tmp_path / "bad.json"
    cached.write_text("as before")
    bad.write_text(content)
    with pytest.raises(SettingsError, match=said) as caught:
        update_prices(cached, NOW, bad)
    assert str(bad) in str(caught.value)
    assert cached.read_text() == "as before"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        update_prices(tmp_path / "prices.json", NOW, tmp_path / "nothing.json")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:9/data.json"])
def test_an_address_that_cannot_be_read_names_the_way_without_a_network(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="--file"):
        update_prices(tmp_path / "prices.json", NOW, url=url)
    assert DATA_URL.startswith("https://")


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    cached = tmp_path / "prices.json"
    cached.write_text("{}")
    with pytest.raises(SettingsError, match=r"prices\.json.*llmlens prices update"):
        newest(cached)
