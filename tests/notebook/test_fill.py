"""`{{ name }}` and nothing else."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from llmlens.notebook.fill import fill

NAMES = {"x": 3, "row": {"text": "hi", "n": [1, 2]}, "df": pd.DataFrame({"a": range(100)}), "k": "text"}


@pytest.mark.parametrize(
    ("body", "filled"),
    [
        ("{{ x }} and {{x}}", "3 and 3"),
        ("{{ row.text }} {{ row['n'][1] }} {{ row[k] }} {{ row.n[-1] }} {{ row.text[0:1] }}", "hi 2 hi 2 h"),
        ("{{ '{{' }} x {{ '}}' }}", "{{ x }}"),
        ("{{ df.iloc[4].a }}", "4"),
    ],
)
def test_paths_are_filled_in(body, filled):
    assert fill(body, NAMES) == filled


@pytest.mark.parametrize(
    "body",
    [
        '{"a": {"b": {"c": []}}} {x} {% if x %} {# x #} ${x} {{}} }} {{ open',
        "def f(): return f'{x!r}'\n\n  indented {{\n }} $HOME ~ %d \\n",
        "",
    ],
)
def test_everything_else_stays(body):
    assert fill(body, NAMES) == body


@given(st.text().filter(lambda text: "{{" not in text))
def test_a_body_without_double_braces_is_untouched(body):
    assert fill(body, {}) == body


@given(st.text())
def test_what_is_filled_in_is_not_read_again(value):
    assert fill("<{{ v }}>", {"v": value}) == f"<{value}>"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{{ rwo.text }}", "no variable 'rwo' .* did you mean 'row'"),
        ("{{ row.tekst }}", "no 'tekst'"),
        ("{{ row['z'] }}", r"no \['z'\]"),
        ("{{ x.__class__ }}", "private"),
        ("{{ x + 1 }}", "--verbatim"),
        ("{{ open('f') }}", "--verbatim"),
        ("{{ x | upper }}", "--verbatim"),
        ("{{ for }}", "--verbatim"),
    ],
)
def test_a_slip_is_an_error_that_names_it(body, says):
    with pytest.raises(UsageError, match=says):
        fill(body, NAMES)


def test_a_whole_table_goes_into_the_prompt():
    assert "..." not in fill("{{ df }}", NAMES)
