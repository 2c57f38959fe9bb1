"""Numbers, names and tables as plain text, for terminals, pipes and `text/plain`. Pure.

Unknown is shown as `–`, never as 0. Text that came from elsewhere loses its control characters, so that no answer of a
model can move the cursor, set the title or fake a line of its own.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

UNKNOWN = "–"
KEPT_CONTROLS = frozenset("\n\t")
# Cc: control, Cf: format (bidi overrides); joiners stay, since emoji and Indic scripts need them.
JOINERS = frozenset("\u200c\u200d")


def clean(text: str) -> str:
    """`text` without control and direction-override characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c in KEPT_CONTROLS or c in JOINERS or unicodedata.category(c) not in ("Cc", "Cf"))


def one_line(text: str, limit: int = 80) -> str:
    """`text` on one line of at most `limit` characters."""
    line = " ".join(clean(text[: 8 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def money(usd: Decimal | float | None) -> str:
    """US dollars; below one cent with two significant digits."""
    if usd is None:
        return UNKNOWN
    value = Decimal(str(usd))
    if not value.is_finite():
        return UNKNOWN
    if value == 0:
        return "$0"
    if abs(value) >= Decimal("0.01"):
        return f"${value:,.4f}" if abs(value) < 1 else f"${value:,.2f}"
    return f"${value:.{1 - value.adjusted()}f}"


def seconds(duration_s: float | None) -> str:
    """A duration: ms below one second, then s, then minutes and hours."""
    if duration_s is None or duration_s != duration_s:
        return UNKNOWN
    if duration_s < 0.9995:
        return f"{duration_s * 1000:.0f} ms" if duration_s >= 0.00095 else f"{duration_s * 1000:.1f} ms"
    if duration_s < 60:
        return f"{duration_s:.2f} s"
    minutes, rest = divmod(round(duration_s), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def count(number: float | None) -> str:
    """A count with thousands separated."""
    return UNKNOWN if number is None or number != number else f"{number:,.0f}"


def size(n_bytes: float | None) -> str:
    """Bytes in the unit that fits (powers of 1000)."""
    if n_bytes is None:
        return UNKNOWN
    value, unit = float(n_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) or c in JOINERS else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Aligned columns, two spaces apart; those in `right` (numbers) end at the same place."""
    cells = [list(headers), *([one_line(cell, 200) for cell in row] for row in rows)]
    widths = [max(width(row[i]) for row in cells) for i in range(len(headers))]
    lines = []
    for row in cells:
        padded = [
            " " * (widths[i] - width(cell)) + cell if i in right else cell + " " * (widths[i] - width(cell))
            for i, cell in enumerate(row)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines if any(headers) else lines[1:])
