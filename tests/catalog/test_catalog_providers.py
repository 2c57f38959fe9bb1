"""Provider rows, the merge with the user's, and the way from a model name to a provider."""

import re
import subprocess
import sys
from datetime import date
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog.origins import origin_of
from llmlens.catalog.price_list import shipped
from llmlens.catalog.providers import (
    QUIRKS,
    Provider,
    in_environment,
    load_catalog,
    provider_for_url,
    provider_from,
    resolve_model,
)
from llmlens.errors import ModelUnknown, SettingsError

SHIPPED = load_catalog()
LAB = provider_from("lab", {"base_url": "http://127.0.0.1:9000/v1/", "models": ["lab-*", "gpt-4o-lab"]})
ALL = {**SHIPPED, "lab": LAB}
ENVIRONMENT = {
    "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com/",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "GOOGLE_CLOUD_LOCATION": "europe-west4",
}
SETTLED = {name: in_environment(row, ENVIRONMENT) for name, row in ALL.items()}

DOCUMENTED = {
    *("openai", "azure", "anthropic", "gemini", "vertex", "bedrock", "mistral", "groq", "cohere", "deepseek", "xai"),
    *("openrouter", "together", "fireworks", "perplexity", "cerebras", "huggingface", "moonshot", "zai", "dashscope"),
    *("vercel", "nvidia", "ollama", "vllm", "lmstudio", "llamacpp", "sim"),
}
DIALECTS = {
    *("openai.chat", "openai.responses", "openai.completions", "openai.embeddings"),
    *("anthropic.messages", "anthropic.count_tokens"),
    *("gemini.generate", "gemini.embeddings", "gemini.count_tokens"),
    *("cohere.chat_v2", "cohere.chat_v1", "cohere.embed", "ollama.chat", "ollama.generate", "ollama.embed"),
    *("bedrock.converse", "bedrock.invoke"),
}


def test_every_documented_provider_has_a_row():
    assert set(SHIPPED) == DOCUMENTED


@pytest.mark.parametrize("provider", SHIPPED.values(), ids=list(SHIPPED))
def test_every_shipped_row_says_where_it_is_from(provider):
    assert provider.source
    assert isinstance(provider.checked, date)
    assert not provider.own_key
    assert provider.simulated == (provider.name == "sim")


@pytest.mark.parametrize("provider", SHIPPED.values(), ids=list(SHIPPED))
def test_every_shipped_row_is_sound(provider):
    assert {*provider.also, *provider.without, *provider.elsewhere} <= DIALECTS
    assert all(name.startswith(f"{provider.dialect}.") for name in provider.without)
    assert not set(provider.without) & {*provider.also, *provider.elsewhere}
    assert set(provider.quirks) <= set(QUIRKS)
    assert all(name.isidentifier() and name.isupper() for name in (provider.key_env or "A").split("|"))
    assert all(pattern for pattern in provider.models)
    if not provider.simulated:
        assert provider.local or all(origin.startswith("https://") for origin in provider.origins)
        assert SETTLED[provider.name].meant_by(origin_of(SETTLED[provider.name].base_url))


def test_every_row_that_is_priced_is_priced_as_someone_who_has_prices():
    listed = set(shipped().providers)
    named = {row.name: row.priced_as for row in SHIPPED.values() if row.priced_as}
    for priced_as in named.values():  # a router's has a star, and stands for all that fit
        assert any(fnmatchcase(name, priced_as) for name in listed)
    # A row without the key is priced under its own name, so that one must not be somebody else's.
    assert not (set(SHIPPED) - set(named)) & listed


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
        ("openrouter/meta-llama/llama-3.3-70b-instruct:free", ("openrouter", "meta-llama/llama-3.3-70b-instruct:free")),
        ("fireworks/accounts/fireworks/models/kimi-k3", ("fireworks", "accounts/fireworks/models/kimi-k3")),
        ("huggingface//x/", ("huggingface", "/x/")),
        ("gemini-2.5-pro", ("gemini", "gemini-2.5-pro")),
        ("mistral-large-latest", ("mistral", "mistral-large-latest")),
        ("mistral-small-2603", ("mistral", "mistral-small-2603")),
        ("grok-4.7", ("xai", "grok-4.7")),
        ("sonar-pro", ("perplexity", "sonar-pro")),
        ("command-a-03-2025", ("cohere", "command-a-03-2025")),
        ("deepseek-chat", ("deepseek", "deepseek-chat")),
        ("qwen-plus", ("dashscope", "qwen-plus")),
        ("text-embedding-v4", ("dashscope", "text-embedding-v4")),
        ("lab-7b", ("lab", "lab-7b")),
        ("gpt-4o-lab", ("lab", "gpt-4o-lab")),  # more literal characters than "gpt-[!o]*"
    ],
)
def test_models_find_their_provider(name, found):
    assert resolve_model(name, ALL) == found


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "openai/", "nobody/model", "meta-llama/Llama-3/x", "oops"),
        # open weights: who runs them on the own machine must not reach a cloud by a bare name
        *("gpt-oss-20b", "llama3", "mistral", "mistral-nemo", "command-r-plus", "deepseek-r1", "qwen3", "glm-4.6"),
    ],
)
def test_unknown_models_are_refused_with_what_is_known(name):
    with pytest.raises(ModelUnknown, match="known providers: anthropic, azure, bedrock, ") as caught:
        resolve_model(name, ALL)
    assert repr(name) in str(caught.value)
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("opnai/gpt-4o", "'openai/gpt-4o'"),
        ("GROQ/qwen/qwen3-32b", "'groq/qwen/qwen3-32b'"),
        ("google/gemini-2.5-pro", "'gemini/gemini-2.5-pro' or 'vertex/gemini-2.5-pro'"),
        ("x-ai/grok-4.7", "'xai/grok-4.7'"),
        ("openai/", "'openai/…'"),
        ("claud-3-opus", "'claude-…'"),
    ],
)
def test_near_misses_are_named(name, hint):
    with pytest.raises(ModelUnknown, match=re.escape(f"did you mean {hint}")):
        resolve_model(name, ALL)


