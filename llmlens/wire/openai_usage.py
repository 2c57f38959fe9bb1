"""Token counts of the OpenAI family → `Usage`, with the corrections that `total_tokens` proves. No I/O."""

from collections.abc import Mapping
from typing import Any

from llmlens.records import Usage
from llmlens.wire.json_text import as_dict, as_int


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """The counts in a chat completion's `usage`.

    xAI leaves reasoning out of `completion_tokens`, Mistral leaves audio out of `prompt_tokens`; both are added back
    only where `total_tokens` is exactly the sum that says so. Vercel's totals prove nothing and are taken as stated.
    """
    details_in = as_dict(raw.get("prompt_tokens_details"))
    details_out = as_dict(raw.get("completion_tokens_details"))
    prompt, completion = as_int(raw.get("prompt_tokens")), as_int(raw.get("completion_tokens"))
    reasoning = _first(details_out.get("reasoning_tokens"), raw.get("reasoning_tokens"))
    total = as_int(raw.get("total_tokens"))
    if prompt is not None and completion is not None and total is not None:
        missing = total - prompt - completion
        if missing > 0 and missing == reasoning:
            completion += missing
        elif missing > 0 and missing == as_int(details_in.get("audio_tokens")):
            prompt += missing
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=_first(
            details_in.get("cached_tokens"),
            raw.get("prompt_cache_hit_tokens"),  # DeepSeek
            raw.get("cached_tokens"),  # Moonshot
            raw.get("num_cached_tokens"),  # Mistral
        ),
        cache_write_tokens=_first(details_in.get("cache_write_tokens"), raw.get("cache_creation_input_tokens")),
        reasoning_tokens=reasoning,
    )


def usage_body(usage: Usage) -> dict[str, Any] | None:
    """`usage` in the shape of a chat completion; None unless input and output are known (both are required there)."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    body: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    details_in = {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens}
    if known := {k: v for k, v in details_in.items() if v is not None}:
        body["prompt_tokens_details"] = known
    if usage.reasoning_tokens is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return body


def _first(*values: object) -> int | None:
    for value in values:
        if value is not None and (count := as_int(value)) is not None:
            return count
    return None
