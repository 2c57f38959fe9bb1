"""The providers: rows of `providers.toml`, merged with the rows of the user. And the way from a model name to one.

A model is named `provider/model`; everything after the first slash belongs to the provider ("lab/org/model" is the
model "org/model" of lab). A bare name resolves through the `models` patterns of the rows.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from llmlens.catalog.origins import among, check_stars, origin_of, part_under
from llmlens.errors import ModelUnknown, SettingsError

DialectName = Literal["openai", "anthropic", "gemini", "cohere", "ollama", "bedrock"]
AuthName = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"]
Quirk = Literal["max_completion_tokens", "no_done", "deployment_names"]
SIMULATED_URL: Final = "sim:"

QUIRKS: Final[Mapping[Quirk, str]] = {
    "max_completion_tokens": "its newer models refuse max_tokens in chat requests and want max_completion_tokens",
    "no_done": "its chat streams end without [DONE]",
    "deployment_names": "its model names are deployments that the user named: the answer says which model served",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """One row.

    base_url:  where its API begins, version included ("https://api.openai.com/v1"), without a final slash; "sim:" is
               the simulated provider inside the gateway. In shipped rows "{A|B}" stands for the first of the
               environment variables A and B that is set: until then the address is not known (`unset`).
    key_env:   the environment variable that holds the key; of "A|B" the first that is set. None where no key is
               needed, or the caller brings one.
    own_key:   True when the user's row names the key (`api_key = "env:NAME"`): it replaces the caller's own.
    auth:      the header a key travels in.
    origins:   URL prefixes by which the SDKs mean this provider; `*` stands for one label of the host (`origins.py`).
               Regional ones are places of their own: send there.
    capture:   whether calls to `base_url` or `origins` are redirected in a kernel.
    models:    fnmatch patterns of the bare model names that lead here.
    host_env:  an environment variable that moves `base_url` (host and port, or a URL).
    local:     runs on the user's own machine: nothing is priced unless a [prices] row says so.
    priced_as: the provider's name in genai-prices; None means the same name. A router's has a star, which the name of
               the model fills (`prices.find_listed`).
    also:      names of dialects it offers besides those of its family ("anthropic.messages" at an OpenAI look-alike).
    without:   names of dialects of its family that it does not offer: calls in them are translated.
    elsewhere: dialects it offers below another path of the same host than `base_url`'s → that path
               ({"anthropic.messages": "/anthropic/v1"}).
    quirks:    what is peculiar about it: names from QUIRKS.
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
    elsewhere: Mapping[str, str] = field(default_factory=dict, hash=False)
    quirks: tuple[Quirk, ...] = ()
    source: str | None = None
    checked: date | None = None

    @property
    def simulated(self) -> bool:
        """True for the provider inside the gateway, which has no network address."""
        return self.base_url == SIMULATED_URL

    @property
    def unset(self) -> tuple[str, ...]:
        """The environment variables that `base_url` still needs, as "A" or "A|B"; none where the address is known."""
        return _variables(self.base_url)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The URL prefixes by which a call is meant for it: `base_url` where it is known, then `origins`."""
        return self.origins if self.unset or self.simulated else (self.base_url, *self.origins)

    def offers(self, dialect: str) -> bool:
        """Whether a call in `dialect` can be sent to it as it is."""
        if dialect in self.also or dialect in self.elsewhere:
            return True
        return dialect.partition(".")[0] == self.dialect and dialect not in self.without

    def base_for(self, dialect: str) -> str:
        """Where the paths of `dialect` begin, without a final slash.

        Raises:
            ModelUnknown: the address is not known yet; says what to set.
        """
        if self.unset:
            raise ModelUnknown(_no_address(self), param="model")
        path = self.elsewhere.get(dialect)
        return self.base_url if path is None else origin_of(self.base_url) + path.rstrip("/")

    def meant_by(self, origin: str) -> bool:
        """Whether a call to `origin` ("https://host:port", in any case) is meant for it."""
        return among(self.prefixes, origin.rstrip("/").lower())

    def origin_for(self, meant: str) -> str:
        """The origin that gets a call whose caller meant the origin `meant`.

        That one, as long as the provider is where it was shipped; a provider that is pointed elsewhere gets it there.

        Raises:
            ModelUnknown: `meant` is none of its own, and its address is not known yet.
        """
        if not self.unset and not among(self.origins, origin_of(self.base_url)):
            return origin_of(self.base_url)
        return meant.rstrip("/").lower() if self.meant_by(meant) else origin_of(self.base_for(""))


@cache
def load_catalog() -> Mapping[str, Provider]:
    """Every shipped row by name, in file order. The mapping is shared: copy it before you add to it.

    About 6 ms at the first call. Raises SettingsError if the shipped file breaks its own rules.
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


def in_environment(provider: Provider, env: Mapping[str, str]) -> Provider:
    """The row with the address that the variables of `env` give it: `host_env`, and those that `base_url` names.

    Raises:
        SettingsError: a variable holds what cannot be (part of) an address.
    """
    if host := env.get(provider.host_env or ""):
        url = host.rstrip("/") if "://" in host else _with_port(host, provider)
        return provider_from(provider.name, {"base_url": url + urlsplit(provider.base_url).path}, provider)
    if provider.unset and not _variables(url := _filled(provider, env)):
        return provider_from(provider.name, {"base_url": url}, provider)
    return provider


def resolve_model(name: str, providers: Mapping[str, Provider]) -> tuple[str, str]:
    """Model `name` as the caller wrote it → (provider name, the name that provider knows).

    Raises:
        ModelUnknown: no provider serves it, or the one that does has no address yet; says which names are near, which
            providers are known, what to set.
    """
    provider, model = named_model(name, providers)
    if providers[provider].unset:
        raise ModelUnknown(_no_address(providers[provider]), param="model")
    return provider, model


