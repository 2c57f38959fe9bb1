"""What Converse says for each vendor's models in another way: sampling, thinking, parallel calls. No I/O.

What it has no field for goes into `additionalModelRequestFields`, in the words of the model's vendor. Sources:
https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html, …/nova/latest/userguide
(topK), and BerriAI/litellm#34347 (`disable_parallel_tool_use` by way of Converse).
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from llmlens.records import ChatRequest
from llmlens.wire.anthropic_build import build_request as build_claude
from llmlens.wire.effort import effort_of

_CLAUDE = re.compile(r"claude|anthropic")
_OLD_CLAUDE = re.compile(r"claude-(?:instant|v\d|[23]|(?:opus|sonnet)-4-(?:1|2\d{7}))")  # one call at a time is unknown
_OF_MESSAGES = ("seed", "presence_penalty", "frequency_penalty", "n")  # the caller of this looks after them


@dataclass(slots=True)
class Options:
    """`inference`: inferenceConfig; `additional`: additionalModelRequestFields; `effort`: outputConfig.effort;
    `tells_choice`: the choice of tool is in `additional`."""

    inference: dict[str, Any] = field(default_factory=dict)
    additional: dict[str, Any] = field(default_factory=dict)
    effort: str | None = None
    tells_choice: bool = False


def is_claude(request: ChatRequest) -> bool:
    """Whether the model is one of Anthropic's; that of a profile known by its ARN only cannot be told."""
    return _CLAUDE.search(request.model) is not None


def build_options(request: ChatRequest, dropped: dict[str, None]) -> Options:
    """How `request` is to be sampled. Names of what the model has no word for are added to `dropped`."""
    claude = is_claude(request)
    stop = [s for s in request.stop if (s.strip() if claude else s)]
    if len(stop) < len(request.stop):
        dropped["stop"] = None  # Bedrock refuses empty ones, and Claude white space
    options = _claude(request, dropped) if claude else _others(request, dropped)
    options.inference["stopSequences"] = stop or None
    options.inference = {k: v for k, v in options.inference.items() if v is not None}
    return options


def _claude(request: ChatRequest, dropped: dict[str, None]) -> Options:
    """Thinking and temperature follow the rules of Anthropic Messages, which knows them best."""
    asked = replace(request, messages=(), stop=(), response_format=None, extra={}, user=None)
    body, lost = build_claude(asked)
    dropped.update(dict.fromkeys(name for name in lost if name not in _OF_MESSAGES))
    thinking = body.get("thinking", {})
    stated = request.max_output_tokens is not None or thinking.get("type") == "enabled"
    limit = body["max_tokens"] if stated else None
    options = Options({"maxTokens": limit, "temperature": body.get("temperature"), "topP": body.get("top_p")})
    options.additional = {k: body[k] for k in ("thinking", "top_k") if k in body}
    options.effort = body.get("output_config", {}).get("effort")
    if request.parallel_tool_calls is False and request.tools:
        choice = request.tool_choice
        if (choice is None or choice.mode == "auto") and not _OLD_CLAUDE.search(request.model):
            # both this and `toolConfig.toolChoice` would be refused
            options.additional["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
            options.tells_choice = True
        elif choice is None or choice.mode != "none":
            dropped["parallel_tool_calls"] = None
    return options


def _others(request: ChatRequest, dropped: dict[str, None]) -> Options:
    limit = request.max_output_tokens
    options = Options({"maxTokens": limit, "temperature": request.temperature, "topP": request.top_p})
    if request.temperature is not None and request.temperature > 1:
        dropped["temperature"] = None  # OpenAI's scale ends at 2; the nearest is sent
        options.inference["temperature"] = 1.0
    if request.top_k is not None and "nova" in request.model:
        options.additional["inferenceConfig"] = {"topK": request.top_k}
    elif request.top_k is not None:
        dropped["top_k"] = None
    effort, budget = request.reasoning_effort, request.reasoning_budget_tokens
    if effort is None and budget is not None:
        effort = effort_of(budget)
    if effort is not None and "gpt-oss" in request.model:
        options.additional["reasoning_effort"] = effort
    elif effort not in (None, "none"):
        dropped["reasoning_effort"] = None
    if request.parallel_tool_calls is False and request.tools:
        dropped["parallel_tool_calls"] = None
    return options
