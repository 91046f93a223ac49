"""Redirect URIs of native applications, from the registration to the code that gets there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.config.config_samples import ISSUER, faults
from tests.support.oauth_client import Browser, Client, answer_of, authorization
from tests.support.parties import parties_at
from tests.support.processes import python_module
from tests.support.running_gateway import RunningGateway, running_gateway

RAVEN = "raven.thecommit.company:"
EXTRA = f"""
[[clients]]
client_id = "raven"
name = "Raven"
redirect_uris = ["{RAVEN}"]
scopes = ["project"]
pkce = "optional"

[[clients]]
client_id = "any-port"
name = "A client that picks its port"
redirect_uris = ["http://localhost/cb"]
loopback_ports = true
scopes = ["project"]
pkce = "optional"

[[clients]]
client_id = "one-port"
name = "A client that does not"
redirect_uris = ["http://localhost/cb"]
scopes = ["project"]
pkce = "optional"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway("standalone", tmp_path_factory.mktemp("native"), extra=EXTRA) as running:
        yield running


@pytest.fixture
def browser(gateway: RunningGateway) -> Browser:
    return parties_at(gateway).browser


def test_a_scheme_and_nothing_else_gets_the_code(gateway: RunningGateway, browser: Browser) -> None:
    asked = authorization(client_id="raven", redirect_uri=RAVEN, state="s")
    answer = browser.decide(browser.authorize(**asked))
    assert answer.headers["Location"].startswith(f"{RAVEN}?code=")
    assert answer_of(answer)["state"] == "s"
    code = answer_of(answer)["code"]
    assert Client(gateway.url, "raven", redirect_uri=RAVEN).redeem(code).status_code == 200


@pytest.mark.parametrize("port", ["", ":51004", ":1", ":65535", ":80"])
def test_a_client_that_says_so_picks_its_port_of_localhost(
    gateway: RunningGateway, browser: Browser, port: str
) -> None:
    uri = f"http://localhost{port}/cb"
    code = browser.code(client_id="any-port", redirect_uri=uri)
    client = Client(gateway.url, "any-port", redirect_uri=uri)
    assert client.redeem(code, redirect_uri="http://localhost:2/cb").status_code == 400
    assert client.redeem(code).status_code == 200


@pytest.mark.parametrize(
    ("client_id", "uri"),
    [
        ("one-port", "http://localhost:51004/cb"),
        ("any-port", "http://localhost:51004/other"),
        ("any-port", "http://localhost:0/cb"),
        ("any-port", "http://localhost:99999/cb"),
        ("any-port", "http://localhost.evil.example:51004/cb"),
        ("any-port", "http://127.0.0.1:51004/cb"),
        ("any-port", "http://localhost:51004@evil.example/cb"),
        ("any-port", "https://localhost:51004/cb"),
        ("raven", "raven.thecommit.company:x"),
        ("raven", "RAVEN.thecommit.company:"),
    ],
)
def test_another_uri_is_shown_to_the_user_and_nobody_is_redirected(
    browser: Browser, client_id: str, uri: str
) -> None:
    answer = browser.authorize(**authorization(client_id=client_id, redirect_uri=uri))
    assert answer.status_code == 400
    assert "Location" not in answer.headers


def test_the_check_proposes_loopback_ports(gateway: RunningGateway) -> None:
    command = python_module("gateway", "check", "--config", str(gateway.config))
    said = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout
    notes = [line for line in said.splitlines() if line.startswith("note: [[clients]]")]
    assert len(notes) == 1
    assert notes[0].startswith(
        "note: [[clients]] one-port: http://localhost/cb is good for port 80"
    )
    assert "loopback_ports = true" in notes[0]


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("localhost:3000/cb", "http://localhost:3000/cb"),
        ("urn:ietf:wg:oauth:2.0:oob", "loopback"),
    ],
)
def test_a_uri_that_means_something_else_is_a_fault_that_says_what(uri: str, meant: str) -> None:
    client = f'[[clients]]\nclient_id = "x"\nname = "X"\nredirect_uris = ["{uri}"]\n'
    assert any("redirect_uris" in line and meant in line for line in faults(ISSUER + client))
