"""Versions: the same content is the same version, an edit is the next number, and references find them."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.errors import PromptError
from llmlens.prompts import PromptTemplate, PromptVersion, Reference, find, next_version, valid_label, valid_name
from tests.prompts.samples import NAMES, templates

NOW = datetime(2026, 1, 2, tzinfo=UTC)
A, B, C = (PromptTemplate.of(text) for text in ("a {{ x }}", "b {{ x }}", "c {{ x }}"))


def history_of(*contents: PromptTemplate) -> list[PromptVersion]:
    """What stands in the store after these contents were defined one after the other."""
    history: list[PromptVersion] = []
    current: PromptVersion | None = None
    for content in contents:
        current = next_version(history, "p", content, created_at=NOW, parent=current)
        if current not in history:
            history.append(current)
    return history


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(templates(), min_size=1, max_size=6), st.data())
def test_versions_are_the_contents_in_order_of_appearance(contents: list[PromptTemplate], data: st.DataObject) -> None:
    history = history_of(*contents)
    assert [version.template for version in history] == list(dict.fromkeys(contents))
    assert [version.number for version in history] == list(range(1, len(history) + 1))
    again = data.draw(st.sampled_from(contents))
    assert next_version(history, "p", again, created_at=NOW) in history
    for version in history[1:]:
        assert version.parent_sha in {older.sha for older in history[: version.number - 1]}


@given(NAMES, st.none() | st.integers(0, 999_999) | st.sampled_from(["production", "v1.2", "a_b"]) | st.from_regex("[0-9a-f]{7,64}", fullmatch=True))  # fmt: skip
def test_references_survive_as_text(name: str, which: int | str | None) -> None:
    text = name if which is None else f"{name}@{which}"
    assert str(Reference.parse(text)) == text


@given(st.text() | NAMES)
def test_any_text_is_a_reference_or_says_why(text: str) -> None:
    with suppress(PromptError):  # any other error fails the test
        assert Reference.parse(text).name == text.strip().partition("@")[0]


# ── examples ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_going_back_finds_the_old_version_and_an_edit_of_it_says_so() -> None:
    first, second, third = history_of(A, B, A, C)
    assert (first.reference, second.reference, third.reference) == ("p@1", "p@2", "p@3")
    assert (first.parent_sha, second.parent_sha, third.parent_sha) == (None, first.sha, first.sha)


@pytest.mark.parametrize(
    "other",
    [
        PromptTemplate.of("# system\na {{ x }}"),
        PromptTemplate.of("a  {{ x }}"),
        PromptTemplate.of("a {{ x }}", defaults={"x": 1}),
        PromptTemplate.of("a {{ x }}", settings={"temperature": 0}),
        PromptTemplate.of("a {{ x }}\n# user\nb".replace("a", "# user\na", 1)),
    ],
)
def test_everything_sent_makes_a_version(other: PromptTemplate) -> None:
    assert other.sha != A.sha


@pytest.mark.parametrize(
    "same",
    [
        PromptTemplate.of("\na {{ x }}\r\n"),
        PromptTemplate.of([{"role": "user", "content": "a {{ x }}"}]),
        PromptTemplate.of("# User\n\na {{ x }}\n\n"),
        PromptTemplate.of("a {{ x }}", expects=["x"]),
    ],
)
def test_what_is_not_sent_makes_none(same: PromptTemplate) -> None:
    assert same.sha == A.sha


def test_numbers_keep_their_kind() -> None:
    shas = {PromptTemplate.of("a", settings={"t": value}).sha for value in (0, 0.0, False, None, "0")}
    assert len(shas) == 5


def test_the_hash_stays_what_it_is_from_release_to_release() -> None:
    template = PromptTemplate.of(
        "# system\né\n# user\n{{ x }}", defaults={"x": [1, 0.5, None]}, settings={"model": "m"}
    )
    assert template.sha == "4c9bec78eb0e381c7d504a92e829bcb2b3987fe1c51fcf28cf7d0dce4b928a51"


HISTORY = history_of(A, B, C)


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("p", 3),
        ("p@latest", 3),
        ("p@2", 2),
        ("p@production", 1),
        (f"p@{B.sha}", 2),
        (f"p@{B.sha[:7]}", 2),
        (" p@1 ", 1),
    ],
)
def test_references_find(reference: str, number: int) -> None:
    assert find(Reference.parse(reference), HISTORY, {"production": 1}).number == number


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("p@9", "no version 9 of prompt 'p'; the newest is 3"),
        ("p@0", "no version 0"),
        ("p@staging", "no label 'staging' on prompt 'p'; its labels: production"),
        ("p@0123456789", "no version of prompt 'p' with a hash that begins with 0123456789"),
        ("p@", "is no reference: write p@3, p@production or p@<hash>"),
        ("p@a@b", "is no reference"),
        ("p q@1", "'p q' is no name"),
        ("@production", "'' is no name"),
    ],
)
def test_references_that_do_not_find(reference: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        find(Reference.parse(reference), HISTORY, {"production": 1})


def test_a_prompt_that_is_not_there() -> None:
    with pytest.raises(PromptError, match="no prompt 'q'"):
        find(Reference("q"), [], {})


@pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a/b", "../a", "é", "a" * 65, "a\n", "a@b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(PromptError, match="is no name"):
        valid_name(name)


@pytest.mark.parametrize("label", ["latest", "3", "deadbeef", "a b", ""])
def test_labels_that_are_none(label: str) -> None:
    with pytest.raises(PromptError, match="is no"):
        valid_label(label)


@pytest.mark.parametrize("name", ["a", "0", "summarise.v2", "A_b-c.d", "a" * 64])
def test_names(name: str) -> None:
    assert valid_name(name) == name
