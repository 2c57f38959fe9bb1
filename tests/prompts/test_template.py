"""Templates: what is found, filled in, refused; and values that stay values."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import PromptError
from llmlens.prompts import PromptTemplate, Section, contents
from llmlens.prompts.sections import join, split, trimmed
from tests.prompts.samples import JSON, SECTIONS, templates

CHAT = PromptTemplate.of(
    "# system\n\nAnswer in {{ language }}.\n\n# user\n\n{{ question }}\n", defaults={"language": "English"}
)


def text(source: str, **values: object) -> str:
    (message,) = contents(PromptTemplate.of([("user", source)]).render(values))
    return message["content"]


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.text().filter(lambda value: value.strip()))
def test_a_value_stays_a_value(value: str) -> None:
    said = contents(CHAT.render({"question": value, "language": value}))
    assert said == [{"role": "system", "content": f"Answer in {value}."}, {"role": "user", "content": value}]


@given(st.text().filter(lambda value: "{" not in value and value.strip()))
def test_a_text_without_braces_comes_out_as_it_is(value: str) -> None:
    assert text(value) == trimmed(value.replace("\r\n", "\n").replace("\r", "\n"))


@given(JSON)
def test_kernel_and_gateway_render_the_same(value: object) -> None:
    template = PromptTemplate.of("-{{ v }} {{ v|tojson }}")
    travelled = json.loads(json.dumps(template.fill({"v": value})))
    assert template.render(travelled) == template.render({"v": value})


@given(SECTIONS)
def test_sections_survive_as_one_text(sections: tuple[Section, ...]) -> None:
    sections = PromptTemplate(sections).sections
    assert split(join(sections)) == sections


@given(templates(), templates())
def test_equal_means_equal_content(one: PromptTemplate, two: PromptTemplate) -> None:
    written = [
        json.dumps([[[s.role, s.text] for s in each.sections], each.defaults, each.settings], sort_keys=True)
        for each in (one, two)
    ]
    assert (one == two) == (one.sha == two.sha) == (written[0] == written[1])


@given(st.lists(st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", " x ", "for i in x", "endfor", "if x", "endif", "set y = x", "macro m(a)", "endmacro",
     "x", ".y", "[0]", "(", ")", "|upper", "|join", " ~ ", "*", "**", "%", " + ", "'a'", "7", "raw", "endraw", "-", ",", " in ",
     " is defined", "loop.index", "[1:]", "m(x)", "self", "namespace(a=1)", "call m(1)", "endcall", "with a=1", "endwith", "\n"]
), max_size=14).map("".join), JSON)  # fmt: skip
def test_any_template_renders_or_says_why(source: str, value: object) -> None:
    with suppress(PromptError):  # any other error fails the test
        PromptTemplate.of([("user", "-" + source)]).render({"x": value}, allow_unknown=True)


# ── what is found ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_variables_are_found_in_all_messages() -> None:
    template = PromptTemplate.of(
        "# system\n{% set a = tone %}{{ a }}{% for m in rows %}{{ m.text ~ loop.index }}{% endfor %}\n# user\n{{ x[key] }}"
        "{% if context is defined %}{{ context }}{% endif %}{{ style | default('plain') }}"
    )
    assert template.variables == ("context", "key", "rows", "style", "tone", "x")
    assert template.required == ("key", "rows", "tone", "x")


@pytest.mark.parametrize(
    ("source", "roles"),
    [
        ("Hello {{ x }}", ["user"]),
        ("## user\nand user:\n", ["user"]),
        ("\n\n# SYSTEM \nBe kind.\n# User\nHi\n# assistant\nYes?\n# user\nGo", ["system", "user", "assistant", "user"]),
        ([{"role": "developer", "content": "# user"}, ("user", "x")], ["developer", "user"]),
    ],
)
def test_roles(source: str | list[tuple[str, str]], roles: list[str]) -> None:
    assert [section.role for section in PromptTemplate.of(source).sections] == roles


def test_a_line_that_only_looks_like_a_heading() -> None:
    assert text(r"a") == "a"
    assert PromptTemplate.of("\\# user\nis a heading").sections == (Section("user", "# user\nis a heading"),)


# ── filling in ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_defaults_give_way() -> None:
    assert CHAT.fill({"question": 1}) == {"question": 1, "language": "English"}
    assert CHAT.fill({"question": 1, "language": "Dutch"})["language"] == "Dutch"
    assert CHAT.fill({"question": 1, "other": 2}, allow_unknown=True) == {"question": 1, "language": "English"}


def test_a_blank_instruction_is_left_out_and_a_blank_question_is_an_error() -> None:
    template = PromptTemplate.of("# system\n{% if rules is defined %}{{ rules }}{% endif %}\n# user\n{{ q }}")
    assert contents(template.render({"q": "hi"})) == [{"role": "user", "content": "hi"}]
    with pytest.raises(PromptError, match=r"message 2 \(user\), the user message comes out blank; given: q=' '"):
        template.render({"q": " "})


def test_block_lines_leave_no_empty_lines() -> None:
    assert (
        text("A\n{% for r in rows %}\n  {% if r %}\n- {{ r }}\n  {% endif %}\n{% endfor %}\nB", rows=[1, 0, 2])
        == "A\n- 1\n- 2\nB"
    )


class Colour(Enum):
    RED = 1


class Size(StrEnum):
    BIG = "big"


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.int64(3), "3"),
        (np.float64(0.5), "0.5"),
        (np.array([1, 2]), "[1, 2]"),
        (pd.Series([1, 2]), "0    1\n1    2"),
        (pd.DataFrame({"a": [1]}), "   a\n0  1"),
        (pd.Timestamp("2026-01-02"), "2026-01-02 00:00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.50"), "1.50"),
        (Path("a/b"), "a/b"),
        ((1, [2]), "[1, [2]]"),
        ({1: (2,)}, "{'1': [2]}"),
        (Size.BIG, "big"),
        (Colour.RED, "Colour.RED"),
        (Point(1), "Point(x=1)"),
        (None, "None"),
        (True, "True"),
    ],
)
def test_values_of_many_types(value: object, written: str) -> None:
    assert text("{{ v }}", v=value) == written


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("{{ row.items }} {{ row['items'] }} {{ row.items|length }}", "ab ab 2"),
        ("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"),
        ("{{ d|tojson }} {{ d|tojson(indent=1) }}", '{"b": 2, "a": "<é>"} {\n "b": 2,\n "a": "<é>"\n}'),
        ("{{ '%.2f' | format(n) }} {{ '%05d' % 7 }} {{ n|round(1) }} {{ 'a,b'.split(',')|join('; ') }}", "3.14 00007 3.1 a; b"),
        ("{{ rows|map(attribute='q')|join(', ') }} {{ rows|selectattr('q', '>', 1)|list|length }}", "1, 2 1"),
        ("{% macro shot(r) %}<{{ r.q }}>{% endmacro %}{% for r in rows %}{{ shot(r) }}{% endfor %}", "<1><2>"),
        ("{% set ns = namespace(n=0) %}{% for r in rows %}{% set ns.n = ns.n + r.q %}{% endfor %}{{ ns.n }}", "3"),
        ("{% for g in rows|groupby('q') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}", "1:1 2:1 "),
        ("{{ 'a\nb' | indent(2) }}|{{ 'x' * 3 }}|{{ s[1:3] }}|{{ s|replace('t', 'T')|e }}", "a\n  b|xxx|ex|TexT"),
        ("{% for r in rows %}{{ loop.index }}/{{ loop.length }}{{ ', ' if not loop.last }}{% endfor %}", "1/2, 2/2"),
        ("{% filter upper %}a{{ s }}{% endfilter %}{% set b %}x{{ s }}{% endset %}{{ b }}", "ATEXTxtext"),
        ("{% raw %}{{ x }}{% endraw %}{# gone #}", "{{ x }}"),
    ],
)  # fmt: skip
def test_the_language(source: str, written: str) -> None:
    d = {"b": 2, "a": "<é>"} if "tojson" in source else {"a": 1, "b": 2}
    values = {"row": {"items": "ab"}, "d": d, "n": 3.14159, "rows": [{"q": 1}, {"q": 2}], "s": "text"}
    (message,) = contents(PromptTemplate.of([("user", source)]).render(values, allow_unknown=True))
    assert message["content"] == written


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "missing: 'question'; given: nothing"),
        ({"questoin": 1}, "missing: 'question'; given: 'questoin'; is 'questoin' meant"),
        ({"question": 1, "langage": 2}, "unknown: 'langage'; the prompt takes 'language', 'question'; did you mean 'language'"),
        ({"question": b"x"}, "'question' is a bytes"),
        ({"question": object()}, "'question' is a object"),
        ({"question": len}, "'question' is a builtin"),
        ({"question": "\ud800"}, "'question' holds a character that is no Unicode"),
        ({"question": {(1,): 2}}, "'question' has a key of type tuple"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(values: dict[str, object], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        CHAT.render(values)


def test_a_value_that_holds_itself() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(PromptError, match="'question' is nested more than 64"):
        CHAT.render({"question": loop})


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("# system\nok\n# user\n\n{{ x", r"message 2 \(user\), line 1: unexpected end"),
        ("a\n{{ x|uper }}", "line 2: No filter named 'uper'.*upper"),
        ("{{ x is odd_ }}", "No test named 'odd_'.*odd"),
        ("Hi\n# user\nx", r"text above the first role heading: 'Hi'"),
        ("# system\n# user\nx", "the system message is empty"),
        (" ", "the user message is empty"),
        ([], "at least one message"),
        ([("tool", "x")], "no role 'tool'; the roles of a prompt are system"),
        ([{"role": "user", "text": "x"}], "not 'role', 'text'"),
        ([("user", ["x"])], "is a list; it must be text"),
        ("{% include 'secrets' %}", "{% include %} is not allowed"),
    ],
)
def test_wrong_templates_say_where(source: str | list[tuple[str, str]], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        PromptTemplate.of(source)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"defaults": {"y": 1}}, "default for 'y', but the prompt takes 'text'"),
        ({"defaults": {"text": float("nan")}}, "default 'text' holds a number that is not finite"),
        ({"settings": {"temperature": float("inf")}}, "setting 'temperature' holds"),
        ({"expects": ["text", "lang"]}, "expects 'lang', but the prompt takes 'text'"),
        ({"expects": []}, "uses 'text', but expects only"),
    ],
)
def test_what_does_not_fit_the_template(keywords: dict[str, object], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        PromptTemplate.of("{{ text }}", **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("a\n\n{{ x.b.c }}", "line 3: 'dict object' has no attribute 'b'"),
        ("{{ x.a.upper }}", "line 1: .* needs its"),
        ("{{ [x.nope] }}", "has no attribute 'nope'"),
        ("{{ x.a + 1 }}", "line 1: TypeError"),
        ("{{ 1 / 0 }}", "line 1: ZeroDivisionError"),
        ("{{ nope() if x }}", "'nope' is undefined"),
    ],
)
def test_what_fails_while_filling_in_names_the_line(source: str, says: str) -> None:
    template = PromptTemplate.of([("user", source + "{{ nope|default('') }}")])
    with pytest.raises(PromptError, match=says):
        template.render({"x": {"a": "text"}}, allow_unknown=True)
