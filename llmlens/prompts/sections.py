"""A prompt as one text: role headings in Markdown.

    # system
    Answer in {{ language }}.

    # user
    {{ question }}

A line `# system`, `# developer`, `# user` or `# assistant` (any case, nothing else on it) begins a message; a text
without such a line is one user message. A line that should only look like one is written `\\# user`, as Markdown does.
Blank lines around a message are not part of it.
"""

import re
from dataclasses import dataclass
from typing import cast

from llmlens.errors import PromptError
from llmlens.records import Role

ROLES: tuple[Role, ...] = ("system", "developer", "user", "assistant")
_HEADING = re.compile(rf"(\\*)# ({'|'.join(ROLES)})[ \t]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Section:
    """One message of a prompt: `text` is a template."""

    role: Role
    text: str


def split(text: str) -> tuple[Section, ...]:
    """The messages in `text`. Values are filled in later, so no value can begin a message.

    Raises:
        PromptError: there is text above the first heading.
    """
    head, *messages = _messages(text)
    if not messages:
        return (Section("user", trimmed(head[1])),)
    if head[1].strip():
        raise PromptError(
            f"text above the first role heading: {head[1].strip()[:40]!r}; begin with a heading such as '# system', "
            r"or write '\# user' for a line that is no role heading"
        )
    return tuple(Section(role, trimmed(body)) for role, body in messages)


def _messages(text: str) -> list[tuple[Role, str]]:
    found: list[tuple[Role, list[str]]] = [("user", [])]
    for line in text.split("\n"):
        match = _HEADING.fullmatch(line)
        if match and not match[1]:
            found.append((cast(Role, match[2].lower()), []))
        else:
            found[-1][1].append(line[1:] if match else line)
    return [(role, "\n".join(lines)) for role, lines in found]


def join(sections: tuple[Section, ...]) -> str:
    """The text that `split` reads back as `sections`."""
    if len(sections) == 1 and sections[0].role == "user":
        return _escaped(sections[0].text)
    return "\n\n".join(f"# {section.role}\n\n{_escaped(section.text)}" for section in sections)


def _escaped(text: str) -> str:
    return "\n".join(f"\\{line}" if _HEADING.fullmatch(line) else line for line in text.split("\n"))


def trimmed(text: str) -> str:
    """`text` without the blank lines around it."""
    return text.strip("\n")
