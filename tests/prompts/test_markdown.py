"""Files: what is written is read back, by us and by any reader of YAML; what is written by hand is understood."""

import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import PromptError
from llmlens.prompts import PromptTemplate, Section, from_folder, from_markdown, to_folder, to_markdown
from llmlens.prompts.front_matter import divide, read, write
from tests.prompts.samples import JSON, NAMES, templates

FIELDS = st.dictionaries(st.text(), JSON.filter(lambda value: value is not None and not isinstance(value, dict)))

SIMPLE = st.text() | st.integers() | st.booleans() | st.lists(st.text())
"""No floats: PyYAML reads YAML 1.1, in which 1e300 is a text."""

# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(NAMES, templates())
def test_a_file_gives_back_the_prompt(name: str, template: PromptTemplate) -> None:
    text = to_markdown(name, template)
    read_name, read_template = from_markdown(text)
    assert (read_name, read_template, read_template.expects) == (name, template, template.expects)
    assert to_markdown(name, read_template) == text
    assert from_markdown(text.replace("\n", "\r\n"))[1] == template


@given(st.dictionaries(NAMES.map(str.casefold), templates(), max_size=3))
def test_a_folder_gives_back_the_prompts(prompts: dict[str, PromptTemplate]) -> None:
    assert from_folder(to_folder(prompts)) == prompts


@given(FIELDS, st.dictionaries(st.text(), JSON, min_size=1))
def test_front_matter_is_read_back(fields: dict[str, object], inner: dict[str, object]) -> None:
    lines, body = divide(write({**fields, "in": inner}) + "body")
    assert read(lines) == {**fields, "in": inner}
    assert body == "body"


@given(st.dictionaries(st.text(), SIMPLE), st.dictionaries(st.text(), SIMPLE, min_size=1))
def test_front_matter_is_yaml(fields: dict[str, object], inner: dict[str, object]) -> None:
    lines, _ = divide(write({**fields, "in": inner}))
    assert yaml.safe_load("\n".join(lines)) == {**fields, "in": inner}


@given(st.lists(st.sampled_from(
    ["---", "name: a", "  b: c", "- d", "  - e", "defaults:", "x: [1, a]", "y: 'z", "# c", "", "\t", "a:b", "& *", "{", '"'])
    | st.text(max_size=8)).map("\n".join))  # fmt: skip
def test_any_text_is_a_file_or_says_why(text: str) -> None:
    with suppress(PromptError):  # any other error fails the test
        from_markdown(text, "p")


# ── examples ──────────────────────────────────────────────────────────────────────────────────────────────────────

BY_HAND = """\
---
# for the newsletter
name: summarise
settings:
  model: openai/gpt-5-mini   # the cheap one
  temperature: 0.2
  stop: ["###", "END"]
defaults:
    language: British English
    tone: 'it''s: kind'
    note: "two\\nlines"
    examples:  null
expects:
  - text
  - 'tone'
---
# System
Answer in {{ language }}, {{ tone }}. {{ note }}{{ examples }}

\\# user
is a heading, not a role.

# user

{{ text }}
"""


def test_a_file_written_by_hand() -> None:
    name, template = from_markdown(BY_HAND)
    assert name == "summarise"
    assert template.settings == {"model": "openai/gpt-5-mini", "temperature": 0.2, "stop": ["###", "END"]}
    assert template.defaults == {
        "language": "British English",
        "tone": "it's: kind",
        "note": "two\nlines",
        "examples": None,
    }
    assert template.expects == ("text", "tone")
    assert template.sections == (
        Section(
            "system",
            "Answer in {{ language }}, {{ tone }}. {{ note }}{{ examples }}\n\n# user\nis a heading, not a role.",
        ),
        Section("user", "{{ text }}"),
    )


