"""Word problems, solved by reading them clause by clause: numbers, and the words that say what happens to them.

No template of `catalog.problems` is known here. A clause multiplies ("each", "per", "rows of"), divides ("equally
among"), takes away ("gives", "spends"), adds ("buys", "more") or names a second quantity ("3 times as many as"); the
question says what to make of them (a sum, a difference, what is left).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from llmlens.gateway.sim.expressions import Evaluation, find_expression, show

MAX_PROBLEM_CHARS: Final = 4_000

_UP_FROM_TWO: Final = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS: Final = (
    {word: i for i, word in enumerate(_UP_FROM_TWO.split(), 2)}
    | {word: 10 * i for i, word in enumerate(_TENS.split(), 2)}
    | {"a dozen": 12}
)
_NUMBER_WORD: Final = re.compile(rf"\b(?:{'|'.join(_NUMBER_WORDS)})\b")
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w]|\.\d)")
_INSTRUCTION: Final = re.compile(
    r"^\W*(?:please\b\W*)?(?:answer|reply|respond|return|give (?:only|just|your|the|me|a)|think|show|explain|solve|"
    r"write|use|output|end|put|let's|you are|be|do not|don't|state|provide|work)\b",
    re.IGNORECASE,
)
_TAKES: Final = re.compile(
    r"\b(?:giv(?:es?|en|ing)|gave|eats?|ate|eaten|los[et]s?|sells?|sold|spends?|spent|uses?|used|breaks?|broken?|removes?|"
    r"removed|tak(?:es?|en)|took|get off|gets off|got off|leaves?|donates?|donated|drinks?|drank|throws?|threw|reads?|"
    r"pays? (?!with)|paid (?!with)|flies|fly|flew|die[sd]?|rott?en|lends?|lent|drops?|discarded)\b"
)
_ADDS: Final = re.compile(
    r"\b(?:buys?|bought|finds?|found|gets?|got|receives?|received|adds?|added|picks?|picked|wins?|won|joins?|joined|"
    r"earns?|earned|more|another|arrives?|arrived|collects?|bakes?|makes?|made)\b"
)
_TOGETHER: Final = re.compile(r"\b(?:together|altogether|in total|in all|combined|total number|both)\b")
_COMPARES: Final = re.compile(r"\bhow (?:many|much) (?:more|fewer|less|older|longer|farther)\b|\bdifference\b")


@dataclass(slots=True)
class _Reading:
    """What was read so far: one quantity per holder; the last one is the one being spoken of."""

    held: list[Fraction] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def start(self, value: Fraction) -> None:
        self.held.append(value)

    def work(self, a: Fraction, sign: str, b: Fraction) -> Fraction:
        value = _OPERATIONS[sign](a, b)
        self.steps.append(f"{show(a)} {sign} {show(b)} = {show(value)}")
        return value

    def change(self, sign: str, by: Fraction) -> None:
        self.held[-1] = self.work(self.held[-1], sign, by)


_OPERATIONS: Final[dict[str, Callable[[Fraction, Fraction], Fraction]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def solve(text: str) -> Evaluation | None:
    """The answer to the arithmetic problem in `text`, with the work; None where it is not one that can be read."""
    if len(text) > MAX_PROBLEM_CHARS:
        return None
    if (written := find_expression(text)) is not None:
        return written
    story, question = _story_and_question(text)
    if not re.search(r"\b(?:how|what|which)\b", question) or not _NUMBER.search(story + question):
        return None
    try:
        solved = _special(story, question) or _read(story, question)
    except ZeroDivisionError:
        return None
    return solved if solved and solved.steps else None  # no step taken: the text is not about a calculation


def _story_and_question(text: str) -> tuple[str, str]:
    """Lower case, number words as digits, instructions left out; the question is the last sentence that asks."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    sentences = [s for s in re.split(r"(?<=[.?!])\s+|\n+", text.strip()) if s and not _INSTRUCTION.match(s)]
    asking = [i for i, s in enumerate(sentences) if s.rstrip().endswith("?")]
    if not asking:
        return "", ""
    last = asking[-1]
    # A question may carry the last facts of the story: "If she eats 2, how many are left?"
    facts, how, asked = sentences[last].lower().partition("how ")
    question = how + asked if how else facts
    story = [s.lower() for s in sentences[:last]] + ([facts] if how else [])
    return _digits(" ".join(story)), _digits(question)


