"""Newer prices without a newer llmlens: from genai-prices' own address, a file, or an installed genai-prices.

What comes in is checked whole, reduced to what prices need and written in one step; a failure leaves the old file.
A running gateway reads the file at its next start.

`python -m llmlens.catalog.price_update` rewrites the list that ships with llmlens from the installed genai-prices.
"""

import dataclasses
import urllib.request
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError

import msgspec

from llmlens.catalog.price_list import SHIPPED, PriceList
from llmlens.errors import SettingsError

DATA_URL: Final = "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/data.json"
MAX_BYTES: Final = 32 * 1024 * 1024  # the list has 1.3 MB with all its descriptions
TIMEOUT_S: Final = 30.0
_MODEL_KEYS: Final = ("id", "match", "context_window", "prices", "price_variants")
_PROVIDER_KEYS: Final = ("id", "fallback_model_providers")


@dataclasses.dataclass(frozen=True, slots=True)
class Updated:
    """What `update_prices` wrote."""

    path: Path
    source: str
    n_providers: int
    n_models: int


def update_prices(cached: Path, now: datetime, file: Path | None = None, url: str = DATA_URL) -> Updated:
    """Write the newest prices to `cached`: those in `file` (genai-prices' `data.json`), else those at `url`.

    `file` may also be the word Path("genai-prices"): the list of the installed package of that name.

    Raises:
        SettingsError: they cannot be read, or are no price list; names the place and says what to do.
    """
    place = str(file) if file is not None else url
    try:
        if file is None:
            source, raw = f"genai-prices data of {now:%Y-%m-%d}", _parsed(_download(url))
        elif place == "genai-prices" and not file.exists():
            source, raw = from_package()
        else:
            source, raw = f"genai-prices data in {file.name}, {now:%Y-%m-%d}", _parsed(_read(file))
        content = list_file(source, now, raw)
        n_models = PriceList.of(content).check()
    except (OSError, ValueError, ImportError) as error:
        hint = f"; without a network, save {url} elsewhere and pass it with --file" if file is None else ""
        raise SettingsError(f"no prices from {place}: {error}{hint}. The prices in use stay as they are") from error
    _replace(cached, content)
    return Updated(cached, source, len(raw), n_models)


def list_file(source: str, taken_at: datetime, providers: list[dict[str, Any]]) -> bytes:
    """The file that `PriceList.of` reads, one model a line, from the providers of genai-prices' data.

    Raises:
        ValueError: `providers` is not such data.
    """
    try:
        blocks = [_provider_block(provider) for provider in providers]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not genai-prices' data (format v2): {error!r}") from error
    if not blocks:
        raise ValueError("it has no providers")
    head = _json({"source": source, "taken_at": taken_at.astimezone(UTC)})[:-1]
    return head + b',"providers":[\n' + b",\n".join(blocks) + b"\n]}\n"


def from_package() -> tuple[str, list[dict[str, Any]]]:
    """The list of the installed genai-prices, and what to call it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ImportError as error:
        raise ImportError("the package genai-prices is not installed (pip install -U genai-prices)") from error
    return f"genai-prices {genai_prices.__version__}", [_plain(row) for row in get_snapshot().providers]


# ── in and out ────────────────────────────────────────────────────────────────────────────────────────────────────


def _download(url: str) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise ValueError("only http:// and https:// can be read")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the scheme was checked
            return _bounded(answer.read(MAX_BYTES + 1))
    except (URLError, HTTPException) as error:
        raise OSError(str(error)) from error


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return _bounded(stream.read(MAX_BYTES + 1))


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    return content


def _parsed(content: bytes) -> list[dict[str, Any]]:
    """The providers in genai-prices' data, or in a file that `update_prices` wrote. Numbers become Decimals."""
    try:
        value = _decode(content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if isinstance(value, dict):
        value = value.get("providers")
    if isinstance(value, list):
        return value
    raise ValueError("it must be an array of providers")


def _replace(path: Path, content: bytes) -> None:
    """Write in one step: who reads at the same time sees the old file or the new one."""
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SettingsError(f"the prices cannot be written to {path}: {error}") from error


# ── reducing ──────────────────────────────────────────────────────────────────────────────────────────────────────

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_json = msgspec.json.Encoder(decimal_format="number").encode


def _provider_block(provider: dict[str, Any]) -> bytes:
    head = _json({key: provider[key] for key in _PROVIDER_KEYS if provider.get(key)})[:-1]
    models = [_json({key: row[key] for key in _MODEL_KEYS if row.get(key) is not None}) for row in provider["models"]]
    return head + b',"models":[\n' + b",\n".join(models) + b"\n]}"


def _plain(value: Any) -> Any:
    """A row of the package as its JSON has it: fields that say nothing are left out."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if not hasattr(value, "__dict__"):
        return value
    return {key.rstrip("_"): _plain(item) for key, item in vars(value).items() if item is not None and key[0] != "_"}


if __name__ == "__main__":
    version, rows = from_package()
    _replace(Path(str(SHIPPED)), list_file(version, datetime.now(UTC), rows))
