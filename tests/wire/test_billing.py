"""What sets a price beside the counts: the shortcut for ordinary answers must not overlook anything."""

import pytest

from llmlens.errors import WireError
from llmlens.wire.billing import Billing, billing_of, finer_counts, kind_of_call
from llmlens.wire.json_text import as_dict, loads
from tests.wire.test_recorded import ROWS, Row, body_of, ids


def everything(body: bytes) -> Billing:
    """The same by parsing all of it."""
    kind: dict[str, str] = {}
    counts: dict[str, int] = {}
    for part in [body, *body.splitlines()]:
        try:
            value = loads(part.removeprefix(b"data:"))
        except WireError:
            continue
        for each in map(as_dict, value if isinstance(value, list) else [value]):
            kind |= kind_of_call(each)
            counts |= finer_counts(each)
    return Billing(kind, counts)


@pytest.mark.skipif(not ROWS, reason="no recordings beside this checkout")
@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_the_shortcut_overlooks_nothing(row: Row) -> None:
    assert billing_of(body_of(row), b"") == everything(body_of(row))


def test_the_answer_counts_before_the_request() -> None:
    flex, priority = b'{"service_tier": "flex"}', b'data: {"service_tier":"priority","usage":{}}\n\n'
    assert billing_of(b"{}", flex).kind == {"service_tier": "flex"}
    assert billing_of(priority, flex).kind == {"service_tier": "priority"}
    assert billing_of(b'{"service_tier": "default"}', b"not json") == Billing()
    assert billing_of(b'{"usage": {"cache_creation": {"ephemeral_1h_input_tokens": 7}}}', b"").counts == {
        "cache_write_1h": 7
    }
