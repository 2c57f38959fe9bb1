"""Whom a call is meant for: origins with a `*`, addresses that the environment completes, recorded traffic."""

import gzip
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.origins import origin_of
from llmlens.catalog.providers import in_environment, load_catalog, provider_for_url, provider_from, resolve_model
from llmlens.errors import ModelUnknown, SettingsError
from tests.wire.test_recorded import shared

SHIPPED = load_catalog()
ALL = {**SHIPPED, "lab": provider_from("lab", {"base_url": "http://127.0.0.1:9000/v1/"})}
RECORDED_AS = {"azure_ai": "azure", "vercel_gateway": "vercel"}  # the recordings' names of two providers


# ── origins with a `*` ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://mine.openai.azure.com/openai/v1/responses", ("azure", "https://mine.openai.azure.com")),
        ("https://a-2.services.ai.azure.com?x", ("azure", "https://a-2.services.ai.azure.com")),
        ("https://mine.cognitiveservices.azure.com", ("azure", "https://mine.cognitiveservices.azure.com")),
        ("https://us-east5-aiplatform.googleapis.com/v1/x", ("vertex", "https://us-east5-aiplatform.googleapis.com")),
        ("https://aiplatform.eu.rep.googleapis.com/v1", ("vertex", "https://aiplatform.eu.rep.googleapis.com")),
        (
            "https://bedrock-runtime.us-west-2.amazonaws.com/m",
            ("bedrock", "https://bedrock-runtime.us-west-2.amazonaws.com"),
        ),
        ("https://w1.ap-southeast-1.maas.aliyuncs.com/x", ("dashscope", "https://w1.ap-southeast-1.maas.aliyuncs.com")),
        ("https://x.y.openai.azure.com/", None),
        ("https://.openai.azure.com/", None),
        ("https://openai.azure.com/", None),
        ("http://mine.openai.azure.com/", None),
        ("https://mine.openai.azure.com.evil.example/", None),
        ("https://mine.openai.azure.com:8443/", None),
        ("https://evil.example/.openai.azure.com/", None),
        ("https://evil.example#.openai.azure.com/", None),
        ("https://evil.example?.openai.azure.com/", None),
        ("https://me:pw@mine.openai.azure.com/", None),
        ("https://mine.openai.azure.com@evil.example/", None),
        ("https://evil.example\\.openai.azure.com/", None),
        ("https://mineXopenai.azure.com/", None),  # a dot is a dot
        ("https://m\u0131ne.openai.azure.com/", None),
        ("https://mine.openai.azure.com\n/", None),
        ("https://bedrock-runtime.a.b.amazonaws.com/", None),
        ("https://*.openai.azure.com/", None),
    ],
)
def test_a_star_is_one_label_and_nothing_else(url, found):
    match = provider_for_url(url, ALL)
    assert (match and (match[0].name, match[1])) == found


@given(st.text(alphabet="abz019-./:@?#\\%*\u3002\n A", max_size=30))
def test_whatever_stands_for_a_star_leads_to_no_other_host(text):
    url = f"https://{text}.openai.azure.com/openai/v1/models"
    if provider_for_url(url, ALL) is not None:
        assert urlsplit(url).hostname == f"{text}.openai.azure.com"
        assert text
        assert "." not in text


@pytest.mark.parametrize(
    ("name", "meant", "sent"),
    [
        ("azure", "https://mine.openai.azure.com", "https://mine.openai.azure.com"),
        ("azure", "HTTPS://Mine.OpenAI.Azure.com/", "https://mine.openai.azure.com"),
        ("openai", "https://eu.api.openai.com", "https://eu.api.openai.com"),
        ("openrouter", "https://openrouter.ai", "https://openrouter.ai"),
        ("lab", "http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    ],
)
def test_a_call_goes_to_the_origin_that_its_caller_meant(name, meant, sent):
    assert ALL[name].meant_by(meant)
    assert ALL[name].origin_for(meant) == sent
    assert [row.name for row in ALL.values() if row.meant_by(meant)] == [name]


@pytest.mark.parametrize("name", ["azure", "openai", "openrouter"])
def test_a_provider_that_is_pointed_elsewhere_gets_all_its_calls_there(name):
    moved = provider_from(name, {"base_url": "http://127.0.0.1:8399/proxy/v1"}, ALL[name])
    for url in SHIPPED[name].origins:
        meant = origin_of(url).replace("*", "mine")
        assert moved.meant_by(meant)
        assert moved.origin_for(meant) == "http://127.0.0.1:8399"


def test_no_call_goes_to_an_origin_that_is_nobodys():
    assert not ALL["openai"].meant_by("https://api.openai.com.evil.example")
    assert ALL["openai"].origin_for("https://evil.example") == "https://api.openai.com"
    with pytest.raises(ModelUnknown, match="AZURE_OPENAI_ENDPOINT"):
        ALL["azure"].origin_for("https://evil.example")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://*.lab.example", "only with https"),
        ("https://lab.example/*", "only in the host"),
        ("https://*.example", "last two labels"),
        ("https://*", "last two labels"),
        ("https://lab.*", "last two labels"),
        ("https://lab.*.example", "last two labels"),
    ],
)
def test_stars_that_would_fit_too_much_are_refused(url, message):
    with pytest.raises(SettingsError, match=message):
        provider_from("lab", {"base_url": "https://lab.example", "origins": [url]})


