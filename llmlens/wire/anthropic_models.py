"""What differs between Claude's models: how they are told to think, and to sample. No I/O.

Sources: https://platform.claude.com/docs/en/build-with-claude/extended-thinking (what thinking goes without),
/docs/en/about-claude/models/whats-new-claude-4-7 (sampling), and the API's own messages.
"""

import re
from dataclasses import dataclass
from typing import Any

from llmlens.records import ChatRequest
from llmlens.wire.effort import MIN_BUDGET_TOKENS, budget_of, effort_of

# Anthropic needs a limit. 8192 is what the smallest model in service allows; a larger number would be refused there.
DEFAULT_MAX_TOKENS = 8192
_VERSION = re.compile(r"claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_ONE_OF_TWO = (4, 1)  # from here on temperature and top_p are refused together
_ADAPTIVE = (4, 6)  # from here on effort is `output_config.effort`, before it a budget in tokens
_NO_SAMPLING = (4, 7)  # from here on sampling is not for callers to choose, and budgets are refused
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
MIN_TOP_P = 0.95  # while thinking

Dropped = dict[str, None]  # names, in order, each once


def version(model: str) -> tuple[int, int]:
    """(4, 6) of "claude-opus-4-6"; (0, 0) of older names and of models that are not Claude."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


# ── thinking ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Thinks:
    """`thinking` and `effort` as they are sent, and the output limit, which must leave room for the answer."""

    max_tokens: int
    thinking: dict[str, Any] | None = None
    effort: str | None = None

    @property
    def on(self) -> bool:
        return self.thinking is not None and self.thinking["type"] != "disabled"


def build_thinking(request: ChatRequest, dropped: Dropped) -> Thinks:
    """How much to think. What the model does not offer becomes the nearest that it does, and is named in `dropped`."""
    effort, budget, limit = request.reasoning_effort, request.reasoning_budget_tokens, request.max_output_tokens
    if effort == "none":
        return Thinks(limit or DEFAULT_MAX_TOKENS, {"type": "disabled"})
    if effort is None and budget is None:
        return Thinks(limit or DEFAULT_MAX_TOKENS)
    if version(request.model) >= (_ADAPTIVE if budget is None else _NO_SAMPLING):
        effort = effort or effort_of(budget or 0)
        if effort not in _EFFORTS:
            dropped["reasoning_effort"] = None  # "minimal" has no equal; "low" is the nearest
        thinking = None if _forced(request) else {"type": "adaptive"}
        return Thinks(limit or DEFAULT_MAX_TOKENS, thinking, effort if effort in _EFFORTS else "low")
    wanted = budget_of(effort or "") if budget is None else budget
    fitting = None if wanted is None or _forced(request) else _fitting(wanted, limit)
    if fitting is None or fitting != wanted:
        dropped["reasoning_effort" if budget is None else "thinking.budget_tokens"] = None
    stated = effort if budget is not None and effort in _EFFORTS else None
    if fitting is None:
        return Thinks(limit or DEFAULT_MAX_TOKENS, None, stated)
    return Thinks(limit or fitting + DEFAULT_MAX_TOKENS, {"type": "enabled", "budget_tokens": fitting}, stated)


def _forced(request: ChatRequest) -> bool:
    """Whether a tool must be called: then the model must not think first."""
    choice = request.tool_choice
    return bool(request.tools) and choice is not None and choice.mode in ("required", "tool")


def _fitting(budget: int, limit: int | None) -> int | None:
    """The budget nearest to `budget` that Anthropic takes: half of the output limit where all of it would go."""
    budget = max(budget, MIN_BUDGET_TOKENS)
    if limit is None or budget < limit:
        return budget
    return limit // 2 if limit // 2 >= MIN_BUDGET_TOKENS else None


# ── sampling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def build_sampling(request: ChatRequest, dropped: Dropped, *, thinks: bool) -> dict[str, Any]:
    """`temperature`, `top_p` and `top_k`; what would be refused is left out and named in `dropped`."""
    known = version(request.model)
    fixed = known >= _NO_SAMPLING
    temperature = _temperature(request.temperature, dropped, fixed=fixed or thinks)
    top_p, top_k = request.top_p, request.top_k
    if top_p is not None and (
        fixed or (thinks and top_p < MIN_TOP_P) or (known >= _ONE_OF_TWO and temperature is not None)
    ):
        dropped["top_p"], top_p = None, None
    if top_k is not None and (fixed or thinks):
        dropped["top_k"], top_k = None, None
    told = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
    return {name: value for name, value in told.items() if value is not None}


def _temperature(value: float | None, dropped: Dropped, *, fixed: bool) -> float | None:
    if value is None or value == 1 or (value < 1 and not fixed):
        return value
    dropped["temperature"] = None
    return None if fixed else 1.0  # OpenAI's scale ends at 2; the nearest is sent
