"""Values for a JSON schema, taken from a text: numbers, dates, addresses, names, labels. Always valid for the schema.

Understood: type (also a list of types), enum, const, properties, required, items, minItems, anyOf/oneOf/allOf, $ref
into the same document, minimum/maximum (and exclusive…), minLength/maxLength, multipleOf, default, a few formats.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llmlens.gateway.sim.labels import best_label, text_of
from llmlens.gateway.sim.texts import STOPWORDS, central_sentences, keywords, stem, words

MAX_DEPTH: Final = 12  # a recursive schema is cut here
MAX_ITEMS: Final = 5
Schema = Mapping[str, Any]

_NUMBER: Final = re.compile(r"(?<![\w.])-?\d[\d,]{0,30}(?:\.\d{1,30})?")
_FORMATS: Final = {
    "email": re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{0,64}\w"),
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b"),
    "time": re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b"),
    "url": re.compile(r"https?://\S+"),
    "phone": re.compile(r"\+?\d[\d ()/-]{6,20}\d"),
}
_STAND_INS: Final = {
    "email": "nobody@example.com",
    "date": "1970-01-01",
    "time": "00:00:00",
    "url": "https://example.com",
}
_NAME: Final = re.compile(r"(?<![.!?]\s)(?<!^)\b([A-Z][\w'-]+(?: [A-Z][\w'-]+)*)|^([A-Z][\w'-]+(?: [A-Z][\w'-]+)+)")
_PLACE: Final = re.compile(r"\b(?:in|from|to|at|for|near)\s+([A-Z][\w'-]+(?: [A-Z][\w'-]+)*)")
_NUMBER_SYNONYMS: Final = {"age": "years old aged", "price": "dollars cost usd", "cost": "dollars price usd"}
_WORK: Final = re.compile(r"step|reason|explan|work|thought|rationale")
_PERSON_FIELDS: Final = frozenset({"name", "person", "author", "customer", "user", "recipient"})
_PLACE_FIELDS: Final = frozenset({"city", "location", "place", "country", "destination", "origin", "town", "region"})


@dataclass(slots=True)
class Filler:
    """Fills schemas from `text`.

    `answer` (a number or a string) goes to fields named answer, result or the like and to enumerations that offer it,
    `work` to those named steps, reasoning or the like.
    """

    text: str
    answer: Any = None
    work: Sequence[str] = ()
    root: Schema = field(default_factory=dict)
    _used: set[int] = field(default_factory=set, init=False)

    def fill(self, schema: Schema, name: str = "", depth: int = 0) -> Any:
        """A value that `schema` allows, for the field `name`."""
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._enum(schema["enum"])
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return self._number(schema, name, whole=kind == "integer")
        if kind == "boolean":
            return not re.search(r"\b(?:no|not|never|without|false)\b", self.text, re.IGNORECASE)
        return None if kind == "null" else self._string(schema, name)

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        for _ in range(MAX_DEPTH):
            if isinstance(reference := schema.get("$ref"), str):
                schema = _pointed(self.root, reference)
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                wanted = [o for o in options if isinstance(o, Mapping) and o.get("type") != "null"]
                schema = (wanted or [{"type": "null"}])[0] if depth < MAX_DEPTH else options[-1]
            elif parts := schema.get("allOf"):
                schema = {**{k: v for k, v in schema.items() if k != "allOf"}, **_merged(self.root, parts)}
            else:
                break
        return schema

    def _enum(self, options: list[Any]) -> Any:
        if self.answer is not None and self.answer in options:
            return self.answer
        texts = [str(option) for option in options if isinstance(option, str)]
        if len(texts) != len(options):
            return options[0]
        return best_label(text_of(self.text, texts), texts)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = set(schema.get("required") or ())
        names = [name for name in properties if name in required or depth < 2]
        return {name: self.fill(properties[name], name, depth + 1) for name in names} if depth < MAX_DEPTH else {}

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        items, least = schema.get("items"), int(schema.get("minItems") or 0)
        items = self._resolved(items, depth) if isinstance(items, Mapping) and items else {"type": "string"}
        kind = "chosen" if items.keys() & {"enum", "const"} else _kind(items)
        if depth >= MAX_DEPTH:
            return []
        if self.work and kind == "string" and _WORK.search(name.lower()):
            found: list[Any] = list(self.work)
        elif kind == "string":
            found = [_sized(items, word) for word in keywords(text_of(self.text), max(least, 3))]
        elif kind in ("integer", "number"):
            whole = kind == "integer"
            numbers = [_as_number(m[0], whole=whole) for m in self._numbers()][:MAX_ITEMS]
            found = [_bounded(items, number, whole=whole) for number in numbers]
        else:
            found = [self.fill(items, name, depth + 1)]
        most = int(schema.get("maxItems", MAX_ITEMS))
        while len(found) < least:
            found.append(self.fill(items, name, depth + 1))
        return found[: max(least, most)]

    def _number(self, schema: Schema, name: str, *, whole: bool) -> int | float:
        value = self.answer if _is_answer(name) and isinstance(self.answer, int | float) else self._nearest(name)
        value = schema.get("default", 0) if value is None else value
        return _bounded(schema, int(value) if whole else value, whole=whole)

    def _nearest(self, name: str) -> int | float | None:
        """The number nearest to the field's own words, that no other field has taken."""
        found = [m for m in self._numbers() if m.start() not in self._used]
        if not found:
            return None
        own = {stem(word) for word in words(name.replace("_", " "))}
        own |= {stem(word) for key, more in _NUMBER_SYNONYMS.items() if stem(key) in own for word in more.split()}
        spots = [m.start() for m in re.finditer(r"[^\W\d_]+", self.text) if stem(m[0].lower()) in own]
        best = min(found, key=lambda m: min((abs(m.start() - s) for s in spots), default=m.start()))
        self._used.add(best.start())
        return _as_number(best[0], whole=False)

    def _numbers(self) -> list[re.Match[str]]:
        """The numbers of the text that are no part of a date."""
        return list(_NUMBER.finditer(_FORMATS["date"].sub(lambda m: "x" * len(m[0]), self.text)))

    def _string(self, schema: Schema, name: str) -> str:
        return _sized(schema, self._text(schema, name))

    def _text(self, schema: Schema, name: str) -> str:
        key = name.lower().replace("_", " ")
        if _is_answer(name) and self.answer is not None:
            return str(self.answer)
        if self.work and _WORK.search(key):
            return "; ".join(self.work)
        for kind, pattern in _FORMATS.items():
            if kind in key or str(schema.get("format", "")).startswith(kind):
                match = pattern.search(self.text)
                return match[0] if match else _STAND_INS.get(kind, "")
        if set(key.split()) & _PLACE_FIELDS and (place := _PLACE.search(self.text)):
            return place[1]
        if set(key.split()) & _PERSON_FIELDS and (person := _NAME.search(self.text)):
            return str(person[1] or person[2])
        if assigned := re.search(
            rf"\b{re.escape(key)}\b\s*(?:is|:|=|of)\s+([^\n,.;]{1, 200})", self.text, re.IGNORECASE
        ):
            return assigned[1].strip().strip("\"'")
        if re.search(r"\b(?:query|topic|subject|keyword|search|title)\b", key):
            return " ".join(w for w in words(self.text) if w not in STOPWORDS)[:80] or self.text[:80]
        return " ".join(central_sentences(text_of(self.text), 1))[:400]


