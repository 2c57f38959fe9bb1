"""What an official SDK asks for arrives at every provider in the provider's own dialect, or is named as dropped."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.genai import types

from llmlens.records import Choice, Message, Reply, Text, ToolCall, ToolResult, Usage
from llmlens.wire.json_text import dumps
from tests.conftest import Running
from tests.gateway.sdk_callers import ASK, ERRORS, Seen, clients
from tests.gateway.unified import PROVIDERS, Unified, chat_dialect, given, model_at, unified
from tests.wire.facts import facts, missing

__all__ = ["unified"]  # a fixture

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n....").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
URL = "https://example.org/cat.png"
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CITIES = ("Bern", "Chur")
QUESTION = "How is the weather in Bern and Chur? — 日本"


def for_chat() -> dict[str, Any]:
    calls = [
        {"id": f"call_{city}", "type": "function",
         "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
        for city in CITIES
    ]  # fmt: skip
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in (URL, f"data:image/png;base64,{PNG}")]
    file = {"filename": "report.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    return {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Use tools."},
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": "I look.", "tool_calls": calls},
            *({"role": "tool", "tool_call_id": f"call_{city}", "content": f"sun in {city}"} for city in CITIES),
            {"role": "assistant", "content": "Sun."},
            {"role": "user", "content": [{"type": "text", "text": "And this?"}, *pictures,
                                         {"type": "file", "file": file}]},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": CITY}}],
        "tool_choice": "required",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
        "stop": ["END", "STOP"], "temperature": 0.5, "top_p": 0.9, "max_tokens": 20_000, "seed": 7,
        "frequency_penalty": 0.25, "reasoning_effort": "low", "parallel_tool_calls": False, "user": "u1",
        "logit_bias": {"1": 1},
    }  # fmt: skip


def for_responses() -> dict[str, Any]:
    calls = [
        {"type": "function_call", "call_id": f"call_{city}", "name": "weather", "arguments": json.dumps({"city": city})}
        for city in CITIES
    ]
    pictures = [{"type": "input_image", "image_url": url} for url in (URL, f"data:image/png;base64,{PNG}")]
    file = {"type": "input_file", "filename": "report.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    return {
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": "Use tools."},
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": "I look."},
            *calls,
            *({"type": "function_call_output", "call_id": f"call_{city}", "output": f"sun in {city}"}
              for city in CITIES),
            {"role": "assistant", "content": "Sun."},
            {"role": "user", "content": [{"type": "input_text", "text": "And this?"}, *pictures, file]},
        ],
        "tools": [{"type": "function", "name": "weather", "description": "d", "parameters": CITY, "strict": False}],
        "tool_choice": {"type": "function", "name": "weather"},
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}, "verbosity": "low"},
        "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 20_000, "reasoning": {"effort": "low"},
        "parallel_tool_calls": False, "metadata": {"run": "1"}, "truncation": "auto", "user": "u1",
    }  # fmt: skip


def for_messages() -> dict[str, Any]:
    calls = [{"type": "tool_use", "id": f"call_{city}", "name": "weather", "input": {"city": city}} for city in CITIES]
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": f"call_{city}", "content": f"sun in {city}"} for city in CITIES
    ]
    results[1]["is_error"] = True
    data = {"type": "base64", "media_type": "image/png", "data": PNG}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    mark = {"type": "ephemeral"}
    return {
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Use tools.", "cache_control": mark}],
        "messages": [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, *calls]},
            {"role": "user", "content": results},
            {"role": "assistant", "content": "Sun."},
            {"role": "user", "content": [{"type": "text", "text": "And this?"},
                                         {"type": "image", "source": {"type": "url", "url": URL}},
                                         {"type": "image", "source": data},
                                         {"type": "document", "source": pdf, "title": "report"}]},
        ],
        "tools": [{"name": "weather", "description": "d", "input_schema": CITY}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "stop_sequences": ["END", "STOP"], "max_tokens": 20_000,
        "extra_body": {"top_p": 0.9, "top_k": 5},  # which the SDK no longer names
        "thinking": {"type": "enabled", "budget_tokens": 2048}, "metadata": {"user_id": "u1"},
    }  # fmt: skip


def for_gemini() -> dict[str, Any]:
    part = types.Part
    calls = [part(function_call=types.FunctionCall(name="weather", args={"city": city})) for city in CITIES]
    results = [
        part(function_response=types.FunctionResponse(name="weather", response={"output": f"sun in {city}"}))
        for city in CITIES
    ]
    media = [part.from_uri(file_uri=URL, mime_type="image/png"),
             part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png"),
             part.from_bytes(data=base64.b64decode(PDF), mime_type="application/pdf")]  # fmt: skip
    mode = types.FunctionCallingConfigMode.ANY
    return {
        "contents": [
            types.Content(role="user", parts=[part(text=QUESTION)]),
            types.Content(role="model", parts=[part(text="I look."), *calls]),
            types.Content(role="user", parts=results),
            types.Content(role="model", parts=[part(text="Sun.")]),
            types.Content(role="user", parts=[part(text="And this?"), *media]),
        ],
        "config": types.GenerateContentConfig(
            system_instruction=["Be brief.", "Use tools."],
            tools=[types.Tool(function_declarations=[types.FunctionDeclaration(
                name="weather", description="d", parameters_json_schema=CITY)])],
            tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode=mode)),
            response_mime_type="application/json", response_json_schema=SCHEMA,
            stop_sequences=["END", "STOP"], temperature=0.5, top_p=0.9, top_k=5, max_output_tokens=20_000, seed=7,
            frequency_penalty=0.25, thinking_config=types.ThinkingConfig(thinking_budget=2048),
            safety_settings=[types.SafetySetting(category=types.HarmCategory.HARM_CATEGORY_HARASSMENT,
                                                 threshold=types.HarmBlockThreshold.BLOCK_NONE)],
        ),
    }  # fmt: skip


REQUESTS: dict[str, Callable[[], dict[str, Any]]] = {
    "openai.chat": for_chat,
    "openai.responses": for_responses,
    "anthropic.messages": for_messages,
    "gemini.generate": for_gemini,
}
PAIRS = [(inbound, outbound) for inbound in ASK for outbound in PROVIDERS if inbound != outbound]
# Outbound dialect → a model of it that all of its options are known for.
MODELS = {"anthropic.messages": "claude-sonnet-4-5", "gemini.generate": "gemini-2.5-flash", "openai.chat": "gpt-4.1",
          "bedrock.converse": "anthropic.claude-sonnet-4-5-20250929-v1:0"}  # fmt: skip
ANSWER = Reply("id", "m", (Choice(0, (Text("hello"),), "stop"),), Usage(7, 3))


def logged(gateway: Running) -> dict[str, Any]:
    """The request of the only call, as the SDK sent it."""
    (row,) = gateway.rows("SELECT path, decode(request_body) AS body, dropped FROM calls")
    return {"path": row["path"], "body": json.loads(row["body"]), "dropped": row["dropped"] or []}


def ask(unified: Unified, inbound: str, outbound: str, *, stream: bool = False) -> Seen:
    unified.answers[:] = [given(outbound, dumps(chat_dialect(outbound).build_reply(ANSWER, "m")))]
    return unified.ask(inbound, outbound, model=MODELS.get(outbound, "m"), stream=stream, **REQUESTS[inbound]())


@pytest.mark.parametrize(("inbound", "outbound"), PAIRS)
def test_all_of_a_request_arrives_or_is_named(unified: Unified, inbound: str, outbound: str) -> None:
    assert ask(unified, inbound, outbound).text == "hello"
    sent, arrived = logged(unified.gateway), unified.arrived(outbound)
    dropped = sent["dropped"]
    before = facts(chat_dialect(inbound).parse_request(sent["body"]))
    assert missing(before, facts(arrived), dropped) == {}
    assert arrived.model == MODELS.get(outbound, "m")
    assert arrived.extra.keys() <= {"store", "metadata", "verbosity", "text.verbosity"}
    assert not set(dropped) & {"tools", "document", "response_format", "messages.system.position"} - LOST[outbound]
    check_conversation(arrived.messages)
    check_named(sent, unified)


# What would be a pity to lose, and is lost where there is no such thing.
LOST = {name: set[str]() for name in PROVIDERS} | {"cohere.chat_v2": {"document"}, "ollama.chat": {"document"}}


def check_conversation(messages: tuple[Message, ...]) -> None:
    """The turns in order; whichever ids the calls have now, each result names its own."""
    roles = [message.role for message in messages if message.role not in ("system", "developer")]
    assert list(dict.fromkeys(roles)) == ["user", "assistant", "tool"]
    assert (roles[0], roles[-1], roles.count("assistant")) == ("user", "user", 2)
    parts = [part for message in messages for part in message.parts]
    calls = {part.id: json.loads(part.arguments)["city"] for part in parts if isinstance(part, ToolCall)}
    results = [(calls[p.tool_call_id], p.parts) for p in parts if isinstance(p, ToolResult)]
    assert results == [(city, (Text(f"sun in {city}"),)) for city in CITIES]


def check_named(sent: dict[str, Any], unified: Unified) -> None:
    """The same call again: the header says what the row says, and who is strict is refused before anything is sent."""
    path, body, dropped = sent["path"], json.dumps(sent["body"]).encode(), sent["dropped"]
    headers = {"content-type": "application/json", "x-llmlens-cache": "off"}
    again = unified.gateway.http.post(path, content=body, headers=headers)
    assert again.status_code == 200
    assert again.headers.get("x-llmlens-dropped", "") == ", ".join(dropped)
    before = len(unified.upstream.asked)
    strict = unified.gateway.http.post(path, content=body, headers={**headers, "x-llmlens-strict": "1"})
    assert strict.status_code == (400 if dropped else 200)
    assert len(unified.upstream.asked) == before + (0 if dropped else 1)
    if dropped:
        message = strict.json()["error"]["message"]
        assert all(name in message for name in dropped)


@pytest.mark.parametrize("inbound", ASK)
def test_a_strict_refusal_is_the_sdks_own_error(unified: Unified, inbound: str) -> None:
    outbound = "ollama.chat"
    strict = clients(unified.gateway.url, {"x-llmlens-strict": "1"})[inbound]
    asked = REQUESTS[inbound]()
    for stream in (False, True):
        with pytest.raises(ERRORS, match="cannot carry") as caught:
            ASK[inbound](strict, model_at(outbound), stream=stream, **asked)
        assert getattr(caught.value, "status_code", getattr(caught.value, "code", None)) == 400
    strict.close()
    assert unified.upstream.asked == []
    assert {(row["outcome"], row["http_status"]) for row in unified.gateway.rows()} == {("denied", 400)}


@pytest.mark.parametrize("outbound", PROVIDERS)
def test_a_stream_is_asked_for_as_the_provider_wants_it(unified: Unified, outbound: str) -> None:
    inbound = "anthropic.messages" if outbound != "anthropic.messages" else "openai.chat"
    assert ask(unified, inbound, outbound, stream=True).usage == (7, 3)
    asked = unified.upstream.asked[-1]
    body = json.loads(asked.body)
    if outbound in ("gemini.generate", "bedrock.converse"):
        ends = {"gemini.generate": ":streamGenerateContent?alt=sse", "bedrock.converse": "/converse-stream"}
        assert asked.target.endswith(ends[outbound])
    else:
        assert body["stream"] is True
    assert body.get("stream_options") == ({"include_usage": True} if outbound == "openai.chat" else None)
