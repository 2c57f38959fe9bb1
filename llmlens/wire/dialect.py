"""What a dialect is: pure functions between bytes and `records`. One instance per wire format, no I/O.

The gateway logs every dialect through `Dialect`; it translates between those that are `ChatDialect`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llmlens.records import ChatRequest, Fault, Operation, Piece, Reply

SSE = frozenset({"text/event-stream"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What the log and the router need of a request, without a full parse."""

    model: str | None
    stream: bool = False
    max_output_tokens: int | None = None
    n: int = 1


class StreamReader(Protocol):
    """Reads one streamed answer. Any split of the bytes gives the same pieces, joined."""

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take the next bytes; return the pieces they completed. Raises WireError past the size bound only."""
        ...

    def end(self) -> list[Piece]:
        """The connection is closed: return what was still held back."""
        ...


class StreamWriter(Protocol):
    """Writes one streamed answer in its dialect."""

    def write(self, pieces: Iterable[Piece]) -> bytes: ...

    def end(self) -> bytes:
        """The bytes that close the stream properly."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire format.

    read_request: body (parsed JSON) → Asked. Raises WireError where a field it reads has the wrong type.
    read_path:    path → (model, whether a stream is asked for), for APIs that say it there; None where it does not.
    read_reply:   (status, body bytes) → Reply; never raises: what is not of the dialect becomes a `Fault`
                  (status ≥ 400, or an error object under 200) or an empty Reply with `complete=False`.
    fault_body:   Fault → the JSON body that makes the caller's SDK raise its own exception.
    fault_event:  Fault → bytes that report an error in the middle of a stream.
    prompt_texts: body → the strings a tokenizer must count when the provider states no usage.
    end_marks:    bytes of which one appears in the last event of a whole stream, and in no other: they begin with a
                  line break, which JSON never holds. Empty where there is none.
    from_headers: (Reply, header names in lower case → values) → the Reply with what only the headers say; of those the
                  names in `telling_headers` are asked for.
    stream_types: media types of a streamed answer. `application/json` among them counts only where a stream was asked.
    """

    name: str
    operation: Operation
    read_request: Callable[[Mapping[str, Any]], Asked]
    read_reply: Callable[[int, bytes], Reply]
    fault_body: Callable[[Fault], bytes]
    prompt_texts: Callable[[Mapping[str, Any]], list[str]]
    stream_reader: Callable[[], StreamReader] | None = None
    fault_event: Callable[[Fault], bytes] | None = None
    end_marks: tuple[bytes, ...] = ()
    read_path: Callable[[str], tuple[str | None, bool | None]] | None = None
    stream_types: frozenset[str] = SSE
    from_headers: Callable[[Reply, Mapping[str, str]], Reply] | None = None
    telling_headers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDialect(Dialect):
    """A dialect that can be translated.

    parse_request: body → ChatRequest. Raises WireError.
    build_request: ChatRequest → (body, names of what this dialect cannot carry).
    build_reply:   (Reply, model name to show) → body.
    stream_writer: (id of the answer, model name to show, include usage) → StreamWriter.
    call_path:     (model, stream) → path and query below a provider's base URL.
    writes:        media type of what stream_writer writes.
    """

    parse_request: Callable[[Mapping[str, Any]], ChatRequest]
    build_request: Callable[[ChatRequest], tuple[dict[str, Any], list[str]]]
    build_reply: Callable[[Reply, str], dict[str, Any]]
    stream_writer: Callable[[str, str, bool], StreamWriter]
    call_path: Callable[[str, bool], str]
    writes: str = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountDialect(Dialect):
    """A token counter, which the gateway answers itself where the provider has none.

    parse_request: body → the ChatRequest whose input is to be counted. Raises WireError.
    build_count:   input tokens → body of the answer.
    """

    parse_request: Callable[[Mapping[str, Any]], ChatRequest]
    build_count: Callable[[int], dict[str, Any]]