def named_model(name: str, providers: Mapping[str, Provider]) -> tuple[str, str]:
    """`resolve_model` for facts about a model, which need no address of its provider."""
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
    if best is None:
        raise ModelUnknown(_unknown_model(name, providers), param="model")
    return best[1], name


def provider_for_url(url: str, providers: Mapping[str, Provider]) -> tuple[Provider, str] | None:
    """Whom a call to `url` is meant for, and the part of `url` that says so; None where it is no captured provider's.

    The longest matching prefix wins. Host names compare in lower case, so pass `url` as an HTTP library normalizes it.
    """
    found: tuple[Provider, str] | None = None
    for provider in providers.values():
        if provider.capture:
            for prefix in provider.prefixes:
                part = part_under(url, prefix)
                if part is not None and (found is None or len(part) > len(found[1])):
                    found = provider, part
    return found


# ── reading a row ─────────────────────────────────────────────────────────────────────────────────────────────────


_SHIPPED_KEYS: Final = frozenset(f.name for f in fields(Provider)) - {"name", "own_key"}
_USER_KEYS: Final = (_SHIPPED_KEYS - {"host_env", "source", "checked"}) | {"api_key"}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {"dialect": get_args(DialectName), "auth": get_args(AuthName)}
_FLAGS: Final = frozenset({"capture", "local"})
_LISTS: Final = frozenset({"origins", "models", "also", "without", "quirks"})
_VARIABLE: Final = re.compile(r"\{([A-Z0-9_|]+)\}")


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
        return _list(where, key, value)
    if key == "elsewhere":
        return _paths(where, value)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{where}: {key} must be a string, not {value!r}")
    if key == "base_url" and keys is _SHIPPED_KEYS and _VARIABLE.search(value):
        return value
    return _text(where, key, value)


def _list(where: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise SettingsError(f"{where}: {key} must be a list of strings, not {value!r}")
    if key == "quirks":
        return tuple(_choice(where, "quirk", item, tuple(QUIRKS)) for item in value)
    return tuple(_url(where, key, item) for item in value) if key == "origins" else tuple(value)


def _paths(where: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(path, str) and path[:1] == "/" for path in value.values()):
        raise SettingsError(f'{where}: elsewhere must be a table of dialects and paths, {{"ollama.chat" = "/"}}')
    return dict(value)


def _text(where: str, key: str, value: str) -> str:
    if key == "base_url":
        return _url(where, key, value)
    if key == "api_key":
        variable = value.removeprefix("env:")
        if variable == value or not variable.isidentifier():
            # The value itself may be a key: it is not repeated.
            raise SettingsError(f'{where}: api_key must be "env:NAME", the variable that holds the key, not the key')
        return variable
    return _choice(where, key, value, _CHOICES[key]) if key in _CHOICES else value


def _choice(where: str, key: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise SettingsError(f"{where}: unknown {key} {value!r}{_near(value, known)}; known: {', '.join(known)}")
    return value


def _url(where: str, key: str, value: str) -> str:
    url = value.rstrip("/")
    host = url.partition("://")[2].partition("/")[0]
    if url != SIMULATED_URL and not (url.startswith(("http://", "https://")) and host):
        raise SettingsError(f"{where}: {key} must begin with http:// or https://, not {value!r}")
    if "@" in host or any(sign in url for sign in "?#{}\\") or any(char.isspace() for char in url):
        raise SettingsError(f"{where}: {key} must be a plain address without credentials, '?', '#', braces or blanks")
    if wrong := check_stars(url) or ("is one address, without '*'" if key == "base_url" and "*" in url else None):
        raise SettingsError(f"{where}: {key} {value!r} {wrong}")
    return url


# ── addresses from the environment ────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1024)  # asked several times per call
def _variables(base_url: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_VARIABLE.findall(base_url)))


def _with_port(host: str, provider: Provider) -> str:
    """`host` as an URL; without a port of its own it has that of the shipped address (so do Ollama's own clients)."""
    try:
        port = urlsplit(f"http://{host}").port
    except ValueError as error:
        raise SettingsError(f"{provider.host_env}={host!r} is no host and port: {error}") from error
    return f"http://{host}" if port else f"http://{host.rstrip(':')}:{urlsplit(provider.base_url).port}"


def _filled(provider: Provider, env: Mapping[str, str]) -> str:
    """`base_url` with the variables that are set. One that ends with what follows it already is not doubled."""

    def value(match: re.Match[str]) -> str:
        name = next((name for name in match[1].split("|") if env.get(name)), None)
        if name is None:
            return match[0]
        if match.start() and not re.fullmatch(r"[\w.:-]+", env[name], re.ASCII):
            raise SettingsError(f"{name}={env[name]!r} cannot be a part of the address {provider.base_url!r}")
        return env[name].rstrip("/").removesuffix(provider.base_url[match.end() :])

    return _VARIABLE.sub(value, provider.base_url)


# ── saying what is near ───────────────────────────────────────────────────────────────────────────────────────────


def _no_address(provider: Provider) -> str:
    needed = " and ".join(names.replace("|", " or ") for names in provider.unset)
    return (
        f"the address of {provider.name!r} is not known: set {needed}, "
        f"or base_url under [providers.{provider.name}] in llmlens.toml"
    )


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=2)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def _unknown_model(name: str, providers: Mapping[str, Provider]) -> str:
    head, slash, rest = name.partition("/")
    if slash:
        # "google/…" and "x-ai/…" are what other tools call them; genai-prices does too.
        near = [p.name for p in providers.values() if p.priced_as == head != p.name]
        near = near or difflib.get_close_matches(head.lower(), providers, n=2)
        hint = [f"{provider}/{rest or '…'}" for provider in near]
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