@given(st.sampled_from(list(SETTLED)), st.text(min_size=1))
def test_a_known_first_segment_always_wins(provider, model):
    assert resolve_model(f"{provider}/{model}", SETTLED) == (provider, model)


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
        ("https://evil.example/?https://api.openai.com", None),
        ("https://api.openai.com@evil.example/v1", None),
        ("https://api.openai.com:444/v1", None),
        ("https://api.openai.com\\.evil.example/", None),
        ("https://openrouter.ai/api/v1/chat/completions", ("openrouter", "https://openrouter.ai/api/v1")),
        ("https://openrouter.ai/models", None),  # the web site
    ],
)
def test_urls_are_taken_for_a_provider_only_where_they_are_its_own(url, found):
    match = provider_for_url(url, ALL)
    assert (match and (match[0].name, match[1])) == found


# ── what a row offers ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "offered", "not_offered"),
    [
        ("openai", "openai.responses openai.completions openai.embeddings", "anthropic.messages gemini.generate"),
        ("anthropic", "anthropic.messages anthropic.count_tokens", "openai.chat"),
        ("gemini", "gemini.generate gemini.embeddings gemini.count_tokens", "openai.chat"),
        ("groq", "openai.chat openai.responses", "openai.completions anthropic.messages"),
        ("deepseek", "openai.responses anthropic.messages", "openai.embeddings anthropic.count_tokens"),
        ("cerebras", "openai.chat openai.completions", "openai.responses openai.embeddings"),
        ("ollama", "openai.chat openai.responses ollama.chat ollama.embed anthropic.messages", "cohere.chat_v2"),
        ("bedrock", "bedrock.converse bedrock.invoke", "openai.chat anthropic.messages"),
    ],
)
def test_a_row_offers_what_its_vendor_documents(name, offered, not_offered):
    assert all(SHIPPED[name].offers(dialect) for dialect in offered.split())
    assert not any(SHIPPED[name].offers(dialect) for dialect in not_offered.split())


@pytest.mark.parametrize(
    ("name", "dialect", "base"),
    [
        ("deepseek", "openai.chat", "https://api.deepseek.com"),
        ("deepseek", "anthropic.messages", "https://api.deepseek.com/anthropic/v1"),
        ("perplexity", "openai.responses", "https://api.perplexity.ai/v1"),
        ("ollama", "openai.chat", "http://127.0.0.1:11434/v1"),
        ("ollama", "ollama.chat", "http://127.0.0.1:11434"),
        ("openrouter", "anthropic.messages", "https://openrouter.ai/api/v1"),
    ],
)
def test_dialects_begin_where_the_vendor_has_them(name, dialect, base):
    assert SHIPPED[name].base_for(dialect) == base


def test_what_is_elsewhere_moves_along():
    moved = provider_from("deepseek", {"base_url": "http://127.0.0.1:8399/ds"}, SHIPPED["deepseek"])
    assert moved.base_for("anthropic.messages") == "http://127.0.0.1:8399/anthropic/v1"


def test_one_more_openai_compatible_provider_is_one_row_and_no_code():
    row = {
        "base_url": "https://api.newcomer.example/v1",
        "key_env": "NEWCOMER_API_KEY",
        "origins": ["https://api.newcomer.example", "https://*.eu.newcomer.example"],
        "models": ["newcomer-*"],
        "without": ["openai.responses"],
    }
    newcomer = provider_from("newcomer", row)
    providers = {**SHIPPED, "newcomer": newcomer}
    assert resolve_model("newcomer-1", providers) == ("newcomer", "newcomer-1")
    assert resolve_model("newcomer/org/model", providers) == ("newcomer", "org/model")
    for url in ("https://api.newcomer.example/v1/chat/completions", "https://a.eu.newcomer.example/v1/embeddings"):
        match = provider_for_url(url, providers)
        assert match is not None
        assert match[0] is newcomer
        assert newcomer.origin_for(match[1]) == origin_of(url)
    assert newcomer.base_for("openai.chat") == "https://api.newcomer.example/v1"
    assert [name for name in sorted(DIALECTS) if newcomer.offers(name)] == [
        "openai.chat", "openai.completions", "openai.embeddings",
    ]  # fmt: skip
    assert (newcomer.key_env, newcomer.auth, newcomer.dialect) == ("NEWCOMER_API_KEY", "bearer", "openai")


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
        ({"base_url": "https://*.x.example"}, "is one address"),
        ({"base_url": "https://{REGION}.x.example"}, "braces"),
        ({"base_url": "{X_ENDPOINT}/v1"}, "must begin with http"),
        ({"base_url": "https://x.example", "quirks": ["no_dine"]}, "did you mean 'no_done'"),
        ({"base_url": "https://x.example", "elsewhere": ["/v1"]}, "table of dialects and paths"),
        ({"base_url": "https://x.example", "elsewhere": {"ollama.chat": "https://y.example"}}, "table of dialects"),
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