def _digits(text: str) -> str:
    text = _NUMBER_WORD.sub(lambda m: str(_NUMBER_WORDS[m[0]]), text)
    text = re.sub(r"\b([2-9]0)[- ]([1-9])\b(?! ?(?:percent|%))", lambda m: str(int(m[1]) + int(m[2])), text)
    text = re.sub(r"\btwice\b|\bdouble the\b", "2 times", text)
    text = re.sub(r"\bthrice\b|\btriple the\b", "3 times", text)
    return re.sub(r"\$\s?(?=\d)|[€£](?=\d)", "", text).replace("%", " percent")


def _numbers(text: str) -> list[Fraction]:
    return [Fraction(n) for n in _NUMBER.findall(text)]


def _special(story: str, question: str) -> Evaluation | None:
    """Shapes, averages: problems where the question alone says what to do with the numbers."""
    numbers = _numbers(story)
    done = _Reading()
    if len(numbers) == 2 and "perimeter" in question:
        half = done.work(numbers[0], "+", numbers[1])
        return Evaluation(done.work(Fraction(2), "*", half), done.steps)
    if len(numbers) == 2 and re.search(r"\barea\b", question):
        return Evaluation(done.work(numbers[0], "*", numbers[1]), done.steps)
    if len(numbers) >= 2 and re.search(r"\b(?:average|mean)\b", question):
        total = sum(numbers, Fraction(0))
        mean = total / len(numbers)
        done.steps.append(f"{' + '.join(map(show, numbers))} = {show(total)}")
        done.steps.append(f"{show(total)} / {len(numbers)} = {show(mean)}")
        return Evaluation(mean, done.steps)
    return None


def _read(story: str, question: str) -> Evaluation | None:
    reading = _Reading()
    for sentence in re.split(r"(?<=[.?!])\s+", story):
        for clause in _clauses(sentence):
            _clause(reading, clause)
    if not reading.held:
        return None
    return Evaluation(_asked(reading, question), reading.steps)


def _clauses(sentence: str) -> list[str]:
    """`sentence` cut so that every piece has a number, "half" or "equally" in it."""
    pieces: list[str] = []
    for part in re.split(r"(?:[,;]\s*|\s+)(?:and then|then|and|but)\s+|[,;]\s+", sentence):
        if re.search(r"\d|\bhalf\b|\bthird\b|\bequally\b", part) or not pieces:
            pieces.append(part)
        else:
            pieces[-1] += f" {part}"
    return pieces


def _clause(reading: _Reading, clause: str) -> None:
    for reader in (_fraction_of, _percent, _compared, _divided, _paid, _multiplied):
        if reader(reading, clause):
            return
    for number in _numbers(clause):
        _happened(reading, clause, number)


def _fraction_of(reading: _Reading, clause: str) -> bool:
    match = re.search(r"\b(half|a third|a quarter)\b", clause)
    if not match or not reading.held:
        return False
    parts = Fraction({"half": 2, "a third": 3, "a quarter": 4}[match[1]])
    share = reading.work(reading.held[-1], "/", parts)
    if re.search(r"\bas (?:many|much)\b", clause):
        reading.start(share)
    elif _TAKES.search(clause):
        reading.change("-", share)
    else:
        reading.held[-1] = share
    return True


