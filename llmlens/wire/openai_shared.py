"""Parameters that mean the same in chat completions and in Responses, and have no place in `ChatRequest`. No I/O."""

from collections.abc import Mapping
from typing import Any

SHARED = (
    "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier", "store",
)  # fmt: skip
VERBOSITY = ("verbosity", "text.verbosity")  # in chat completions, in Responses
_TIERS = frozenset({"auto", "default", "flex", "priority", "scale"})  # Anthropic has other words


def carried(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What of the inbound dialect's own parameters has a place in both."""
    names = [name for name in (*SHARED, *VERBOSITY) if name in extra]
    return {name: extra[name] for name in names if name != "service_tier" or str(extra[name]) in _TIERS}


def verbosity_of(carried: Mapping[str, Any]) -> Any:
    """How much the model is to say, whatever it is called; None where nothing is asked."""
    return next((carried[name] for name in VERBOSITY if name in carried), None)
