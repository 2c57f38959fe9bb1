"""Prompts as Markdown files, one each, to be kept in git: front matter, then the messages under role headings.

    ---
    name: summarise
    settings:
      model: openai/gpt-5-mini
      temperature: 0
    defaults:
      language: English
    ---

    # system

    Answer in {{ language }}.

    # user

    {{ text }}

No I/O: a folder is a dict from file name to text. Version numbers are not written: git keeps the history, and on the
way back the content finds its version.
"""

from collections.abc import Mapping
from typing import Any

from llmlens.errors import PromptError
from llmlens.prompts.front_matter import divide, read, write
from llmlens.prompts.sections import join, split
from llmlens.prompts.template import PromptTemplate
from llmlens.prompts.version import valid_name

SUFFIX = ".md"
_FIELDS = ("name", "settings", "defaults", "expects")


def to_markdown(name: str, template: PromptTemplate) -> str:
    """The file of `template`; `from_markdown` gives both back."""
    return write({"name": valid_name(name), **head(template)}) + "\n" + join(template.sections) + "\n"


def head(template: PromptTemplate) -> dict[str, Any]:
    """The fields of the front matter but for the name."""
    expects = None if template.expects is None else list(template.expects)
    return {"settings": template.settings, "defaults": template.defaults, "expects": expects}


def from_markdown(text: str, name: str | None = None) -> tuple[str, PromptTemplate]:
    """Name and content in `text`. `name` counts where the file does not say one.

    Raises:
        PromptError: it is no such file; it names the line.
    """
    lines, body = divide(text)
    fields = read(lines)
    if unknown := [field for field in fields if field not in _FIELDS]:
        raise PromptError(
            f"unknown field {unknown[0]!r}; known: {', '.join(_FIELDS)} (model, temperature … go under settings)"
        )
    named = fields.get("name", name)
    if named is None:
        raise PromptError("the file names no prompt: add 'name: …' between two '---' lines at its top")
    expects = fields.get("expects")
    if expects is not None and not isinstance(expects, list):
        raise PromptError(f"expects is a list of names, not {expects!r:.40}")
    sections = split(body)
    template = PromptTemplate(
        sections,
        _mapping(fields, "defaults"),
        _mapping(fields, "settings"),
        None if expects is None else tuple(str(variable) for variable in expects),
    )
    return valid_name(str(named)), template


def _mapping(fields: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = fields.get(field) or {}
    if not isinstance(value, Mapping):
        raise PromptError(f"{field} holds one 'name: value' a line, not {value!r:.40}")
    return value


# ── folders ───────────────────────────────────────────────────────────────────────────────────────────────────────


def to_folder(prompts: Mapping[str, PromptTemplate]) -> dict[str, str]:
    """File name → text, one `NAME.md` per prompt.

    Raises:
        PromptError: two names differ only in case, which some file systems do not tell apart.
    """
    spelt: dict[str, str] = {}
    for name in prompts:
        other = spelt.setdefault(name.casefold(), name)
        if other != name:
            raise PromptError(f"{other!r} and {name!r} would be one file on some disks; rename one")
    return {name + SUFFIX: to_markdown(name, template) for name, template in sorted(prompts.items())}


def from_folder(files: Mapping[str, str]) -> dict[str, PromptTemplate]:
    """The prompts in `files` (file name → text). What is no `.md` file is passed over, and a
    README.md without front matter.

    Raises:
        PromptError: a file is no prompt, or two name the same; it says which.
    """
    prompts: dict[str, PromptTemplate] = {}
    origin: dict[str, str] = {}
    for file, text in sorted(files.items()):
        stem = file.removesuffix(SUFFIX)
        if stem == file or (stem.casefold() == "readme" and not divide(text)[0]):
            continue
        try:
            name, template = from_markdown(text, stem)
        except PromptError as error:
            raise PromptError(f"{file}: {error}") from error
        if name in prompts:
            raise PromptError(f"{origin[name]} and {file} both hold the prompt {name!r}")
        prompts[name], origin[name] = template, file
    return prompts
