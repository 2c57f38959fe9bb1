"""Versions of prompts: numbered contents with a parent. What is the same content is the same version.

References name one: `summarise` (the newest), `summarise@3` (by number), `summarise@production` (by label),
`summarise@9f86d081` (by the first 7 or more digits of its SHA-256).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmlens.errors import PromptError
from llmlens.prompts.template import PromptTemplate

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{7,64}")
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """Version `number` (from 1) of the prompt `name`. `parent_sha` is the content it was edited from."""

    name: str
    number: int
    sha: str
    template: PromptTemplate
    created_at: datetime
    parent_sha: str | None = None
    author: str | None = None

    @property
    def reference(self) -> str:
        """`name@number`."""
        return f"{self.name}@{self.number}"


def valid_name(name: str) -> str:
    """`name`, if prompts may be called so.

    Raises:
        PromptError: it may not; says what a name is.
    """
    if not _NAME.fullmatch(name):
        raise PromptError(f"{name!r} is no name: begin with a letter or digit, then up to 63 of A-Z a-z 0-9 _ . -")
    return name


def valid_label(label: str) -> str:
    """`label`, if it is a name that cannot be taken for a number, a SHA or `latest`.

    Raises:
        PromptError: it can.
    """
    if label == LATEST or label.isdigit() or _SHA.fullmatch(label):
        raise PromptError(f"{label!r} is no label: it reads as a version's number or hash; say 'production'")
    return valid_name(label)


def next_version(
    history: Sequence[PromptVersion],
    name: str,
    template: PromptTemplate,
    *,
    created_at: datetime,
    parent: PromptVersion | None = None,
    author: str | None = None,
) -> PromptVersion:
    """The version of `name` that `template` is: a known one where `history` has its content, else the next number.

    `history` are the versions of this prompt, in any order; `parent` the one that was edited (the newest where None);
    `created_at` aware UTC.

    Raises:
        PromptError: `name` is no name.
    """
    sha = template.sha
    known = next((version for version in history if version.sha == sha), None)
    if known is not None:
        return known
    newest = max(history, key=lambda version: version.number, default=None)
    edited = parent or newest
    return PromptVersion(
        valid_name(name),
        newest.number + 1 if newest else 1,
        sha,
        template,
        created_at,
        edited.sha if edited else None,
        author,
    )


@dataclass(frozen=True, slots=True)
class Reference:
    """Which version of `name`. At most one of the others is set; none means the newest."""

    name: str
    number: int | None = None
    label: str | None = None
    sha: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """`name`, `name@3`, `name@label` or `name@sha`.

        Raises:
            PromptError: it is none of these.
        """
        name, at, which = text.strip().partition("@")
        valid_name(name)
        if not at or which == LATEST:
            return cls(name)
        if which.isascii() and which.isdigit() and len(which) < 7:
            return cls(name, number=int(which))
        if _SHA.fullmatch(which):
            return cls(name, sha=which)
        try:
            return cls(name, label=valid_label(which))
        except PromptError:
            raise PromptError(f"{text!r} is no reference: write {name}@3, {name}@production or {name}@<hash>") from None

    def __str__(self) -> str:
        which = self.label or self.sha or (str(self.number) if self.number is not None else "")
        return f"{self.name}@{which}" if which else self.name


def find(reference: Reference, history: Sequence[PromptVersion], labels: Mapping[str, int]) -> PromptVersion:
    """The version that `reference` means. `labels` are the numbers that this prompt's labels stand at now.

    Raises:
        PromptError: there is none, or a short hash fits several; it names those that are there.
    """
    if not history:
        raise PromptError(f"no prompt {reference.name!r}")
    if reference.sha is not None:
        return _by_sha(reference.sha, reference, history)
    number = labels.get(reference.label) if reference.label else reference.number
    if number is None and reference.label:
        known = ", ".join(sorted(labels)) or "none yet"
        raise PromptError(f"no label {reference.label!r} on prompt {reference.name!r}; its labels: {known}")
    last = max(version.number for version in history)
    for version in history:
        if version.number == (last if number is None else number):
            return version
    raise PromptError(f"no version {number} of prompt {reference.name!r}; the newest is {last}")


def _by_sha(sha: str, reference: Reference, history: Sequence[PromptVersion]) -> PromptVersion:
    fitting = [version for version in history if version.sha.startswith(sha)]
    if len(fitting) == 1:
        return fitting[0]
    many = f"{len(fitting)} versions" if fitting else "no version"
    raise PromptError(f"{many} of prompt {reference.name!r} with a hash that begins with {sha}")
