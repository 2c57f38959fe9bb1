"""The unified API: every recorded answer of every family, asked for by the official SDK of every inbound dialect.

What the SDK makes of the translated answer is what the provider said: text, thinking, tool calls, why it ended, usage;
an error is the SDK's own exception with the provider's words.
"""

import time
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors

from llmlens.records import Reply
from llmlens.wire.accumulate import read_stream
from tests.gateway.sdk_callers import ASK, ERRORS, Seen, meaning, parsed
from tests.gateway.unified import PROVIDERS, Unified, chat_dialect, unified
from tests.wire.test_recorded import ROWS, Row, body_of

__all__ = ["unified"]  # a fixture

CHAT_ROWS = [row for row in ROWS if row["dialect"] in PROVIDERS]
IDS = "call_1", "call_2"


def read(row: Row) -> Reply:
    """What the provider said."""
    dialect, status, body = chat_dialect(row["dialect"]), row["response"]["status"], body_of(row)
    return read_stream(dialect, [body]) if row["stream"] and status < 400 else dialect.read_reply(status, body)


def check_answer(seen: Seen, reply: Reply) -> None:
    assert (reply.fault, reply.complete) == (None, True), "the SDK should have raised"
    choice = reply.choices[0] if reply.choices else None
    calls = [(call.name, parsed(call.arguments)) for call in reply.tool_calls]
    assert seen.text == (reply.text or "") + (reply.refusal or "")
    assert seen.thinking == (reply.reasoning_text or "")
    assert seen.calls == calls
    assert all(seen.ids), "every call has an id"
    if choice is not None and (word := choice.finish_detail or choice.finish_reason):
        assert seen.ended == meaning(word, calls)
    counts = (reply.usage.input_tokens, reply.usage.output_tokens)
    if None not in counts:
        assert seen.usage == counts
    if seen.created_s is not None:
        assert abs(seen.created_s - time.time()) < 3600


OF_OPENAI = {400: openai.BadRequestError, 401: openai.AuthenticationError, 403: openai.PermissionDeniedError,
             404: openai.NotFoundError, 422: openai.UnprocessableEntityError, 429: openai.RateLimitError}  # fmt: skip
OF_ANTHROPIC = {400: anthropic.BadRequestError, 401: anthropic.AuthenticationError,
                403: anthropic.PermissionDeniedError, 404: anthropic.NotFoundError,
                422: anthropic.UnprocessableEntityError, 429: anthropic.RateLimitError}  # fmt: skip
KINDS: dict[str, Any] = {
    "openai.chat": (OF_OPENAI, openai.APIStatusError, openai.InternalServerError),
    "openai.responses": (OF_OPENAI, openai.APIStatusError, openai.InternalServerError),
    "anthropic.messages": (OF_ANTHROPIC, anthropic.APIStatusError, anthropic.InternalServerError),
    "gemini.generate": ({}, errors.ClientError, errors.ServerError),
}


def kind_of(inbound: str, status: int) -> Any:
    """The exception that the SDK has for `status`."""
    known, client, server = KINDS[inbound]
    return server if status >= 500 else known.get(status, client)


def message_of(error: Any) -> str:
    if isinstance(error, errors.APIError):
        return str(error.message)
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("error", body).get("message"))


def check_error(error: Any, inbound: str, reply: Reply, status: int) -> None:
    fault = reply.fault
    if fault is None:
        assert not reply.complete, f"raised {error!r}"
        return
    assert message_of(error) == fault.message
    if status >= 400:
        assert isinstance(error, kind_of(inbound, status))
        assert getattr(error, "status_code", getattr(error, "code", None)) == status
    elif fault.status is not None and not isinstance(error, openai.APIError):
        # in mid-stream; OpenAI's SDK has no class for a stream's errors
        assert getattr(error, "status_code", getattr(error, "code", None)) in (200, fault.status)


@pytest.mark.skipif(not ROWS, reason="no recordings beside this checkout")
@pytest.mark.parametrize("inbound", ASK)
def test_every_recorded_answer_is_understood(unified: Unified, inbound: str) -> None:
    failures: list[str] = []
    rows = [row for row in CHAT_ROWS if row["dialect"] != inbound]
    for row in rows:
        unified.answers[:] = [row]
        reply, status = read(row), row["response"]["status"]
        try:
            try:
                seen = unified.ask(inbound, row["dialect"], stream=row["stream"])
            except ERRORS as error:
                check_error(error, inbound, reply, status)
            else:
                check_answer(seen, reply)
        except (AssertionError, ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:
            failures.append(f"{row['id']}: {type(error).__name__} {str(error)[:500]}")
    assert not failures, f"{len(failures)} of {len(rows)}:\n" + "\n".join(failures)
    logged = unified.gateway.rows("SELECT dialect, upstream_dialect FROM calls")
    assert len(logged) == len(rows)
    assert {row["dialect"] for row in logged} == {inbound}
    assert {row["upstream_dialect"] for row in logged} == PROVIDERS.keys() - {inbound}
