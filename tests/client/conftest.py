import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmlens import settings as configuration
from llmlens.client import cell, redirect
from llmlens.client.gateway import Gateway, stop
from llmlens.client.session import Session, use
from llmlens.errors import GatewayError
from llmlens.records import Secret
from llmlens.settings import Settings
from tests.client import fake_gateway as fakes
from tests.client.fake_gateway import FakeGateway, fake_gateway

PROVIDER_KEYS = {"OPENAI_API_KEY": "sk-openai-canary", "ANTHROPIC_API_KEY": "sk-ant-canary"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LLMLENS_") or name.lower().endswith("_proxy") or name in ("OPENAI_BASE_URL",):
            monkeypatch.delenv(name)
    for name, value in PROVIDER_KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configuration.load(store=tmp_path / "llmlens.duckdb", environ={}, cwd=tmp_path)


@pytest.fixture
def fake() -> Iterator[FakeGateway]:
    with fake_gateway() as running:
        yield running


@pytest.fixture
def session(fake: FakeGateway, settings: Settings) -> Iterator[Session]:
    """The session of this process, led to the fake gateway."""
    with session_to(fake, settings) as made:
        yield made


class session_to:  # noqa: N801  used like a function
    def __init__(self, fake: FakeGateway, settings: Settings) -> None:
        given = replace(settings, url=fake.url, key=Secret(fakes.KEY))
        self.session = Session(given, Gateway(fake.url, Secret(fakes.KEY), None, "99.0", None))

    def __enter__(self) -> Session:
        self.former = use(self.session)
        return self.session

    def __exit__(self, *_: object) -> None:
        redirect.uninstall()
        use(self.former)


@pytest.fixture
def process(settings: Settings) -> Iterator[Callable[..., list[str]]]:
    """process("--behave", …) → the command of a fake gateway that is a process; it is stopped when the test ends."""
    yield lambda *given: [sys.executable, str(Path(fakes.__file__)), *given]
    try:
        stop(settings)
    except GatewayError:
        pytest.fail("a fake gateway was left behind")


@pytest.fixture
def threads_know_their_cell() -> Iterator[None]:
    cell.carry_into_threads()
    yield
    cell.stop_carrying()
