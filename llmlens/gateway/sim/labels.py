"""Classification by keywords: which labels the prompt asks for, what text is meant, which label fits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llmlens.gateway.sim.texts import stem, stems

MAX_LABELS: Final = 40

_LEXICON: Final[dict[str, str]] = {
    "positive": (
        "good great excellent love loved loving wonderful amazing fantastic perfect happy best awesome "
        "delightful recommend recommended enjoy enjoyed superb brilliant pleasant satisfied fast friendly "
        "helpful beautiful impressive reliable smooth works delicious charming fun thanks thank glad"
    ),
    "negative": (
        "bad terrible awful hate hated horrible worst poor disappointing disappointed broken broke slow rude "
        "useless waste boring angry sad refund annoying ugly dirty cold late failed fails crash crashed never "
        "unhappy damaged wrong unusable mediocre overpriced bland stopped missing"
    ),
    "neutral": "okay ok average fine standard normal ordinary arrived contains includes usual",
    "mixed": "but however although though yet despite",
    "sports": (
        "game match team player goal score season coach league tournament football soccer tennis olympic win race"
    ),
    "politics": "government election president minister parliament vote senate law policy party campaign treaty",
    "business": "market stock company profit shares revenue bank economy trade merger investor sales quarter earnings",
    "technology": "software computer phone app chip internet data device robot code startup ai cloud algorithm battery",
    "science": (
        "research study scientist physics biology planet telescope experiment species cell gene space discovery"
    ),
    "health": "doctor hospital patient disease vaccine medicine treatment diet symptom heart clinical virus",
    "entertainment": "movie film music song actor album concert star show series director theatre festival",
    "travel": "flight hotel trip tourist beach airport journey vacation booking luggage",
    "food": "restaurant meal recipe taste dish chef cook menu dinner bread cheese",
    "weather": "rain snow storm sunny wind temperature forecast cloud flood",
    "spam": "free winner prize click offer cash urgent lottery claim guaranteed viagra bonus limited",
    "ham": "meeting tomorrow lunch attached regards report schedule",
    "billing": "invoice charge charged payment refund credit bill price paid card subscription fee twice",
    "shipping": "delivery package parcel shipped tracking courier arrive address delayed order",
    "technical": "error bug crash install login password update screen reset connect app",
    "account": "login password username profile sign email locked",
    "urgent": "immediately asap urgent emergency critical now down outage",
    "toxic": "idiot stupid hate kill moron disgusting",
    "question": "what why how when where who which",
}
_SYNONYMS: Final = {
    "pos": "positive",
    "neg": "negative",
    "sport": "sports",
    "tech": "technology",
    "sci/tech": "technology",
    "world": "politics",
    "finance": "business",
    "medical": "health",
    "movies": "entertainment",
    "delivery": "shipping",
    "payment": "billing",
    "support": "technical",
    "not spam": "ham",
    "bug": "technical",
}
_BAGS: Final = {label: frozenset(map(stem, text.split())) for label, text in _LEXICON.items()}
_NEGATIONS: Final = re.compile(
    r"\b(?:not|never|no|isn't|wasn't|don't|didn't|hardly)\s+(\w+)(?:\s+(\w+))?", re.IGNORECASE
)

_LABEL: Final = r"[\"'`“]?[\w/&-]+(?: [\w/&-]+){0,2}?[\"'`”]?"
_LIST: Final = rf"({_LABEL}(?:\s*(?:,|/|\||\bor\b|\band\b|,\s*or\b|,\s*and\b)\s*{_LABEL})+)"
_ASKS: Final = (
    re.compile(
        rf"\b(?:labels?|categor(?:y|ies)|classes|topics|options|sentiments?)\b[^.\n:]{{0,40}}[:=]\s*\[?{_LIST}", re.I
    ),
    re.compile(rf"\b(?:one of|either|exactly one of)(?: (?:these|the following))?(?: \w+)?:?\s+\[?\(?{_LIST}", re.I),
    re.compile(
        rf"\b(?:classif\w+|categori\w+|label|tag|rate|sort)\b[^.\n]*?\b(?:as|into|with|by):?\s+\[?\(?{_LIST}", re.I
    ),
    re.compile(r"\bis (?:this|the|it)\b[^.\n?]*?\b((?:[\w-]+,\s*)*[\w-]+,? or [\w-]+)\s*\?", re.I),
)
_INTENT: Final = re.compile(
    r"\b(?:classif|categori|sentiment|label|topic|spam|one of|either|which category|tag|is (?:this|the|it)\b)", re.I
)
_TEXT_MARK: Final = re.compile(
    r"(?:^|\n)[ \t]*(?:text|review|message|sentence|tweet|headline|email|comment|input|ticket|article|document) ?:"
    r"\s*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"[\"“«]([^\"”»]{8,})[\"”»]")


@dataclass(frozen=True, slots=True)
class Classified:
    """`label` in the prompt's own spelling, and all the labels that were offered."""

    label: str
    labels: tuple[str, ...]


