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
    "incomplete": "length",  # Responses, where the detail does not say
    "model_context_window_exceeded": "context",
    "model_length": "context",  # Mistral
    "timeout": "length",  # Cohere: cut off
    "error_limit": "context",  # Cohere v1
    "error_toxic": "filter",  # Cohere v1
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
    "jailbreak": "filter",  # Gemini, as the next ones
    "language": "filter",
    "escalation": "filter",
    "image_safety": "filter",
    "image_prohibited_content": "filter",
    "image_recitation": "filter",
    "other": "filter",  # a prompt that was blocked without a better word
    "continuation": "pause",
    "1": "stop",  # Gemini's enum in numbers; from 6 on Vertex counts otherwise, to the same effect
    "2": "length",
    "3": "filter",
    "4": "filter",
    "5": "filter",
    "6": "filter",
    "7": "filter",
    "8": "filter",
    "pause_turn": "pause",
    "finish": "stop",  # Bedrock: Titan
    "endoftext": "stop",  # Bedrock: AI21
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
GEMINI_WORDS: Mapping[Meaning, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "context": "MAX_TOKENS",
    "tools": "STOP",
    "filter": "SAFETY",
    "pause": "STOP",
}
# The status, or the reason of an incomplete one.
RESPONSES_WORDS: Mapping[Meaning, str] = {
    "stop": "completed",
    "stop_sequence": "completed",
    "length": "max_output_tokens",
    "context": "max_output_tokens",
    "tools": "completed",
    "filter": "content_filter",
    "pause": "completed",
}
COHERE_WORDS: Mapping[Meaning, str] = {
    "stop": "COMPLETE",
    "stop_sequence": "STOP_SEQUENCE",
    "length": "MAX_TOKENS",
    "context": "MAX_TOKENS",
    "tools": "TOOL_CALL",
    "filter": "COMPLETE",  # ERROR is for what failed
    "pause": "COMPLETE",
}
OLLAMA_WORDS: Mapping[Meaning, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context": "length",
    "tools": "stop",  # as Ollama says after tool calls
    "filter": "stop",
    "pause": "stop",
}
# The other words of Converse say what no translated answer does (`malformed_tool_use` …).
BEDROCK_WORDS: Mapping[Meaning, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "tools": "tool_use",
    "filter": "content_filtered",
    "pause": "end_turn",
}


def finish_word(
    reason: str | None, words: Mapping[Meaning, str], *, has_tools: bool, detail: str | None = None
) -> str | None:
    """`reason` of any dialect in the `words` of another; None stays None, an unknown word counts as "stop".

    `detail` (a choice's `finish_detail`) counts before the reason where its word is known, and alone where there is no
    reason. Several providers end with a plain "stop" after tool calls; agents loop on the word, so it becomes "tools".
    """
    if reason is None and detail is None:
        return None
    meaning = MEANINGS.get((detail or "").lower()) or MEANINGS.get((reason or "").lower(), "stop")
    if has_tools and meaning in ("stop", "stop_sequence"):
        meaning = "tools"
    return words[meaning]
