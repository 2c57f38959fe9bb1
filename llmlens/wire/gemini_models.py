"""What differs between Gemini's models: how they are told to think. No I/O.

Source: https://ai.google.dev/gemini-api/docs/thinking
"""

import re
from collections.abc import MutableMapping
from typing import Any

from llmlens.records import ChatRequest
from llmlens.wire.effort import budget_of, effort_of

_VERSION = re.compile(r"(?:^|/)gemini-(\d{1,2})(?![\d])")
# Budgets that the models of the 2.5 family accept: whether none at all, the least, the most.
_BUDGETS = {
    "gemini-2.5-pro": (False, 128, 32_768),
    "gemini-2.5-flash-lite": (True, 512, 24_576),
    "gemini-2.5-flash": (True, 1, 24_576),
}
# From Gemini 3 on there are levels instead, and no model does without thinking.
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
_NEAREST = {"none": "MINIMAL", "xhigh": "HIGH", "max": "HIGH"}


def version(model: str) -> int:
    """3 of "gemini-3.1-pro-preview"; 0 of a model that is none of Google's, or says no number."""
    found = _VERSION.search(model)
    return int(found[1]) if found else 0


def thinking_config(request: ChatRequest, dropped: MutableMapping[str, None]) -> dict[str, Any] | None:
    """`thinkingConfig` for the effort or budget asked for; thoughts are shown, as they are everywhere else.

    What the model does not offer becomes the nearest that it does, and is named in `dropped`.
    """
    effort, budget = request.reasoning_effort, request.reasoning_budget_tokens
    if effort is None and budget is None:
        return None
    if effort is not None and budget is not None:
        dropped["reasoning_effort"] = None  # the API takes one of the two
    if version(request.model) >= 3:
        level = _level(request.model, effort_of(budget) if budget is not None else effort or "", dropped)
        return None if level is None else {"thinkingLevel": level, "includeThoughts": True}
    if budget is None:
        budget = 0 if effort == "none" else budget_of(effort or "")
    if budget is None:
        dropped["reasoning_effort"] = None  # a word that nobody knows
        return None
    fitting = _fitting(request.model, budget)
    if fitting != budget:
        dropped["reasoning_effort" if request.reasoning_budget_tokens is None else "thinking.budget_tokens"] = None
    return {"thinkingBudget": fitting, "includeThoughts": True} if fitting else {"thinkingBudget": 0}


def _level(model: str, effort: str, dropped: MutableMapping[str, None]) -> str | None:
    level = _LEVELS.get(effort) or _NEAREST.get(effort)
    if level == "MINIMAL" and "pro" in model:
        level = "LOW"  # the least of the Pro models
    if level is None or level != _LEVELS.get(effort):
        dropped["reasoning_effort"] = None
    return level


def _fitting(model: str, budget: int) -> int:
    known = next((limits for name, limits in _BUDGETS.items() if model.rpartition("/")[2].startswith(name)), None)
    if known is None or (budget == 0 and known[0]):
        return budget
    return min(max(budget, known[1]), known[2])
