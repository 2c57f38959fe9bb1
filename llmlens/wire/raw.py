"""Calls that are passed through without being understood: model lists and unknown paths. No I/O."""

from collections.abc import Callable, Mapping
from typing import Any

from llmlens.records import Fault, Operation, Reply
from llmlens.wire.dialect import Asked, Dialect
from llmlens.wire.faults import anthropic_fault_body, fault_of_body, openai_fault_body
from llmlens.wire.json_text import as_str


def read_request(body: Mapping[str, Any]) -> Asked:
    """What an unknown body says in the usual places; never raises."""
    return Asked(model=as_str(body.get("model")), stream=body.get("stream") is True)


def read_reply(status: int, body: bytes) -> Reply:
    """Empty, or the error in any shape that is known; never raises."""
    if status >= 400:
        return Reply(fault=fault_of_body(status, body), complete=False)
    return Reply()


def no_texts(_body: Mapping[str, Any]) -> list[str]:
    """Nothing is known to be read by a model."""
    return []


def passed_through(name: str, operation: Operation, fault_body: Callable[[Fault], bytes]) -> Dialect:
    """A dialect that only sees errors, and writes them as its family does."""
    return Dialect(
        name=name,
        operation=operation,
        read_request=read_request,
        read_reply=read_reply,
        fault_body=fault_body,
        prompt_texts=no_texts,
    )


OPENAI_MODELS = passed_through("openai.models", "models", openai_fault_body)
RAW_OPENAI = passed_through("raw", "raw", openai_fault_body)
RAW_ANTHROPIC = passed_through("raw", "raw", anthropic_fault_body)
RAW = RAW_OPENAI
