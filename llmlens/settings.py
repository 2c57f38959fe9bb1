"""`llmlens.toml` + environment → `Settings`. The only reader of `os.environ`.

The project is the nearest folder, from the working folder upwards, that holds `llmlens.toml`; without one it is the
nearest that holds `.git` or `pyproject.toml`; without either, the working folder itself.

| variable | meaning |
| --- | --- |
| LLMLENS_STORE | the DuckDB file; without it `data/llmlens.duckdb` of the project |
| LLMLENS_CONFIG | the configuration file; without it `llmlens.toml` of the project, if it is there |
| LLMLENS_URL | a gateway that runs already; then none is started |
| LLMLENS_KEY | the key for it |
| LLMLENS_PROVIDER_<NAME> | base URL of an OpenAI-compatible server, called as `<name>/<model>` |
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from llmlens.catalog.prices import PriceOverride, override_from
from llmlens.catalog.providers import Provider, in_environment, load_catalog, provider_from
from llmlens.errors import SettingsError
from llmlens.records import Secret

DEFAULT_STORE = Path("data/llmlens.duckdb")
ROOT_MARKS = ("llmlens.toml", ".git", "pyproject.toml")
SECTIONS = ("gateway", "providers", "prices")
PROVIDER_VARIABLE = "LLMLENS_PROVIDER_"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The `[gateway]` table. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    allowed_hosts: tuple[str, ...] = ()  # further names by which browsers and clients may address it
    idle_stop_s: float = 900.0  # a gateway that a notebook started stops itself after this long without a call
    max_body_bytes: int = 32 * 1024 * 1024
    max_answer_bytes: int = 64 * 1024 * 1024
    max_pending_bytes: int = 256 * 1024 * 1024  # answered calls that wait for the database
    cache: str = "on"  # what a call gets that sends no x-llmlens-cache
    cache_ttl_s: float | None = None
    cache_memory_bytes: int = 16 * 1024 * 1024
    cache_entries: int = 200_000
    connect_timeout_s: float = 10.0
    first_byte_timeout_s: float = 600.0
    total_timeout_s: float = 1800.0
    max_attempts: int = 3
    max_retry_wait_s: float = 30.0
    database_memory_mb: int = 64
    journal_fsync: bool = False  # True: survive a power cut too, at about 0.15 ms a call
    on_log_failure: str = "refuse"  # "refuse": no call is sent that cannot be logged; "answer": it is, and counted


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured, resolved and checked."""

    root: Path
    store: Path
    config: Path | None = None
    gateway: GatewaySettings = GatewaySettings()
    providers: Mapping[str, Provider] = field(default_factory=load_catalog)
    prices: Mapping[str, PriceOverride] = field(default_factory=dict)
    url: str | None = None
    key: Secret | None = None

    @property
    def config_sha(self) -> str:
        """SHA-256 of the configuration file as it is now, in hex; of nothing where there is none."""
        try:
            data = self.config.read_bytes() if self.config else b""
        except OSError:
            data = b""
        return sha256(data).hexdigest()

    @property
    def state_file(self) -> Path:
        """Where the running gateway of this store says how to reach it (mode 0600)."""
        return self.store.with_name(self.store.name + ".gateway.json")

    @property
    def price_file(self) -> Path:
        """The price list that `llmlens prices update` fetched."""
        return self.store.with_name(self.store.name + ".prices.json")

    @property
    def lock_file(self) -> Path:
        """Held by whoever starts a gateway for this store."""
        return self.store.with_name(self.store.name + ".lock")

    @property
    def log_file(self) -> Path:
        """Where a detached gateway writes what it has to say."""
        return self.store.with_name(self.store.name + ".gateway.log")


