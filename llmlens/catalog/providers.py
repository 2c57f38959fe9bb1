"""The providers: rows of `providers.toml`, merged with the rows of the user. And the way from a model name to one.

A model is named `provider/model`; everything after the first slash belongs to the provider ("lab/org/model" is the
model "org/model" of lab). A bare name resolves through the `models` patterns of the rows.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args

from llmlens.errors import ModelUnknown, SettingsError

DialectName = Literal["openai", "anthropic", "gemini", "cohere", "ollama", "bedrock"]
AuthName = Literal["bearer", "x-api-key", "x-goog-api-key", "none"]
SIMULATED_URL: Final = "sim:"


@dataclass(frozen=True, slots=True)
class Provider:
    """One row.

    base_url:  where its API begins, version included ("https://api.openai.com/v1"), without a final slash; "sim:" is
               the simulated provider inside the gateway.
    key_env:   the environment variable that holds the key; None where none is needed, or the caller brings one.
    own_key:   True when the user's row names the key (`api_key = "env:NAME"`): it replaces the caller's own.
    auth:      the header a key travels in.
    origins:   URL prefixes by which the SDKs mean this provider. Regional ones are places of their own: send there.
    capture:   whether calls to `base_url` or `origins` are redirected in a kernel.
    models:    fnmatch patterns of the bare model names that lead here.
    host_env:  an environment variable that moves `base_url` (host and port, or a URL).
    local:     runs on the user's own machine: nothing is priced unless a [prices] row says so.
    priced_as: the provider's name in genai-prices; None means the same name.
    also:      names of dialects it offers besides those of its family ("anthropic.messages" at an OpenAI look-alike).
    without:   names of dialects of its family that it does not offer: calls in them are translated.
    source, checked: where the row comes from, and the day it was compared with it. None in rows of the user.
    """

    name: str
    base_url: str
    dialect: DialectName = "openai"
    key_env: str | None = None
    own_key: bool = False
    auth: AuthName = "bearer"
    origins: tuple[str, ...] = ()
    capture: bool = True
    models: tuple[str, ...] = ()
    host_env: str | None = None
    local: bool = False
    priced_as: str | None = None
    also: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    source: str | None = None
    checked: date | None = None

    @property
    def simulated(self) -> bool:
        """True for the provider inside the gateway, which has no network address."""
        return self.base_url == SIMULATED_URL

    def offers(self, dialect: str) -> bool:
        """Whether a call in `dialect` can be sent to it as it is."""
        family = dialect.partition(".")[0] == self.dialect
        return (family and dialect not in self.without) or dialect in self.also


@cache
def load_catalog() -> Mapping[str, Provider]:
    """Every shipped row by name, in file order. The mapping is shared: copy it before you add to it.

    About 2 ms at the first call. Raises SettingsError if the shipped file breaks its own rules.
    """
    text = (files("llmlens.catalog") / "providers.toml").read_text("utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)["providers"]
    return {name: _provider(name, table, None, _SHIPPED_KEYS) for name, table in tables.items()}


def provider_from(name: str, table: Mapping[str, Any], base: Provider | None = None) -> Provider:
    """The row that the user's `[providers.<name>]` makes, on top of the shipped row `base`.

    A row that moves `base_url` keeps the shipped origins: calls that meant OpenAI then go where "openai" points.

    Raises:
        SettingsError: an unknown key, a wrong type or value, no base_url, a key that is not `env:NAME`.
    """
    return _provider(name, table, base, _USER_KEYS)


def resolve_model(name: str, providers: Mapping[str, Provider]) -> tuple[str, str]:
    """Model `name` as the caller wrote it → (provider name, the name that provider knows).

    Raises:
        ModelUnknown: no provider serves it; says which names are near and which providers are known.
    """
    head, slash, rest = name.partition("/")
    if slash and rest and head in providers:
        return head, rest
    matches = (
        (_literal_chars(pattern), provider.name)
        for provider in providers.values()
        for pattern in provider.models
        if fnmatchcase(name, pattern)
    )
    best = max(matches, key=lambda match: match[0], default=None)
    if best is not None:
        return best[1], name
    raise ModelUnknown(_unknown_model(name, providers), param="model")


def provider_for_url(url: str, providers: Mapping[str, Provider]) -> tuple[Provider, str] | None:
    """Whom a call to `url` is meant for, and the origin it matched; None where it is no provider that is captured.

    The longest matching prefix wins; a prefix ends at a "/", at "?" or at the end of `url`. Host names compare in
    lower case, so pass `url` as an HTTP library normalizes it.
    """
    found: tuple[Provider, str] | None = None
    for provider in providers.values():
        if provider.capture and not provider.simulated:
            for prefix in (provider.base_url, *provider.origins):
                if _under(url, prefix) and (found is None or len(prefix) > len(found[1])):
                    found = provider, prefix
    return found


# ── reading a row ─────────────────────────────────────────────────────────────────────────────────────────────────


_SHIPPED_KEYS: Final = frozenset(f.name for f in fields(Provider)) - {"name", "own_key"}
_USER_KEYS: Final = (_SHIPPED_KEYS - {"host_env", "source", "checked"}) | {"api_key"}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {"dialect": get_args(DialectName), "auth": get_args(AuthName)}
_FLAGS: Final = frozenset({"capture", "local"})
_LISTS: Final = frozenset({"origins", "models", "also", "without"})


def _provider(name: str, table: Mapping[str, Any], base: Provider | None, keys: frozenset[str]) -> Provider:
    where = f"[providers.{name}]"
    if not name or "/" in name or name != name.strip():
        raise SettingsError(f"{where}: a provider's name must not be empty and must not contain '/'")
    if not isinstance(table, Mapping):
        raise SettingsError(f"{where} must be a table, not {table!r}")
    values = {key: _value(where, key, value, keys) for key, value in table.items()}
    if "api_key" in values:
        values |= {"key_env": values.pop("api_key"), "own_key": True}
    if base is not None:
        return replace(base, **values)
    if "base_url" not in values:
        raise SettingsError(f"{where} has no base_url, and {name!r} is not a provider llmlens knows")
    if values.get("auth") is None:
        values["auth"] = _USUAL_AUTH.get(values.get("dialect", "openai"), "bearer")
    return Provider(name, **values)


_USUAL_AUTH: Final[dict[str, AuthName]] = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}


def _value(where: str, key: str, value: Any, keys: frozenset[str]) -> Any:
    if key not in keys:
        raise SettingsError(f"{where}: unknown key {key!r}{_near(key, keys)}; known: {', '.join(sorted(keys))}")
    if key == "checked":
        return value
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise SettingsError(f"{where}: {key} must be true or false, not {value!r}")
        return value
    if key in _LISTS:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise SettingsError(f"{where}: {key} must be a list of strings, not {value!r}")
        return tuple(_url(where, key, item) for item in value) if key == "origins" else tuple(value)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{where}: {key} must be a string, not {value!r}")
    return _text(where, key, value)


def _text(where: str, key: str, value: str) -> str:
    if key == "base_url":
        return _url(where, key, value)
    if key == "api_key":
        variable = value.removeprefix("env:")
        if variable == value or not variable.isidentifier():
            # The value itself may be a key: it is not repeated.
            raise SettingsError(f'{where}: api_key must be "env:NAME", the variable that holds the key, not the key')
        return variable
    if key in _CHOICES and value not in _CHOICES[key]:
        known = _CHOICES[key]
        raise SettingsError(f"{where}: unknown {key} {value!r}{_near(value, known)}; known: {', '.join(known)}")
    return value


def _url(where: str, key: str, value: str) -> str:
    url = value.rstrip("/")
    host = url.partition("://")[2].partition("/")[0]
    if url != SIMULATED_URL and not (url.startswith(("http://", "https://")) and host):
        raise SettingsError(f"{where}: {key} must begin with http:// or https://, not {value!r}")
    if "@" in host or "?" in url or "#" in url:
        raise SettingsError(f"{where}: {key} must be a plain address without credentials, '?' or '#'")
    return url


# ── saying what is near ───────────────────────────────────────────────────────────────────────────────────────────


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=2)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def _unknown_model(name: str, providers: Mapping[str, Provider]) -> str:
    head, slash, rest = name.partition("/")
    if slash:
        near = difflib.get_close_matches(head, providers, n=2)
        hint = [f"{provider}/{rest}" for provider in near]
    else:
        stems = {s: s for p in providers.values() for pattern in p.models if (s := _stem(pattern))}
        near = [stem for stem in stems if difflib.get_close_matches(name[: len(stem)], [stem], cutoff=0.7)]
        hint = [f"{stem}…" for stem in sorted(near)[:3]]
    meant = f"; did you mean {' or '.join(map(repr, hint))}?" if hint else "."
    known = ", ".join(sorted(providers)) or "none"
    return f"no provider serves model {name!r}{meant} Write it as provider/model; known providers: {known}"


def _stem(pattern: str) -> str:
    return pattern.partition("*")[0].partition("[")[0]


def _literal_chars(pattern: str) -> int:
    return sum(char not in "*?[]!" for char in pattern)


def _under(url: str, prefix: str) -> bool:
    return url.startswith(prefix) and url[len(prefix) : len(prefix) + 1] in ("", "/", "?")
