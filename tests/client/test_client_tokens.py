"""`lens.count_tokens`: an int that says what it is worth, without a gateway."""

import copy
import json
import pickle
import subprocess
import sys

import pandas as pd
import pytest

import llmlens as lens
from llmlens.catalog.tokens import count
from llmlens.errors import WireError

HELLO = [{"role": "user", "content": "hello"}]
OPENAI_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}
CLAUDE_TOOL = {"name": "f", "input_schema": {"properties": {"a": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("conversation", "model", "shown"),
    [
        ("hello", "gpt-5.1", "1"),
        ("", "gpt-5.1", "0"),
        ("hello", "claude-opus-5", "~1"),
        (HELLO, "openai/gpt-4o", "8"),
        (HELLO, "anthropic/claude-opus-5", "~8"),
        (tuple(HELLO), "gpt-4o", "8"),
        ([{"role": "user", "content": [{"type": "text", "text": "hello"}]}], "gpt-4o", "8"),
        ([{"role": "user", "parts": [{"text": "hello"}]}], "gpt-4o", "8"),
    ],
)
def test_a_count_is_an_int_that_shows_whether_it_is_estimated(conversation, model, shown):
    counted = lens.count_tokens(conversation, model)
    assert isinstance(counted, int)
    assert repr(counted) == shown
    assert (str(counted), f"{counted}") == (shown.lstrip("~"),) * 2
    assert counted.estimated is shown.startswith("~")
    assert counted.encoding in counted.how


def test_a_count_counts():
    counted = lens.count_tokens(HELLO, "claude-opus-5")
    assert counted + 1 == 9
    assert sum([counted, counted]) == 16
    assert json.loads(json.dumps({"n": counted})) == {"n": 8}
    assert pd.Series([counted]).dtype == "int64"
    for same in (copy.copy(counted), pickle.loads(pickle.dumps(counted))):
        assert (same, same.how, same.estimated) == (counted, counted.how, True)


def test_the_system_prompt_is_one_more_message():
    said = [{"role": "system", "content": "be nice"}, *HELLO]
    assert lens.count_tokens(HELLO, "gpt-4o", system="be nice") == lens.count_tokens(said, "gpt-4o")
    assert lens.count_tokens("hello", "gpt-4o", system="be nice") == lens.count_tokens(said, "gpt-4o")


def test_tools_count_alike_in_either_dialect():
    plain = lens.count_tokens(HELLO, "gpt-4o")
    openai, claude = (lens.count_tokens(HELLO, "gpt-4o", tools=[tool]) for tool in (OPENAI_TOOL, CLAUDE_TOOL))
    assert plain < openai == claude
    assert openai.estimated
    assert "tools" in openai.how
    assert lens.count_tokens(HELLO, "gpt-4o", tools=[]) == plain


def test_messages_of_anthropic_are_read_as_such():
    used = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "x"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "sunny"}
    messages = [*HELLO, {"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
    assert lens.count_tokens(messages, "claude-opus-5") >= 8 + 8 + count("sunny", "")


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}],
        [{"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}],
    ],
)
def test_unknown_is_none(content):
    assert lens.count_tokens([{"role": "user", "content": content}], "gpt-4o") is None


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"content": "x"}], "role"),
        ([{"role": "user", "content": 7}], "content"),
        ([{"role": "nobody", "content": "x"}], "nobody"),
        ([{"role": "user", "content": object()}], "JSON"),
    ],
)
def test_what_is_no_message_is_named(messages, says):
    with pytest.raises(WireError, match=says):
        lens.count_tokens(messages, "gpt-4o")


def test_counting_asks_nobody_and_loads_little():
    code = (
        "import sys, llmlens as lens; lens.count_tokens('hello', 'gpt-4o');"
        "print([m for m in ('duckdb', 'pandas', 'httpx2', 'starlette', 'genai_prices', 'llmlens.client.session',"
        "'llmlens.gateway') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
