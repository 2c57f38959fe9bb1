"""Token counts of Gemini ↔ `Usage`. No I/O."""

from collections.abc import Mapping
from typing import Any

from llmlens.records import Usage
from llmlens.wire.json_text import as_int

_COUNTS = (
    "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount",
    "cachedContentTokenCount", "totalTokenCount",
)  # fmt: skip


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """The counts in `usageMetadata`. A count of 0 is left out on the wire (proto3), so a known one proves the rest.

    What tools put into the prompt is stated beside it, cached tokens are inside it.
    """
    prompt, answer, thoughts, tools, cached, _total = counts = [as_int(raw.get(name)) for name in _COUNTS]
    if all(count is None for count in counts):
        return Usage()
    return Usage((prompt or 0) + (tools or 0), (answer or 0) + (thoughts or 0), cached, None, thoughts)


def usage_body(usage: Usage) -> dict[str, int] | None:
    """`usage` as `usageMetadata`, which has no place for `cache_write_tokens`; None where nothing is known."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    reasoning = usage.reasoning_tokens
    if reasoning is not None and usage.output_tokens is not None:
        reasoning = min(reasoning, usage.output_tokens)  # a few gateways count it apart; the total must stay true
    known = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, (usage.output_tokens or 0) - (reasoning or 0)),
        "thoughtsTokenCount": reasoning,
        "cachedContentTokenCount": usage.cache_read_tokens,
        "totalTokenCount": (usage.input_tokens or 0) + (usage.output_tokens or 0),
    }
    return {name: count for name, count in known.items() if count is not None}
