"""`count_tokens`: how many input tokens a text or a conversation is, before it is sent. Asks nobody: no gateway, no
network. The first count of a process loads the encoding (half a second and 70 MB for o200k_base)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from llmlens.catalog.token_count import TokenCount, count_request, count_text
from llmlens.records import Message, Text
from llmlens.wire.any_chat import read_chat
from llmlens.wire.json_text import dumps, loads


class Tokens(int):
    """A count of input tokens: an int that says how it came about, and shows itself as `~12` where it is an estimate.

    estimated: False only where the provider's own count is this one.
    encoding:  the tiktoken encoding that counted the text.
    how:       what was counted by which rule.
    """

    estimated: bool
    encoding: str
    how: str

    def __new__(cls, n_tokens: int, estimated: bool = True, encoding: str = "", how: str = "") -> Self:
        made = super().__new__(cls, n_tokens)
        made.estimated, made.encoding, made.how = estimated, encoding, how
        return made

    def __repr__(self) -> str:
        return f"~{int(self)}" if self.estimated else f"{int(self)}"

    def __str__(self) -> str:
        return f"{int(self)}"


def count_tokens(
    conversation: str | Sequence[Mapping[str, Any]],
    model: str,
    *,
    system: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Tokens | None:
    """Count the input tokens of `conversation` as `model` does. An int; `.estimated` and `.how` say what it is worth.

        lens.count_tokens("hello", "gpt-5.1")                     # 1: the text alone
        lens.count_tokens([{"role": "user", "content": "hello"}], "claude-opus-5")   # ~8: the request

    conversation: a text, or messages as OpenAI, Anthropic or Gemini has them.
    system, tools: what goes with the messages; tools in the same dialect.

    None where a part of it cannot be known: a PDF, an image whose size is not known, tools that run at the provider.
    POST /lens/tokens says which, and how many there are at least.

    Raises:
        WireError: the messages or tools are of no dialect; says what is wrong with them.
    """
    if isinstance(conversation, str):
        if system is None and tools is None:
            return _tokens(count_text(conversation, model))
        conversation = [{"role": "user", "content": conversation}]
    place = "contents" if any("parts" in message for message in conversation) else "messages"
    body = {"model": model, place: list(conversation), **({"tools": list(tools)} if tools else {})}
    asked = read_chat(loads(dumps(body)))  # tuples and the like become what JSON has
    if system is not None:
        asked = replace(asked, messages=(Message("system", (Text(system),)), *asked.messages))
    return _tokens(count_request(asked))


def _tokens(counted: TokenCount) -> Tokens | None:
    if counted.input_tokens is None:
        return None
    return Tokens(counted.input_tokens, counted.estimated, counted.encoding, counted.how)
