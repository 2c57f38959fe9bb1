"""Cache keys: equal calls have equal keys, different calls have different ones, and no secret gets in."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.wire.canonical import ANSWER_HEADERS, LABELS, cache_base, cache_key, canonical, with_sample

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
CALL: dict[str, Any] = {
    "dialect": "openai.chat",
    "origin": "https://api.openai.com",
    "path": "/v1/chat/completions",
    "query": "",
    "body": b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":1}',
    "headers": {"openai-beta": "a"},
    "scope": "k1",
}


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: shuffled(value[k]) for k in reversed(value)}
    return [shuffled(v) for v in value] if isinstance(value, list) else value


@settings(max_examples=50)
@given(JSON)
def test_order_and_space_do_not_matter(value: Any) -> None:
    form = canonical(json.dumps(value).encode())
    assert canonical(json.dumps(shuffled(value), indent=1, ensure_ascii=True).encode()) == form
    assert canonical(value) == form


@given(JSON, JSON)
def test_different_values_have_different_forms(one: Any, two: Any) -> None:
    if json.dumps(one, sort_keys=True) != json.dumps(two, sort_keys=True):
        assert canonical(one) != canonical(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("1", "1.0"),
        ("1e400", "1e500"),
        ("NaN", '"NaN"'),
        ("Infinity", "1e400"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("true", "1"),
        ("null", '""'),
        ('["a","b"]', '["a,b"]'),
        ('{"a":1e400,"b":2}', '{"a":1e400,"b":3}'),
        ('"\\ud800"', '"\\ud801"'),
        ("not json", "not  json"),
        ("", "null"),
    ],
)
def test_near_twins_stay_apart(one: str, two: str) -> None:
    assert canonical(one.encode()) != canonical(two.encode())


def test_odd_json_is_still_sorted() -> None:
    assert canonical(b'{"b":NaN,"a":1}') == canonical(b'{ "a":1, "b":NaN }')


@given(st.binary(max_size=60))
def test_any_body_has_a_form(body: bytes) -> None:
    assert isinstance(canonical(body), bytes)
    assert len(cache_base(**{**CALL, "body": body})) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"dialect": "anthropic.messages"},
        {"origin": "http://api.openai.com"},
        {"path": "/v2/chat/completions"},
        {"query": "api-version=1"},
        {"scope": "k2"},
        {"headers": {"openai-beta": "b"}},
        {"headers": {}},
        {"headers": {"OpenAI-Beta": "a", "anthropic-beta": "x"}},
        {"body": CALL["body"].replace(b'"temperature":1', b'"temperature":1.0')},
        {"body": CALL["body"].replace(b"hi", b"ho")},
        {"body": CALL["body"].replace(b"{", b'{"brand_new_parameter":0,', 1)},
        {"origin": "https://api.openai.com/v1", "path": "/chat/completions"},
    ],
)
def test_everything_that_can_change_the_answer_changes_the_key(change: dict[str, Any]) -> None:
    assert cache_base(**{**CALL, **change}) != cache_base(**CALL)


@pytest.mark.parametrize("label", sorted(LABELS["openai"]))
def test_labels_do_not_change_the_key(label: str) -> None:
    body = {**json.loads(CALL["body"]), label: {"any": "thing"}}
    assert cache_base(**{**CALL, "body": json.dumps(body).encode()}) == cache_base(**CALL)
    assert cache_base(**{**CALL, "body": body}) == cache_base(**CALL)
    # only at the top, and only in dialects where the name is known to be a label
    nested = {**json.loads(CALL["body"]), "inner": {label: 1}}
    assert cache_base(**{**CALL, "body": nested}) != cache_base(**CALL)
    assert cache_base(**{**CALL, "body": body, "dialect": "raw"}) != cache_base(**{**CALL, "dialect": "raw"})


def test_no_secret_and_no_client_name_gets_in() -> None:
    headers = {"Authorization": "Bearer s", "X-Api-Key": "s", "User-Agent": "u", "OpenAI-Beta": "a", "traceparent": "t"}
    assert cache_base(**{**CALL, "headers": headers}) == cache_base(**CALL)
    query = {"query": "key=s&alt=sse&API-KEY=t"}
    assert cache_base(**{**CALL, **query}) == cache_base(**{**CALL, "query": "alt=sse"})
    assert not {"authorization", "x-api-key", "x-goog-api-key", "cookie"} & ANSWER_HEADERS


def test_samples_of_one_call_share_their_base() -> None:
    base = cache_base(**CALL)
    keys = {cache_key(**CALL, sample=n) for n in range(20)}
    assert len(keys | {base}) == 21
    assert with_sample(base, 3) == cache_key(**CALL, sample=3)
