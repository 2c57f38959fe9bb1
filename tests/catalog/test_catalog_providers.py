"""Provider rows, the merge with the user's, and the way from a model name to a provider."""

import subprocess
import sys
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.providers import Provider, load_catalog, provider_for_url, provider_from, resolve_model
from llmlens.errors import ModelUnknown, SettingsError

SHIPPED = load_catalog()
LAB = provider_from("lab", {"base_url": "http://127.0.0.1:9000/v1/", "models": ["lab-*", "gpt-4o-lab"]})
ALL = {**SHIPPED, "lab": LAB}


@pytest.mark.parametrize("provider", SHIPPED.values(), ids=list(SHIPPED))
def test_every_shipped_row_says_where_it_is_from(provider):
    assert provider.source
    assert isinstance(provider.checked, date)
    assert not provider.own_key
    assert provider.simulated == (provider.name == "sim")


def test_nothing_heavy_is_imported_for_the_rows():
    code = (
        "import sys, llmlens.catalog.providers as p, llmlens.catalog.prices, llmlens.catalog.tokens; p.load_catalog();"
        "print([m for m in ('genai_prices', 'tiktoken', 'pydantic', 'asyncio', 'aiohttp') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("gpt-4o", ("openai", "gpt-4o")),
        ("o3", ("openai", "o3")),
        ("o4-mini", ("openai", "o4-mini")),
        ("text-embedding-3-small", ("openai", "text-embedding-3-small")),
        ("claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("sim/large", ("sim", "large")),
        ("lab/org/model", ("lab", "org/model")),
        ("lab/openai/gpt-4o", ("lab", "openai/gpt-4o")),
        ("lab-7b", ("lab", "lab-7b")),
        ("gpt-4o-lab", ("lab", "gpt-4o-lab")),  # more literal characters than "gpt-[!o]*"
    ],
)
def test_models_find_their_provider(name, found):
    assert resolve_model(name, ALL) == found


@pytest.mark.parametrize("name", ["", "/", "openai/", "gpt-oss-20b", "llama3", "nobody/model", "oops"])
def test_unknown_models_are_refused_with_what_is_known(name):
    with pytest.raises(ModelUnknown, match="known providers: anthropic, lab, llamacpp") as caught:
        resolve_model(name, ALL)
    assert repr(name) in str(caught.value)
    assert caught.value.param == "model"


@pytest.mark.parametrize(("name", "hint"), [("opnai/gpt-4o", "'openai/gpt-4o'"), ("claud-3-opus", "'claude-…'")])
def test_near_misses_are_named(name, hint):
    with pytest.raises(ModelUnknown, match=f"did you mean {hint}"):
        resolve_model(name, ALL)


@given(st.sampled_from(list(ALL)), st.text(min_size=1))
def test_a_known_first_segment_always_wins(provider, model):
    assert resolve_model(f"{provider}/{model}", ALL) == (provider, model)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://api.openai.com/v1/chat/completions", ("openai", "https://api.openai.com/v1")),
        ("https://api.openai.com/other", ("openai", "https://api.openai.com")),
        ("https://eu.api.openai.com/v1/models?x=1", ("openai", "https://eu.api.openai.com")),
        ("https://api.anthropic.com", ("anthropic", "https://api.anthropic.com")),
        ("http://localhost:11434/api/chat", ("ollama", "http://localhost:11434")),
        ("http://127.0.0.1:9000/v1/chat/completions", ("lab", "http://127.0.0.1:9000/v1")),
        ("http://127.0.0.1:9000/elsewhere", None),
        ("https://api.openai.com.evil.example/v1", None),
        ("https://api.openai.comx", None),
        ("http://127.0.0.1:8000/v1/x", None),  # a port of anyone
        ("sim:", None),
        ("https://example.com/?u=https://api.openai.com", None),
    ],
)
def test_urls_are_taken_for_a_provider_only_where_they_are_its_own(url, found):
    match = provider_for_url(url, ALL)
    assert (match and (match[0].name, match[1])) == found


def test_a_declared_generic_port_is_captured():
    vllm = provider_from("vllm", {"capture": True}, SHIPPED["vllm"])
    assert provider_for_url("http://localhost:8000/v1/x", {"vllm": vllm}) == (vllm, "http://localhost:8000")


def test_a_users_row_changes_only_what_it_says():
    moved = provider_from("openai", {"base_url": "http://127.0.0.1:8399/v1"}, SHIPPED["openai"])
    assert moved.base_url == "http://127.0.0.1:8399/v1"
    assert moved.origins == SHIPPED["openai"].origins
    assert moved.key_env == "OPENAI_API_KEY"
    assert not moved.own_key


def test_a_users_key_is_a_variable():
    row = provider_from("lab", {"base_url": "https://lab.example", "api_key": "env:LAB_API_KEY"})
    assert (row.key_env, row.own_key) == ("LAB_API_KEY", True)


def test_a_new_row_has_the_defaults():
    assert provider_from("lab", {"base_url": "https://lab.example/v1/"}) == Provider("lab", "https://lab.example/v1")
    assert provider_from("x", {"base_url": "https://x.example", "dialect": "anthropic"}).auth == "x-api-key"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "no base_url"),
        ({"base_url": "https://x.example", "base_ur": 1}, "did you mean 'base_url'"),
        ({"base_url": 3}, "must be a string"),
        ({"base_url": ""}, "must be a string"),
        ({"base_url": "x.example/v1"}, "must begin with http"),
        ({"base_url": "https://"}, "must begin with http"),
        ({"base_url": "https://me:pw@x.example"}, "without credentials"),
        ({"base_url": "https://x.example/v1?a=1"}, "without credentials"),
        ({"base_url": "https://x.example", "dialect": "openia"}, "did you mean 'openai'"),
        ({"base_url": "https://x.example", "auth": "basic"}, "known: bearer"),
        ({"base_url": "https://x.example", "models": "gpt-*"}, "list of strings"),
        ({"base_url": "https://x.example", "origins": ["nowhere"]}, "must begin with http"),
        ({"base_url": "https://x.example", "capture": "yes"}, "true or false"),
        ({"base_url": "https://x.example", "api_key": "env:NOT A NAME"}, "env:NAME"),
        ({"base_url": "https://x.example", "own_key": True}, "unknown key 'own_key'"),
        ("https://x.example", "must be a table"),
    ],
)
def test_wrong_rows_are_refused_with_their_name(table, message):
    with pytest.raises(SettingsError, match=message) as caught:
        provider_from("lab", table)
    assert "[providers.lab]" in str(caught.value)


def test_a_key_written_into_the_file_is_not_repeated():
    with pytest.raises(SettingsError) as caught:
        provider_from("lab", {"base_url": "https://x.example", "api_key": "sk-secret-value"})
    assert "sk-secret-value" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", " lab"])
def test_names_that_could_not_be_called_are_refused(name):
    with pytest.raises(SettingsError, match="name"):
        provider_from(name, {"base_url": "https://x.example"})
