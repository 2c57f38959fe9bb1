"""A prompt: messages with `{{ variables }}`, their defaults, and the settings it was written for.

The templates are Jinja2 (`sandbox.py`). Each message is a template of its own, so that a value never becomes a
template, a role or another message, whatever is in it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import sha256
from typing import Any

from llmlens.errors import PromptError
from llmlens.prompts.budget import Budget
from llmlens.prompts.sandbox import Compiled, compile_text
from llmlens.prompts.sections import ROLES, Section, split, trimmed
from llmlens.prompts.values import encodable, plain
from llmlens.records import Message, Text

Source = str | Sequence[Mapping[str, str] | tuple[str, str]]


@dataclass(frozen=True, slots=True, eq=False)
class PromptTemplate:
    """What a version of a prompt is made of. Two are equal when their `sha` is.

    `settings` are parameters of the call (`model`, `temperature` …), by the names of its API. `expects` names the
    variables that the author means to use; it is checked here and is not part of the content.

    Raises:
        PromptError: no prompt can be made of this; it says why.
    """

    sections: tuple[Section, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    expects: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "sections", tuple(_section(section) for section in self.sections))
        put(self, "defaults", _finite(self.defaults, "default"))
        put(self, "settings", _finite(self.settings, "setting"))
        put(self, "expects", None if self.expects is None else tuple(sorted(set(self.expects))))
        if not self.sections:
            raise PromptError("a prompt needs at least one message")
        self._compiled()  # so that no prompt exists that cannot be filled in
        if unused := [name for name in self.defaults if name not in self.variables]:
            raise PromptError(f"default for {_names(unused)}, but {self._takes(unused[0])}")
        self._check_expects()

    @classmethod
    def of(
        cls,
        source: Source,
        *,
        defaults: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        expects: Iterable[str] | None = None,
    ) -> "PromptTemplate":
        """From one text (with or without role headings, see `sections`), or from messages as
        `{"role": …, "content": …}` or `(role, text)`, whose texts are taken as they stand.

        Raises:
            PromptError: no prompt can be made of it; it says why.
        """
        sections = split(_lf(source)) if isinstance(source, str) else tuple(_given(message) for message in source)
        return cls(sections, defaults or {}, settings or {}, None if expects is None else tuple(expects))

    # ── what it is ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def canonical(self) -> bytes:
        """The content as JSON with sorted keys: messages, defaults, settings."""
        content = {
            "messages": [[section.role, section.text] for section in self.sections],
            "defaults": self.defaults,
            "settings": self.settings,
        }
        return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    @property
    def sha(self) -> str:
        """SHA-256 of the content, 64 hex digits."""
        return sha256(b"llmlens prompt 1\n" + self.canonical).hexdigest()

    @property
    def variables(self) -> tuple[str, ...]:
        """Every name that some message looks up, sorted."""
        return tuple(sorted({name for compiled in self._compiled() for name in compiled.variables}))

    @property
    def required(self) -> tuple[str, ...]:
        """The variables that must be given: those without a default, and without `is defined` or `default()`."""
        optional = {name for compiled in self._compiled() for name in compiled.optional}
        return tuple(name for name in self.variables if name not in optional and name not in self.defaults)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptTemplate) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)

    # ── filling it in ─────────────────────────────────────────────────────────────────────────────────────────────

    def fill(self, values: Mapping[str, object], *, allow_unknown: bool = False) -> dict[str, Any]:
        """The variables as plain data, defaults added: what a call's row records. `allow_unknown` leaves out what the
        prompt does not use, such as the other columns of a row.

        Raises:
            PromptError: a variable is missing or unknown; it names all of them.
        """
        if missing := [name for name in self.required if name not in values]:
            unused = [name for name in values if name not in self.variables]
            near = get_close_matches(missing[0], unused, n=1)
            given = _names(values) if values else "nothing"
            hint = f"; is {near[0]!r} meant?" if near else ""
            raise PromptError(f"missing: {_names(missing)}; given: {given}{hint}")
        unknown = [name for name in values if name not in self.variables]
        if unknown and not allow_unknown:
            raise PromptError(f"unknown: {_names(unknown)}; {self._takes(unknown[0])}")
        return {**self.defaults, **{name: plain(values[name], name) for name in self.variables if name in values}}

    def render(self, values: Mapping[str, object], *, allow_unknown: bool = False) -> tuple[Message, ...]:
        """The messages for `values`. System and developer messages that come out blank are left out: an author
        writes them inside `{% if %}`.

        Raises:
            PromptError: a variable is missing or unknown, a template fails or does too much, or a user or assistant
                message comes out blank.
        """
        filled, budget = self.fill(values, allow_unknown=allow_unknown), Budget()
        messages = []
        for number, (section, compiled) in enumerate(zip(self.sections, self._compiled(), strict=True), 1):
            where = self._where(number)
            try:
                text = compiled.render(filled, budget)
            except PromptError as error:
                raise PromptError(f"{where}{error}") from error
            if text.strip():
                messages.append(Message(section.role, (Text(text),)))
            elif section.role in {"user", "assistant"}:
                raise PromptError(f"{where}the {section.role} message comes out blank; given: {_short(filled)}")
        if not messages:
            raise PromptError("every message comes out blank")
        return tuple(messages)

    def _compiled(self) -> list[Compiled]:
        compiled = []
        for number, section in enumerate(self.sections, 1):
            try:
                compiled.append(compile_text(section.text))
            except PromptError as error:
                raise PromptError(f"{self._where(number)}{error}") from error
        return compiled

    def _where(self, number: int) -> str:
        return f"message {number} ({self.sections[number - 1].role}), " if len(self.sections) > 1 else ""

    def _takes(self, wrong: str) -> str:
        near = get_close_matches(wrong, self.variables, n=1)
        takes = f"the prompt takes {_names(self.variables)}" if self.variables else "the prompt takes no variables"
        return takes + (f"; did you mean {near[0]!r}?" if near else "")

    def _check_expects(self) -> None:
        if self.expects is None:
            return
        if unused := [name for name in self.expects if name not in self.variables]:
            raise PromptError(f"expects {_names(unused)}, but {self._takes(unused[0])}")
        undeclared = [name for name in self.variables if name not in self.expects and name not in self.defaults]
        if undeclared:
            raise PromptError(f"the template uses {_names(undeclared)}, but expects only {_names(self.expects)}")


def contents(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Rendered `messages` as `{"role": …, "content": …}`, the shape of OpenAI's API."""
    return [
        {"role": message.role, "content": "".join(part.text for part in message.parts if isinstance(part, Text))}
        for message in messages
    ]


