"""Conditions for `calls()`: SQL text with `?`, and the values that are bound to it. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from llmlens.errors import QueryError

UNITS: Final[Mapping[str, float]] = {
    "s": 1, "sec": 1, "second": 1, "min": 60, "m": 60, "minute": 60, "h": 3600, "hour": 3600,
    "d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800,
}  # fmt: skip


@dataclass(slots=True)
class Filter:
    """Conditions that all hold. None adds none."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def condition(self, where: str | None) -> str:
        """The SQL condition. `where`, the caller's own, stands on a line of its own: it may end in a comment."""
        return " AND ".join([*self.parts, *([f"(\n{where}\n)"] if where else [])]) or "true"

    def since(self, time: datetime | None) -> None:
        """Not before `time`."""
        if time is not None:
            self._add("started_at >= CAST(? AS TIMESTAMP)", placed(time))

    def any_of(self, column: str, wanted: str | int | Sequence[str] | None) -> None:
        """`column` is one of `wanted`."""
        values = [wanted] if isinstance(wanted, str | int) else wanted
        if values is not None:
            self._add(f"{column} IN ({_marks(values)})" if len(values) else "false", *values)

    def model(self, wanted: str | Sequence[str] | None) -> None:
        """A model by the name that was asked for, the one that answered, or `provider/model` of either."""
        values = [wanted] if isinstance(wanted, str) else wanted
        if values is not None:
            marks = _marks(values)
            names = ("model", "model_asked", "model_sent", "provider || '/' || model", "provider || '/' || model_sent")
            condition = " OR ".join(f"{name} IN ({marks})" for name in names) if values else "false"
            self._add(f"({condition})", *(list(values) * len(names)))

    def tagged(self, wanted: str | Mapping[str, Any] | None) -> None:
        """Tags: "name", "name=value" or a mapping."""
        if isinstance(wanted, str):
            name, given, value = wanted.partition("=")
            wanted = {name.strip(): value.strip() if given else None}
        for name, value in (wanted or {}).items():
            path = "$." + json.dumps(name, ensure_ascii=False)
            if value is None:
                self._add("json_exists(tags, ?)", path)
            else:
                text = value if isinstance(value, str) else json.dumps(value)
                self._add("json_extract_string(tags, ?) = ?", path, text)

    def _add(self, part: str, *values: Any) -> None:
        self.parts.append(part)
        self.values += values


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def since_time(since: "datetime | timedelta | str | None", now: datetime) -> datetime | None:
    """`since` as a time in UTC.

    Raises:
        QueryError: text that is neither a duration nor a time.
    """
    if since is None:
        return None
    if isinstance(since, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*", since)
        if found and found[2] in UNITS:
            since = timedelta(seconds=float(found[1]) * UNITS[found[2]])
        else:
            try:
                since = datetime.fromisoformat(since.strip())
            except ValueError:
                raise QueryError(
                    f"since={since!r} is neither a duration ('2 h', '30 min', '7 d') nor a time (2026-01-31T12:00)"
                ) from None
    return now - since if isinstance(since, timedelta) else since.astimezone(UTC)


def placed(value: Any) -> Any:
    """A parameter as JSON can carry it; DuckDB casts text to what the query compares it with. Times become UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    item = getattr(value, "item", None)  # a scalar of numpy
    return item() if callable(item) else value
