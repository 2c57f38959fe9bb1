"""Token counts: the shipped ranks are OpenAI's own, and no text is too odd or too long to be counted."""

import base64
import hashlib
import lzma
import re
import time
from concurrent.futures import ThreadPoolExecutor
from inspect import getsource

import pytest
import tiktoken_ext.openai_public as openai_public
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.catalog import tokens

NAMES = ("cl100k_base", "o200k_base")


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_ranks_are_the_files_that_tiktoken_pins(name):
    """Rebuilds the original file and compares it with the SHA-256 in tiktoken's own source."""
    pinned = re.search(r'expected_hash="(\w{64})"', getsource(getattr(openai_public, name)))[1]
    ranks = tokens.ranks(name)
    original = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    assert hashlib.sha256(original).hexdigest() == pinned


@pytest.mark.parametrize("name", NAMES)
def test_pattern_and_special_tokens_are_tiktokens(name, monkeypatch):
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    theirs = getattr(openai_public, name)()
    ours = tokens.encoding(name)
    assert ours._pat_str == theirs["pat_str"]
    assert ours._special_tokens == theirs["special_tokens"]


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5.1", "o200k_base"),
        ("gpt-5.6-sol", "o200k_base"),
        ("gpt-5.1-codex-max", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("o3", "o200k_base"),
        ("o4-mini-2025-04-16", "o200k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("openai/gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("ft:gpt-4o:acme", "o200k_base"),
        ("claude-sonnet-4-5", "o200k_base"),
        ("", "o200k_base"),
    ],
)
def test_every_model_has_an_encoding(model, encoding):
    assert tokens.encoding_for(model) == encoding


def test_known_counts():
    """From the OpenAI cookbook, "How to count tokens with tiktoken"."""
    assert tokens.encode("tiktoken is great!", "cl100k_base") == [83, 1609, 5963, 374, 2294, 0]
    assert tokens.count("antidisestablishmentarianism", "gpt-4") == 6
    assert tokens.count("お誕生日おめでとう", "gpt-4") == 9
    assert tokens.count("お誕生日おめでとう", "gpt-4o") == 8
    assert tokens.count("", "gpt-4o") == 0


def test_special_tokens_in_a_text_are_text():
    assert tokens.count("<|endoftext|>", "gpt-4o") > 1


@given(st.text(st.characters()), st.sampled_from(("gpt-4o", "gpt-4")))
def test_any_text_is_counted_lone_surrogates_too(text, model):
    assert 0 <= tokens.count(text, model) <= 8 * len(text)


PIECES = st.sampled_from(
    [" word", "\n", "\n\n", "  ", "Word", "1234", "!?", "/", "'s", " é", "中文", "\t", "\r\n", "a"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, min_size=40, max_size=400), st.sampled_from(NAMES))
def test_chunks_end_where_tokens_end(pieces, name):
    """A text cut into many chunks has the tokens of the whole, as long as each chunk holds a word."""
    text = "".join(f"{piece} and so on" for piece in pieces)
    cut = list(tokens.chunks(text, 200))
    encode = tokens.encoding(name).encode_ordinary
    assert "".join(cut) == text
    assert [t for chunk in cut for t in encode(chunk)] == encode(text)


@pytest.mark.parametrize(
    ("text", "model"),
    [("a", "gpt-4"), (" ", "gpt-4o"), ("\n", "gpt-4"), ("é", "gpt-4o"), ("!", "gpt-4"), ("lorem ipsum ", "gpt-4o")],
)
def test_ten_megabytes_are_counted_in_seconds(text, model):
    """tiktoken alone panics on the blanks."""
    whole = (text * 10_000_000)[:10_000_000]
    started = time.perf_counter()
    n = tokens.count(whole, model)
    assert time.perf_counter() - started < 8
    expected = tokens.count(whole[:1_000_000], model) * 10
    assert n == pytest.approx(expected, rel=0.02)


def test_one_encoding_is_shared_by_all_threads():
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tokens.encoding("o200k_base"), range(32)))
    assert all(encoding is found[0] for encoding in found)
    assert tokens.is_loaded("o200k_base")


@pytest.mark.parametrize("packed", [b"", b"not xz", lzma.compress(b"\x01a")])
def test_a_damaged_file_is_refused(packed):
    with pytest.raises(ValueError, match="damaged"):
        tokens.unpack("cl100k_base", packed)


def test_exactness_is_claimed_for_openai_only():
    assert tokens.is_exact_for("gpt-4o")
    assert tokens.is_exact_for("openai/o3")
    assert not tokens.is_exact_for("anthropic/claude-sonnet-4-5")
