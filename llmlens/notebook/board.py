"""Run several streams at once and draw them side by side while they come in.

Threads read; only the main thread draws, since output of another thread may land in another cell. An interrupt closes
every stream, keeps what had come, and is raised again without a traceback.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Protocol

from llmlens.client.answer import Answer
from llmlens.errors import CallError, LensError
from llmlens.notebook.display import Slip
from llmlens.records import Fault, Outcome, Reply

DRAW_EVERY_S = 0.1
MAX_THREADS = 32
CLOSING_S = 2.0  # how long an interrupt waits for the closed streams to say what they had


class Stream(Protocol):
    """What `llmlens.client.ask.stream` gives: pieces of text, then `answer`."""

    def __iter__(self) -> Iterator[str]: ...
    def close(self) -> None: ...
    @property
    def answer(self) -> Answer: ...


class Screen(Protocol):
    """Where a board is drawn."""

    def draw(self, slips: Sequence[Slip]) -> None: ...
    def piece(self, slip: Slip, text: str) -> None: ...
    def finish(self, slips: Sequence[Slip]) -> None: ...


class Interrupted(KeyboardInterrupt):
    """The user's interrupt, after the streams were closed."""

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]


class NoAnswer(CallError):
    """Every model of the cell failed. What went wrong stands in the cell's output already."""

    def _render_traceback_(self) -> list[str]:
        return [f"NoAnswer: {self}"]


class Board:
    """The answers of one cell in the making. `run` returns when the last one is there."""

    def __init__(self, slips: Sequence[Slip], open_stream: Callable[[Slip], Stream], screen: Screen) -> None:
        self.slips = slips
        self._open_stream = open_stream
        self._screen = screen
        self._news: SimpleQueue[tuple[Slip, str | Answer | Exception]] = SimpleQueue()
        self._streams: list[Stream] = []
        self._todo = iter(list(slips))
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._running = len(slips)

    def run(self, carried: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """Read all streams; `carried` makes a thread's target keep the cell it belongs to.

        Raises:
            Interrupted: the user interrupted; the board shows what had come.
        """
        for _ in range(min(MAX_THREADS, len(self.slips))):
            threading.Thread(target=carried(self._work), name="llmlens-llm", daemon=True).start()
        try:
            self._follow()
        except KeyboardInterrupt:
            self._interrupt()
            raise Interrupted(f"{self._came()} of {len(self.slips)} answers had come") from None
        finally:
            self.slips = in_order(self.slips)
            self._screen.finish(self.slips)

    def _came(self) -> int:
        return sum(1 for slip in self.slips if slip.state == "done")

    # ── in the main thread ────────────────────────────────────────────────────────────────────────────────────────

    def _follow(self, until: float = inf) -> None:
        """Take news until all slips are done (or the time `until` has come), drawing at most every DRAW_EVERY_S."""
        drawn, dirty = 0.0, True
        while self._running and monotonic() < until:
            due = drawn + DRAW_EVERY_S - monotonic() if dirty else 0.5
            with suppress(Empty):
                self._take(*self._news.get(timeout=max(0.001, due)))
                dirty = True
            if dirty and monotonic() >= drawn + DRAW_EVERY_S:
                self._screen.draw(self.slips)
                drawn, dirty = monotonic(), False

    def _take(self, slip: Slip, news: str | Answer | Exception) -> None:
        if isinstance(news, str):
            slip.state = "running"
            slip.text += news
            self._screen.piece(slip, news)
            return
        self._running -= 1
        answer = news if isinstance(news, Answer) else _without_answer(slip, "error", news)
        cut = self._stopped.is_set() and answer.outcome != "complete"
        slip.answer, slip.text, slip.state = answer, answer.text or slip.text, "interrupted" if cut else "done"
        slip.error = answer.error.message if answer.error and not cut else None

    def _interrupt(self) -> None:
        self._stopped.set()
        for stream in list(self._streams):
            with suppress(Exception):  # it may have ended meanwhile; nothing is left to do for it
                stream.close()
        with suppress(KeyboardInterrupt):  # the impatient second press: show what there is
            self._follow(until=monotonic() + CLOSING_S)
        for slip in self.slips:
            if slip.state in ("waiting", "running"):
                slip.state, slip.answer = "interrupted", _without_answer(slip, "cancelled", "interrupted")

    # ── in the threads ────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while not self._stopped.is_set():
            with self._taking:
                slip = next(self._todo, None)
            if slip is None:
                return
            self._read(slip)

    def _read(self, slip: Slip) -> None:
        try:
            stream = self._open_stream(slip)
            self._streams.append(stream)
            if self._stopped.is_set():
                stream.close()
            for text in stream:
                self._news.put((slip, text))
            self._news.put((slip, stream.answer))
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs into the column of its model
            self._news.put((slip, error))


def _without_answer(slip: Slip, outcome: Outcome, why: Exception | str) -> Answer:
    """The answer of a call that the gateway did not get, or not to its end: a list of answers keeps its order."""
    said = str(why) if isinstance(why, LensError | str) else f"{type(why).__name__}: {why}"
    nothing = Reply(complete=False)
    return Answer(slip.model, slip.text, nothing, nothing.usage, outcome, error=Fault(said, type(why).__name__))


def in_order(slips: Sequence[Slip]) -> list[Slip]:
    """The slips of each model by the gateway's sample numbers, so that a second run shows the same order."""
    place = {model: i for i, model in enumerate(dict.fromkeys(slip.model for slip in slips))}
    ordered = sorted(slips, key=lambda slip: (place[slip.model], _sample_of(slip)))
    for _, group in groupby(ordered, key=lambda slip: slip.model):
        for number, slip in enumerate(group):
            slip.sample = number
    return ordered


def _sample_of(slip: Slip) -> float:
    return inf if slip.answer is None or slip.answer.sample is None else slip.answer.sample
