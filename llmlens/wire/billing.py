"""What sets the price of an answer beside its `Usage`: the kind of call, and finer counts. No I/O.

Both are in the words of genai-prices, so that `catalog.prices.price(…, kind=, counts=)` takes them as they are.
Sources: the recordings; https://platform.openai.com/docs/guides/flex-processing,
https://docs.anthropic.com/en/api/service-tiers, https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching,
https://ai.google.dev/api/generate-content#UsageMetadata.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from llmlens.errors import WireError
from llmlens.wire.json_text import as_dict, as_int, as_list, as_str, loads

# A provider's word (lower case, without Google's prefixes) → kind. Words that mean the usual price are not in it.
_KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "flex": {"service_tier": "flex"},
    "on_demand_flex": {"service_tier": "flex"},  # Vertex
    "priority": {"service_tier": "priority"},
    "on_demand_priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "batch": {"processing": "batch"},  # Anthropic says it of answers from its batches
}
# Bucket → the places in a usage object that count it.
_PLACES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "cache_write_1h": (("cache_creation", "ephemeral_1h_input_tokens"),),
    "input_audio": (("prompt_tokens_details", "audio_tokens"), ("input_tokens_details", "audio_tokens")),
    "input_image": (("prompt_tokens_details", "image_tokens"), ("input_tokens_details", "image_tokens")),
    "output_audio": (("completion_tokens_details", "audio_tokens"), ("output_tokens_details", "audio_tokens")),
    "output_image": (("completion_tokens_details", "image_tokens"), ("output_tokens_details", "image_tokens")),
    "web_searches": (
        ("server_tool_use", "web_search_requests"),  # Anthropic
        ("server_tool_use_details", "web_search_requests"),  # OpenRouter
        ("server_side_tool_usage_details", "web_search_calls"),  # xAI
    ),
}
# Gemini: list of {modality, tokenCount} → buckets.
_MODALITIES: Final[Mapping[str, Mapping[str, str]]] = {
    "promptTokensDetails": {"AUDIO": "input_audio", "IMAGE": "input_image", "VIDEO": "input_video"},
    "candidatesTokensDetails": {"AUDIO": "output_audio", "IMAGE": "output_image"},
    "cacheTokensDetails": {"AUDIO": "cache_audio_read", "IMAGE": "cache_image_read"},
}


# An answer (or a line of one) without any of these has the usual price, and is not parsed again.
_TELLING: Final = re.compile(
    rb'"(?:service_?tier|traffictype)"\s*:\s*"[a-z_]*(?:flex|priority|batch|fast)"|"speed"\s*:\s*"fast"'
    rb'|"(?:ephemeral_1h_input|audio|image)_tokens"\s*:\s*[1-9]|"web_search_(?:requests|calls)"\s*:\s*[1-9]'
    rb'|"modality"\s*:\s*"(?:audio|image|video)"|"ttl"\s*:\s*"1h"',
    re.IGNORECASE,
)


# Plain substrings are found ten times faster; most answers hold none of these.
_WORDS: Final = (b"tier", b"Tier", b"trafficType", b'"fast"', b"_1h_", b'"1h"', b"audio_tokens", b"image_tokens",
                 b"web_search", b"modality")  # fmt: skip


def _tells(text: bytes) -> bool:
    return any(word in text for word in _WORDS) and _TELLING.search(text) is not None


class Billing(NamedTuple):
    """What sets the price beside a `Usage`: see `kind_of_call` and `finer_counts`."""

    kind: Mapping[str, str] = {}
    counts: Mapping[str, int] = {}


def billing_of(answer: bytes, request: bytes) -> Billing:
    """What `answer` (plain JSON, server-sent events or JSON lines) states, else what `request` asks; never raises."""
    kind: dict[str, str] = {}
    counts: dict[str, int] = {}
    if _tells(request):
        for value in _objects(request):
            kind |= kind_of_call(value)
    if _tells(answer):
        for value in _objects(answer):
            kind |= kind_of_call(value)
            counts |= finer_counts(value)
    return Billing(kind, counts)


def _objects(answer: bytes) -> Iterator[dict[str, Any]]:
    try:
        value = loads(answer)
    except WireError:
        for line in answer.splitlines():
            if _tells(line):
                with suppress(WireError):
                    yield as_dict(loads(line.removeprefix(b"data:")))
    else:
        yield from map(as_dict, value if isinstance(value, list) else [value])


def kind_of_call(body: Mapping[str, Any]) -> dict[str, str]:
    """The service tier, batch and fast mode that an answer (or one event of its stream) states; else nothing.

    Takes a request too, for answers that do not say: what was asked for is then the best that is known.
    """
    found: dict[str, str] = {}
    for holder in _holders(body):
        for name in ("service_tier", "serviceTier", "trafficType"):
            word = (as_str(holder.get(name)) or "").lower().removeprefix("service_tier_")
            found |= _KINDS.get(word, {})
        if holder.get("speed") == "fast":  # Anthropic's fast mode
            found["speed"] = "fast"
    return found


def finer_counts(body: Mapping[str, Any]) -> dict[str, int]:
    """Parts of the counts by bucket, and searches, that an answer (or a usage object) states; zeros are left out."""
    found: dict[str, int] = {}
    for usage in _holders(body):
        for bucket, places in _PLACES.items():
            for outer, inner in places:
                if n := as_int(as_dict(usage.get(outer)).get(inner)):
                    found[bucket] = n
        for name, buckets in _MODALITIES.items():
            for row in map(as_dict, as_list(usage.get(name))):
                bucket, n = buckets.get(str(row.get("modality")), ""), as_int(row.get("tokenCount"))
                if bucket and n:
                    found[bucket] = n
        for row in map(as_dict, as_list(usage.get("cacheDetails"))):  # Bedrock
            if row.get("ttl") == "1h" and (n := as_int(row.get("inputTokens"))):
                found["cache_write_1h"] = n
    return found


def _holders(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """`body`, what a stream's event wraps (Responses, Anthropic), and their usage objects."""
    for holder in (body, as_dict(body.get("response")), as_dict(body.get("message"))):
        yield holder
        yield as_dict(holder.get("usage"))
        yield as_dict(holder.get("usageMetadata"))
