"""The command ``gateway``, started as an operator does: right input, and every kind of wrong.

Whatever is wrong is said in words, with the exit status 2; nobody is ever shown a traceback.
"""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select

import click
import pytest
from click.testing import CliRunner

from gateway.cli.commands import main
from gateway.config.file import settings_from_toml
from gateway.store.embedded import find_server
from gateway.users.passwords import password_matches
from tests.support.oauth_client import Browser, Client
from tests.support.processes import free_port
from tests.support.running_gateway import RunningGateway, write_settings
from tests.support.serving import until

GATEWAY = Path(sys.executable).with_name("gateway")
SECONDS = 30

#: Not the settings of whoever runs the tests.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}

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


def run(
    *words: str | Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a process of its own."""
    ended = subprocess.run(
        [GATEWAY, *words],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        env={**ENVIRONMENT, **(environ or {})},
    )
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended


def refused(*words: str | Path) -> str:
    """Run the command, which cannot do what is asked; return what it says."""
    ended = run(*words)
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    return ended.stderr


# --- check


def test_a_good_file_is_said_to_be_good(tmp_path: Path) -> None:
    path = write_settings(tmp_path, port=free_port())
    ended = run("check", "--config", path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{path}: no fault. 8 clients, 5 routes, 2 users.\n"


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
    assert ended.stdout == f"{path}: no fault. 8 clients, 5 routes, 2 users.\n"
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
    _, warning, last = ended.stdout.splitlines()
    assert warning.startswith("warning: store ")
    assert "maxmemory-policy is allkeys-lru" in warning
    assert "Set it to noeviction." in warning
    assert last == "the store answers. 1 warning."


# --- serve


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "127.0.0.1:{1}".format(*server.getsockname())


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path, taken: str) -> None:
    path = write_settings(tmp_path, port=free_port())
    words = refused("serve", "--config", path, "--listen", taken)
    assert words == f"Error: cannot listen on {taken}: another program listens there\n"
    assert not (tmp_path / "data").exists()


def test_an_address_that_is_none_is_said(tmp_path: Path) -> None:
    path = write_settings(tmp_path, port=free_port())
    words = refused("serve", "--config", path, "--listen", "8000")
    assert words == "Error: --listen 8000: must be HOST:PORT, [IPV6]:PORT or unix:/path\n"


def test_an_embedded_store_that_cannot_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    path = write_settings(tmp_path, port=free_port())
    words = refused("serve", "--config", path)
    assert words.startswith("Error: the embedded store does not run: ")
    assert str(tmp_path / "data") in words


# --- client and grant


def test_a_client_is_added_shown_and_removed_while_the_gateway_runs(
    standalone: RunningGateway,
) -> None:
    """Its secret is told once; what was given to it dies with it."""
    config = ("--config", standalone.config)
    added = run(
        *("client", "add", "added-app", "--name", "Added App", *config, "--scope", "project"),
        *("--grant-type", "client_credentials"),
    )
    assert added.returncode == 0, added.stderr
    (secret,) = (
        line.split()[1] for line in added.stdout.splitlines() if line.startswith("client_secret")
    )

    app = Client(standalone.url, "added-app", secret)
    issued = app.post("/oauth/token", {"grant_type": "client_credentials"})
    assert issued.status_code == 200
    assert app.get("/resource", issued.json()["access_token"]).status_code == 200

    listed = run("client", "list", *config).stdout
    assert "added-app\tstore\tconfidential\tAdded App" in listed.splitlines()
    shown = run("client", "show", "added-app", *config).stdout
    assert "Added App" in shown
    assert secret not in listed + shown
    again = refused("client", "add", "added-app", *config, "--redirect-uri", "https://a.test/")
    assert again == "Error: there is a client added-app already\n"

    assert run("client", "remove", "added-app", *config).stdout == (
        "removed added-app; ended 1 grant\n"
    )
    assert app.get("/resource", issued.json()["access_token"]).status_code == 401
    assert app.post("/oauth/token", {"grant_type": "client_credentials"}).status_code == 401


def test_grants_are_listed_and_revoked_while_the_gateway_runs(standalone: RunningGateway) -> None:
    config = ("--config", standalone.config)
    browser = Browser(standalone.url)
    browser.sign_in("zoë")
    native = Client(standalone.url, "native", redirect_uri="http://127.0.0.1:7/cb")
    code = browser.code(client_id="native", redirect_uri=native.redirect_uri)
    token = native.redeem(code).json()["access_token"]

    (line,) = run("grant", "list", "--user", "zoë", "--client", "native", *config).stdout.split(
        "\n"
    )[:-1]
    assert line.split("\t")[1:3] == ["native", "zoë"]
    assert run("grant", "revoke", "--user", "zoë", "--client", "native", *config).stdout == (
        "ended 1 grant\n"
    )
    assert native.get("/resource", token).status_code == 401


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("client", "show", "nobody"), "there is no client nobody"),
        (("client", "remove", "nobody"), "there is no client nobody"),
        (("client", "remove", "my-app"), "my-app is registered in "),
        (("client", "add", "bad", "--redirect-uri", "http://a.test/"), "redirect_uris: "),
        (("client", "add", "bad", "--scope", "projct"), "did you mean 'project'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_to_a_client_or_grant_is_said(
    standalone: RunningGateway, words: tuple[str, ...], answer: str
) -> None:
    assert answer in refused(*words, "--config", standalone.config)


def test_a_store_that_does_not_answer_is_said(tmp_path: Path) -> None:
    path = write_settings(tmp_path, port=free_port(), store=f"redis://127.0.0.1:{free_port()}")
    words = refused("client", "list", "--config", path)
    assert words.splitlines()[-1].startswith("Error: the store does not answer (")


# --- hash-password and new-secret


def test_a_password_is_hashed() -> None:
    ended = run("hash-password", "--password", "open sesame")
    assert ended.returncode == 0
    assert password_matches(ended.stdout.rstrip("\n"), "open sesame")


@contextmanager
def _on_a_terminal(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command on a terminal of its own; give the other end of that terminal."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [GATEWAY, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=ENVIRONMENT,
    )
    os.close(terminal)
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(screen)


def _shown(screen: int, end: str | None) -> str:
    """Return what is shown next: up to the word ``end``, or all there is until the command ends."""
    text = ""
    while end is None or not text.endswith(end):
        assert select([screen], [], [], SECONDS)[0], text
        try:
            read = os.read(screen, 1)
        except OSError:
            # Linux says so when nobody holds the terminal any more.
            read = b""
        if not read:
            break
        text += read.decode()
    return text


def test_a_password_is_asked_for_twice_and_not_shown() -> None:
    with _on_a_terminal("hash-password") as (process, screen):
        shown = _shown(screen, "Password: ")
        os.write(screen, b"open sesame\n")
        shown += _shown(screen, "confirmation: ")
        os.write(screen, b"open sesami\n")
        shown += _shown(screen, "Password: ")
        assert "do not match" in shown
        os.write(screen, b"open sesame\n")
        shown += _shown(screen, "confirmation: ")
        os.write(screen, b"open sesame\n")
        last = _shown(screen, None)
        assert process.wait(SECONDS) == 0
    assert "sesam" not in shown + last
    assert password_matches(last.strip(), "open sesame")


def test_a_new_secret_is_new_and_a_secret_key() -> None:
    one, other = run("new-secret").stdout, run("new-secret").stdout
    assert one != other
    settings = settings_from_toml(
        'issuer = "http://localhost:8000"',
        base=Path("/"),
        environ={"GATEWAY_SECRET_KEY": one.rstrip("\n")},
    )
    assert len(settings.secret_keys[0]) >= 32


# --- Help, and what is no command


def test_an_unknown_command_is_said_with_the_nearest_one() -> None:
    assert "Error: No such command 'serv'. Did you mean 'serve'?" in refused("serv")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("client drop", "No such command 'drop'"),
        ("serve --port 80", "No such option"),
        ("check one two", "unexpected extra argument"),
        ("check --config .", "is a directory"),
        ("client add", "Missing argument 'CLIENT_ID'"),
        ("client add app --pkce maybe", "'maybe' is not one of"),
        ("grant list", "say whose: --user or --client"),
        ("demo --port 99999", "is not in the range"),
    ],
)
def test_what_a_command_does_not_take_is_said(line: str, answer: str) -> None:
    ended = CliRunner().invoke(main, line.split())
    assert isinstance(ended.exception, SystemExit)
    assert ended.exit_code == 2
    assert answer in ended.output


def test_the_command_lists_its_commands_and_its_version() -> None:
    listed = run("--help").stdout
    assert all(name in listed for name in main.commands)
    assert run("--version").stdout.startswith("gateway, version ")


def _commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, *path, name)


@pytest.mark.parametrize(
    ("words", "command"),
    [pytest.param(words, command, id=" ".join(words)) for words, command in _commands(main)],
)
def test_every_command_says_what_it_does_and_every_option_what_it_is_for(
    words: tuple[str, ...], command: click.Command
) -> None:
    helped = CliRunner().invoke(main, [*words, "--help"])
    assert helped.exit_code == 0
    assert command.help
    assert " ".join(command.help.split()) in " ".join(helped.output.split())
