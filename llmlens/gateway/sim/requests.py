"""A request body of the OpenAI dialect → what the simulated provider needs of it. Refuses what OpenAI refuses.

Source: OpenAI API reference, chat completions and embeddings, read 2026-11-24.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from llmlens.catalog.simulated import PROVIDER, SIM_MODELS, SimModel

MAX_CHOICES: Final = 128
MAX_STOPS: Final = 4
MAX_EMBEDDED: Final = 2_048
ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
PART_TYPES: Final = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
IMAGE_TOKENS: Final = 85  # OpenAI's price of an image in low detail
# What does not change the answer: how it travels, and who asks.
NOT_IN_KEY: Final = frozenset({"stream", "stream_options", "user", "metadata", "store", "service_tier", "n"})


class RequestError(Exception):
    """The request is refused with `status` and an error object in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: `text` is all its text, joined; `images` is how many other parts it has."""

    role: str
    text: str
    name: str | None = None
    images: int = 0


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called; `parameters` is its JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatAsk:
    """A chat request. `key` names the request without its stream flags; `prompt_key` names model and messages alone."""

    model: SimModel
    model_asked: str
    turns: tuple[Turn, ...]
    key: str
    prompt_key: str
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"  # auto, none, required, or "=name" for one of them
    json_schema: Mapping[str, Any] | None = None  # {} for any JSON object
    temperature: float = 1.0
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    extra_texts: tuple[str, ...] = ()  # tool and response schemas, as they are counted


@dataclass(frozen=True, slots=True)
class EmbedAsk:
    """An embeddings request. An input is a text, or the token ids of one (o200k_base)."""

    model: SimModel
    model_asked: str
    inputs: tuple[str | tuple[int, ...], ...]
    key: str
    base64: bool = False
    dimensions: int | None = None


def read_chat(body: bytes) -> ChatAsk:
    """Raises RequestError."""
    given = _object(body)
    model = _model(given, embeds=False)
    turns = _turns(given)
    tools = _tools(given)
    schema = _json_schema(given, turns)
    options = given.get("stream_options")
    if options is not None and not given.get("stream"):
        raise RequestError(400, "'stream_options' is only allowed when 'stream' is enabled.", param="stream_options")
    stream = _typed(given, "stream", bool, "a boolean") or False
    limit = _integer(given, "max_completion_tokens", 1, None)
    extra = [_text(given["tools"])] if tools else []
    return ChatAsk(
        model=model,
        model_asked=given["model"],
        turns=turns,
        key=_key(given),
        prompt_key=_digest([model.name, given["messages"]]),
        tools=tools,
        tool_choice=_tool_choice(given, tools),
        json_schema=schema,
        temperature=_number(given, "temperature", 0, 2, 1.0),
        max_tokens=limit if limit is not None else _integer(given, "max_tokens", 1, None),
        stops=_stops(given),
        n=_integer(given, "n", 1, MAX_CHOICES) or 1,
        stream=stream,
        include_usage=bool(isinstance(options, dict) and options.get("include_usage")),
        extra_texts=tuple(extra + ([_text(schema)] if schema else [])),
    )


def read_embed(body: bytes) -> EmbedAsk:
    """Raises RequestError."""
    given = _object(body)
    model = _model(given, embeds=True)
    encoding = given.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise RequestError(
            400, f"'encoding_format' must be 'float' or 'base64', not {encoding!r}.", param="encoding_format"
        )
    return EmbedAsk(
        model=model,
        model_asked=given["model"],
        inputs=_inputs(given.get("input")),
        key=_key(given),
        base64=encoding == "base64",
        dimensions=_integer(given, "dimensions", 1, 256),
    )


# ── pieces ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, f"We could not parse the JSON body of your request: {error}.") from error
    if not isinstance(given, dict):
        raise RequestError(400, "The request body must be a JSON object.")
    return given


def _model(given: Mapping[str, Any], *, embeds: bool) -> SimModel:
    asked = given.get("model")
    if not isinstance(asked, str) or not asked:
        raise RequestError(400, "you must provide a model parameter", param="model")
    model = SIM_MODELS.get(asked.removeprefix(f"{PROVIDER}/"))
    if model is None:
        known = ", ".join(f"{PROVIDER}/{name}" for name in SIM_MODELS)
        message = f"The model `{asked}` does not exist. Simulated models: {known}."
        raise RequestError(404, message, param="model", code="model_not_found")
    if embeds != (model.behaviour == "embed"):
        kind, path = ("an embedding", "/embeddings") if embeds else ("a chat", "/chat/completions")
        raise RequestError(400, f"The model `{asked}` is not {kind} model, and is not served at {path}.", param="model")
    return model


def _turns(given: Mapping[str, Any]) -> tuple[Turn, ...]:
    messages = given.get("messages")
    if not isinstance(messages, list):
        problem = "Missing required parameter" if messages is None else "Invalid type for"
        raise RequestError(400, f"{problem}: 'messages'. It must be an array of messages.", param="messages")
    if not messages:
        raise RequestError(400, "Invalid 'messages': empty array. Expected at least one message.", param="messages")
    return tuple(_turn(message, f"messages.[{i}]") for i, message in enumerate(messages))


def _turn(message: Any, where: str) -> Turn:
    if not isinstance(message, dict):
        raise RequestError(400, f"Invalid type for '{where}': expected an object.", param=where)
    role = message.get("role")
    if role not in ROLES:
        allowed = ", ".join(sorted(ROLES))
        raise RequestError(400, f"Invalid value: {role!r}. Supported values are: {allowed}.", param=f"{where}.role")
    content = message.get("content")
    if content is None and (role != "assistant" or not message.keys() & {"tool_calls", "refusal", "function_call"}):
        raise RequestError(400, f"Invalid value for 'content': expected a string, got null. ({where})", param=where)
    texts, n_other = _content(content, f"{where}.content")
    if calls := message.get("tool_calls"):
        texts.append(_text(calls))
    name = message.get("name")
    return Turn(role, "\n".join(texts), name if isinstance(name, str) else None, n_other)


def _content(content: Any, where: str) -> tuple[list[str], int]:
    if content is None or isinstance(content, str):
        return ([content] if content else []), 0
    if not isinstance(content, list):
        raise RequestError(400, f"Invalid type for '{where}': expected a string or an array.", param=where)
    texts: list[str] = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in PART_TYPES:
            allowed = ", ".join(sorted(PART_TYPES))
            raise RequestError(
                400, f"Invalid value: {kind!r}. Supported values are: {allowed}.", param=f"{where}.[{i}].type"
            )
        if kind == "text":
            if not isinstance(part.get("text"), str):
                raise RequestError(
                    400, f"Missing required parameter: '{where}.[{i}].text'.", param=f"{where}.[{i}].text"
                )
            texts.append(part["text"])
    return texts, len(content) - len(texts)


def _tools(given: Mapping[str, Any]) -> tuple[Tool, ...]:
    rows = given.get("tools")
    if rows is None:
        return ()
    if not isinstance(rows, list) or not rows:
        raise RequestError(400, "Invalid 'tools': expected an array with at least one tool.", param="tools")
    tools = []
    for i, row in enumerate(rows):
        function = row.get("function") if isinstance(row, dict) else None
        if not isinstance(function, dict) or row.get("type") != "function":
            raise RequestError(400, "Each tool must be {'type': 'function', 'function': {…}}.", param=f"tools[{i}]")
        name, parameters = function.get("name"), function.get("parameters") or {}
        if not isinstance(name, str) or not name or not isinstance(parameters, dict):
            raise RequestError(
                400, "A function needs a 'name', and 'parameters' that are an object.", param=f"tools[{i}]"
            )
        tools.append(Tool(name, str(function.get("description") or ""), parameters))
    return tuple(tools)


def _tool_choice(given: Mapping[str, Any], tools: tuple[Tool, ...]) -> str:
    choice = given.get("tool_choice")
    if choice is None:
        return "auto"
    if not tools:
        raise RequestError(400, "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if choice in ("auto", "none", "required"):
        return str(choice)
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if name not in {tool.name for tool in tools}:
        raise RequestError(400, f"Invalid value for 'tool_choice': no function named {name!r}.", param="tool_choice")
    return f"={name}"


def _json_schema(given: Mapping[str, Any], turns: tuple[Turn, ...]) -> Mapping[str, Any] | None:
    wanted = given.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind is None or kind == "text":
        return None
    if kind == "json_object":
        if not any("json" in turn.text.lower() for turn in turns):
            message = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
            raise RequestError(400, message, param="messages")
        return {}
    named = wanted.get("json_schema") if kind == "json_schema" and isinstance(wanted, dict) else None
    if not isinstance(named, dict) or not isinstance(named.get("name"), str):
        message = "'response_format' must be of type text, json_object or json_schema (with a name and a schema)."
        raise RequestError(400, message, param="response_format")
    schema = named.get("schema") or {"type": "object"}
    if not isinstance(schema, dict):
        raise RequestError(400, "The schema must be an object.", param="response_format.json_schema.schema")
    return schema


def _stops(given: Mapping[str, Any]) -> tuple[str, ...]:
    stop = given.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(s, str) for s in stops):
        raise RequestError(400, f"Invalid 'stop': expected a string or at most {MAX_STOPS} strings.", param="stop")
    return tuple(s for s in stops if s)


def _inputs(given: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(given, str):
        rows: list[Any] = [given]
    elif isinstance(given, list) and given and all(_is_token(t) for t in given):
        rows = [given]
    else:
        rows = given if isinstance(given, list) else []
    if not 0 < len(rows) <= MAX_EMBEDDED:
        message = f"Invalid 'input': expected a string, or an array of 1 to {MAX_EMBEDDED} strings or token arrays."
        raise RequestError(400, message, param="input")
    found: list[str | tuple[int, ...]] = []
    for i, row in enumerate(rows):
        if isinstance(row, str) and row:
            found.append(row)
        elif isinstance(row, list) and row and all(_is_token(t) for t in row):
            found.append(tuple(row))
        else:
            raise RequestError(400, f"Invalid 'input[{i}]': must be a text or tokens, and not empty.", param="input")
    return tuple(found)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 199_998


def _typed(given: Mapping[str, Any], name: str, kind: type, wanted: str) -> Any:
    value = given.get(name)
    if value is not None and not isinstance(value, kind):
        raise RequestError(400, f"Invalid type for '{name}': expected {wanted}, got {value!r}.", param=name)
    return value


def _integer(given: Mapping[str, Any], name: str, low: int, high: int | None) -> int | None:
    value = _typed(given, name, int, "an integer")
    if value is None:
        return None
    if isinstance(value, bool) or value < low or (high is not None and value > high):
        most = "" if high is None else f" and at most {high}"
        raise RequestError(
            400, f"Invalid '{name}': {value!r}. Expected an integer of at least {low}{most}.", param=name
        )
    return int(value)


def _number(given: Mapping[str, Any], name: str, low: float, high: float, default: float) -> float:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(400, f"Invalid '{name}': {value!r}. Expected a number from {low} to {high}.", param=name)
    return float(value)


def _key(given: Mapping[str, Any]) -> str:
    model = str(given["model"]).removeprefix(f"{PROVIDER}/")
    return _digest({**{k: v for k, v in given.items() if k not in NOT_IN_KEY}, "model": model})


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
