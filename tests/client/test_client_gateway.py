import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from llmlens.client.gateway import _serve_options, connect, stop
from llmlens.client.process import alive, looks_like_ours
from llmlens.client.session import Session
from llmlens.errors import GatewayError
from llmlens.records import Secret
from tests.client.fake_gateway import KEY, fake_gateway


def starts(settings) -> list[int]:
    return [int(line) for line in (settings.store.parent / "starts.txt").read_text().split()]


def write_state(settings, **changed) -> None:
    state = {"pid": os.getpid(), "host": "127.0.0.1", "port": 9, "key": "llk-x", "version": "1", "store": "x"}
    settings.state_file.write_text(json.dumps({**state, **changed}))


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_it_starts_one_then_finds_it_then_stops_it(settings, process):
    first = connect(settings, command=process())
    assert first.key == Secret(KEY)
    assert alive(first.pid)
    assert looks_like_ours(first.pid)
    assert connect(settings, start=False) == first
    assert settings.log_file.stat().st_mode & 0o777 == 0o600
    assert stop(settings) is True
    assert not alive(first.pid)
    assert stop(settings) is False
    assert len(starts(settings)) == 1


def test_nothing_is_started_when_that_is_not_wanted(settings):
    with pytest.raises(GatewayError, match="no gateway runs"):
        connect(settings, start=False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": -1, "port": 1, "key": "", "host": ""}'])
def test_a_broken_state_file_is_replaced(settings, process, content):
    settings.state_file.write_text(content)
    assert connect(settings, command=process()).pid == starts(settings)[0]


def test_the_state_of_a_dead_process_is_replaced(settings, process, dead_pid):
    write_state(settings, pid=dead_pid)
    assert connect(settings, command=process()).pid != dead_pid


def test_another_process_with_its_pid_or_its_port_is_not_taken_for_it(settings, process):
    with fake_gateway(pid=1) as other:  # lives, but its health names another pid
        write_state(settings, port=other.server.server_port)
        found = connect(settings, command=process())
    assert found.url != other.url
    assert found.pid == starts(settings)[0]


def test_an_older_gateway_is_asked_to_stop_and_replaced(settings, process):
    old = connect(replace(settings), command=process("--version", "0.0.1"))
    assert old.version == "0.0.1"
    new = connect(settings, command=process("--version", "99.0"))
    assert (new.version, alive(old.pid)) == ("99.0", False)
    assert new.pid != old.pid
    assert connect(settings, command=process("--version", "0.0.1")) == new  # a newer one is used


def test_two_processes_at_once_end_with_one_gateway(settings, process):
    code = (
        "import sys; from llmlens import settings; from llmlens.client.gateway import connect;"
        "print(connect(settings.load(store=sys.argv[1], environ={}), command=sys.argv[2:]).pid)"
    )
    command = [sys.executable, "-c", code, str(settings.store), *process()]
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, check=True), range(3)))
    assert {int(run.stdout) for run in runs} == set(starts(settings))
    assert len(starts(settings)) == 1


def test_one_that_dies_at_once_is_reported_with_its_log(settings, process):
    with pytest.raises(GatewayError, match=r"(?s)ended at once \(exit status 1\).*the disk is full, says the fake"):
        connect(settings, command=process("--behave", "die"))


def test_one_that_hangs_is_named_and_can_be_killed(settings, process):
    command = [*process("--behave", "hang"), *_serve_options(settings)]
    with subprocess.Popen(command) as hung:
        watching = threading.Event()
        while not settings.state_file.exists():
            watching.wait(0.01)
        with pytest.raises(GatewayError, match=rf"pid {hung.pid}\) does not answer.*`llmlens stop`"):
            connect(settings, command=process(), health_timeout_s=0.3)
        assert stop(settings, 0.5) is True
        hung.wait(10)
    assert not settings.state_file.exists()


def test_a_folder_that_cannot_be_written_is_a_clear_error(settings, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(GatewayError, match=r"cannot be written.*LLMLENS_STORE"):
        connect(replace(settings, store=blocked / "data" / "x.duckdb"))


def test_a_given_url_is_used_and_nothing_is_started(settings, fake):
    given = replace(settings, url=fake.url + "/", key=Secret(KEY))
    found = connect(given, command=["must not run"])
    assert (found.url, found.pid, found.key) == (fake.url, None, Secret(KEY))
    with pytest.raises(GatewayError, match="LLMLENS_KEY is not set"):
        connect(replace(given, key=None))
    with pytest.raises(GatewayError, match="stop it where it runs"):
        stop(given)


def test_a_given_url_that_does_not_answer_is_an_error(settings):
    with pytest.raises(GatewayError, match="LLMLENS_URL names"):
        connect(replace(settings, url="http://127.0.0.1:9", key=Secret(KEY)))


def test_the_key_shows_nowhere(settings, fake):
    found = connect(replace(settings, url=fake.url, key=Secret(KEY)))
    assert KEY not in repr(found)
    assert KEY not in repr(Session(settings, found))


def test_a_proxy_in_the_environment_is_not_used(settings, fake, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert connect(replace(settings, url=fake.url, key=Secret(KEY))).version == "99.0"


def test_a_session_finds_another_gateway_when_its_own_is_gone(settings, process):
    session = Session(settings, command=process())
    first = session.gateway
    assert session.origins == ("https://api.openai.com",)
    stop(settings)
    status, _ = session.fetch("GET", "/lens/origins")
    assert status == 200
    assert session.gateway.pid != first.pid
    assert session.reconnected(first) is session.gateway  # who asks later gets what is there
