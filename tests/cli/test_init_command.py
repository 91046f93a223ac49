"""``gateway init`` writes a configuration that works, and never over one that is there."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
import requests

from gateway.config.file import load_config
from gateway.config.settings import Settings
from gateway.users.passwords import hash_password, password_matches
from tests.cli.command_line import SECONDS, refused, run
from tests.cli.terminal import on_a_terminal, read_until
from tests.support.oauth_client import Client
from tests.support.parties import signed_in_browser
from tests.support.processes import ROOT, free_port, python_module, running
from tests.support.running_gateway import PASSWORD


def init(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run("init", "--config", folder / "gateway.toml", *options)


@pytest.fixture
def written(tmp_path: Path) -> Settings:
    assert init(tmp_path).returncode == 0
    return load_config(tmp_path / "gateway.toml")


def test_the_configuration_and_the_key_are_for_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        ended = init(tmp_path)
    finally:
        os.umask(old)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["gateway.toml", "secret-keys"]
    for each in tmp_path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    assert (tmp_path / "secret-keys").read_text().strip() not in ended.stdout


def test_what_is_written_has_no_fault_and_lets_nobody_in(tmp_path: Path, written: Settings) -> None:
    assert run("check", "--config", tmp_path / "gateway.toml").returncode == 0
    assert written.issuer == "http://localhost:8000"
    assert (written.clients, written.routes, written.sign_in.users) == ((), (), ())
    assert written.store.url == "embedded"


def test_a_second_time_nothing_changes(tmp_path: Path) -> None:
    assert init(tmp_path).returncode == 0
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    words = refused("init", "--config", tmp_path / "gateway.toml", "--upstream", "http://a")
    assert "is there already; nothing was written" in words
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_key_that_is_there_is_used_again(tmp_path: Path) -> None:
    """Whoever starts anew with the configuration does not end every token."""
    assert init(tmp_path).returncode == 0
    key = load_config(tmp_path / "gateway.toml").secret_keys
    (tmp_path / "gateway.toml").unlink()
    ended = init(tmp_path)
    assert "the secret key that was there already" in ended.stdout
    assert load_config(tmp_path / "gateway.toml").secret_keys == key


def test_the_options_say_what_is_in_front_of_whom_and_what_is_public(tmp_path: Path) -> None:
    options = ["--issuer", "https://id.example", "--upstream", "http://10.0.0.1:3000"]
    options += ["--public", "/public/**", "--public", '/a "b" é']
    options += ["--scope", "project=See your projects", "--scope", "a.b", "--scope", "x=y=z"]
    assert init(tmp_path, *options).returncode == 0
    settings = load_config(tmp_path / "gateway.toml")
    assert (settings.issuer, settings.upstream.urls) == (
        "https://id.example",
        ("http://10.0.0.1:3000",),
    )
    assert settings.scopes == {"project": "See your projects", "a.b": "a.b", "x": "y=z"}
    assert [(route.path, route.public) for route in settings.routes] == [
        ("/public/**", True),
        ('/a "b" é', True),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--issuer", "http://id.example"], "issuer: must be https"),
        (["--issuer", "localhost"], "issuer: must be an http or https URL"),
        (["--upstream", "http://a/b"], "[upstream] url: "),
        (["--scope", "two words"], "must be a scope-token"),
        (["--scope", "twice", "--scope", "twice"], "is not TOML"),
        (["--public", "public"], "must begin with '/'"),
        (["--public", "/a\x7f"], "no control characters"),
    ],
)
def test_an_option_with_a_fault_writes_nothing(
    tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in refused("init", "--config", tmp_path / "gateway.toml", *options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "none" / "gateway.toml"
    assert "none/secret-keys cannot be written: No such file" in refused("init", "--config", path)


def test_a_user_is_asked_for_a_password(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    with on_a_terminal("init", "--config", path, "--user", "ann") as (process, screen):
        text = read_until(screen, "Password of ann: ")
        os.write(screen, b"open sesame\n")
        text += read_until(screen, "confirmation: ")
        os.write(screen, b"open sesame\n")
        text += read_until(screen, None)
        assert process.wait(SECONDS) == 0
    assert "sesame" not in text
    (user,) = load_config(path).sign_in.users
    assert user.name == "ann"
    assert password_matches(user.password_hash, "open sesame")


def _readme_steps() -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    script = text[text.index("## Run it as a reverse proxy") :].split("```")[1]
    return [line.split("#")[0].strip() for line in script.splitlines()[1:]]


def test_the_steps_of_the_readme_leave_nothing_in_the_shell() -> None:
    """The next shell would have another key."""
    _, init_step, *_, last = _readme_steps()
    assert init_step.startswith("gateway init")
    assert last == "gateway check && gateway serve"
    assert "export" not in str(_readme_steps())


def test_a_token_of_the_first_shell_is_good_in_the_second(tmp_path: Path) -> None:
    """The steps of the README, followed twice."""
    port = free_port()
    config, url = tmp_path / "gateway.toml", f"http://127.0.0.1:{port}"
    steps = ("init", "--config", config, "--issuer", url, "--listen", f"127.0.0.1:{port}")
    serve = python_module("gateway", "serve", "--config", str(config))
    log, ready = tmp_path / "log", f"{url}/oauth/health"
    assert run(*steps).returncode == 0
    added = run("client", "add", "--config", config, "app", "--grant-type", "client_credentials")
    (_, secret), *_ = [line.split() for line in added.stdout.splitlines() if "secret" in line]
    with running(serve, log=log, ready=ready):
        form = {"grant_type": "client_credentials"}
        token = requests.post(f"{url}/oauth/token", form, auth=("app", secret), timeout=SECONDS)
        bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
    assert run(*steps).returncode == 2
    assert run("check", "--store", "--config", config).stdout.endswith("answers. 0 warnings.\n")
    with running(serve, log=log, ready=ready):
        # Nothing listens at the backend: the token was good.
        assert requests.get(f"{url}/x", headers=bearer, timeout=SECONDS).status_code == 502
        assert requests.get(f"{url}/x", timeout=SECONDS).status_code == 401
    assert "secret key" not in log.read_text()

    # In a third shell, as the steps once were, with a key of its own.
    config.write_text(config.read_text().replace('secret_key_file = "secret-keys"\n', ""))
    other = {"GATEWAY_SECRET_KEY": "another key, at least thirty-two bytes"}
    asked = run("check", "--store", "--config", config, environ=other)
    assert "warning: a gateway with another secret key has used this store" in asked.stdout
    with running(serve, log=log, ready=ready, environ=other):
        assert requests.get(f"{url}/x", headers=bearer, timeout=SECONDS).status_code == 401
    assert "ERROR gateway.store: a gateway with another secret key" in log.read_text()


def test_the_requests_of_the_readme_work_after_its_steps(tmp_path: Path) -> None:
    """A client without PKCE asks for the scope project, in a browser of the user demo."""
    port = free_port()
    config, url = tmp_path / "gateway.toml", f"http://127.0.0.1:{port}"
    _, init_step, client_step, *more, _ = _readme_steps()
    init_words = init_step.split()[1:]
    init_words[init_words.index("--user") : init_words.index("--user") + 2] = []
    steps = [*init_words, "--issuer", url, "--listen", f"127.0.0.1:{port}", "--config", str(config)]
    assert run(*steps).returncode == 0
    user = f'\n[[sign_in.users]]\nname = "demo"\npassword_hash = "{hash_password(PASSWORD)}"\n'
    config.write_text(config.read_text() + user)
    client_words = " ".join([client_step.rstrip("\\"), *more]).split()[1:]
    assert run(*client_words, "--config", config).returncode == 0
    serve = python_module("gateway", "serve", "--config", str(config))
    with running(serve, log=tmp_path / "log", ready=f"{url}/oauth/health"):
        code = signed_in_browser(url).code()
        answer = Client(url, "my-app").redeem(code)
    assert (answer.status_code, answer.json()["scope"]) == (200, "project")