def _is_answer(name: str) -> bool:
    return bool(re.search(r"answer|result|total|value|solution|label|category|sentiment|class", name.lower()))


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _as_number(text: str, *, whole: bool) -> int | float:
    value = float(text.replace(",", ""))
    return int(value) if whole or value.is_integer() else value


def _sized(schema: Schema, value: str) -> str:
    most = schema.get("maxLength")
    value = value[: int(most)] if most is not None else value
    return value + "." * (int(schema.get("minLength") or 0) - len(value))


def _bounded(schema: Schema, value: int | float, *, whole: bool) -> int | float:
    step = schema.get("multipleOf") or (1 if whole else 0)
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None and not isinstance(above, bool):
        low = above + (step or 1e-6)
    if (below := schema.get("exclusiveMaximum")) is not None and not isinstance(below, bool):
        high = below - (step or 1e-6)
    value = value if low is None else max(value, low)
    value = value if high is None else min(value, high)
    if schema.get("multipleOf"):
        value = (value // step) * step
        value = value + step if low is not None and value < low else value
    return int(value) if whole else value


def _pointed(root: Schema, reference: str) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _merged(root: Schema, parts: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, Mapping):
            part = _pointed(root, part["$ref"]) if isinstance(part.get("$ref"), str) else part
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            merged = {**merged, **part, **({"properties": properties} if properties else {})}
    return merged
