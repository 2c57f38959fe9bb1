"""What a simulated model says: it solves, classifies, extracts and summarizes, and errs as often as documented.

How often it errs (arithmetic and classification): at every temperature T, over many prompts, the share of answers it
gets wrong on purpose is the model's `error_rate` r. A share r of the prompts is hard for the model; with t = min(T, 1)
it fails a hard prompt with probability 1 - 0.45 t and any other with 0.45 t r / (1 - r). So at temperature 0 all
samples of a prompt agree, and at 1 they differ, on hard prompts more than on others: a majority vote helps.
What it cannot read it gets wrong on top of that; every problem of `catalog.problems` it can read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import msgspec

from llmlens.catalog.draws import Draws
from llmlens.gateway.sim import texts
from llmlens.gateway.sim.arithmetic import solve
from llmlens.gateway.sim.expressions import Evaluation, show
from llmlens.gateway.sim.fields import Filler
from llmlens.gateway.sim.labels import best_label, classify, text_of
from llmlens.gateway.sim.requests import ChatAsk, Tool, Turn

MAX_READ_CHARS: Final = 16_000  # bounds the regular expressions: 0.15 s at most for the oddest prompts of the tests
SPREAD: Final = 0.45  # how much of a hard prompt's failure is chance at temperature 1

_ONLY: Final = re.compile(
    r"\b(?:only|just|nothing but)\b[^.\n]{0,40}\b(?:number|answer|integer|value|result|digits?|label)\b|"
    r"\b(?:number|answer|integer|value|result)s? only\b|"
    r"\bno (?:explanation|other text|words)\b|\bsingle (?:number|integer)\b",
    re.IGNORECASE,
)
_SUMMARY: Final = re.compile(
    r"\b(?:summari[sz]e|summary|tl;?dr|key points?|main ideas?|in short|condense)\b", re.IGNORECASE
)
_SAY: Final = re.compile(
    r"^\W*(?:please\s+)?(?:say|reply with|respond with|answer with|repeat(?: after me)?)\b"
    r"(?: exactly| only| just| the words?)*\s*:?\s*(?!only\b|a\b|the\b|your\b|one\b|in\b)(.{1,200}?)\s*$",
    re.IGNORECASE,
)
_QUESTION_MARK: Final = re.compile(r"(?:^|\n)[ \t]*(?:question|problem|q|task) ?\d* ?[:.]\s*", re.IGNORECASE)
_ANSWER_MARK: Final = re.compile(r"\n[ \t]*(?:answer|a|solution) ?:$", re.IGNORECASE)
_STRICT_LABELS: Final = re.compile(r"\b(?:classif|categor|sentiment|label|topic)", re.IGNORECASE)
_OPENERS: Final = ("Step by step:", "Let me work through it.", "Here is the work:", "Working it out:")
_LEADS: Final = ("", "The text says: ", "According to the text: ", "From the text: ")
_KNOWS_NOTHING: Final = (
    "I am a simulated model: I know nothing beyond the prompt. It is about {words}, and holds no answer to that.",
    "The prompt does not say. I am a simulated model and work only with the text I am given, here about {words}.",
    "Nothing in the prompt about {words} answers this. A simulated model calculates, classifies, extracts, summarizes.",
    "That would need knowledge that a simulated model does not have. What I see in the prompt: {words}.",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Text, or a call of the function `tool` with the JSON text `arguments`."""

    text: str = ""
    tool: str | None = None
    arguments: str = ""


def compose(ask: ChatAsk, sample: int, choice: int) -> Answer:
    """The answer to `ask`, number `choice` of sample `sample`. At temperature 0 neither number changes it."""
    steady = ask.temperature == 0
    draw = Draws(f"sim/{ask.key}" if steady else f"sim/{ask.key}/{sample}/{choice}")
    prompt = next((turn.text for turn in reversed(ask.turns) if turn.role == "user"), ask.turns[-1].text)
    if ask.model.behaviour == "echo":
        return Answer(prompt)
    prompt = _skimmed(prompt)
    if (tool := _tool_for(ask, prompt)) is not None:
        filled = Filler(prompt, root=tool.parameters).fill({"type": "object", **tool.parameters})
        return Answer(tool=tool.name, arguments=_json(filled))
    errs = draw.fraction() < _chance_of_error(ask)
    if ask.json_schema is not None:
        return Answer(_json_answer(ask, prompt, draw, errs=errs))
    if ask.turns[-1].role == "tool":
        return Answer(_told(ask.turns[-1], draw))
    return Answer(_prose(ask, prompt, draw, errs=errs))


