"""llmlens: the LLM gateway that lives in the notebook.

In a notebook, `%load_ext llmlens`. From then on every LLM call, whichever SDK makes it, is logged, cached and priced.
Elsewhere, `import llmlens as lens` and `lens.patch()` do the same.

Importing this module loads nothing else: every public name is looked up when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from llmlens.client.ask import Answer, aask, ask, stream
    from llmlens.client.gateway import base_url
    from llmlens.client.query import calls, sql, usage
    from llmlens.client.redirect import attach
    from llmlens.client.redirect import install as patch
    from llmlens.client.redirect import uninstall as unpatch
    from llmlens.client.tokens import count_tokens
    from llmlens.errors import CallError, Denied, GatewayError, LensError, QueryError, SettingsError, StoreError

    __version__: str

_HOME = {
    "Answer": "llmlens.client.ask",
    "aask": "llmlens.client.ask",
    "ask": "llmlens.client.ask",
    "stream": "llmlens.client.ask",
    "base_url": "llmlens.client.gateway",
    "calls": "llmlens.client.query",
    "sql": "llmlens.client.query",
    "usage": "llmlens.client.query",
    "attach": "llmlens.client.redirect",
    "patch": "llmlens.client.redirect:install",
    "unpatch": "llmlens.client.redirect:uninstall",
    "count_tokens": "llmlens.client.tokens",
    "CallError": "llmlens.errors",
    "Denied": "llmlens.errors",
    "GatewayError": "llmlens.errors",
    "LensError": "llmlens.errors",
    "QueryError": "llmlens.errors",
    "SettingsError": "llmlens.errors",
    "StoreError": "llmlens.errors",
}

__all__ = [
    "Answer",
    "CallError",
    "Denied",
    "GatewayError",
    "LensError",
    "QueryError",
    "SettingsError",
    "StoreError",
    "__version__",
    "aask",
    "ask",
    "attach",
    "base_url",
    "calls",
    "count_tokens",
    "load_ipython_extension",
    "patch",
    "sql",
    "stream",
    "unload_ipython_extension",
    "unpatch",
    "usage",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("llmlens")
    elif name in _HOME:
        module, _, other_name = _HOME[name].partition(":")
        value = getattr(import_module(module), other_name or name)
    else:
        raise AttributeError(f"module 'llmlens' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """`%load_ext llmlens`: log every LLM call of this kernel from now on."""
    from llmlens.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: "InteractiveShell") -> None:
    """`%unload_ext llmlens`: take everything back. The gateway stays, since other notebooks may use it."""
    from llmlens.notebook.extension import unload

    unload(shell)
