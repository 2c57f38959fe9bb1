"""What changed between two versions of a prompt, by line and by word: as text and as HTML.

The lines compared are those of the Markdown file (settings and defaults, then the messages), so nothing that makes a
version is left out. Everything in a prompt is untrusted: the HTML is escaped and holds no script.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from itertools import chain, groupby, takewhile
from typing import Literal

from llmlens.prompts.front_matter import write
from llmlens.prompts.markdown import head
from llmlens.prompts.sections import join
from llmlens.prompts.template import PromptTemplate
from llmlens.prompts.version import PromptVersion

CONTEXT_LINES = 3
MAX_LINE_PAIRS = 1_000_000  # equal pairs to weigh against each other: half a second at most; beyond, see `_keys`
MAX_WORD_PAIRS = 50_000
ALIKE = 0.3  # below this share of common words a block was written anew, and marks in it only confuse
_WORD = re.compile(r"\n|[^\S\n]+|\d+(?:\.\d+)+|\w+|[^\w\s]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Kind = Literal[" ", "-", "+"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: kept, removed or added. `parts` are its pieces, each with whether its words changed."""

    kind: Kind
    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.parts)


@dataclass(frozen=True, slots=True)
class Hunk:
    """Changed lines with the lines around them. `old_start` and `new_start` count from 1."""

    old_start: int
    new_start: int
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        old, new = (sum(line.kind != other for line in self.lines) for other in "+-")
        return f"@@ -{self.old_start},{old} +{self.new_start},{new} @@"


@dataclass(frozen=True, slots=True)
class PromptDiff:
    """The difference of two versions. False when there is none; shows itself in a notebook."""

    old: str
    new: str
    hunks: tuple[Hunk, ...]

    def __bool__(self) -> bool:
        return bool(self.hunks)

    def __str__(self) -> str:
        return self.text()

    def text(self, *, words: bool = False) -> str:
        """A unified diff; with `words`, changed words stand in `[-…-]` and `{+…+}`, as `git diff --word-diff`."""
        if not self.hunks:
            return f"{self.old} and {self.new} are the same"
        lines = [f"--- {self.old}", f"+++ {self.new}"]
        for hunk in self.hunks:
            lines += [hunk.title, *(line.kind + (_marked(line) if words else line.text) for line in hunk.lines)]
        return "\n".join(_visible(line) for line in lines)

    def html(self) -> str:
        """The diff as one `<div>`, for light and dark pages. Without styles the signs and marks still tell it."""
        names = f"<b>{_safe(self.old)}</b> → <b>{_safe(self.new)}</b>"
        if not self.hunks:
            return f'<div class="lens-diff">{_STYLE}<p>{names}: the same</p></div>'
        rows = "".join(f'<i class="lens-diff-at">{hunk.title}</i>\n' + _rows(hunk) for hunk in self.hunks)
        return f'<div class="lens-diff">{_STYLE}<p>{names}</p><pre>{rows}</pre></div>'

    def _repr_html_(self) -> str:
        return self.html()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self.html()}


def diff(old: PromptVersion, new: PromptVersion, *, context: int = CONTEXT_LINES) -> PromptDiff:
    """From `old` to `new`, with `context` unchanged lines around each change."""
    return diff_templates(old.template, new.template, names=(_title(old), _title(new)), context=context)


def diff_templates(
    old: PromptTemplate,
    new: PromptTemplate,
    *,
    names: tuple[str, str] = ("old", "new"),
    context: int = CONTEXT_LINES,
) -> PromptDiff:
    """The same for contents that are no versions (yet)."""
    before, after = _lines(old), _lines(new)
    matcher = SequenceMatcher(None, *_keys(before, after, MAX_LINE_PAIRS), autojunk=False)
    hunks = tuple(_hunk(group, before, after) for group in matcher.get_grouped_opcodes(context))
    return PromptDiff(*names, hunks)


def _title(version: PromptVersion) -> str:
    return f"{version.reference} ({version.sha[:12]})"


def _lines(template: PromptTemplate) -> list[str]:
    fields = {name: value for name, value in head(template).items() if value and name != "expects"}
    body = join(template.sections)
    return (f"{write(fields)}\n{body}" if fields else body).split("\n")


# ── lines and words ───────────────────────────────────────────────────────────────────────────────────────────────

Opcode = tuple[str, int, int, int, int]


def _hunk(group: Sequence[Opcode], before: Sequence[str], after: Sequence[str]) -> Hunk:
    _, old_start, _, new_start, _ = group[0]
    lines = chain.from_iterable(_block(code, before, after) for code in group)
    return Hunk(old_start + 1, new_start + 1, tuple(lines))


