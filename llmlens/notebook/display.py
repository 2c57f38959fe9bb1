"""How answers look: `Slip`s (answers in the making, or made) as HTML and as plain text. Pure, free of side effects.

What models wrote is untrusted: everything is escaped, control characters are dropped, and there is no JavaScript.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Literal, TypeVar

from llmlens.notebook.theme import style
from llmlens.plain import UNKNOWN, clean, count, money, one_line, seconds

if TYPE_CHECKING:
    from llmlens.client.answer import Answer

N = TypeVar("N", int, Decimal)

LIVE_CHARS = 20_000
"""A running answer shows this much of its end; the finished one is shown whole."""


@dataclass(slots=True)
class Slip:
    """One answer of a board: the words so far, and the `Answer` once it is there."""

    model: str
    sample: int = 0
    text: str = ""
    answer: "Answer | None" = None
    error: str | None = None
    state: Literal["waiting", "running", "done", "interrupted"] = "waiting"

    @classmethod
    def of(cls, answer: "Answer", sample: int = 0) -> "Slip":
        """The slip of a finished answer."""
        error = answer.error.message if answer.error else None
        return cls(answer.model, sample, answer.text, answer, error, "done")

    @property
    def simulated(self) -> bool:
        return self.answer.simulated if self.answer else self.model.startswith("sim/")


# ── HTML ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def html(slips: Iterable[Slip]) -> str:
    """One column per model; several samples of one model stand below each other."""
    columns = "".join(_column(model, list(group)) for model, group in groupby(slips, key=lambda slip: slip.model))
    return f'<div class="lens">{style()}<table class="lens-board"><tbody><tr>{columns}</tr></tbody></table></div>'


def _column(model: str, slips: list[Slip]) -> str:
    badges = "".join(f'<span class="lens-badge {kind}">{escape(text)}</span> ' for kind, text in _badges(slips))
    bodies = "".join(_sample(slip, alone=len(slips) == 1) for slip in slips)
    facts = "".join(f"<span><i>{label} </i>{escape(value)}</span>" for label, value in _facts(slips))
    return (
        f'<td><div class="lens-head"><b>{escape(clean(model))}</b> {badges}</div>'
        f'<div class="lens-body">{bodies}</div><div class="lens-meta">{facts}</div></td>'
    )


def _sample(slip: Slip, *, alone: bool) -> str:
    note = "" if alone else f'<div class="lens-note">{escape(_note(slip))}</div>'
    return f'<div class="lens-sample">{note}{_thinking(slip)}{_words(slip)}{_tools(slip)}{_error(slip)}</div>'


def _words(slip: Slip) -> str:
    text = clean(slip.text)
    if slip.state == "running" and len(text) > LIVE_CHARS:
        text = "…" + text[-LIVE_CHARS:]
    if text:
        return f'<div class="lens-text">{escape(text)}</div>'
    if slip.error or (slip.answer and slip.answer.tool_calls):
        return ""
    waiting = {"waiting": "…", "running": "…", "interrupted": "nothing had come yet", "done": "empty answer"}
    return f'<div class="lens-note">{waiting[slip.state]}</div>'


def _thinking(slip: Slip) -> str:
    thought = slip.answer.reply.reasoning_text if slip.answer else None
    if not thought:
        return ""
    text = escape(clean(thought))
    return f'<details><summary>thinking</summary><div class="lens-text">{text}</div></details>'


def _tools(slip: Slip) -> str:
    return "".join(f'<div class="lens-text code">{escape(line)}</div>' for line in _tool_lines(slip))


def _error(slip: Slip) -> str:
    return f'<div class="lens-error">{escape(clean(slip.error))}</div>' if slip.error else ""


# ── what is said of an answer ─────────────────────────────────────────────────────────────────────────────────────


def _badges(slips: Sequence[Slip]) -> list[tuple[str, str]]:
    badges = []
    if any(slip.simulated for slip in slips):
        badges.append(("sim", "simulated"))
    for outcome, kind in (("hit", "hit"), ("miss", ""), ("off", "")):
        n = sum(1 for slip in slips if slip.answer and not slip.error and slip.answer.cache == outcome)
        if n:
            badges.append((kind, f"cache {outcome}" + (f" {n}/{len(slips)}" if len(slips) > 1 else "")))
    failed = sum(1 for slip in slips if slip.error)
    if failed:
        badges.append(("bad", "error" + (f" {failed}/{len(slips)}" if len(slips) > 1 else "")))
    if any(slip.state == "interrupted" for slip in slips):
        badges.append(("warn", "interrupted"))
    elif any(slip.state in ("waiting", "running") for slip in slips):
        badges.append(("", "running"))
    return badges


def _facts(slips: Sequence[Slip]) -> list[tuple[str, str]]:
    """Label and value; times are medians and the rest are sums where there are several samples."""
    median = " (median)" if len(slips) > 1 else ""
    simulated = " (simulated)" if any(slip.simulated for slip in slips) else ""
    answers = [slip.answer for slip in slips if slip.answer]
    tokens_in = _sum([a.usage.input_tokens for a in answers])
    tokens_out = _sum([a.usage.output_tokens for a in answers])
    saved = sum((a.saved_usd for a in answers if a.saved_usd), Decimal())
    facts = [
        ("latency" + median, seconds(_median([a.latency_s for a in answers]))),
        ("first token" + median, seconds(_median([a.first_token_s for a in answers]))),
        ("tokens", f"{count(tokens_in)} in, {count(tokens_out)} out"),
        ("cost" + simulated, money(_sum([a.cost_usd for a in answers]))),
    ]
    if saved:
        facts.append(("saved" + simulated, money(saved)))
    served = {a.model_served for a in answers if a.model_served}
    if served - {slips[0].model, slips[0].model.rpartition("/")[2]}:
        facts.append(("served by", one_line(", ".join(sorted(served)), 40)))
    if all(slip.error for slip in slips):  # nothing was answered: what is not known says nothing
        return [(label, value) for label, value in facts if UNKNOWN not in value]
    return facts


def _note(slip: Slip) -> str:
    parts = [f"#{slip.sample + 1}"]
    if slip.answer:
        parts += [seconds(slip.answer.latency_s), f"{count(slip.answer.usage.output_tokens)} tokens"]
        parts += [slip.answer.cache] if slip.answer.cache else []
    if slip.state == "interrupted":
        parts.append("interrupted")
    return " · ".join(parts)


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(v for v in values if v is not None)
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2


def _sum(values: Sequence[N | None]) -> N | None:
    """The total; None as soon as one part is unknown, since a partial sum would look like a whole one."""
    known = [v for v in values if v is not None]
    if not known or len(known) < len(values):
        return None
    total = known[0]
    for value in known[1:]:
        total += value
    return total


def _tool_lines(slip: Slip) -> list[str]:
    calls = slip.answer.tool_calls if slip.answer else ()
    return [f"→ {clean(call.name)}({clean(call.arguments)})" for call in calls]


# ── plain text ────────────────────────────────────────────────────────────────────────────────────────────────────


def text(slips: Iterable[Slip]) -> str:
    """The same board for terminals, diffs and screen readers: one block per model."""
    groups = (list(group) for _, group in groupby(slips, key=lambda slip: slip.model))
    return "\n\n".join(_block(group) for group in groups)


def _block(slips: list[Slip]) -> str:
    lines = [heading(slips)]
    for slip in slips:
        if len(slips) > 1:
            lines.append(f"[{_note(slip)}]")
        lines += [clean(slip.text)] if slip.text else []
        lines += _afterwards(slip) or ([] if slip.text else ["(nothing)"])
    lines.append(footer(slips))
    return "\n".join(line for line in lines if line)


def closing(slip: Slip) -> str:
    """What comes after the words of an answer that was written as it came."""
    marks = ["(interrupted)"] if slip.state == "interrupted" else []
    return "\n".join(line for line in (*_afterwards(slip), *marks, footer([slip])) if line)


def _afterwards(slip: Slip) -> list[str]:
    return _tool_lines(slip) + ([f"error: {clean(slip.error)}"] if slip.error else [])


def heading(slips: Sequence[Slip]) -> str:
    """`── sim/large (simulated) ──`"""
    marks = ", ".join(text for kind, text in _badges(slips) if kind in ("sim", "warn"))
    return f"── {clean(slips[0].model)}{f' ({marks})' if marks else ''} ──"


def footer(slips: Sequence[Slip]) -> str:
    """The figures on one line."""
    facts = [f"{label} {value}" for label, value in _facts(slips) if UNKNOWN not in value]
    cache = [text for _, text in _badges(slips) if text.startswith("cache")]
    return "· " + " · ".join(facts + cache) if facts or cache else ""
