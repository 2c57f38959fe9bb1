"""What an answer says, from the bytes that a `Record` (or the journal) holds. No I/O."""

from collections.abc import Mapping

from llmlens.errors import WireError
from llmlens.gateway.record import Finished, Record
from llmlens.records import CONTENT_PIECES, Fault, Reply
from llmlens.wire.accumulate import Accumulator
from llmlens.wire.content_coding import decoded
from llmlens.wire.dialect import Dialect

GENERATES = frozenset({"chat", "text_completion"})
WHOLE_OR_NOT = GENERATES | {"embeddings"}


def is_stream(content_type: str | None, dialect: Dialect, *, asked: bool) -> bool:
    """Whether an answer of `dialect` comes in pieces; JSON does only where a stream was `asked` for. So does what says
    nothing of itself."""
    if not content_type or dialect.stream_reader is None:
        return asked and not content_type and dialect.stream_reader is not None
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in dialect.stream_types and (asked or media_type != "application/json")


def is_events(content_type: str | None) -> bool:
    """Whether it says that server-sent events come, whatever the dialect."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "text/event-stream"


def answer_of(record: Record, dialect: Dialect, max_bytes: int) -> Reply:
    """What the answer says that `record` has seen so far."""
    try:
        return reply_of(record, dialect, decoded(record.encoding, record.chunks, max_bytes))[0]
    except WireError as error:
        return Reply(complete=False, fault=Fault(str(error), "wire_error"))


def reply_of(done: Finished | Record, dialect: Dialect, chunks: list[bytes]) -> tuple[Reply, float | None]:
    status = done.upstream_status or done.http_status or 0
    if not chunks:
        return Reply(complete=status == 200 and dialect.operation == "raw"), None
    asked = done.stream if isinstance(done, Finished) else done.call.asked.stream
    if dialect.stream_reader is None or not is_stream(done.response_type, dialect, asked=asked):
        return with_hints(dialect.read_reply(status, b"".join(chunks)), dialect, done.hints), None
    reader, seen, first_token_s = dialect.stream_reader(), Accumulator(), None
    for chunk, at_s in zip(chunks, done.chunk_times_s, strict=True):
        pieces = reader.feed(chunk)
        if first_token_s is None and any(isinstance(p, CONTENT_PIECES) for p in pieces):
            first_token_s = at_s
        seen.add(pieces)
    seen.add(reader.end())
    return with_hints(seen.reply(), dialect, done.hints), first_token_s


def with_hints(reply: Reply, dialect: Dialect, hints: Mapping[str, str]) -> Reply:
    """`reply` with what only the headers of the answer say."""
    return dialect.from_headers(reply, hints) if hints and dialect.from_headers else reply