def _percent(reading: _Reading, clause: str) -> bool:
    match = re.search(r"(\d+(?:\.\d+)?) percent", clause)
    if not match or not reading.held:
        return False
    part = reading.work(reading.work(reading.held[-1], "*", Fraction(match[1])), "/", Fraction(100))
    if re.search(r"\b(?:discount|off|reduced|cheaper|less|decreas\w*|drops?|falls?)\b", clause) or _TAKES.search(
        clause
    ):
        reading.change("-", part)
    elif re.search(r"\b(?:increas\w*|grows?|rises?|more|tax|tip|raised?)\b", clause):
        reading.change("+", part)
    else:
        reading.held[-1] = part
    return True


def _compared(reading: _Reading, clause: str) -> bool:
    """A second holder, told by the first: "has 4 more than", "3 times as many as"."""
    if not reading.held or not (numbers := _numbers(clause)):
        return False
    if re.search(r"\btimes (?:as|more|the)\b", clause):
        reading.start(reading.work(reading.held[-1], "*", numbers[0]))
    elif re.search(r"\b(?:more|older|longer)\b.*\bthan\b", clause):
        reading.start(reading.work(reading.held[-1], "+", numbers[0]))
    elif re.search(r"\b(?:fewer|less|younger|shorter)\b.*\bthan\b", clause):
        reading.start(reading.work(reading.held[-1], "-", numbers[0]))
    else:
        return False
    return True


def _divided(reading: _Reading, clause: str) -> bool:
    numbers = _numbers(clause)
    if not re.search(r"\b(?:equally|evenly|equal groups|(?:divid|split|shar)\w* (?:\w+ )*?(?:among|between|into|by)|"
                     r"(?:bags|groups|packs|boxes|rows|teams) of)\b", clause):  # fmt: skip
        return False
    if len(numbers) == 2 and re.search(r"\b(?:equally|evenly|among|between|into)\b", clause):
        reading.start(reading.work(numbers[0], "/", numbers[1]))
    elif len(numbers) == 1 and reading.held:
        reading.change("/", numbers[0])
    else:
        return False
    return True


def _paid(reading: _Reading, clause: str) -> bool:
    numbers = _numbers(clause)
    if not numbers or not reading.held or not re.search(r"\bpa(?:ys?|id) with\b|\bhands? over\b", clause):
        return False
    reading.held[-1] = reading.work(numbers[0], "-", reading.held[-1])
    return True


def _multiplied(reading: _Reading, clause: str) -> bool:
    numbers = _numbers(clause)
    rate = re.search(r"\b(?:each|every|per|apiece|an? (?:day|week|month|hour|minute|year)|\w+s of \d)", clause)
    if not rate or not numbers:
        return False
    if len(numbers) >= 2:
        product = reading.work(numbers[0], "*", numbers[1])
        _happened(reading, re.sub(r"\b(?:for|in|after|over) \d+ \w+", "", clause), product)
    elif reading.held:
        reading.change("*", numbers[0])
    else:
        reading.start(numbers[0])
    return True


def _happened(reading: _Reading, clause: str, number: Fraction) -> None:
    if not reading.held:
        reading.start(number)
    elif re.search(r"\b(?:for|in|after|over) \d+ (?:hours?|days?|weeks?|months?|years?|minutes?)\b", clause):
        reading.change("*", number)
    elif _TAKES.search(clause):
        reading.change("-", number)
    elif _ADDS.search(clause) and not re.match(r"\W*[a-z]+ (?:collects?|has|have|bakes?|makes?) \d", clause):
        reading.change("+", number)
    else:
        reading.start(number)


def _asked(reading: _Reading, question: str) -> Fraction:
    held = reading.held
    if len(held) > 1 and _TOGETHER.search(question):
        total = sum(held, Fraction(0))
        reading.steps.append(f"{' + '.join(map(show, held))} = {show(total)}")
        return total
    if len(held) > 1 and _COMPARES.search(question):
        low, high = sorted(held[:2])
        return reading.work(high, "-", low)
    return held[-1]
