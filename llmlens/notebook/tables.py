"""Tables that are no DataFrames: the status and the doctor, as HTML and as plain text."""

from collections.abc import Iterable, Sequence
from html import escape

from llmlens.checkup import SIGNS, Finding
from llmlens.notebook.screen import published
from llmlens.notebook.theme import style
from llmlens.plain import clean, table

CLASSES = {"ok": "ok", "warn": "warn", "bad": "bad", "info": "soft"}


def show_table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Display label and value, line by line."""
    body = "".join(
        f'<tr><td class="soft">{escape(label)}</td><td>{escape(clean(value))}</td></tr>' for label, value in rows
    )
    published({"text/html": _html(body), "text/plain": table((title, ""), rows)})


def show_findings(findings: Iterable[Finding]) -> None:
    """Display what the doctor found."""
    found = list(findings)
    body = "".join(
        f'<tr><td class="{CLASSES[f.mark]}">{SIGNS[f.mark]}</td><td>{escape(f.about)}</td>'
        f"<td{_soft(f)}>{escape(clean(f.says))}</td></tr>"
        for f in found
    )
    text = table(("", "", ""), [(SIGNS[f.mark], f.about, f.says) for f in found])
    published({"text/html": _html(body), "text/plain": text})


def _soft(finding: Finding) -> str:
    return ' class="soft"' if finding.mark == "info" else ""


def _html(body: str) -> str:
    return f'<div class="lens">{style()}<table class="lens-table"><tbody>{body}</tbody></table></div>'