# ── reading what was given ────────────────────────────────────────────────────────────────────────────────────────


def _given(message: Mapping[str, str] | tuple[str, str]) -> Section:
    if isinstance(message, Mapping):
        if set(message) != {"role", "content"}:
            raise PromptError(f"a message has 'role' and 'content', not {_names(message)}")
        return Section(message["role"], message["content"])  # type: ignore[arg-type]  # checked with the section
    if len(message) != 2:
        raise PromptError(f"a message is {{'role': …, 'content': …}} or (role, text), not {message!r:.60}")
    return Section(*message)  # type: ignore[arg-type]  # checked with the section


def _section(section: Section) -> Section:
    if section.role not in ROLES:
        raise PromptError(f"no role {section.role!r}; the roles of a prompt are {', '.join(ROLES)}")
    if not isinstance(section.text, str):
        raise PromptError(f"the {section.role} message is a {type(section.text).__name__}; it must be text")
    text = trimmed(_lf(encodable(section.text, f"{section.role} message")))
    if not text.strip():
        raise PromptError(f"the {section.role} message is empty")
    return Section(section.role, text)


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _finite(values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    kept = {str(name): plain(value, str(name)) for name, value in values.items()}
    for name, value in kept.items():
        try:
            json.dumps([name, value], allow_nan=False)
        except ValueError:
            raise PromptError(f"{kind} {name!r} holds a number that is not finite") from None
    return kept


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _short(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r:.30}" for name, value in values.items()) or "nothing"
