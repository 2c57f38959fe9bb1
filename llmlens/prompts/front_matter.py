"""The head of a Markdown file: a small, safe part of YAML, so that any YAML reader gets the same values.

    ---
    name: summarise
    defaults:
      language: English
      examples: ["a", "b"]
    expects: [text, language]
    ---

A field is a plain word or phrase, a value in JSON, a list (one line in `[]`, or `- ` lines), or one level of fields
indented below it. Lines that begin with `#` are comments. There are no anchors, tags or block texts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmlens.errors import PromptError

MARK = "---"
_FIELD = re.compile(r'( *)("(?:[^"\\]|\\.)*"|[^\s"#:\[\]{},&*!|>%@`\'-][^\s:#]*) *:(?: +(\S.*))?')
_ITEM = re.compile(r" *- +(\S.*)")
_WORDS = re.compile(r"[A-Za-z][\w./-]*(?: [\w./-]+)*", re.ASCII)
_YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # another value to some reader
_COMMENT = re.compile(r"[ \t]#.*")
# Line ends to some YAML readers, and controls that YAML does not allow as they are.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def divide(text: str) -> tuple[list[str], str]:
    """The lines of the front matter (none where there is none) and the body of a file.

    Raises:
        PromptError: it begins and does not end.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[0].rstrip() != MARK:
        return [], "\n".join(lines)
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == MARK:
            return lines[1:number], "\n".join(lines[number + 1 :])
    raise PromptError(f"the front matter is not closed: a second {MARK!r} line is missing")


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def read(lines: Sequence[str]) -> dict[str, Any]:
    """The fields in `lines`, which stand between the two marks.

    Raises:
        PromptError: a line is none of what the head of this file lists; it names the line of the file.
    """
    fields: dict[str, Any] = {}
    parent = ""
    for number, line in enumerate(lines, 2):  # the mark is line 1
        line = line.rstrip(" \t")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        item, field = _ITEM.fullmatch(line), _FIELD.fullmatch(line)
        if item and parent and not isinstance(fields[parent], dict):
            fields[parent] = [*(fields[parent] or []), _value(item[1], number)]
        elif field and field[1] and parent and not isinstance(fields[parent], list):
            fields[parent] = fields[parent] or {}
            _put(fields[parent], field, number)
        elif field and not field[1]:
            name = _put(fields, field, number)
            parent = name if not field[3] else ""
        else:
            raise PromptError(
                f"line {number}: {line.strip()[:60]!r} is not 'name: value', with JSON for what is no word"
            )
    return fields


def _put(fields: dict[str, Any], field: re.Match[str], number: int) -> str:
    name = str(_value(field[2], number)) if field[2].startswith('"') else field[2]
    if name in fields:
        raise PromptError(f"line {number}: {name!r} is there twice")
    fields[name] = _value(field[3], number) if field[3] else None
    return name


def _value(text: str, number: int) -> Any:
    if text.startswith("'"):
        return _quoted(text, number)
    bare = _COMMENT.sub("", text, count=1).rstrip(" \t") if not text.startswith(('"', "[", "{")) else text
    try:
        return json.loads(bare, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        pass
    if bare.startswith("[") and bare.endswith("]"):
        return [_value(item.strip(), number) for item in bare[1:-1].split(",") if item.strip()]
    if bare[:1] in set('"[{&*!|>%@`#,?') or ": " in bare or bare.endswith(":"):
        raise PromptError(f"line {number}: {bare[:60]!r} is neither plain words nor JSON; put text in double quotes")
    return bare


def _quoted(text: str, number: int) -> str:
    """YAML's single quotes: nothing in them but `''` has a meaning."""
    match = re.fullmatch(r"'((?:[^']|'')*)'(?:[ \t]+#.*)?", text)
    if not match:
        raise PromptError(f"line {number}: {text[:60]!r} is not closed")
    return match[1].replace("''", "'")


def _no_constant(word: str) -> Any:
    raise ValueError(word)  # Python reads NaN and Infinity, JSON knows no such thing


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def write(fields: Mapping[str, Any]) -> str:
    """`fields` between two marks; `read` gives them back. Dicts at the top are written as indented fields, and
    empty ones and None not at all."""
    lines = [MARK]
    for name, value in fields.items():
        if isinstance(value, Mapping):
            lines += [f"{_key(name)}:", *(f"  {_key(key)}: {_written(item)}" for key, item in value.items())] * bool(
                value
            )
        elif value is not None:
            lines.append(f"{_key(name)}: {_written(value)}")
    return "\n".join([*lines, MARK, ""])


def _written(value: Any) -> str:
    return _word(value) if isinstance(value, str) else _json(value)


def _key(name: str) -> str:
    return _word(name) if " " not in name else _json(name)


def _word(text: str) -> str:
    plain = _WORDS.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if plain else _json(text)


def _json(value: Any) -> str:
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
