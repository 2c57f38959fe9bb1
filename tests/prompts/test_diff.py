"""Differences: both versions can be read off them, nothing in them is markup, and they come soon."""

import html
import random
import re
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.prompts import PromptDiff, PromptTemplate, diff, diff_templates, next_version
from llmlens.prompts.diff import Line
from tests.prompts.samples import templates

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def side(found: PromptDiff, kind: str) -> list[str]:
    return [line.text for hunk in found.hunks for line in hunk.lines if line.kind in {" ", kind}]


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(templates(), templates())
def test_both_sides_can_be_read_off(old: PromptTemplate, new: PromptTemplate) -> None:
    found = diff_templates(old, new, context=10**6)
    back = diff_templates(new, old, context=10**6)
    assert bool(found) == (old != new)
    assert side(found, "-") == side(back, "+")
    assert side(found, "+") == side(back, "-")
    if found:
        assert "\n".join(side(found, "-")).endswith(old.sections[-1].text.split("\n")[-1])


LINES = st.lists(
    st.lists(st.sampled_from(["a", "b", "word", " ", "  ", "0.5", ","]), max_size=5).map("".join),
    min_size=1,
    max_size=8,
)


@given(LINES, LINES)
def test_lines_are_kept_whole_however_words_are_marked(old: list[str], new: list[str]) -> None:
    one, two = (PromptTemplate.of([("user", "\n".join(["x", *lines, "y"]))]) for lines in (old, new))
    found = diff_templates(one, two, context=10**6)
    if found:
        assert side(found, "-") == ["x", *old, "y"]
        assert side(found, "+") == ["x", *new, "y"]
    unmarked = re.sub(r"\[-|-\]|\{\+|\+\}", "", found.text(words=True))
    assert unmarked == found.text()


@given(templates(), templates())
def test_nothing_in_a_prompt_is_markup(old: PromptTemplate, new: PromptTemplate) -> None:
    shown = re.sub(r"<style>.*?</style>", "", diff_templates(old, new, names=("<old>", "<new>")).html())
    tags = set(re.findall(r"<[^>]*>?", shown))
    assert tags <= {
        "<p>", "</p>", "<b>", "</b>", "<pre>", "</pre>", "<del>", "</del>", "<ins>", "</ins>", "</span>", "</div>", "</i>",
        '<div class="lens-diff">', '<i class="lens-diff-at">', '<span class="lens-diff-same">', '<span class="lens-diff-old">',
        '<span class="lens-diff-new">',
    }  # fmt: skip


# ── examples ──────────────────────────────────────────────────────────────────────────────────────────────────────

OLD = PromptTemplate.of(
    "# system\nBe brief.\n# user\nSummarise {{ text }} in two lines.\nThanks", settings={"temperature": 0.2}
)
NEW = PromptTemplate.of(
    "# system\nBe brief.\n# user\nSummarise\n{{ text }} in 3 lines.\nThanks", settings={"temperature": 0.5}
)


def test_a_diff_as_text() -> None:
    first = next_version([], "sum", OLD, created_at=NOW)
    second = next_version([first], "sum", NEW, created_at=NOW)
    found = diff(first, second, context=1)
    assert str(found) == (
        f"--- sum@1 ({OLD.sha[:12]})\n+++ sum@2 ({NEW.sha[:12]})\n"
        "@@ -2,3 +2,3 @@\n settings:\n-  temperature: 0.2\n+  temperature: 0.5\n ---\n"
        "@@ -11,3 +11,4 @@\n \n-Summarise {{ text }} in two lines.\n+Summarise\n+{{ text }} in 3 lines.\n Thanks"
    )
    assert found.text(words=True).endswith(
        "-Summarise[- -]{{ text }} in [-two-] lines.\n+Summarise\n+{{ text }} in {+3+} lines.\n Thanks"
    )
    assert '<span class="lens-diff-new">+ {{ text }} in <ins>3</ins> lines.</span>' in found.html()


def test_no_difference_is_said_in_words() -> None:
    found = diff_templates(OLD, OLD, names=("a@1", "a@1"))
    assert not found
    assert str(found) == "a@1 and a@1 are the same"
    assert "the same" in found.html()


def test_lines_written_anew_carry_no_marks() -> None:
    one, two = PromptTemplate.of("Write a poem about the sea"), PromptTemplate.of("List every capital, sorted: begin")
    (hunk,) = diff_templates(one, two).hunks
    assert hunk.lines == (
        Line("-", (("Write a poem about the sea", True),)),
        Line("+", ((two.sections[0].text, True),)),
    )


def test_what_a_terminal_obeys_is_shown_and_not_sent() -> None:
    shown = diff_templates(PromptTemplate.of("a"), PromptTemplate.of("a \x1b[2J\u202e<script>alert(1)</script>"))
    assert "\x1b" not in shown.text()
    assert "\\u001b[2J\\u202e" in shown.text()
    assert "\x1b" not in shown.html()
    assert "<script" not in shown.html()
    assert "<script>alert(1)</script>" in html.unescape(re.sub(r"</?(ins|del)>", "", shown.html()))


def lines_of(words: list[str], count: int, separator: str) -> str:
    draw = random.Random(count)
    return separator.join(draw.choice(words) for _ in range(count))


@pytest.mark.parametrize(
    ("words", "count", "separator"),
    [(["a", "b"], 1_400, "\n"), (["a", "b"], 30_000, "\n"), (["a", "b"], 300, " "), (["a", "b"], 30_000, " "),
     ([str(n) for n in range(300)], 30_000, "\n"), (["a"], 100_000, " ")],
)  # fmt: skip
def test_a_diff_of_much_that_is_alike_comes_soon(words: list[str], count: int, separator: str) -> None:
    old = PromptTemplate.of([("user", "x" + lines_of(words, count, separator))])
    new = PromptTemplate.of([("user", "y" + lines_of(words, count + 1, separator) + "z")])
    started = time.perf_counter()
    assert diff_templates(old, new).html()
    assert time.perf_counter() - started < 6.0  # at most 1 s on a core of one's own
