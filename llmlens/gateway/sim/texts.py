"""Words, sentences and which of them matter: the little linguistics the simulated models have."""

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import Final

MAX_SENTENCES: Final = 200  # centrality is quadratic in the number of sentences
_STOPWORDS: Final = (
    "a about after all also am an and any are as at be been before but by can could did do does for from had has have "
    "he her him his how i if in into is it its just may me more my no not of on one or our out over she should so some "
    "such than that the their them then there these they this to up us was we were what when where which who why will "
    "with would you your please"
)
STOPWORDS: Final = frozenset(_STOPWORDS.split())
_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])[\"'”)\]]*\s+|\n+")


def words(text: str) -> list[str]:
    """The words of `text` in lower case, in order, stop words included."""
    return _WORD.findall(text.lower())


def stems(text: str) -> list[str]:
    """The words that carry meaning, without their commonest English endings."""
    return [stem(word) for word in words(text) if word not in STOPWORDS]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """`word` without "-ing", "-ed", "-ly", "-es", "-s", where at least three letters remain."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    for ending in ("ing", "edly", "ed", "ly", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)].removesuffix("e")
    return word.removesuffix("e") if len(word) > 4 else word


def sentences(text: str) -> list[str]:
    """The sentences of `text`, stripped, at most MAX_SENTENCES."""
    found = (part.strip() for part in _SENTENCE_END.split(text))
    return [part for part in found if part][:MAX_SENTENCES]


def central_sentences(text: str, n: int) -> list[str]:
    """The `n` sentences that share most with all others, in the order of the text. At most one of each wording.

    Degree centrality on cosine similarity, the unweighted form of LexRank (Erkan and Radev 2004), with a small bonus
    for the opening sentence.
    """
    found = list(dict.fromkeys(sentences(text)))
    if len(found) <= n:
        return found
    bags = [Counter(stems(sentence)) for sentence in found]
    scores = [sum(_cosine(bag, other) for other in bags if other is not bag) for bag in bags]
    scores[0] *= 1.1
    best = sorted(range(len(found)), key=lambda i: (-scores[i], i))[:n]
    return [found[i] for i in sorted(best)]


def closest_sentence(question: str, text: str) -> str | None:
    """The sentence of `text` that shares most words with `question`; None where none shares any."""
    asked = set(stems(question))
    best, best_score = None, 0.0
    for sentence in sentences(text):
        have = set(stems(sentence))
        score = len(asked & have) / (len(have) + 3) ** 0.5
        if score > best_score:
            best, best_score = sentence, score
    return best


def keywords(text: str, n: int) -> list[str]:
    """The `n` commonest words that carry meaning; among equals the one that comes first."""
    counts = Counter(word for word in words(text) if word not in STOPWORDS and len(word) > 2 and not word.isdigit())
    return [word for word, _ in counts.most_common(n)]


def bigrams(tokens: list[str]) -> list[str]:
    """Neighbouring pairs, joined by a blank."""
    return [f"{a} {b}" for a, b in pairwise(tokens)]


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    shared = sum(count * b[word] for word, count in a.items() if word in b)
    if not shared:
        return 0.0
    norm = (sum(c * c for c in a.values()) * sum(c * c for c in b.values())) ** 0.5
    return float(shared / norm)