def classify(prompt: str) -> Classified | None:
    """The label that fits, where `prompt` asks for one of several; else None."""
    labels = labels_of(prompt)
    if not labels:
        return None
    return Classified(best_label(text_of(prompt, labels), labels), labels)


def labels_of(prompt: str) -> tuple[str, ...]:
    """The labels that `prompt` offers, in order; empty where it does not ask for a classification."""
    if not _INTENT.search(prompt):
        return ()
    for pattern in _ASKS:
        if match := pattern.search(prompt):
            parts = re.split(r"\s*(?:,\s*(?:or|and)\b|,|/|\||\bor\b|\band\b)\s*", match[1])
            labels = tuple(dict.fromkeys(part.strip(" \"'`“”[]().") for part in parts))
            labels = tuple(label for label in labels if label)
            if 2 <= len(labels) <= MAX_LABELS:
                return labels
    if re.search(r"\bsentiment\b", prompt, re.IGNORECASE):
        return "positive", "negative", "neutral"
    return ()


def text_of(prompt: str, labels: Sequence[str] = ()) -> str:
    """The text the prompt is about: after "Text:", in quotes, or its last paragraph; else all of it."""
    if match := _TEXT_MARK.search(prompt):
        return match[1].strip()
    quoted = [q for q in _QUOTED.findall(prompt) if q.strip() not in labels]
    if quoted:
        return str(max(quoted, key=len))
    head, mark, rest = prompt.partition(":")
    paragraphs = [p for p in re.split(r"\n\s*\n", prompt.strip()) if p.strip()]
    if len(paragraphs) > 1:
        return str(paragraphs[-1].strip())
    if mark and len(rest.split()) >= 3 and not any(label in rest[:60] for label in labels):
        return rest.strip()
    return prompt if not labels else re.sub(re.escape(head + mark), "", prompt) or prompt


def best_label(text: str, labels: Sequence[str]) -> str:
    """The label whose keywords `text` has most of; a label named in the text counts too.

    Where no label has any: "neutral", "other" or the like if it is offered, else the first.
    """
    found = stems(text)
    negated = {stem(word.lower()) for pair in _NEGATIONS.findall(text) for word in pair if word}
    scores = [_score(label, found, negated) for label in labels]
    best = max(scores)
    if best <= 0:
        for fallback in ("neutral", "other", "none", "unknown", "ham", "not spam"):
            for label in labels:
                if label.lower() == fallback:
                    return label
    return labels[scores.index(best)]


def _score(label: str, found: Sequence[str], negated: set[str]) -> float:
    key = _SYNONYMS.get(label.lower(), label.lower())
    bag = _BAGS.get(key, frozenset())
    own = {stem(word) for word in key.split()}
    score = sum(1.0 for word in found if word in bag and word not in negated)
    score += sum(1.5 for word in found if word in own)
    if key in ("positive", "negative"):
        other = _BAGS["negative" if key == "positive" else "positive"]
        score += sum(1.0 for word in found if word in other and word in negated)
    return score * (0.6 if key in ("mixed", "neutral", "question") else 1.0)
