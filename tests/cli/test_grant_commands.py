"""``gateway client`` and ``gateway grant``, beside a gateway that runs on the same store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.commands import main
from tests.support.assertions import assert_refused
from tests.support.oauth_client import TOKEN, Client, authorization
from tests.support.parties import Parties, signed_in_browser
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.store import embedded, grant_id

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
    done = CliRunner().invoke(main, [*words, "--config", str(config)])
    assert done.exit_code == status, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


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


def shown(config: Path, client_id: str) -> dict[str, str]:
    """Return how a client is shown, name by name."""
    lines = gateway(config, "client", "show", client_id).splitlines()
    return {line[:14].rstrip(): line[15:] for line in lines}


def test_it_is_shown_whether_a_client_needs_pkce(own: RunningGateway) -> None:
    """Said of the client, or else by [provider] for public ones; it never binds the others."""
    add(own.config, "pkce-unsaid")
    add(own.config, "pkce-said", "--pkce", "required")
    add(own.config, "pkce-public", "--public")
    for client_id, pkce in (
        ("pkce-unsaid", "optional"),
        ("pkce-said", "required"),
        ("pkce-public", "required"),
        ("pkce-app", "required"),
        ("my-app", "optional"),
        ("confidential", "optional"),
    ):
        assert shown(own.config, client_id)["pkce"] == pkce, client_id


def test_a_client_may_be_registered_to_ask_about_any_token(
    own: RunningGateway, parties: Parties
) -> None:
    asking = at(parties, add(own.config, "asking", "--introspect-any"))
    other = at(parties, add(own.config, "not-asking"))
    access = parties.tokens(parties.public).access
    assert asking.introspect(access).json()["active"] is True
    assert other.introspect(access).json() == {"active": False}
    for client_id, told in (("asking", "yes"), ("not-asking", "no"), ("resource-server", "yes")):
        assert shown(own.config, client_id)["introspect_any"] == told
    public = ("client", "add", "open", "--public", "--introspect-any")
    assert "needs a secret" in gateway(own.config, *public, status=2)


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
    said = gateway(own.config, "grant", "revoke", "--user", "zoë")
    assert said == "ended 2 grants; sign-in sessions go on (--sessions)\n"
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


# --- Consents go with what they were given for


def asks(parties: Parties, client: Client) -> bool:
    """Tell whether the user is asked when ``client`` wants what it was allowed before."""
    answer = parties.browser.authorize(
        **authorization(client_id=client.client_id, redirect_uri=client.redirect_uri)
    )
    assert answer.status_code in {200, 302}
    assert (answer.status_code == 302) == ("code" in answer.headers.get("Location", ""))
    return answer.status_code == 200


def test_another_application_under_the_same_id_is_asked_about(
    own: RunningGateway, parties: Parties
) -> None:
    """Also where no grant was left that the removal could have ended."""
    before = at(parties, add(own.config, "moved"))
    tokens = parties.tokens(before)
    assert before.revoke(tokens.refresh).status_code == 200
    assert "ended 0 grants" in gateway(own.config, "client", "remove", "moved")
    elsewhere = "https://elsewhere.example/cb"
    gateway(
        own.config,
        *("client", "add", "moved", "--redirect-uri", elsewhere, "--scope", "project"),
    )
    assert asks(parties, Client(parties.url, "moved", redirect_uri=elsewhere))


def test_a_client_that_was_removed_is_asked_about_when_it_is_back(
    own: RunningGateway, parties: Parties
) -> None:
    before = at(parties, add(own.config, "back"))
    tokens = parties.tokens(before)
    # The consent outlives the grant; nothing outlives the client.
    assert before.revoke(tokens.refresh).status_code == 200
    assert not asks(parties, before)
    gateway(own.config, "client", "remove", "back")
    assert asks(parties, at(parties, add(own.config, "back")))


@pytest.mark.parametrize(
    "whose",
    [
        ("--user", "demo"),
        ("--client", "taken-back"),
        ("--user", "demo", "--client", "taken-back"),
    ],
)
def test_after_grants_were_revoked_the_user_is_asked_again(
    own: RunningGateway, parties: Parties, whose: tuple[str, ...]
) -> None:
    """Also where no grant is left that could be ended."""
    if "taken-back" not in gateway(own.config, "client", "list"):
        add(own.config, "taken-back", "--public", "--pkce", "optional")
    client = Client(parties.url, "taken-back", redirect_uri=REDIRECT_URI)
    tokens = parties.tokens(client)
    assert client.revoke(tokens.refresh).status_code == 200
    assert not asks(parties, client)
    gateway(own.config, "grant", "revoke", *whose)
    assert asks(parties, client)


# --- Repair


def test_grants_that_the_indexes_lost_are_found_after_a_repair(
    own: RunningGateway, parties: Parties
) -> None:
    """As after a failover that kept the grants and lost the entries."""
    client = at(parties, add(own.config, "lost"))
    tokens = parties.tokens(client)
    grant = grant_id(tokens.access)
    with embedded(own.data_dir) as redis:
        of_tokens = ("gateway:grants-of-user:demo", f"gateway:grants-of-client:{grant[0]}:lost")
        of_codes = ("gateway:codes-of-user:demo", "gateway:codes-of-client:lost")
        assert redis.delete(*of_tokens, *of_codes) == 4
    for whose in (("--user", "demo"), ("--client", "lost")):
        assert grant not in [row[0] for row in grants(own.config, *whose)]
    assert gateway(own.config, "grant", "repair").startswith("listed ")
    for whose in (("--user", "demo"), ("--client", "lost")):
        assert grant in [row[0] for row in grants(own.config, *whose)]
    assert parties.is_valid(tokens.access)
    assert gateway(own.config, "grant", "revoke", "--client", "lost") == "ended 1 grant\n"
    assert not parties.is_valid(tokens.access)
