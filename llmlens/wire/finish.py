"""Why answers end: the words of every provider, by meaning, and the words of each dialect to write. No I/O."""

from collections.abc import Mapping
from typing import Literal

Meaning = Literal["stop", "stop_sequence", "length", "context", "tools", "filter", "pause"]

MEANINGS: Mapping[str, Meaning] = {
    "stop": "stop",  # OpenAI, Gemini (STOP), Ollama
    "end_turn": "stop",  # Anthropic, Bedrock
    "complete": "stop",  # Cohere
    "completed": "stop",
    "eos": "stop",  # Together, text-generation-inference
    "stop_sequence": "stop_sequence",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "context",
    "model_length": "context",  # Mistral
    "tool_calls": "tools",
    "tool_use": "tools",
    "tool_call": "tools",
    "function_call": "tools",
    "content_filter": "filter",
    "content_filtered": "filter",
    "refusal": "filter",
    "safety": "filter",
    "recitation": "filter",
    "blocklist": "filter",
    "prohibited_content": "filter",
    "spii": "filter",
    "guardrail_intervened": "filter",
    "model_armor": "filter",
    "pause_turn": "pause",
}

OPENAI_WORDS: Mapping[Meaning, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context": "length",
    "tools": "tool_calls",
    "filter": "content_filter",
    "pause": "stop",
}
ANTHROPIC_WORDS: Mapping[Meaning, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "tools": "tool_use",
    "filter": "refusal",
    "pause": "pause_turn",
}


def finish_word(reason: str | None, words: Mapping[Meaning, str], *, has_tools: bool) -> str | None:
    """`reason` of any dialect in the `words` of another; None stays None, an unknown word counts as "stop".

    Several providers end with a plain "stop" after tool calls; agents loop on the word, so it becomes "tools".
    """
    if reason is None:
        return None
    meaning = MEANINGS.get(reason.lower(), "stop")
    if has_tools and meaning in ("stop", "stop_sequence"):
        meaning = "tools"
    return words[meaning]
