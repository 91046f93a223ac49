"""``gateway check`` says each fault of a configuration in words, with the exit status 2."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.embedded import find_server
from tests.cli.command_line import refused, run
from tests.support.processes import free_port
from tests.support.running_gateway import write_settings
from tests.support.serving import until

TEN_FAULTS = """\
issuer = "http://gateway.example"
secret_key = "too short"
colour = "blue"

[server]
listen = "nowhere"
wokers = 2

[store]
url = "mysql://127.0.0.1"

[scopes]
project = "See your projects"

[[clients]]
client_id = "my-app"
name = "My App"
redirect_uris = ["javascript:alert(1)"]
scopes = ["projects"]

[[sign_in.users]]
name = "demo"
password_hash = "open sesame"

[[routes]]
path = "/api/**"
methods = ["get"]
"""
#: Where each of the ten is, and what helps to mend it.
THE_TEN = [
    ("issuer", "must be https"),
    ("secret_key", "gateway new-secret"),
    ("colour", "unknown key"),
    ("[server] listen", "HOST:PORT"),
    ("[server] wokers", "did you mean 'workers'?"),
    ("[store] url", "redis"),
    ("[[clients]] #1 (my-app) redirect_uris", "'javascript'"),
    ("[[clients]] #1 (my-app) scopes", "did you mean 'project'?"),
    ("[[sign_in.users]] #1 (demo) password_hash", "gateway hash-password"),
    ("[[routes]] #1 (/api/**) methods", "upper case"),
]


def test_a_good_file_is_said_to_be_good(tmp_path: Path) -> None:
    path = write_settings(tmp_path, port=free_port())
    ended = run("check", "--config", path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        f"{path}: no fault. 8 clients, 5 routes, 2 users.\n"
        "A path that no route matches: any valid token is enough ([access] unmatched).\n"
    )


def test_the_file_may_be_named_in_the_environment(tmp_path: Path) -> None:
    path = write_settings(tmp_path, port=free_port())
    assert run("check", environ={"GATEWAY_CONFIG": str(path)}).stdout.startswith(f"{path}: no")


def test_ten_faults_are_ten_lines_each_with_its_table_and_key(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(TEN_FAULTS)
    lines = refused("check", "--config", path).removeprefix("Error: ").splitlines()
    assert len(lines) == 10
    for where, words in THE_TEN:
        (line,) = (line for line in lines if line.startswith(f"{where}: "))
        assert words in line
    # Neither a key nor a password is repeated where somebody may look over a shoulder.
    assert "too short" not in str(lines)
    assert "open sesame" not in str(lines)


@pytest.mark.parametrize(
    "command", [("check",), ("serve",), ("client", "list")], ids=lambda words: words[0]
)
def test_every_command_says_that_there_is_no_such_file(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "gateway.toml"
    words = refused(*command, "--config", path)
    assert words == f"Error: {path}: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b'issuer = "http:\n', "is not TOML: ", id="no-toml"),
        pytest.param(b'issuer = "\xff"', "is not UTF-8 at byte 10", id="no-text"),
        pytest.param(b"", "issuer: is missing", id="empty"),
    ],
)
def test_a_file_that_is_no_configuration_is_said_to_be_none(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)
    assert words in refused("check", "--config", path)


def test_a_store_that_does_not_answer_is_said_when_it_is_asked_for(tmp_path: Path) -> None:
    path = write_settings(tmp_path, port=free_port(), store=f"redis://127.0.0.1:{free_port()}")
    assert run("check", "--config", path).returncode == 0
    ended = run("check", "--store", "--config", path)
    assert ended.returncode == 2
    assert ended.stdout == (
        f"{path}: no fault. 8 clients, 5 routes, 2 users.\n"
        "A path that no route matches: any valid token is enough ([access] unmatched).\n"
    )
    assert ended.stderr.splitlines()[-1].startswith("Error: the store does not answer (")


@pytest.fixture
def evicting(tmp_path: Path) -> Iterator[str]:
    """The URL of a store that throws grants away when memory runs out."""
    path = tmp_path / "s"
    options = ("--port", "0", "--unixsocket", path, "--save", "", "--dir", tmp_path)
    command = [find_server(), *options, "--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"]
    with (
        (tmp_path / "store.log").open("wb") as log,
        subprocess.Popen(list(map(str, command)), stdout=log) as store,
    ):
        try:
            until(path.is_socket)
            yield f"unix://{path}"
        finally:
            store.terminate()


def test_a_store_that_can_lose_grants_is_a_warning_and_no_fault(
    tmp_path: Path, evicting: str
) -> None:
    path = write_settings(tmp_path, port=free_port(), store=evicting)
    ended = run("check", "--store", "--config", path)
    assert (ended.returncode, ended.stderr) == (0, "")
    *_, warning, last = ended.stdout.splitlines()
    assert warning.startswith("warning: store ")
    assert "maxmemory-policy is allkeys-lru" in warning
    assert "Set it to noeviction." in warning
    assert last == "the store answers. 1 warning."
