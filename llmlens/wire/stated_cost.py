"""What a provider says an answer cost, in exact USD. No I/O.

| who | where, in `usage` | unit |
| --- | --- | --- |
| OpenRouter, Vercel AI Gateway | `cost` | USD; 0 on the caller's own key: see `own_key_cost_usd` |
| Perplexity | `cost.total_cost` (with its request fee) | `cost.currency`, or USD where it names none |
| xAI, and xAI at Azure | `cost_in_usd_ticks` | 1e-10 USD |
| DeepInfra | `estimated_cost` | USD |

All of them put it into `usage`, whatever the dialect (chat, responses, embeddings). A whole body is taken as well: its
`usage`, else that of its `response` (the last event of a Responses stream).

Sources: the recordings; https://openrouter.ai/docs/use-cases/usage-accounting, https://docs.x.ai/docs/api-reference,
https://docs.perplexity.ai/api-reference/chat-completions-post, https://deepinfra.com/docs/openai_api.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from llmlens.wire.json_text import as_dict

USD: Final = Decimal(1)
TICK_USD: Final = Decimal("1e-10")  # xAI
MAX_USD: Final = Decimal(1_000_000)  # what claims more is no cost of one answer; the log's column ends at 1e8


def stated_cost_usd(usage_or_body: Mapping[str, Any]) -> Decimal | None:
    """USD that the provider charged its own customer for this answer; None where it does not say. Never raises.

    A stated 0 is 0: free models, calls on the caller's own key at the upstream, and Azure, which leaves xAI's at 0.
    """
    usage = _usage(usage_or_body)
    cost = usage.get("cost")
    if isinstance(cost, Mapping):
        return _usd(cost.get("total_cost")) if cost.get("currency") in (None, "USD") else None
    stated = ((cost, USD), (usage.get("cost_in_usd_ticks"), TICK_USD), (usage.get("estimated_cost"), USD))
    return next((usd for value, unit in stated if (usd := _usd(value, unit)) is not None), None)


def own_key_cost_usd(usage_or_body: Mapping[str, Any]) -> Decimal | None:
    """USD that the upstream provider bills beside `stated_cost_usd`, because the caller's own key there was used.

    None where no own key was used (then the stated cost is all of it) or where the router does not say.
    """
    usage = _usage(usage_or_body)
    if usage.get("is_byok") is not True:
        return None
    upstream = _usd(as_dict(usage.get("cost_details")).get("upstream_inference_cost"))
    return upstream if upstream is not None else _usd(usage.get("market_cost"))


def _usage(usage_or_body: Mapping[str, Any]) -> Mapping[str, Any]:
    for holder in (usage_or_body, as_dict(usage_or_body.get("response"))):
        if isinstance(found := holder.get("usage"), Mapping):
            return found
    return usage_or_body


def _usd(value: Any, unit: Decimal = USD) -> Decimal | None:
    """`value` of `unit`s as the JSON text wrote it: a float's repr is the shortest text that means it, 0.1 is 0.1."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return amount * unit if amount.is_finite() and 0 <= amount <= MAX_USD / unit else None
