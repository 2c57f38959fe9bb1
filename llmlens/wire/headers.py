"""The `x-llmlens-…` headers: their names, and the provenance they carry. Pure; both sides of the door use it.

A cell travels as RFC 8941 style parameters, `"<cell id>"; n=<execution count>; sha=<hex>`, a run as
`<run id>; commit=<hex>; dirty=1`. Text outside printable ASCII is percent-encoded, since HTTP headers are ASCII.
"""

from collections.abc import Mapping
from urllib.parse import quote, unquote

from llmlens.records import Provenance

PREFIX = "x-llmlens-"
KEY = "x-llmlens-key"
CACHE = "x-llmlens-cache"
SAMPLE = "x-llmlens-sample"
TAGS = "x-llmlens-tags"
ORIGIN = "x-llmlens-origin"
NOTEBOOK = "x-llmlens-notebook"
CELL = "x-llmlens-cell"
RUN = "x-llmlens-run"
TTL = "x-llmlens-ttl"  # seconds a stored answer stays good; without it, for ever
KEY_OF = "x-llmlens-key-of"  # the provider that the credential in this request belongs to
GROUP = "x-llmlens-group"  # "<id>; k=0; n=12": the k-th of n identical calls that are sent at once
RECEIPT = "x-llmlens-receipt"  # "1": end a stream with a comment line, a plain answer with a header, of what it took
STRICT = "x-llmlens-strict"  # "1": refuse a call that cannot be translated whole
CALL_ID = "x-llmlens-call-id"
COST_USD = "x-llmlens-cost-usd"
MODEL = "x-llmlens-model"
PROVIDER = "x-llmlens-provider"
ATTEMPTS = "x-llmlens-attempts"
OVERHEAD_MS = "x-llmlens-overhead-ms"
DROPPED = "x-llmlens-dropped"
ESTIMATED = "x-llmlens-estimated"  # "1": the gateway counted these tokens, not the provider
SIMULATED = "x-llmlens-simulated"

RECEIPT_COMMENT = b": llmlens-receipt "
"""What the closing comment line of a stream begins with; the rest of the line is a JSON object."""

MAX_FIELD_CHARS = 1024


def encode_provenance(where: Provenance) -> dict[str, str]:
    """Headers that carry `where`; empty for a Provenance that knows nothing."""
    headers: dict[str, str] = {}
    if where.notebook:
        headers[NOTEBOOK] = _quote(where.notebook)
    cell = {"n": where.execution_count, "sha": where.cell_sha}
    if where.cell_id or any(v is not None for v in cell.values()):
        headers[CELL] = _encode(where.cell_id or "", cell)
    if where.run_id:
        headers[RUN] = _encode(where.run_id, {"commit": where.git_commit, "dirty": _flag(where.git_dirty)})
    return headers


def decode_provenance(headers: Mapping[str, str]) -> Provenance:
    """The Provenance in `headers` (lower-case names). What cannot be read is None; never raises."""
    notebook, cell, run = headers.get(NOTEBOOK), headers.get(CELL), headers.get(RUN)
    if notebook is None and cell is None and run is None:
        return NOWHERE
    cell_id, in_cell = _decode(cell or "")
    run_id, in_run = _decode(run or "")
    count = in_cell.get("n", "")
    return Provenance(
        notebook=unquote(notebook)[:MAX_FIELD_CHARS] if notebook else None,
        cell_id=cell_id or None,
        execution_count=int(count) if count.isascii() and count.isdigit() and len(count) < 10 else None,
        cell_sha=in_cell.get("sha"),
        run_id=run_id or None,
        git_commit=in_run.get("commit"),
        git_dirty=in_run["dirty"] == "1" if "dirty" in in_run else None,
    )


NOWHERE = Provenance()


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _quote(text: str) -> str:
    return quote(text, safe=" /:.#?&=+@,()[]!*'~^$|", errors="replace")


def _encode(head: str, parameters: Mapping[str, object]) -> str:
    tail = "".join(f"; {name}={_quote(str(v))}" for name, v in parameters.items() if v is not None)
    return _quote(head) + tail


def _decode(value: str) -> tuple[str, dict[str, str]]:
    head, *rest = value.split(";")
    pairs = (part.strip().partition("=") for part in rest)
    return unquote(head)[:MAX_FIELD_CHARS], {k: unquote(v)[:MAX_FIELD_CHARS] for k, _, v in pairs if v}