def _skimmed(text: str) -> str:
    """All that is read of a long text: its beginning, where the task usually stands, and its end."""
    text = re.sub(r"\s{3,}", lambda run: "\n\n" if "\n" in run[0] else " ", text)
    half = MAX_READ_CHARS // 2
    return text if len(text) <= MAX_READ_CHARS else f"{text[:half]}\n{text[-half:]}"


def _rules(ask: ChatAsk) -> str:
    return _skimmed("\n".join(turn.text for turn in ask.turns if turn.role in ("system", "developer")))


def _chance_of_error(ask: ChatAsk) -> float:
    rate, t = ask.model.error_rate, SPREAD * min(ask.temperature, 1.0)
    hard = Draws(f"hard/{ask.prompt_key}").fraction() < rate
    return 1 - t if hard else t * rate / (1 - rate)


# ── prose ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _prose(ask: ChatAsk, prompt: str, draw: Draws, *, errs: bool) -> str:
    rules = _rules(ask)
    if said := _SAY.match(prompt):
        return said[1].strip("\"'“”")
    if _SUMMARY.search(prompt[:400]) or _SUMMARY.search(rules):
        return _summary(prompt)
    found = _judgement(prompt, rules, draw, errs=errs)
    if isinstance(found, str):
        return found
    if found is not None:
        return _worked(found, prompt + "\n" + rules, draw)
    return _extract(prompt, rules, draw)


def _judgement(prompt: str, rules: str, draw: Draws, *, errs: bool) -> str | Evaluation | None:
    """A label or a calculation, wrong where `errs`; None where the prompt asks for neither."""
    asked = f"{rules}\n\n{prompt}" if rules else prompt
    strict = bool(_STRICT_LABELS.search(asked))
    if not strict and (solved := solve(_question(prompt))) is not None:
        return _slip(solved, draw) if errs else solved
    if (found := classify(asked)) is not None:
        others = [label for label in found.labels if label != found.label]
        return draw.choice(others) if errs and others else found.label
    if strict and (solved := solve(_question(prompt))) is not None:
        return _slip(solved, draw) if errs else solved
    return None


def _question(prompt: str) -> str:
    """The last question of a prompt that gives examples first ("Q: … A: … Q: …")."""
    prompt = _ANSWER_MARK.sub("", prompt.rstrip())
    return _QUESTION_MARK.split(prompt)[-1]


def _slip(solved: Evaluation, draw: Draws) -> Evaluation:
    """The same work with a mistake in its last step, as people make them: a digit off, a step left out."""
    value = solved.value
    earlier = [Fraction(n) for step in solved.steps[:-1] if re.fullmatch(r"-?\d+", n := step.rpartition("= ")[2])]
    near = [value + d for d in (-10, -2, -1, 1, 2, 10)]
    wrong = draw.choice([v for v in near + earlier if v != value])
    steps = list(solved.steps)
    if steps:
        steps[-1] = f"{steps[-1].rpartition('= ')[0]}= {show(wrong)}"
    return Evaluation(wrong, steps)


def _worked(found: Evaluation, instructions: str, draw: Draws) -> str:
    value = show(found.value)
    if _ONLY.search(instructions):
        return value
    last = f"#### {value}" if "####" in instructions else f"Answer: {value}"
    if "boxed" in instructions:
        last = f"Answer: $\\boxed{{{value}}}$"
    return "\n".join([draw.choice(_OPENERS), *(f"{i}. {step}" for i, step in enumerate(found.steps, 1)), last])


