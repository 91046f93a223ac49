"""``gateway client`` and ``gateway grant``, beside a gateway that runs on the same store."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.assertions import assert_refused
from tests.support.oauth_client import TOKEN, Client, authorization
from tests.support.parties import Parties, signed_in_browser
from tests.support.processes import ROOT, python_module
from tests.support.running_gateway import RunningGateway, running_gateway

REDIRECT_URI = "https://new.example/cb"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that nobody else has grants at."""
    folder: Path = tmp_path_factory.mktemp("commands")
    with running_gateway("wrapped", folder) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def parties(own: RunningGateway) -> Parties:
    return Parties(own.url, signed_in_browser(own.url))


@pytest.fixture(scope="module")
def zoe(own: RunningGateway) -> Parties:
    """The same, with the browser of somebody else."""
    return Parties(own.url, signed_in_browser(own.url, "zoë"))


def gateway(config: Path, *words: str, status: int = 0) -> str:
    """Run the command; return what it printed. Its errors must be words."""
    done = subprocess.run(
        python_module("gateway", *words, "--config", str(config)),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def add(config: Path, client_id: str, *options: str) -> Client:
    """Register a client; return it with the secret that was printed."""
    printed = gateway(
        config,
        "client",
        "add",
        client_id,
        *("--redirect-uri", REDIRECT_URI, "--scope", "project", *options),
    )
    secret = re.search(r"^client_secret\s+(\S{43})$", printed, re.MULTILINE)
    return Client("", client_id, secret.group(1) if secret else None, REDIRECT_URI)


def at(parties: Parties, client: Client) -> Client:
    return Client(parties.url, client.client_id, client.secret, client.redirect_uri)


def test_a_client_that_was_added_works_at_once_and_until_it_is_removed(
    own: RunningGateway, parties: Parties
) -> None:
    """Its removal ends its grants at once: those with tokens, and those whose code waits."""
    client = at(
        parties,
        add(
            own.config,
            "new-app",
            *("--grant-type", "authorization_code", "--grant-type", "refresh_token"),
            *("--grant-type", "client_credentials"),
        ),
    )
    assert client.secret is not None
    tokens = parties.tokens(client)
    given = client.refresh(tokens.refresh).json()
    for_itself = client.post(TOKEN, {"grant_type": "client_credentials"}).json()
    waiting = parties.code(client)
    for access in (tokens.access, given["access_token"], for_itself["access_token"]):
        assert parties.is_valid(access)

    printed = gateway(own.config, "client", "remove", "new-app")
    assert "ended 3 grants" in printed
    for access in (tokens.access, given["access_token"], for_itself["access_token"]):
        assert not parties.is_valid(access)
    for answer in (client.refresh(given["refresh_token"]), client.redeem(waiting)):
        assert_refused(answer, "invalid_client", 401)
    page = parties.browser.authorize(
        **authorization(client_id="new-app", redirect_uri=REDIRECT_URI)
    )
    assert page.status_code == 400


def test_a_client_of_the_same_name_gets_nothing_of_the_one_before(
    own: RunningGateway, parties: Parties
) -> None:
    before = at(parties, add(own.config, "again"))
    tokens = parties.tokens(before)
    waiting = parties.code(before)
    gateway(own.config, "client", "remove", "again")
    after = at(parties, add(own.config, "again"))
    assert after.secret != before.secret
    assert_refused(before.refresh(tokens.refresh), "invalid_client", 401)
    assert_refused(after.refresh(tokens.refresh), "invalid_grant")
    assert_refused(after.redeem(waiting), "invalid_grant")
    assert not parties.is_valid(tokens.access)
    gateway(own.config, "client", "remove", "again")


def test_the_list_and_a_client_are_shown_without_a_secret(own: RunningGateway) -> None:
    client = add(own.config, "shown", "--name", "A Shown App")
    public = add(own.config, "shown-public", "--public", "--pkce", "required")
    assert public.secret is None
    listed = gateway(own.config, "client", "list")
    lines = [line.split("\t") for line in listed.splitlines()]
    assert ["my-app", "file", "public", "My App"] in lines
    assert ["shown", "store", "confidential", "A Shown App"] in lines
    assert ["shown-public", "store", "public", "shown-public"] in lines
    shown = gateway(own.config, "client", "show", "shown")
    for word in ("shown", "A Shown App", "store", "confidential", REDIRECT_URI, "project"):
        assert word in shown
    assert client.secret is not None
    for printed in (listed, shown):
        assert client.secret not in printed
        assert not re.search(r"[0-9a-f]{64}", printed)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("client", "add", "my-app"), "my-app already"),
        (("client", "add", "bad", "--redirect-uri", "javascript:alert(1)"), "javascript"),
        (("client", "add", "bad", "--redirect-uri", "http://evil.example/"), "https"),
        (("client", "add", "bad", "--redirect-uri", "https://x.example/#f"), "fragment"),
        (("client", "add", "bad", "--redirect-uri", REDIRECT_URI, "--scope", "no"), "no"),
        (("client", "show", "nobody"), "no client nobody"),
        (("client", "remove", "nobody"), "no client nobody"),
        (("client", "remove", "my-app"), "take it out there"),
        (("grant", "list"), "--user or --client"),
        (("grant", "revoke"), "--user or --client"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_in_words(
    own: RunningGateway, words: tuple[str, ...], says: str
) -> None:
    assert says in gateway(own.config, *words, status=2)


def test_a_client_is_not_added_twice(own: RunningGateway, parties: Parties) -> None:
    client = at(parties, add(own.config, "once"))
    options = ("--redirect-uri", REDIRECT_URI, "--scope", "project")
    gateway(own.config, "client", "add", "once", *options, status=2)
    assert parties.tokens(client)


def grants(config: Path, *words: str) -> list[list[str]]:
    """List grants; return their columns."""
    return [line.split("\t") for line in gateway(config, "grant", "list", *words).splitlines()]


def test_grants_are_listed_and_revoked_by_user_and_by_client(
    own: RunningGateway, parties: Parties, zoe: Parties
) -> None:
    gateway(own.config, "grant", "revoke", "--client", "confidential")
    gateway(own.config, "grant", "revoke", "--client", "my-app")
    of_demo = parties.tokens(parties.confidential)
    of_zoe = zoe.tokens(zoe.confidential)
    other = zoe.tokens(zoe.public, scope="project profile")

    by_client = grants(own.config, "--client", "confidential")
    assert sorted(row[2] for row in by_client) == ["demo", "zoë"]
    by_both = grants(own.config, "--client", "my-app", "--user", "zoë")
    ((grant_id, client_id, user, since, used, scope),) = by_both
    assert re.fullmatch(r"[A-Za-z0-9_-]{20}", grant_id)
    assert (client_id, user, scope) == ("my-app", "zoë", "project profile")
    assert since.endswith("Z")
    assert used.endswith("Z")

    assert "ended 1 grant" in gateway(
        own.config, "grant", "revoke", "--user", "zoë", "--client", "confidential"
    )
    assert not parties.is_valid(of_zoe.access)
    assert parties.is_valid(of_demo.access)
    assert parties.is_valid(other.access)

    waiting = zoe.code(zoe.public)
    assert "ended 2 grants" in gateway(own.config, "grant", "revoke", "--user", "zoë")
    assert not parties.is_valid(other.access)
    assert_refused(zoe.public.redeem(waiting), "invalid_grant")
    assert_refused(zoe.public.refresh(other.refresh), "invalid_grant")
    assert parties.is_valid(of_demo.access)

    assert "ended 1 grant" in gateway(own.config, "grant", "revoke", "--client", "confidential")
    assert not parties.is_valid(of_demo.access)
    assert grants(own.config, "--client", "confidential") == []
    assert "ended 0 grants" in gateway(own.config, "grant", "revoke", "--user", "nobody")


def test_the_lists_show_no_token(own: RunningGateway, parties: Parties) -> None:
    tokens = parties.tokens(parties.public)
    printed = gateway(own.config, "grant", "list", "--user", "demo")
    assert tokens.access[24:] not in printed
    assert tokens.refresh[24:] not in printed
    assert not re.search(r"gw[acr]_", printed)
