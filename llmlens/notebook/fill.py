"""`{{ name }}` in the body of a cell: filled from the notebook's variables. Nothing else in the body has a meaning.

What may stand between the braces is a path to a value: a name, then attributes and indexes (`row.text`,
`df.iloc[0]`, `rows[i]["q"]`), or a literal (`{{ '{{' }}` writes two braces). No calls, no operators, no filters: a
prompt is data, and a typo must be an error rather than a half-filled prompt that costs money.
"""

import ast
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from IPython.core.error import UsageError

# String literals may hold braces; otherwise the first `}}` on the same line closes.
PLACEHOLDER = re.compile(r"""\{\{((?:"[^"\n]*"|'[^'\n]*'|[^"'{}\n])*?|[^\n]*?)\}\}""")
HINT = "only names, attributes and [indexes] are filled in; %%llm --verbatim sends the body as it stands"


def fill(body: str, names: Mapping[str, Any]) -> str:
    """`body` with every `{{ path }}` replaced by the text of its value.

    Raises:
        UsageError: a name, attribute or index that is not there, or something that is no path; it says which.
    """
    return PLACEHOLDER.sub(lambda match: _filled(match, names), body)


def _filled(match: re.Match[str], names: Mapping[str, Any]) -> str:
    source = match[1].strip()
    if not source:  # `{{}}` is an escaped pair of braces in f-strings and format strings, never a path
        return match[0]
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError:
        raise UsageError(f"{match[0]!r} is not a value: {HINT}") from None
    return text_of(_value(tree, names, match[0]))


def text_of(value: Any) -> str:
    """`value` as a prompt should carry it: whole tables rather than pandas' shortened view of them."""
    if hasattr(value, "to_string") and hasattr(value, "iloc"):
        return str(value.to_string())
    return str(value)


def _value(node: ast.expr, names: Mapping[str, Any], where: str) -> Any:
    match node:
        case ast.Name(id=name):
            if name not in names:
                near = get_close_matches(name, [n for n in names if not n.startswith("_")], n=1)
                raise UsageError(
                    f"no variable {name!r} for {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
                )
            return names[name]
        case ast.Attribute(value=owner, attr=attr):
            return _member(_value(owner, names, where), attr, where)
        case ast.Subscript(value=owner, slice=index):
            return _item(_value(owner, names, where), _value(index, names, where), where)
        case ast.Constant(value=constant):
            return constant
        case ast.Tuple(elts=parts):
            return tuple(_value(part, names, where) for part in parts)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Slice(lower=lower, upper=upper, step=step):
            ends = (None if end is None else _value(end, names, where) for end in (lower, upper, step))
            return slice(*ends)
        case _:
            raise UsageError(f"{where!r} is not a value: {HINT}")


def _member(owner: Any, attr: str, where: str) -> Any:
    if attr.startswith("_"):
        raise UsageError(f"{where!r} reaches for the private {attr!r}")
    if isinstance(owner, Mapping) and attr in owner:  # as in Jinja: `row.text` for row["text"]
        return owner[attr]
    try:
        return getattr(owner, attr)
    except AttributeError:
        raise UsageError(f"no {attr!r} in {where!r}: {type(owner).__name__} has no such attribute or key") from None


def _item(owner: Any, index: Any, where: str) -> Any:
    try:
        return owner[index]
    except (LookupError, TypeError) as error:
        raise UsageError(f"no [{index!r}] in {where!r}: {type(error).__name__}: {error}") from None
