"""A stand-in for the gateway: a small HTTP server that keeps what it is sent, in a thread or as a process of its own.

As a process (`python fake_gateway.py --behave … serve --store … --port …`) it writes the state file as a gateway does.
"""

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

KEY = "llk-fake-0123456789"
RECEIPT = {
    "call_id": "c-1", "outcome": "complete", "provider": "sim", "model_served": "small", "simulated": True,
    "input_tokens": 3, "output_tokens": 2, "cache_read_tokens": None, "cache_write_tokens": None,
    "reasoning_tokens": None, "usage_source": "provider", "cost_usd": "0.0000100", "price_source": "genai-prices",
    "latency_s": 0.25, "first_token_s": 0.125, "cache": "miss", "sample": 0, "cached_from": None, "saved_usd": None,
    "finish_reason": "stop", "attempts": 1, "dropped": [],
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeGateway:
    url: str
    seen: list[Seen]
    server: ThreadingHTTPServer
    origins: list[str]
    answer: Callable[["Handler", Seen], None]
    gone: "queue.Queue[str]"  # paths whose caller hung up before the answer was over

    @property
    def calls(self) -> list[Seen]:
        """What came in besides control calls."""
        return [s for s in self.seen if not s.path.startswith("/lens/")]


class Server(ThreadingHTTPServer):
    """With a backlog: the five connections of the default are too few on a busy machine, and the rest are reset."""

    request_queue_size = 256


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeGateway
    extra: ClassVar[dict[str, Any]] = {}

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, self._body(headers))
        self.fake.seen.append(seen)
        if self.path == "/lens/health":
            self.reply(200, {"status": "ok", "version": "99.0", "pid": os.getpid(), "store": "x", **self.extra})
        elif self.path == "/lens/origins":
            self.reply(200, {"origins": self.fake.origins, "providers": {}})
        elif self.path == "/lens/stop":
            self.reply(200, {"status": "stopping"})
            threading.Thread(target=self.server.shutdown).start()
        else:
            self.fake.answer(self, seen)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  http.server's own names

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {"content-type": "text/event-stream", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def until_gone(self) -> None:
        """Wait until the caller hangs up."""
        self.connection.settimeout(20)
        try:
            gone = self.connection.recv(1) == b""
        except ConnectionError:
            gone = True
        if gone:
            self.fake.gone.put(self.path)
        self.close_connection = True


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chat_chunk(text: str | None = None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    return event(id="r1", object="chat.completion.chunk", created=1, model="small",
                 choices=[{"index": 0, "delta": delta, "finish_reason": finish}])  # fmt: skip


def receipt_line(**changed: Any) -> bytes:
    return b": llmlens-receipt " + json.dumps({**RECEIPT, **changed}).encode() + b"\n\n"


def as_models_do(handler: Handler, seen: Seen) -> None:
    """Answer "hi there" in the dialect of the path; streams where asked to."""
    body = seen.json if seen.body[:1] == b"{" else {}
    if seen.path.endswith("/messages"):
        _anthropic(handler, body)
    elif body.get("stream"):
        handler.begin_stream()
        for text in ("hi", " there"):
            handler.chunk(chat_chunk(text))
        handler.chunk(chat_chunk(finish="stop") + b"data: [DONE]\n\n")
        if "x-llmlens-receipt" in seen.headers:
            handler.chunk(receipt_line())
        handler.chunk(b"")
    else:
        message = {"role": "assistant", "content": "hi there"}
        handler.reply(200, {"id": "r1", "object": "chat.completion", "created": 1, "model": "small",
                            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})  # fmt: skip


def _anthropic(handler: Handler, body: Any) -> None:
    usage = {"input_tokens": 3, "output_tokens": 2}
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "claude", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    if not body.get("stream"):
        handler.reply(200, {**message, "content": [{"type": "text", "text": "hi there"}], "stop_reason": "end_turn"})
        return
    handler.begin_stream()
    for name, fields in (
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "hi there"}}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
        ("message_stop", {}),
    ):
        handler.chunk(b"event: " + name.encode() + b"\n" + event(type=name, **fields))
    handler.chunk(b"")


@contextmanager
def fake_gateway(
    answer: Callable[[Handler, Seen], None] = as_models_do, *, port: int = 0, origins: tuple[str, ...] = (), **says: Any
) -> Iterator[FakeGateway]:
    """A fake gateway in a thread. `says` changes what /lens/health says."""
    kind = type("Bound", (Handler,), {"extra": says})
    server = Server(("127.0.0.1", port), kind)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}"
    known = ["https://api.openai.com", "https://api.anthropic.com", *origins]
    fake = kind.fake = FakeGateway(url, [], server, known, answer, queue.Queue())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--behave", default="well")
    parser.add_argument("--version", default="99.0")
    parser.add_argument("serve")
    parser.add_argument("--detached", action="store_true")
    for name in ("--store", "--config", "--port"):
        parser.add_argument(name)
    given = parser.parse_args()
    store = Path(given.store)
    with (store.parent / "starts.txt").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    if given.behave == "die":
        sys.exit("the disk is full, says the fake")
    kind = type("Bound", (Handler,), {"extra": {"version": given.version, "store": str(store)}})
    server = Server(("127.0.0.1", 0), kind)
    url = f"http://127.0.0.1:{server.server_port}"
    kind.fake = FakeGateway(url, [], server, ["https://api.openai.com"], as_models_do, queue.Queue())
    state = store.with_name(store.name + ".gateway.json")
    temporary = state.with_name(f"{state.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"pid": os.getpid(), "host": "127.0.0.1", "port": server.server_port, "key": KEY,
                                     "version": given.version, "started_at": "", "store": str(store)}))  # fmt: skip
    temporary.replace(state)
    if given.behave == "hang":
        threading.Event().wait()
    server.serve_forever(poll_interval=0.01)
    state.unlink()


if __name__ == "__main__":
    main()
