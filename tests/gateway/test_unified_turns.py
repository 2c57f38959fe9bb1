"""Two turns by the official SDKs: what a model thought and called goes back to its provider with every proof.

The first answer comes in the provider's dialect, the SDK of another reads it and sends it back as agents do; then the
provider must find its own words.
"""

import json
from typing import Any

import pytest
from google.genai import types

from llmlens.records import (
    Ended,
    Finished,
    Piece,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolResult,
    Usage,
    UsageSeen,
)
from llmlens.wire.accumulate import reply_of
from llmlens.wire.dialects import ANTHROPIC_MESSAGES
from llmlens.wire.json_text import dumps
from tests.gateway.sdk_callers import parsed
from tests.gateway.unified import CALL, Unified, gemini, given, unified
from tests.wire.test_sdks import streamed

__all__ = ["unified"]  # a fixture

TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
GOOGLES = "c2lnbmVkIGJ5IEdvb2dsZQ=="
SIGNATURE = "EqQBCgIYAhIM+/0aGVyZSBhcmUgc2lnbmF0dXJlcw=="  # not what base64 for URLs looks like
THOUGHT: list[Piece] = [
    Started("msg_1", "m"),
    ThinkingDelta("I should "),
    ThinkingDelta("look."),
    ThinkingDelta(signature=SIGNATURE),
    TextDelta("Let me "),
    TextDelta("look."),
    ToolDelta(0, "toolu_1", "weather", '{"city":"Bern"}'),
    Finished("tool_use"),
    UsageSeen(Usage(7, 3)),
    Ended(),
]


def chat_turns(unified: Unified, model: str, *, stream: bool) -> None:
    """Two turns as an agent makes them: what the model said goes back as the SDK gave it."""
    client = unified.clients["openai.chat"]
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
    turns: list[Any] = [{"role": "user", "content": "x"}]
    if stream:
        with client.chat.completions.stream(model=model, messages=turns, tools=tools) as events:
            said = events.get_final_completion().choices[0].message
    else:
        said = client.chat.completions.create(model=model, messages=turns, tools=tools).choices[0].message
    result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "sun"}
    turns += [said.model_dump(exclude_none=True, exclude={"parsed"}), result]
    client.chat.completions.create(model=model, messages=turns, tools=tools)


def responses_turns(unified: Unified, model: str, *, stream: bool) -> None:
    client = unified.clients["openai.responses"]
    tools: Any = [{"type": "function", "name": "weather", "parameters": TOOL, "strict": False}]
    if stream:
        with client.responses.stream(model=model, input="x", tools=tools) as events:
            said = events.get_final_response().output
    else:
        said = client.responses.create(model=model, input="x", tools=tools).output
    call = next(item for item in said if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    client.responses.create(model=model, input=[{"role": "user", "content": "x"}, *said, result], tools=tools)


def messages_turns(unified: Unified, model: str, *, stream: bool) -> None:
    client = unified.clients["anthropic.messages"]
    asked: Any = {"model": model, "max_tokens": 99, "tools": [{"name": "weather", "input_schema": TOOL}]}
    turns: list[Any] = [{"role": "user", "content": "x"}]
    if stream:
        with client.messages.stream(**asked, messages=turns) as events:
            said = events.get_final_message().content
    else:
        said = client.messages.create(**asked, messages=turns).content
    result = {"type": "tool_result", "tool_use_id": said[-1].id, "content": "sun"}
    client.messages.create(
        **asked, messages=[*turns, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    )


def gemini_turns(unified: Unified, model: str, *, stream: bool) -> None:
    """The SDK's own chat keeps the turns."""
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=TOOL)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    chat = unified.clients["gemini.generate"].chats.create(model=model, config=config)
    if stream:
        list(chat.send_message_stream("x"))
    else:
        chat.send_message("x")
    call = chat.get_history()[-1].parts[-1].function_call
    response = types.FunctionResponse(id=call.id, name=call.name, response={"output": "sun"})
    chat.send_message(types.Part(function_response=response))


TURNS = {"openai.chat": chat_turns, "openai.responses": responses_turns, "anthropic.messages": messages_turns,
         "gemini.generate": gemini_turns}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("inbound", ["openai.chat", "openai.responses", "gemini.generate"])
def test_thinking_comes_back_to_anthropic_with_its_proof(unified: Unified, inbound: str, *, stream: bool) -> None:
    first = streamed(ANTHROPIC_MESSAGES, THOUGHT) if stream else ANTHROPIC_MESSAGES.build_reply(reply_of(THOUGHT), "m")
    last = ANTHROPIC_MESSAGES.build_reply(reply_of([TextDelta("done"), Finished("end_turn"), Ended()]), "m")
    unified.answers[:] = [given("anthropic.messages", first), given("anthropic.messages", last)]
    TURNS[inbound](unified, "anthropic-messages/m", stream=stream)
    (user, said, told) = unified.arrived("anthropic.messages").messages
    assert user.parts == (Text("x"),)
    *parts, call = said.parts
    assert parts == [Thinking("I should look.", SIGNATURE), Text("Let me look.")]
    assert isinstance(call, ToolCall)
    assert (call.name, parsed(call.arguments)) == ("weather", {"city": "Bern"})
    assert told.parts == (ToolResult(str(call.id), (Text("sun"),)),)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("inbound", ["openai.chat", "openai.responses", "anthropic.messages"])
def test_the_proof_of_a_call_comes_back_to_gemini(unified: Unified, inbound: str, *, stream: bool) -> None:
    body = gemini({"text": "I think.", "thought": True}, {"functionCall": CALL, "thoughtSignature": GOOGLES})
    first = given("gemini.generate", b"data: " + dumps(body) + b"\n\n" if stream else body)
    unified.answers[:] = [first, given("gemini.generate", gemini({"text": "done"}))]
    TURNS[inbound](unified, "gemini-generate/gemini-3-pro-preview", stream=stream)
    _user, said, told = json.loads(unified.upstream.asked[-1].body)["contents"]
    call = next(part for part in said["parts"] if "functionCall" in part)
    assert call["thoughtSignature"] == GOOGLES
    assert (call["functionCall"]["name"], call["functionCall"]["args"]) == ("weather", {"city": "Bern"})
    response = told["parts"][0]["functionResponse"]
    assert (response["name"], response["response"]) == ("weather", {"output": "sun"})
    assert response["id"] == call["functionCall"]["id"]