def recorded():
    """(URL, provider) of all recorded traffic, once each by origin."""
    root = shared()
    if root is None:
        return []
    found = {}
    for file in sorted((root / "data/traffic").glob("*.jsonl.gz")):
        with gzip.open(file, "rt") as lines:
            for row in map(json.loads, lines):
                url = row["request"]["url"]
                found.setdefault((origin_of(url), row["provider"]), url)
    return [(url, RECORDED_AS.get(provider, provider)) for (_, provider), url in found.items()]


@pytest.mark.skipif(shared() is None, reason="no recordings beside this checkout")
def test_recorded_calls_are_taken_for_the_provider_that_answered_them():
    calls = recorded()
    assert len(calls) >= 25
    for url, name in calls:
        match = provider_for_url(url, ALL)
        assert match is not None, url
        assert match[0].name == name
        assert [row.name for row in ALL.values() if row.meant_by(origin_of(url))] == [name]


# ── addresses that the environment completes ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "environment", "base_url"),
    [
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com"}, "https://r.openai.azure.com/openai/v1"),
        (
            "azure",
            {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/openai/v1/"},
            "https://r.openai.azure.com/openai/v1",
        ),
        ("bedrock", {"AWS_REGION": "us-east-1"}, "https://bedrock-runtime.us-east-1.amazonaws.com"),
        (
            "bedrock",
            {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-1"},
            "https://bedrock-runtime.eu-west-1.amazonaws.com",
        ),
        (
            "vertex",
            {"GOOGLE_CLOUD_PROJECT": "example.com:p1", "GOOGLE_CLOUD_LOCATION": "global"},
            "https://aiplatform.googleapis.com/v1/projects/example.com:p1/locations/global/publishers/google",
        ),
        ("ollama", {"OLLAMA_HOST": "gpu-box:11500"}, "http://gpu-box:11500/v1"),
        ("ollama", {"OLLAMA_HOST": "gpu-box"}, "http://gpu-box:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "https://gpu.example/"}, "https://gpu.example/v1"),
        ("ollama", {"OLLAMA_HOST": ""}, "http://127.0.0.1:11434/v1"),
        ("openai", {"OPENAI_BASE_URL": "http://elsewhere"}, "https://api.openai.com/v1"),
    ],
)
def test_the_environment_gives_an_address(name, environment, base_url):
    row = in_environment(SHIPPED[name], environment)
    assert row.base_url == base_url
    assert not row.unset
    assert row.base_for(f"{row.dialect}.any") == base_url
    assert row.origins == SHIPPED[name].origins


@pytest.mark.parametrize("name", ["azure", "vertex", "bedrock"])
def test_a_row_without_an_address_says_what_to_set_and_is_never_contacted(name):
    row = in_environment(SHIPPED[name], {"GOOGLE_CLOUD_PROJECT": "half"})
    assert row is SHIPPED[name]
    assert row.unset
    with pytest.raises(ModelUnknown, match=rf"set {row.unset[0].partition('|')[0]}.*\[providers.{name}\]") as caught:
        resolve_model(f"{name}/some/model", SHIPPED)
    assert caught.value.param == "model"
    with pytest.raises(ModelUnknown, match="is not known: set "):
        row.base_for("openai.chat")
    assert not any("{" in prefix for prefix in row.prefixes)
    assert row.meant_by(row.origins[0].replace("*", "mine"))  # a call that brings its origin needs no address


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("azure", {"AZURE_OPENAI_ENDPOINT": "r.openai.azure.com"}),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://me:pw@r.openai.azure.com"}),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com?x=1"}),
        ("bedrock", {"AWS_REGION": "us-east-1.evil.example/"}),
        ("bedrock", {"AWS_REGION": "@evil"}),
        ("vertex", {"GOOGLE_CLOUD_PROJECT": "../x", "GOOGLE_CLOUD_LOCATION": "global"}),
        ("ollama", {"OLLAMA_HOST": "gpu-box:port"}),
    ],
)
def test_variables_that_make_no_address_are_refused(name, environment):
    with pytest.raises(SettingsError):
        in_environment(SHIPPED[name], environment)


def test_a_users_row_gives_the_address():
    row = provider_from("azure", {"base_url": "https://r.openai.azure.com/openai/v1"}, SHIPPED["azure"])
    assert resolve_model("azure/my-deployment", {"azure": row}) == ("azure", "my-deployment")
    assert row.origin_for("https://other.openai.azure.com") == "https://other.openai.azure.com"
