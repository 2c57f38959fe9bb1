"""How numbers are written in a sentence that a reader can quote."""


def number(value: float, *, signed: bool = False) -> str:
    """Four digits: `0.0517`, `2.1e-05`; all of them before the point: `13,190`."""
    whole = 1e4 <= abs(value) < 1e15
    return format(value, ("+" if signed else "") + (",.0f" if whole else ".4g"))


def percent(share: float) -> str:
    """A share in percent, one decimal where it is needed: `95 %`, `97.5 %`."""
    return f"{round(100 * share, 1):g} %"


def level_percent(level: float) -> str:
    """A level in percent, never rounded to 100: `95 %`, `99.99 %`."""
    return f"{100 * level:.10g} %"


def p_value(p: float) -> str:
    """`p = 0.013`."""
    return "p < 1e-300" if p < 1e-300 else f"p = {p:.2g}"


def count(n: int, what: str) -> str:
    """`1 row`, `1,319 rows`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def interval(low: float, high: float, level: float, unit: str = "") -> str:
    """`95 % interval 0.011 to 0.093 USD`."""
    return f"{level_percent(level)} interval {number(low)} to {number(high)}{unit and ' ' + unit}"


def listed(names: list[str]) -> str:
    """`A, B and C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
