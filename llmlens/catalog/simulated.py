"""The models of the simulated provider: what they can do, how fast they are, what they cost. All of it is made up.

Prices are part of the simulation: a budget can be demonstrated with them, and no one pays them.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

PROVIDER = "sim"
FINGERPRINT = "simulated"
CONTEXT_TOKENS = 128_000


@dataclass(frozen=True, slots=True)
class SimPrice:
    """USD per million tokens."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal


@dataclass(frozen=True, slots=True)
class SimModel:
    """One simulated model.

    error_rate: the share of arithmetic and classification answers that are wrong, at every temperature (`skills.py`).
    first_token_s, tokens_per_s: its pace.
    behaviour: "answer", or how it misbehaves; "embed" serves /embeddings only.
    """

    name: str
    error_rate: float
    first_token_s: float
    tokens_per_s: float
    price: SimPrice
    behaviour: Literal["answer", "echo", "flaky", "down", "limited", "embed"] = "answer"


def _model(
    name: str, rate: float, pace: tuple[float, float], usd: tuple[str, str], behaviour: str = "answer"
) -> SimModel:
    price = SimPrice(Decimal(usd[0]), Decimal(usd[1]))
    return SimModel(name, rate, *pace, price, behaviour)  # type: ignore[arg-type]


SIM_MODELS: dict[str, SimModel] = {
    model.name: model
    for model in (
        _model("large", 0.04, (0.35, 60), ("3", "15")),
        _model("medium", 0.12, (0.18, 120), ("0.5", "2")),
        _model("small", 0.30, (0.08, 250), ("0.1", "0.4")),
        _model("echo", 0.0, (0.01, 1000), ("0.1", "0.4"), "echo"),
        _model("slow", 0.12, (2.0, 20), ("0.5", "2")),
        _model("flaky", 0.12, (0.18, 120), ("0.5", "2"), "flaky"),
        _model("limited", 0.12, (0.18, 120), ("0.5", "2"), "limited"),
        _model("down", 0.12, (0.18, 120), ("0.5", "2"), "down"),
        _model("embed", 0.0, (0.03, 100_000), ("0.02", "0"), "embed"),
    )
}
SIM_PRICES: dict[str, SimPrice] = {name: model.price for name, model in SIM_MODELS.items()}
