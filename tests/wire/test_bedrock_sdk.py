"""botocore reads what we write for Bedrock, and we read what it sends."""

import base64
import json
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from llmlens.records import Choice, Fault, Faulted, Reply, Text, TextDelta, Thinking, ToolCall, Usage
from llmlens.wire.accumulate import pieces_of
from llmlens.wire.aws_event_stream import MEDIA_TYPE, encode
from llmlens.wire.bedrock_faults import fault_event
from llmlens.wire.dialects import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, BEDROCK_INVOKE, OPENAI_CHAT
from llmlens.wire.json_text import dumps

ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1"
QUESTION: Any = [{"role": "user", "content": [{"text": "hi"}]}]
REPLY = Reply(
    "id",
    "m",
    (
        Choice(
            0,
            (
                Thinking("I should look.", "sig"),
                Thinking("", None, "not base64!"),
                Text("Looking — 日本 😀"),
                ToolCall("call_1", "weather", '{"city":"Bern"}'),
                ToolCall("call_2", "time", ""),
            ),
            "tool_calls",
        ),
    ),
    Usage(100, 50, 30, 20),
)


class Body(BytesIO):
    """What botocore reads an answer from."""

    def stream(self, **_: Any) -> Any:
        yield self.read()


@cache  # it holds the models, which take a second to load
def session() -> Any:
    made = botocore.session.Session()
    made.set_credentials("AKIDEXAMPLE", "secret")
    return made


def client(status: int, body: bytes, kind: str = "application/json") -> tuple[Any, list[AWSPreparedRequest]]:
    """A client of Bedrock that gets this answer, and the requests it sends."""
    sent: list[AWSPreparedRequest] = []
    config = Config(retries={"max_attempts": 0, "mode": "standard"})
    made = session().create_client("bedrock-runtime", region_name="us-east-1", config=config)

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, status, {"content-type": kind}, Body(body))

    made.meta.events.register("before-send.bedrock-runtime", answer)
    return made, sent


def test_a_plain_answer() -> None:
    bedrock, _ = client(200, dumps(BEDROCK_CONVERSE.build_reply(REPLY, "m")))
    said = bedrock.converse(modelId=ARN, messages=QUESTION)
    content = said["output"]["message"]["content"]
    assert content[0]["reasoningContent"]["reasoningText"] == {"text": "I should look.", "signature": "sig"}
    assert content[1]["reasoningContent"]["redactedContent"] == b"not base64!"
    assert content[2] == {"text": "Looking — 日本 😀"}
    assert [c["toolUse"]["input"] for c in content[3:]] == [{"city": "Bern"}, {}]
    assert (said["stopReason"], said["metrics"]) == ("tool_use", {"latencyMs": 0})
    assert said["usage"] == {
        "inputTokens": 50, "outputTokens": 50, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 20,
        "totalTokens": 150,
    }  # fmt: skip


def test_a_stream() -> None:
    writer = BEDROCK_CONVERSE.stream_writer("id", "m", True)
    body = b"".join([*(writer.write([piece]) for piece in pieces_of(REPLY)), writer.end()])
    bedrock, _ = client(200, body, MEDIA_TYPE)
    events = list(bedrock.converse_stream(modelId=ARN, messages=QUESTION)["stream"])
    assert [next(iter(event)) for event in events][:1] == ["messageStart"]
    assert [next(iter(event)) for event in events][-2:] == ["messageStop", "metadata"]
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert deltas == [
        {"reasoningContent": {"text": "I should look."}},
        {"reasoningContent": {"signature": "sig"}},
        {"reasoningContent": {"redactedContent": b"not base64!"}},
        {"text": "Looking — 日本 😀"},
        {"toolUse": {"input": '{"city":"Bern"}'}},
    ]
    starts = [event["contentBlockStart"]["start"]["toolUse"] for event in events if "contentBlockStart" in event]
    assert starts == [{"toolUseId": "call_1", "name": "weather"}, {"toolUseId": "call_2", "name": "time"}]
    assert events[-2]["messageStop"] == {"stopReason": "tool_use"}
    assert events[-1]["metadata"]["usage"]["totalTokens"] == 150


@pytest.mark.parametrize(
    ("fault", "exception"),
    [
        (Fault("slow down", "rate_limit_error", "budget_exceeded", status=429), "ThrottlingException"),
        (Fault("no", "authentication_error", status=401), "AccessDeniedException"),
        (Fault("no such model", status=404), "ResourceNotFoundException"),
        (Fault("bad", "invalid_request_error", status=422), "ValidationException"),
        (Fault("oops", status=502), "ServiceUnavailableException"),
        (Fault("late", "modelTimeoutException", status=504), "ModelTimeoutException"),
    ],
)
@pytest.mark.parametrize("operation", ["converse", "invoke_model"])
def test_an_error_raises_the_exception_of_its_kind(fault: Fault, exception: str, operation: str) -> None:
    dialect = BEDROCK_CONVERSE if operation == "converse" else BEDROCK_INVOKE
    bedrock, _ = client(fault.status or 0, dialect.fault_body(fault))
    arguments = {"messages": QUESTION} if operation == "converse" else {"body": b"{}"}
    with pytest.raises(ClientError) as raised:
        getattr(bedrock, operation)(modelId=ARN, **arguments)
    assert raised.value.response["Error"] == {"Message": fault.message, "Code": exception}
    assert isinstance(raised.value, getattr(bedrock.exceptions, exception))


