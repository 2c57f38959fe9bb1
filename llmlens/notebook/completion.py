"""Tab completion on the magic lines: models, options, values of options. Never raises, never waits long."""

import argparse
import logging
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from llmlens.catalog.simulated import PROVIDER, SIM_MODELS
from llmlens.notebook import commands, options
from llmlens.notebook.magics import LensMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from llmlens.notebook.extension import Extension

log = logging.getLogger("llmlens")

FRESH_S = 60.0
PATIENCE_S = 0.3
EVENT = "complete_command"


class Completion:
    """The completers of one shell, and what takes them away again."""

    def __init__(self, extension: "Extension") -> None:
        self._extension = extension
        self._models = tuple(f"{PROVIDER}/{name}" for name in SIM_MODELS)
        self._asked_at = -FRESH_S
        self._completers: dict[str, Callable[..., Any]] = {}

    def begin(self) -> None:
        """Register for the four magics, with and without the second `%`."""
        shell: Any = self._extension.shell
        for word, complete in (("llm", self.llm), ("lens", self.lens), ("lens_sql", self.lens_sql)):
            for key in (f"%{word}", f"%%{word}"):
                self._completers[key] = _guarded(complete)
                shell.set_hook(EVENT, self._completers[key], str_key=key)

    def end(self) -> None:
        """Take them away; what others registered for the same words stays."""
        registered = self._extension.shell.strdispatchers[EVENT].strs
        for key, completer in self._completers.items():
            chain = registered[key].chain
            chain[:] = [entry for entry in chain if getattr(entry[1], "__func__", None) is not completer]
            if not chain:
                del registered[key]
        self._completers.clear()

    def llm(self, event: SimpleNamespace) -> list[str]:
        """Models, options, and the values of `--cache`."""
        parser = options.parser_of(LensMagics.llm)
        return _fitting(event, [*_values(parser, event), *_flags(parser, event)] or self.models())

    def lens(self, event: SimpleNamespace) -> list[str]:
        """The commands, then the options of the one that stands there."""
        words = event.text_until_cursor.split()
        if len(words) < 2 or (len(words) == 2 and event.symbol):
            return _fitting(event, commands.COMMANDS)
        command = commands.COMMANDS.get(words[1])
        return _fitting(event, _flags(command.parser(words[1]), event, always=True)) if command else []

    def lens_sql(self, event: SimpleNamespace) -> list[str]:
        """Options."""
        return _fitting(event, _flags(options.parser_of(LensMagics.lens_sql), event))

    def models(self) -> tuple[str, ...]:
        """What the gateway can call, asked for once a minute in the background: some providers are slow to say."""
        if monotonic() - self._asked_at > FRESH_S:
            self._asked_at = monotonic()
            asking = threading.Thread(target=self._ask, name="llmlens-models", daemon=True)
            asking.start()
            asking.join(PATIENCE_S)
        return self._models

    def _ask(self) -> None:
        self._models = tuple(self._extension.models()) or self._models


def _guarded(complete: Callable[[SimpleNamespace], list[str]]) -> Callable[["InteractiveShell", SimpleNamespace], Any]:
    def completer(shell: "InteractiveShell", event: SimpleNamespace) -> list[str]:
        try:
            return complete(event)
        except Exception:  # Tab must not break the prompt
            log.debug("completion failed", exc_info=True)
            return []

    return completer


def _flags(parser: argparse.ArgumentParser, event: SimpleNamespace, *, always: bool = False) -> list[str]:
    word = _word(event)
    return sorted(options.options_of(parser)) if always or word.startswith("-") else []


def _values(parser: argparse.ArgumentParser, event: SimpleNamespace) -> list[str]:
    words = event.text_until_cursor.split()
    before = words[-2 if event.text_until_cursor[-1:].strip() else -1 :][:1]
    action = options.options_of(parser).get(before[0]) if before else None
    return [str(choice) for choice in action.choices] if action is not None and action.choices else []


def _word(event: SimpleNamespace) -> str:
    """The whole word before the cursor; `event.symbol` is only what follows its last delimiter ("-", "/")."""
    typed = event.text_until_cursor
    return "" if not typed or typed[-1].isspace() else str(typed.split()[-1])


def _fitting(event: SimpleNamespace, words: Iterable[str]) -> list[str]:
    """Those of `words` that go on from what is typed, less what stands before `event.symbol`."""
    typed = _word(event)
    skip = len(typed) - len(event.symbol) if typed.endswith(event.symbol) else 0
    return [word[skip:] for word in words if word.startswith(typed)]
