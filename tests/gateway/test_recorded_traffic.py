"""The recorded answers of real providers, played through the running gateway: bytes unchanged, rows as the wire says.

Every recording goes by the door an SDK in a notebook uses (its own path, with `x-llmlens-origin`) and by the native
prefix, and is cut at awkward places on the way from the provider.
"""

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from llmlens.catalog.providers import load_catalog, provider_for_url
from tests.conftest import Running
from tests.wire.test_recorded import APART, OVERLOOKED, ROWS, Row, body_of, expected, shared

pytestmark = pytest.mark.skipif(not ROWS, reason="no recordings beside this checkout")

CHECKED_HEADERS = ("content-type", "x-request-id", "request-id", "retry-after", "x-amzn-requestid", "x-amzn-errortype",
                   "x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining")  # fmt: skip
MAX_BYTEWISE = 3_000  # one HTTP chunk a byte is slow to send


def replay_module() -> ModuleType:
    path = (shared() or pytest.skip("no recordings")) / "data/traffic/replay_upstream.py"
    spec = importlib.util.spec_from_file_location("replay_upstream", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def playing() -> Iterator[str]:
    """The address of a provider that plays the recordings."""
    replay = replay_module()
    folder = (shared() or pytest.skip("no recordings")) / "data/traffic"
    records = [r for name in ("recorded", "documented_errors") for r in replay.load(str(folder / f"{name}.jsonl.gz"))]
    options = SimpleNamespace(bind="127.0.0.1", port=0, max_chunk=64, loose=False)
    server = replay.serve(records, options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def playback() -> Iterator[str]:
    """The address of a provider that plays the recordings."""
    with playing() as url:
        yield url


def config_for(playback: str) -> str:
    """Every provider of the catalogue, pointed at the playback server."""
    lines = ["[gateway]\nmax_attempts = 1\n"]
    for name, provider in load_catalog().items():
        if not provider.simulated:
            path = urlsplit(provider.base_url).path if "{" not in provider.base_url else ""
            lines.append(f'[providers.{name}]\nbase_url = "{playback}{path}"\n')
    return "\n".join(lines)


def provider_of(row: Row) -> str:
    found = provider_for_url(row["request"]["url"], load_catalog())
    if found is None:  # local servers whose port belongs to anyone
        pytest.fail(f"{row['request']['url']} is no provider's")
    return found[0].name


def send(gateway: Running, row: Row, split: str, door: str) -> httpx2.Response:
    url = urlsplit(row["request"]["url"])
    path = url.path + (f"?{url.query}" if url.query else "")
    headers = {"x-cassette-id": row["id"], "x-cassette-split": split, "x-llmlens-cache": "off",
               "accept-encoding": "identity"}  # fmt: skip
    if door == "origin":
        headers["x-llmlens-origin"] = f"{url.scheme}://{url.netloc}"
    else:
        path = f"/{provider_of(row)}{path}"
    return gateway.http.post(path, json=row["request"]["body"], headers=headers)


def told(row: dict[str, Any], want: Row) -> Row:
    """What `expected` states, from our row of the log."""
    calls = row["tool_calls"] or []
    return {
        "response_id": row["response_id"],
        "model": row["model_served"],
        "text": row["text"] or "",
        "reasoning_text": row["reasoning_text"] or "",
        "refusal": row["refusal"],
        "tool_calls": [(c["id"], c["name"], _parsed(c["arguments"])) for c in calls],
        "finish_reason": row["finish_reason"],
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "cached_input_tokens": row["cache_read_tokens"],
        "cache_write_tokens": row["cache_write_tokens"],
        "reasoning_tokens": row["reasoning_tokens"],
        **{name: want[name] for name in ("other_items", "tool_plan") if name in want},  # not columns of the log
    }


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return None


def check(row: dict[str, Any], record: Row) -> None:
    expect = record["expect"]
    if expect["kind"] == "completion":
        check_completion(row, record)
    elif expect["kind"] in ("error", "error_in_200"):
        code = expect["error_code"]
        assert (row["error_type"], row["error_code"]) == (expect["error_type"], None if code is None else str(code))
        if expect["error_message"] is not None:
            assert row["error_message"] == expect["error_message"]
        assert row["error_param"] == expect["error_param"]
        waits = [expect[name] for name in ("retry_after_s", "retry_delay_body_s") if expect.get(name) is not None]
        assert row["retry_after_s"] == (waits[0] if waits else None)
        assert row["outcome"] == "error"
    else:
        assert row["input_tokens"] == OVERLOOKED.get(record["id"], expect["input_tokens"])
        assert row["outcome"] == "complete"
    if expect["kind"] == "embedding":
        assert (row["model_served"], row["n_vectors"]) == (expect["model"], expect["n_vectors"])
        assert row["dimensions"] == expect["dimensions"]


def check_completion(row: dict[str, Any], record: Row) -> None:
    expect = record["expect"]
    skipped = {*(expect.get("ambiguous") or ()), *APART}
    want = expected(record)
    got = told(row, want)
    if row["usage_source"] == "estimated":  # the answer broke off, or states no counts
        skipped |= {"input_tokens", "output_tokens"}
        assert want["input_tokens"] is None or want["output_tokens"] is None or not expect.get("stream_complete", True)
    assert {k: v for k, v in got.items() if k not in skipped} == {k: v for k, v in want.items() if k not in skipped}
    if stated := expect.get("stated_cost"):
        assert float(row["stated_cost_usd"]) == pytest.approx(stated["usd"], abs=1e-10)
    if expect.get("incomplete_reason"):
        assert row["finish_detail"] == expect["incomplete_reason"]


@pytest.mark.parametrize(
    ("split", "door"),
    [("none", "origin"), ("none", "native"), ("random", "origin"), ("byte", "origin"), ("utf8", "origin"),
     ("recorded", "origin")],
)  # fmt: skip
def test_every_recording_passes_unchanged_and_is_read_right(
    start: Callable[..., Running], playback: str, split: str, door: str
) -> None:
    gateway = start(config_for(playback))
    records = [r for r in ROWS if split != "byte" or len(body_of(r)) <= MAX_BYTEWISE]
    calls: dict[str, Row] = {}
    failures: list[str] = []
    for record in records:
        try:
            answer = send(gateway, record, split, door)
            calls[answer.headers["x-llmlens-call-id"]] = record
            assert answer.status_code == record["response"]["status"]
            for name in CHECKED_HEADERS:
                if name in record["response"]["headers"]:
                    assert answer.headers[name] == record["response"]["headers"][name]
            assert answer.content == body_of(record)
        except (AssertionError, KeyError, httpx2.HTTPError) as error:
            failures.append(f"{record['id']}: {type(error).__name__} {str(error)[:500]}")
    rows = {row["call_id"]: row for row in gateway.rows(ROWS_SQL)}
    for call_id, record in calls.items():
        try:
            check(rows[call_id], record)
        except (AssertionError, KeyError) as error:
            failures.append(f"{record['id']} (row): {type(error).__name__} {str(error)[:700]}")
    assert not failures, f"{len(failures)} of {len(records)}:\n" + "\n".join(failures)


ROWS_SQL = """SELECT call_id, response_id, model_served, text, reasoning_text, refusal, tool_calls, finish_reason,
    finish_detail, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, usage_source,
    error_type, error_code, error_message, error_param, retry_after_s, outcome, n_vectors, dimensions,
    stated_cost_usd::VARCHAR AS stated_cost_usd FROM calls"""