def test_an_error_in_mid_stream_raises() -> None:
    writer = BEDROCK_CONVERSE.stream_writer("id", "m", True)
    body = writer.write([TextDelta("a"), Faulted(Fault("slow down", status=429))])
    bedrock, _ = client(200, body, MEDIA_TYPE)
    stream = bedrock.converse_stream(modelId=ARN, messages=QUESTION)["stream"]
    with pytest.raises(EventStreamError, match=r"throttlingException.*slow down"):
        list(stream)


def test_an_error_in_mid_stream_of_invoke_raises() -> None:
    chunk = encode(
        {":event-type": "chunk", ":message-type": "event"}, dumps({"bytes": base64.b64encode(b"{}").decode()})
    )
    bedrock, _ = client(200, chunk + fault_event(Fault("no", "overloaded_error")), MEDIA_TYPE)
    stream = iter(bedrock.invoke_model_with_response_stream(modelId=ARN, body=b"{}")["body"])
    assert next(stream) == {"chunk": {"bytes": b"{}"}}
    with pytest.raises(EventStreamError, match=r"internalServerException.*no"):
        next(stream)


CALLS: list[Callable[[Any], Any]] = [
    lambda bedrock: bedrock.converse(modelId=ARN, messages=QUESTION),
    lambda bedrock: bedrock.converse_stream(modelId=ARN, messages=QUESTION),
    lambda bedrock: bedrock.invoke_model(modelId=ARN, body=b"{}"),
    lambda bedrock: bedrock.invoke_model_with_response_stream(modelId=ARN, body=b"{}"),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_its_paths_name_the_model(number: int) -> None:
    bedrock, sent = client(200, b"" if number % 2 else b"{}", MEDIA_TYPE if number % 2 else "application/json")
    CALLS[number](bedrock)
    path = sent[0].url.removeprefix("https://bedrock-runtime.us-east-1.amazonaws.com")
    dialect = BEDROCK_CONVERSE if number < 2 else BEDROCK_INVOKE
    assert dialect.read_path is not None
    assert dialect.read_path(path) == (ARN, number % 2 == 1)
    if number < 2:
        assert BEDROCK_CONVERSE.call_path(ARN, number % 2 == 1) == path


def test_its_requests_are_understood() -> None:
    bedrock, sent = client(200, dumps(BEDROCK_CONVERSE.build_reply(REPLY, "m")))
    content = [
        {"text": "look"},
        {"image": {"format": "png", "source": {"bytes": b"\x00\x01"}}},
        {"document": {"format": "txt", "name": "n", "source": {"bytes": b"plain"}}},
    ]
    spec = {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}
    bedrock.converse(
        modelId=ARN, messages=[{"role": "user", "content": content}], system=[{"text": "be kind"}],
        inferenceConfig={"maxTokens": 9000, "temperature": 0.5, "stopSequences": ["x"]},
        toolConfig={"tools": [{"toolSpec": spec}], "toolChoice": {"auto": {}}},
        additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}},
    )  # fmt: skip
    body = json.loads(sent[0].body)
    there, dropped = ANTHROPIC_MESSAGES.build_request(BEDROCK_CONVERSE.parse_request(body))
    assert dropped == ["temperature"]  # not while thinking
    assert there["system"] == "be kind"
    assert there["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAE="}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}, "title": "n"},
    ]
    assert there["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert (there["max_tokens"], there["stop_sequences"], there["tool_choice"]) == (9000, ["x"], {"type": "auto"})


def test_our_requests_are_of_its_model() -> None:
    """botocore's validator knows every field, its type and its limits."""
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    schema = {"name": "r", "schema": {"type": "object"}}
    asked = OPENAI_CHAT.parse_request({
        "model": "anthropic.claude-opus-4-6-v1",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "tools": [tool], "tool_choice": "required", "max_tokens": 9, "top_p": 0.5, "stop": ["x"],
        "reasoning_effort": "low", "response_format": {"type": "json_schema", "json_schema": schema},
    })  # fmt: skip
    body, dropped = BEDROCK_CONVERSE.build_request(asked)
    assert dropped == []
    bedrock, sent = client(200, dumps(BEDROCK_CONVERSE.build_reply(REPLY, "m")))
    bedrock.converse(modelId=ARN, **with_bytes(body))
    assert json.loads(sent[0].body) == body


def with_bytes(value: Any) -> Any:
    """`value` as botocore wants it: blobs as bytes, which it encodes itself."""
    if isinstance(value, dict):
        return {k: base64.b64decode(v) if k == "bytes" else with_bytes(v) for k, v in value.items()}
    return [with_bytes(item) for item in value] if isinstance(value, list) else value