def load(
    config: str | Path | None = None,
    store: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Read the configuration of the project that `cwd` (the working folder) lies in. Arguments win over variables.

    Raises:
        SettingsError: an unknown key, a wrong type, a file that is not there; it names the file and the key.
    """
    env = os.environ if environ is None else environ
    root = find_root(cwd or Path.cwd())
    file = config or env.get("LLMLENS_CONFIG") or (root / "llmlens.toml" if (root / "llmlens.toml").exists() else None)
    path = Path(file).absolute() if file else None
    tables = _read(path) if path else {}
    database = store or env.get("LLMLENS_STORE")
    return Settings(
        root=root,
        store=Path(database).absolute() if database else root / DEFAULT_STORE,
        config=path,
        gateway=_gateway(tables.get("gateway", {}), path),
        providers=_providers(tables.get("providers", {}), env),
        prices={name: override_from(name, table) for name, table in tables.get("prices", {}).items()},
        url=env.get("LLMLENS_URL") or None,
        key=Secret(env["LLMLENS_KEY"]) if env.get("LLMLENS_KEY") else None,
    )


def find_root(start: Path) -> Path:
    """The project folder: see the head of this file."""
    folders = [start.absolute(), *start.absolute().parents]
    for mark in ROOT_MARKS:
        for folder in folders:
            if (folder / mark).exists():
                return folder
    return folders[0]


def secret_of(reference: str | None, environ: Mapping[str, str] | None = None) -> Secret | None:
    """The secret that `env:NAME` (or a bare variable name) refers to; None when the variable is not set.

    Of "A|B" the first that is set.
    """
    env = os.environ if environ is None else environ
    variables = reference.removeprefix("env:").split("|") if reference else []
    return next((Secret(value) for name in variables if (value := env.get(name))), None)


def loopback_without_proxy() -> None:
    """Add loopback to NO_PROXY where a proxy is set, so that clients made from now on reach the gateway directly."""
    if not any(os.environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")):
        return
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [h.strip() for h in os.environ.get(name, "").split(",") if h.strip()]
        os.environ[name] = ",".join([*hosts, *(h for h in ("127.0.0.1", "localhost") if h not in hosts)])


def proxy_of(url: str) -> str | None:
    """The HTTP proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY (any case) prescribe for `url`."""
    split = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(split.scheme) or proxies.get("all")
    return None if proxy is None or not split.hostname or proxy_bypass(split.hostname) else proxy


def variable(name: str) -> str | None:
    """One environment variable, for facts about the front end (JPY_SESSION_NAME and its like)."""
    return os.environ.get(name)


def _read(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no configuration file {str(path)!r}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    for name, table in tables.items():
        if name not in SECTIONS:
            raise SettingsError(f"{path}: unknown section [{name}]; known: {', '.join(SECTIONS)}")
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {name!r} must be a table, [{name}]")
    return tables


def _gateway(table: Mapping[str, Any], path: Path | None) -> GatewaySettings:
    known = {f.name for f in fields(GatewaySettings)}
    types = get_type_hints(GatewaySettings)
    values: dict[str, Any] = {}
    for name, given in table.items():
        if name not in known:
            raise SettingsError(f"{path}: unknown key {name!r} in [gateway]; known: {', '.join(sorted(known))}")
        values[name] = _typed(given, types[name], f"{path}: [gateway] {name}")
    made = GatewaySettings(**values)
    for name, allowed in (("cache", ("on", "off", "refresh", "only")), ("on_log_failure", ("refuse", "answer"))):
        if getattr(made, name) not in allowed:
            raise SettingsError(f"{path}: [gateway] {name} must be one of {', '.join(allowed)}")
    if made.max_attempts < 1:
        raise SettingsError(f"{path}: [gateway] max_attempts must be at least 1")
    if not 0 <= made.port <= 65535:
        raise SettingsError(f"{path}: [gateway] port must be 0 to 65535")
    return made


def _typed(given: Any, wanted: Any, where: str) -> Any:
    if wanted == tuple[str, ...] and isinstance(given, list) and all(isinstance(x, str) for x in given):
        return tuple(given)
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if wanted in (float, float | None) and number:
        if given < 0:
            raise SettingsError(f"{where} must not be negative")
        return float(given)
    if wanted is int and number and isinstance(given, int) and given >= 0:
        return given
    if wanted in (str, bool) and isinstance(given, wanted):
        return given
    name = getattr(wanted, "__name__", str(wanted))
    raise SettingsError(f"{where} must be {name}, not {given!r}")


def _providers(tables: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Provider]:
    providers = {name: in_environment(provider, env) for name, provider in load_catalog().items()}
    for variable_name, url in env.items():
        if variable_name.startswith(PROVIDER_VARIABLE) and url:
            name = variable_name.removeprefix(PROVIDER_VARIABLE).lower()
            providers[name] = provider_from(name, {"base_url": url}, providers.get(name))
    for name, table in tables.items():
        providers[name] = provider_from(name, table, providers.get(name))
    return providers