def _summary(prompt: str) -> str:
    body = text_of(prompt)
    wanted = re.search(
        r"\b(\d+|one|two|three|four|five) (?:sentences?|points?|bullets?|lines?)\b", prompt[:400], re.IGNORECASE
    )
    words = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
    n = words.get(wanted[1].lower(), 0) or int(wanted[1]) if wanted else max(1, min(3, len(texts.sentences(body)) // 3))
    found = texts.central_sentences(body, min(n, 20))
    bullets = re.search(r"\b(?:bullets?|key points?|list)\b", prompt[:400], re.IGNORECASE)
    return "\n".join(f"- {s}" for s in found) if bullets else " ".join(found)


def _extract(prompt: str, rules: str, draw: Draws) -> str:
    """The sentence of the prompt that is nearest to its question, or the plain statement that there is none."""
    parts = texts.sentences(prompt)
    question = next((s for s in reversed(parts) if s.endswith("?")), parts[0] if parts else "")
    rest = "\n".join(s for s in parts if s != question)
    if found := texts.closest_sentence(question, f"{rest}\n{rules}"):
        return f"{draw.choice(_LEADS)}{found}"
    about = ", ".join(texts.keywords(prompt, 4)) or "nothing in particular"
    return draw.choice(_KNOWS_NOTHING).format(words=about)


# ── tools and JSON ────────────────────────────────────────────────────────────────────────────────────────────────


def _tool_for(ask: ChatAsk, prompt: str) -> Tool | None:
    """The tool to call: the one that is demanded, or the one whose name and description share most with the prompt."""
    if not ask.tools or ask.tool_choice == "none":
        return None
    if ask.tool_choice.startswith("="):
        return next(tool for tool in ask.tools if tool.name == ask.tool_choice[1:])
    asked = set(texts.stems(prompt))
    scored = [(_shared(tool, asked), -i, tool) for i, tool in enumerate(ask.tools)]
    score, _, best = max(scored, key=lambda row: row[:2])
    if ask.tool_choice == "required":
        return best
    return best if score >= 2 and ask.turns[-1].role != "tool" else None


def _shared(tool: Tool, asked: set[str]) -> int:
    """Words in common: one in the name counts for two, one in the description for one."""
    name = set(texts.stems(re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", tool.name)))
    return 2 * len(asked & name) + len(asked & (set(texts.stems(tool.description)) - name))


def _told(turn: Turn, draw: Draws) -> str:
    try:
        content = msgspec.json.decode(turn.text.encode("utf-8", "replace"))
    except msgspec.DecodeError:
        content = turn.text
    if isinstance(content, dict):
        content = ", ".join(f"{key} is {value}" for key, value in content.items())
    return f"{draw.choice(('The result', 'The tool says', 'It returned'))}: {content}"


def _json_answer(ask: ChatAsk, prompt: str, draw: Draws, *, errs: bool) -> str:
    rules = _rules(ask)
    found = _judgement(prompt, rules, draw, errs=errs)
    answer: Any = found
    if isinstance(found, Evaluation):
        answer = int(found.value) if found.value.denominator == 1 else float(found.value)
    work = found.steps if isinstance(found, Evaluation) else []
    if ask.json_schema:
        if found is None and (labels := _enum_of(ask.json_schema)):
            best = best_label(text_of(prompt, labels), labels)
            others = [label for label in labels if label != best]
            answer = draw.choice(others) if errs and others else best
        return _json(Filler(text_of(prompt), answer, work, root=ask.json_schema).fill(ask.json_schema))
    if names := _field_names(prompt + "\n" + rules):
        schema = {"type": "object", "properties": {name: _guessed(name) for name in names}}
        return _json(Filler(text_of(prompt), answer, work).fill(schema))
    if isinstance(found, Evaluation):
        return _json({"steps": found.steps, "answer": answer})
    return _json({"label": found} if found else {"answer": _extract(prompt, rules, draw)})


def _enum_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of the first field that is an enumeration of strings."""
    properties = schema.get("properties")
    for row in properties.values() if isinstance(properties, Mapping) else ():
        options = row.get("enum") if isinstance(row, Mapping) else None
        if isinstance(options, list) and options and all(isinstance(option, str) for option in options):
            return tuple(options)
    return ()


def _field_names(prompt: str) -> list[str]:
    """The names a prompt gives its JSON: `{"name": …, "age": …}`, or after "keys", "fields"."""
    named = re.findall(r"[\"'`]([A-Za-z_]\w*)[\"'`]\s*:", prompt)
    if not named and (listed := re.search(r"\b(?:keys?|fields?|properties)\b:?\s*([^.:\n]+)", prompt, re.IGNORECASE)):
        named = re.findall(r"[\"'`]?([A-Za-z_]\w*)[\"'`]?(?=\s*(?:,|\band\b|$|\())", listed[1])
    return [name for name in dict.fromkeys(named) if name != "and"][:20]


def _guessed(name: str) -> dict[str, str]:
    numeric = re.search(r"age|count|number|amount|price|year|total|quantity|score|answer|result", name.lower())
    return {"type": "number"} if numeric else {"type": "string"}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