def test_a_file_as_it_is_written() -> None:
    template = PromptTemplate.of(
        [("system", "Be {{ tone }}."), ("user", "# user\n{{ text }}")],
        defaults={"tone": "kind"},
        settings={"model": "sim/large", "temperature": 0},
        expects=["text"],
    )
    assert to_markdown("x", template) == (
        "---\nname: x\nsettings:\n  model: sim/large\n  temperature: 0\ndefaults:\n  tone: kind\nexpects: [\"text\"]\n---\n\n"
        "# system\n\nBe {{ tone }}.\n\n# user\n\n\\# user\n{{ text }}\n"
    )  # fmt: skip


def test_a_plain_file_is_one_user_message() -> None:
    assert from_markdown("Hello {{ name }}\n", "greet") == ("greet", PromptTemplate.of("Hello {{ name }}"))


@pytest.mark.parametrize(
    "line",
    ["a: b" + " " * 200_000 + "c", "a: " + " " * 200_000, "a" + " " * 200_000, "- " * 100_000, "'" * 200_001],
)
def test_long_lines_come_soon(line: str) -> None:
    started = time.perf_counter()
    with pytest.raises(PromptError):
        from_markdown(f"---\n{line}\n{line}\n---\nx")
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize(
    "word", ["yes", "No", "null", "true", "on", "1", "1.0", "2026-01-02", "a: b", "a #b", " a", "- a", "", "~", "é"]
)
def test_words_that_yaml_would_turn_into_something_else(word: str) -> None:
    lines, _ = divide(write({"x": word}))
    assert read(lines) == yaml.safe_load("\n".join(lines)) == {"x": word}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("---\nname: a\nx", "the front matter is not closed"),
        ("---\nname: a\nmodel: b\n---\nx", "unknown field 'model'; known: name, settings, .* go under settings"),
        ("---\nname: a\nname: b\n---\nx", "line 3: 'name' is there twice"),
        ("---\nname: a\ndefaults: b\n---\nx", "defaults holds one 'name: value' a line"),
        ("---\nname: a\nexpects: b\n---\nx", "expects is a list"),
        ("---\nname: a\ndefaults:\n  t: |\n    x\n---\nx", "line 4: '|' is neither"),
        ("---\nname: a\ndefaults:\n  t: *b\n---\nx", "line 4: '\\*b' is neither"),
        ("---\nname: a\ndefaults:\n  t: {a: 1}\n---\nx", "line 4: '{a: 1}' is neither"),
        ("---\nname: !!python/object:os.system a\n---\nx", "line 2: .* is neither"),
        ("---\nname: 'a\n---\nx", 'line 2: "\'a" is not closed'),
        ("---\nname\n---\nx", "line 2: 'name' is not 'name: value'"),
        ("---\n  name: a\n---\nx", "line 2: 'name: a' is not"),
        ("---\nname: ../a\n---\nx", "is no name"),
        ("---\nname: a\nsettings:\n  t: NaN\n---\n{{ x", "line 1: unexpected end"),
        ("x", "the file names no prompt"),
    ],
)
def test_files_that_are_none_say_where(text: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        from_markdown(text)


def test_a_folder() -> None:
    files = {"a.md": "A", "b.md": "---\nname: c\n---\nB", "README.md": "# About\n{{", "notes.txt": "x"}
    assert from_folder(files) == {"a": PromptTemplate.of("A"), "c": PromptTemplate.of("B")}
    with pytest.raises(PromptError, match=r"b\.md and c\.md both hold the prompt 'c'"):
        from_folder({**files, "c.md": "C"})
    with pytest.raises(PromptError, match=r"a\.md: line 1: unexpected"):
        from_folder({"a.md": "{{"})
    with pytest.raises(PromptError, match="'a' and 'A' would be one file"):
        to_folder({"a": PromptTemplate.of("x"), "A": PromptTemplate.of("y")})
    assert from_folder(to_folder({"README": PromptTemplate.of("x")})) == {"README": PromptTemplate.of("x")}
