"""The unified API: every recorded answer of every family, asked for by the official SDK of every inbound dialect.

What the SDK makes of the translated answer is what the provider said: text, thinking, tool calls, why it ended, usage;
an error is the SDK's own exception with the provider's words.
"""

import time
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors, types

from llmlens.records import Ended, Finished, Reply, TextDelta, Usage, UsageSeen
from llmlens.wire.accumulate import read_stream
from llmlens.wire.dialects import COHERE_CHAT
from llmlens.wire.json_text import dumps
from tests.conftest import KEY
from tests.gateway.sdk_callers import ASK, ERRORS, Seen, meaning, parsed
from tests.gateway.unified import CALL, PROVIDERS, Unified, chat_dialect, gemini, given, unified
from tests.wire.test_recorded import ROWS, Row, body_of

__all__ = ["unified"]  # a fixture

CHAT_ROWS = [row for row in ROWS if row["dialect"] in PROVIDERS]


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


# ── what no recording shows ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("inbound", ["openai.chat", "openai.responses", "anthropic.messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_calls_without_an_id_get_one_of_their_own(unified: Unified, inbound: str, *, stream: bool) -> None:
    body = gemini({"functionCall": CALL}, {"functionCall": CALL})
    unified.answers[:] = [given("gemini.generate", b"data: " + dumps(body) + b"\n\n" if stream else body)]
    first, second = (unified.ask(inbound, "gemini.generate", stream=stream) for _ in range(2))
    assert first.calls == second.calls == [("weather", {"city": "Bern"})] * 2
    assert len({*first.ids, *second.ids}) == 4


@pytest.mark.parametrize("inbound", ASK)
def test_a_wait_reaches_the_caller_wherever_the_provider_says_it(unified: Unified, inbound: str) -> None:
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}
    told = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slower", "details": [wait]}}
    outbound = "openai.chat" if inbound == "gemini.generate" else "gemini.generate"
    headers = {"retry-after": "3"} if outbound == "openai.chat" else {}
    error = {"error": {"message": "slower", "type": "rate_limit"}} if outbound == "openai.chat" else told
    unified.answers[:] = [given(outbound, error, 429, **headers)]
    with pytest.raises(ERRORS, match="slower") as caught:
        unified.ask(inbound, outbound)
    raised: Any = caught.value
    if inbound == "gemini.generate":
        assert raised.details["error"]["details"][-1]["retryDelay"] == "3.000s"
    else:
        assert raised.response.headers["retry-after"] == "3"


@pytest.mark.parametrize("inbound", ASK)
def test_an_error_in_the_place_of_an_answer_has_its_status(unified: Unified, inbound: str) -> None:
    """OpenRouter says 200 and then that it failed; a proxy's page says nothing at all."""
    failed = {"error": {"message": "no provider", "code": 503}}
    outbound = "cohere.chat_v2" if inbound == "openai.chat" else "openai.chat"
    for body, status, words in ((failed, 503, "no provider"), (b"{<html>welcome", 502, "gave no answer")):
        unified.answers[:] = [given(outbound, body)]
        with pytest.raises(ERRORS, match=words) as caught:
            unified.ask(inbound, outbound)
        assert getattr(caught.value, "status_code", getattr(caught.value, "code", None)) == status


@pytest.mark.parametrize("inbound", ASK)
def test_an_answer_in_one_piece_to_a_call_for_a_stream(unified: Unified, inbound: str) -> None:
    outbound = "cohere.chat_v2"
    message = {"role": "assistant", "content": [{"type": "text", "text": "hi"}]}
    usage = {"tokens": {"input_tokens": 7, "output_tokens": 3}}
    unified.answers[:] = [given(outbound, {"id": "i", "finish_reason": "COMPLETE", "message": message, "usage": usage})]
    seen = unified.ask(inbound, outbound, stream=True)
    assert (seen.text, seen.ended, seen.usage) == ("hi", "stop", (7, 3))


def test_a_stream_of_chunks_has_its_time_and_no_usage_unless_asked(unified: Unified) -> None:
    unified.answers[:] = [given("gemini.generate", b"data: " + dumps(gemini({"text": "hi"})) + b"\n\n")]
    create = unified.clients["openai.chat"].chat.completions.create
    asked: dict[str, Any] = {"model": "gemini-generate/m", "messages": [{"role": "user", "content": "x"}]}
    chunks = list(create(**asked, stream=True))
    assert all(abs(chunk.created - time.time()) < 60 for chunk in chunks)
    assert {chunk.usage for chunk in chunks} == {None}
    last = list(create(**asked, stream=True, stream_options={"include_usage": True}))[-1]
    assert (last.choices, last.usage.total_tokens) == ([], 10)


@pytest.mark.parametrize("stream", [False, True])
def test_what_only_the_provider_knows_of_an_answer_is_named(unified: Unified, *, stream: bool) -> None:
    body = gemini({"executableCode": {"language": "PYTHON", "code": "1"}}, {"text": "one"})
    unified.answers[:] = [given("gemini.generate", b"data: " + dumps(body) + b"\n\n" if stream else body)]
    assert unified.ask("openai.chat", "gemini.generate", stream=stream).text == "one"
    assert unified.gateway.row()["dropped"] == ["answer.executableCode"]


async def test_the_async_clients_read_the_same(unified: Unified) -> None:
    url, headers = unified.gateway.url, {"x-llmlens-cache": "off"}
    unified.answers[:] = [given("cohere.chat_v2", COHERE_STREAM)]
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 0, "default_headers": headers}
    question: Any = [{"role": "user", "content": "x"}]
    async with openai.AsyncOpenAI(**options, base_url=f"{url}/v1") as client:
        async with client.chat.completions.stream(model="cohere-chat_v2/m", messages=question) as stream:
            chat = (await stream.get_final_completion()).choices[0].message.content
        async with client.responses.stream(model="cohere-chat_v2/m", input="x") as events:
            response = (await events.get_final_response()).output_text
    async with (
        anthropic.AsyncAnthropic(**options, base_url=url) as claude,
        claude.messages.stream(model="cohere-chat_v2/m", messages=question, max_tokens=9) as said,
    ):
        message = await said.get_final_text()
    async with httpx2.AsyncClient(headers=headers) as http:  # not aiohttp, which is there for other tests
        google = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, httpx_async_client=http))
        chunks = await google.aio.models.generate_content_stream(model="cohere-chat_v2/m", contents="x")
        parts = [chunk.text async for chunk in chunks if chunk.text]
        google.close()
    assert [chat, response, message, "".join(parts)] == ["Hello"] * 4


COHERE_STREAM = COHERE_CHAT.stream_writer("i", "m", True).write(
    [TextDelta("Hel"), TextDelta("lo"), Finished("COMPLETE"), UsageSeen(Usage(7, 3)), Ended()]
)
