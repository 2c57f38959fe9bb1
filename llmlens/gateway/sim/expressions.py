"""Arithmetic that is written out ("12 * (3 + 4)", "17 plus 5 times 2"): found in a text and evaluated exactly."""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

MAX_EXPRESSION_CHARS: Final = 200
MAX_TEXT_CHARS: Final = 2_000
MAX_VALUE: Final = 10**15  # beyond it the text hardly asks for mental arithmetic

_WORDS: Final = (
    (r"(\d+(?:\.\d+)?) ?(?:%|percent) of (?=\d)", r"\1 / 100 * "),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\b(?:times|multiplied by)\b", "*"),
    (r"\bdivided by\b", "/"),
    (r"[×·]", "*"),
    (r"÷", "/"),
    (r"−", "-"),
    (r"(?<=\d) ?x ?(?=\d)", "*"),
    (r"(?<=\d),(?=\d{3}\b)", ""),
)
_EXPRESSION: Final = re.compile(r"\(*-?\d+(?:\.\d+)?\)*(?:\s*[-+*/]\s*\(*-?\d+(?:\.\d+)?\)*)+")
_DATE_OR_RANGE: Final = re.compile(r"\d+(?:[-/]\d+)+")
_CUE: Final = re.compile(r"\b(?:what(?:'s| is| are)|calculate|compute|evaluate|solve|how much is|result of)\b|=", re.I)
_TOKEN: Final = re.compile(r"\d+(?:\.\d+)?|[-+*/()]")


@dataclass(slots=True)
class Evaluation:
    """`value`, and one line of work per operation."""

    value: Fraction
    steps: list[str] = field(default_factory=list)


def find_expression(text: str) -> Evaluation | None:
    """Evaluate the first written-out expression that `text` asks for; None where there is none, or it makes no sense.

    Asked for means: with "what is", "calculate" or the like, or as most of the text. "In 2023 - 2024" is no question.
    """
    if len(text) > MAX_TEXT_CHARS:
        return None
    asked = bool(_CUE.search(text))
    for pattern, sign in _WORDS:
        text = re.sub(pattern, sign, text, flags=re.IGNORECASE)
    for match in _EXPRESSION.finditer(text):
        written = match[0]
        if not asked and len(written) < len(text) / 2:
            continue
        if len(written) <= MAX_EXPRESSION_CHARS and not _DATE_OR_RANGE.fullmatch(written.strip()):
            try:
                return _Parser(_TOKEN.findall(written)).whole()
            except (ValueError, ZeroDivisionError):
                continue
    return None


@dataclass(slots=True)
class _Parser:
    tokens: list[str]
    steps: list[str] = field(default_factory=list)

    def whole(self) -> Evaluation:
        value = self._sum()
        if self.tokens:
            raise ValueError("unbalanced")
        return Evaluation(value, self.steps)

    def _sum(self) -> Fraction:
        value = self._product()
        while self.tokens and self.tokens[0] in "+-":
            value = self._apply(value, self.tokens.pop(0), self._product())
        return value

    def _product(self) -> Fraction:
        value = self._atom()
        while self.tokens and self.tokens[0] in "*/":
            value = self._apply(value, self.tokens.pop(0), self._atom())
        return value

    def _atom(self) -> Fraction:
        word = self.tokens.pop(0) if self.tokens else ""
        if word == "(":
            value = self._sum()
            if not self.tokens or self.tokens.pop(0) != ")":
                raise ValueError("unbalanced")
            return value
        if word == "-":
            return -self._atom()
        return Fraction(word)  # ValueError for an operator out of place

    def _apply(self, a: Fraction, sign: str, b: Fraction) -> Fraction:
        value = {"+": a.__add__, "-": a.__sub__, "*": a.__mul__}[sign](b) if sign != "/" else a / b
        if abs(value) > MAX_VALUE:
            raise ValueError("too large")
        self.steps.append(f"{show(a)} {sign} {show(b)} = {show(value)}")
        return value


def show(value: Fraction) -> str:
    """`value` as people write it: an integer, or a decimal of at most six places."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.6f}".rstrip("0").rstrip(".")
