"""``gateway client`` and ``gateway grant`` work while the gateway runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import refused, run
from tests.support.oauth_client import Browser, Client
from tests.support.processes import free_port
from tests.support.running_gateway import RunningGateway, write_settings


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
