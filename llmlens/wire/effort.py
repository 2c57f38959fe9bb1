"""Reasoning effort in words ↔ in tokens. No I/O.

No provider publishes what its words mean; these are the budgets that Anthropic's guide to extended thinking names, each
double or more of the one before, so that both directions agree.
"""

MIN_BUDGET_TOKENS = 1024  # Anthropic refuses less
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 65536}


def budget_of(effort: str) -> int | None:
    """Tokens to think with at `effort`; None for a word we do not know."""
    return BUDGETS.get(effort)


def effort_of(budget_tokens: int) -> str:
    """The least effort whose budget is at least `budget_tokens`."""
    return next((effort for effort, limit in BUDGETS.items() if budget_tokens <= limit), "max")