def _block(code: Opcode, before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    kind, i1, i2, j1, j2 = code
    if kind == "equal":
        yield from (Line(" ", ((text, False),)) for text in before[i1:i2])
    elif kind == "replace":
        yield from _reworded(before[i1:i2], after[j1:j2])
    else:
        yield from (Line("-", ((text, True),)) for text in before[i1:i2])
        yield from (Line("+", ((text, True),)) for text in after[j1:j2])


def _reworded(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    """A block in place of another. It is compared as one run of words, so that a new line shifts nothing."""
    before, after = _WORD.findall("\n".join(old)), _WORD.findall("\n".join(new))
    matcher = SequenceMatcher(_is_space, *_keys(before, after, MAX_WORD_PAIRS), autojunk=False)
    kept_before: set[int] = set()
    kept_after: set[int] = set()
    for block in matcher.get_matching_blocks():
        kept_before.update(range(block.a, block.a + block.size))
        kept_after.update(range(block.b, block.b + block.size))
    common = sum(not before[number].isspace() for number in kept_before)
    if common < ALIKE * max(sum(not word.isspace() for word in words) for words in (before, after)):
        kept_before, kept_after = set(), set()
    yield from (Line("-", parts) for parts in _by_line(before, kept_before))
    yield from (Line("+", parts) for parts in _by_line(after, kept_after))


def _is_space(word: Hashable) -> bool:
    return isinstance(word, str) and word.isspace()


def _keys(before: Sequence[str], after: Sequence[str], most: int) -> tuple[list[Hashable], list[Hashable]]:
    """What to compare by. Both begin and end with the same pieces, however often these come again; where more than
    `most` pairs between are alike, all between counts as changed."""
    head = _shared(before, after)
    tail = min(_shared(before[::-1], after[::-1]), min(len(before), len(after)) - head)
    olds, news = (list[Hashable](pieces[head : len(pieces) - tail]) for pieces in (before, after))
    counts = Counter(news)
    if sum(counts[piece] for piece in olds if not _is_space(piece)) > most:
        olds, news = [("-", number) for number in range(len(olds))], [("+", number) for number in range(len(news))]
    start: list[Hashable] = [("head", number) for number in range(head)]
    end: list[Hashable] = [("tail", number) for number in range(tail)]
    return [*start, *olds, *end], [*start, *news, *end]


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many pieces both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _by_line(words: Sequence[str], kept: set[int]) -> Iterator[tuple[tuple[str, bool], ...]]:
    line: list[tuple[str, bool]] = []
    for (ends, changed), run in groupby(enumerate(words), lambda item: (item[1] == "\n", item[0] not in kept)):
        text = "".join(word for _, word in run)
        if ends:
            yield from (tuple(line), *(() for _ in text[1:]))
            line = []
        else:
            line.append((text, changed))
    yield tuple(line)


# ── written out ───────────────────────────────────────────────────────────────────────────────────────────────────

_TAGS = {" ": ("", ""), "-": ("<del>", "</del>"), "+": ("<ins>", "</ins>")}
_MARKS = {" ": ("", ""), "-": ("[-", "-]"), "+": ("{+", "+}")}
_STYLE = (
    "<style>.lens-diff pre{margin:0;padding:6px 0;overflow-x:auto;line-height:1.5;background:none;color:inherit;"
    "font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;white-space:pre-wrap;"
    "overflow-wrap:anywhere}"
    ".lens-diff p{margin:0 0 4px}.lens-diff span{display:inline-block;width:100%;box-sizing:border-box;padding:0 8px}"
    ".lens-diff-at{opacity:.65;padding:0 8px;font-style:normal}"
    # blue and orange: told apart by everyone, on white and on black
    ".lens-diff-old{background:rgba(230,120,20,.13)}.lens-diff-new{background:rgba(30,120,230,.13)}"
    ".lens-diff del,.lens-diff ins{text-decoration:none;color:inherit;border-radius:2px}"
    ".lens-diff del{background:rgba(230,120,20,.36)}.lens-diff ins{background:rgba(30,120,230,.36)}</style>"
)
_CLASSES = {" ": "lens-diff-same", "-": "lens-diff-old", "+": "lens-diff-new"}


def _rows(hunk: Hunk) -> str:
    return "".join(
        f'<span class="{_CLASSES[line.kind]}">{line.kind} {_tagged(line)}</span>\n' for line in hunk.lines
    )  # fmt: skip


def _tagged(line: Line) -> str:
    start, end = _TAGS[line.kind]
    return "".join(f"{start}{_safe(text)}{end}" if changed else _safe(text) for text, changed in line.parts)


def _marked(line: Line) -> str:
    start, end = _MARKS[line.kind]
    return "".join(f"{start}{text}{end}" if changed and text else text for text, changed in line.parts)


def _safe(text: str) -> str:
    return escape(_visible(text))


def _visible(text: str) -> str:
    """`text` with what a terminal obeys, or what turns the order of letters, shown as its code."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
