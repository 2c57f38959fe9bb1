"""The magic line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from llmlens.notebook.magics import LensMagics
from llmlens.notebook.options import model_then_text, parsed, parser_of

PARSER = parser_of(LensMagics.llm)


def test_all_options():
    given = parsed(PARSER, "a/b c/d -o out --system 'Be brief' --temperature 0.5 --max-tokens 9 -n 3 --cache only "
                   "--tags step=1,run=a --verbatim")  # fmt: skip
    assert given.models == ["a/b", "c/d"]
    assert (given.out, given.system, given.temperature, given.max_tokens) == ("out", "Be brief", 0.5, 9)
    assert (given.samples, given.cache, given.tags) == (3, "only", {"step": "1", "run": "a"})
    assert given.verbatim


def test_tags_as_json():
    assert parsed(PARSER, """m --tags '{"step": 1, "deep": {"a": [true]}}'""").tags == {
        "step": 1,
        "deep": {"a": [True]},
    }


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("m --temprature 1", "unknown option --temprature; did you mean --temperature"),
        ("m --system 'open", "cannot read"),
        ("m -n 0", "1 or more"),
        ("m -n many", "1 or more"),
        ("m --temperature hot", "not a number"),
        ("m --temperature nan", "not a number"),
        ("m --cache never", "invalid choice"),
        ("m -o 1x", "not a name"),
        ("m --tags {", "not JSON"),
        ("m --tags nothing", "neither JSON"),
        ("m -z", "unknown option -z"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(line, says):
    with pytest.raises(UsageError, match=says):
        parsed(PARSER, line)


@pytest.mark.parametrize(
    ("line", "head", "text"),
    [
        ("m What's 1 -- 2?", "m", "What's 1 -- 2?"),
        ("m -n 2 --cache=off What?", "m -n 2 --cache=off", "What?"),
        ("-n 2 m What? --cache off", "-n 2 m", "What? --cache off"),
        ("m --system 'Be brief' \"quoted\" text", "m --system 'Be brief'", '"quoted" text'),
        ("m --verbatim {{ x }}", "m --verbatim", "{{ x }}"),
        ("m -- -n is an option", "m", "-n is an option"),
        ("m", "m", ""),
        ("", "", ""),
    ],
)
def test_the_prompt_of_a_line_begins_after_the_model(line, head, text):
    assert model_then_text(PARSER, line) == (head, text)


@given(
    st.text(alphabet=st.characters(blacklist_categories=["Cc", "Cs", "Z"]), min_size=1).filter(
        lambda t: t[0] not in "-\"'"
    )
)
def test_the_prompt_is_verbatim(text):
    assert model_then_text(PARSER, f"m {text} '{{x}}' \"")[1] == f"{text} '{{x}}' \""
