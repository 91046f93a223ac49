"""The audit log, decision by decision: what was decided, why, about whom, and from where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support.oauth_client import (
    INTROSPECT,
    TOKEN,
    Browser,
    Client,
    authorization,
    form_of,
)
from tests.support.parties import Parties, signed_in_browser
from tests.support.raw import request
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway
from tests.support.store import embedded, grant_id, let_pass

HERE = "127.0.0.1"


@dataclass
class Audited:
    """A gateway, its user's browser, and how far its log has been read."""

    gateway: RunningGateway
    parties: Parties
    redis: Redis
    read: int = 0

    def lines(self) -> list[dict[str, Any]]:
        """Return what was written since the last call, less the times, which must be ones."""
        written = self.gateway.audit.read_text().splitlines()
        lines = [json.loads(line) for line in written[self.read :]]
        self.read = len(written)
        for line in lines:
            assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
        return lines

    def line(self) -> dict[str, Any]:
        """Return the one line that was written since the last call."""
        (line,) = self.lines()
        return line


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def _audited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Audited]:
    folder: Path = tmp_path_factory.mktemp(f"audit-{request.param}")
    changes = (
        ("client_attempts = 1000", "client_attempts = 2"),
        ("sign_in_attempts = 1000", "sign_in_attempts = 2"),
    )
    with (
        running_gateway(request.param, folder, replace=changes) as gateway,
        embedded(gateway.data_dir) as redis,
    ):
        yield Audited(gateway, Parties(gateway.url, signed_in_browser(gateway.url)), redis)


@pytest.fixture
def audited(_audited: Audited) -> Audited:
    """The gateway, with everything read that the tests before it wrote."""
    _audited.lines()
    return _audited


def allowed(event: str, **members: Any) -> dict[str, Any]:
    return {"event": event, "outcome": "allowed", "address": HERE, **members}


def refused(event: str, why: str, **members: Any) -> dict[str, Any]:
    return {"event": event, "outcome": "refused", "why": why, "address": HERE, **members}


def test_signing_in_and_out(audited: Audited) -> None:
    browser = Browser(audited.gateway.url)
    fields = {**form_of(browser.get("/oauth/sign-in")).fields, "username": "zoë"}
    browser.post("/oauth/sign-in", {**fields, "csrf_token": "x", "password": PASSWORD})
    assert audited.line() == refused("sign_in", "csrf", user="zoë")
    browser.sign_in("zoë", "wrong")
    assert audited.line() == refused("sign_in", "wrong_password", user="zoë")
    browser.sign_in("zoë")
    assert audited.line() == allowed("sign_in", user="zoë")
    for _ in range(2):
        Browser(audited.gateway.url).sign_in("nobody", "wrong")
        assert audited.line() == refused("sign_in", "wrong_password", user="nobody")
    Browser(audited.gateway.url).sign_in("nobody", "wrong")
    assert audited.line() == refused("sign_in", "too_many_attempts", user="nobody")

    form = form_of(browser.get("/oauth/sign-out"))
    browser.post("/oauth/sign-out", {"csrf_token": "x"})
    assert audited.line() == refused("sign_out", "csrf", user="zoë")
    browser.post(form.action, form.fields)
    assert audited.line() == allowed("sign_out", user="zoë")


def test_authorizing(audited: Audited) -> None:
    browser, asked = audited.parties.browser, authorization()
    told = {"client_id": "my-app", "scope": "project", "user": "demo"}
    browser.decide(browser.authorize(**asked), "deny")
    assert audited.line() == refused("authorize", "denied_by_user", **told)
    form = form_of(browser.authorize(**asked))
    browser.post(form.action, {**form.fields, "csrf_token": "x", "decision": "allow"})
    assert audited.line() == refused("authorize", "csrf", **told)

    code = browser.code()
    why = "allowed_by_user"
    assert audited.line() == allowed("authorize", why=why, grant_id=grant_id(code), **told)
    code = browser.code()
    assert audited.line() == allowed("authorize", why="remembered", grant_id=grant_id(code), **told)
    own = {"client_id": "own-app", "redirect_uri": "https://own.example/cb"}
    code = browser.code(**own)
    told["client_id"] = "own-app"
    why = "skip_consent"
    assert audited.line() == allowed("authorize", why=why, grant_id=grant_id(code), **told)


@pytest.mark.parametrize(
    ("changed", "why", "told"),
    [
        ({"client_id": "x"}, "client", {"error": "invalid_client", "client_id": "x"}),
        ({"client_id": ""}, "missing_client_id", {"error": "invalid_request"}),
        (
            {"redirect_uri": "https://x.example/"},
            "redirect_uri",
            {
                "error": "invalid_request",
                "client_id": "my-app",
                "redirect_uri": "https://x.example/",
            },
        ),
        (
            {"scope": "admin"},
            "scope",
            {"error": "invalid_scope", "client_id": "my-app", "scope": "admin"},
        ),
        (
            {"response_type": "token"},
            "response_type",
            {"error": "unsupported_response_type", "client_id": "my-app"},
        ),
        (
            {"code_challenge_method": "S256"},
            "missing_code_challenge",
            {"error": "invalid_request", "client_id": "my-app"},
        ),
    ],
)
def test_an_authorization_request_that_is_refused(
    audited: Audited, changed: dict[str, str], why: str, told: dict[str, str]
) -> None:
    Browser(audited.gateway.url).authorize(**authorization(**changed))
    assert audited.line() == refused("authorize", why, **told)


def test_exchanging_codes_and_refresh_tokens(audited: Audited) -> None:
    client = audited.parties.public
    code = audited.parties.code(client)
    audited.lines()
    given = client.redeem(code).json()
    grant = {"client_id": "my-app", "user": "demo", "grant_id": grant_id(code), "scope": "project"}
    assert audited.line() == allowed("token", grant_type="authorization_code", **grant)
    client.refresh(given["refresh_token"])
    assert audited.line() == allowed("token", grant_type="refresh_token", **grant)


def test_a_code_or_refresh_token_that_is_refused(audited: Audited) -> None:
    """Whose grant it is, as far as there is one, and who came with it."""
    client = audited.parties.public
    told = {"error": "invalid_grant", "client_id": "my-app"}
    client.redeem("unknown")
    assert audited.line() == refused("token", "unknown", **told)
    code = audited.parties.code(client)
    audited.lines()
    told |= {"user": "demo", "grant_id": grant_id(code)}
    elsewhere = {"redirect_uri": "https://x.example/"}
    client.redeem(code, **elsewhere)
    assert audited.line() == refused("token", "redirect_uri", **told, **elsewhere)
    client.redeem(code, code_verifier="v" * 43)
    assert audited.line() == refused("token", "code_verifier", **told)
    audited.parties.with_pkce.redeem(code)
    assert audited.line() == refused("token", "client", **(told | {"client_id": "pkce-app"}))

    given = client.redeem(code).json()
    next_refresh = client.refresh(given["refresh_token"]).json()
    client.refresh(next_refresh["refresh_token"])
    audited.lines()
    client.refresh(given["refresh_token"], scope="admin")
    # More than the client may have at all: nobody asked the store about it.
    of_nobody = {name: value for name, value in told.items() if name != "user"}
    wrong = {"error": "invalid_scope", "scope": "admin"}
    assert audited.line() == refused("token", "scope", **(of_nobody | wrong))
    client.refresh(given["refresh_token"], scope="profile")
    wrong["scope"] = "profile"
    assert audited.line() == refused("token", "scope", **(told | wrong))
    let_pass(audited.redis, grant_id(code), 1000)
    client.refresh(given["refresh_token"])
    assert audited.line() == refused("token", "reused", **told)
    # Once more, as where the answer was lost: that it was a reuse is not forgotten at once.
    client.refresh(given["refresh_token"])
    assert audited.line() == refused("token", "reused", **told)
    client.refresh(next_refresh["refresh_token"])
    assert audited.line() == refused("token", "unknown", **of_nobody)

    code = audited.parties.code(client)
    client.redeem(code)
    audited.lines()
    client.redeem(code)
    assert audited.line() == refused("token", "replayed", **(told | {"grant_id": grant_id(code)}))


def test_a_token_request_of_whom_nobody_knows(audited: Audited) -> None:
    """Who it says it is is told all the same."""
    url, told = audited.gateway.url, {"error": "invalid_client"}
    Client(url, "nobody").refresh("x")
    assert audited.line() == refused("token", "unknown_client", client_id="nobody", **told)
    told["client_id"] = "confidential"
    Client(url, "confidential").refresh("x")
    assert audited.line() == refused("token", "missing_secret", **told)
    for _ in range(2):
        Client(url, "confidential", "wrong").refresh("x")
        assert audited.line() == refused("token", "wrong_secret", **told)
    Client(url, "confidential", "wrong").refresh("x")
    assert audited.line() == refused("token", "too_many_attempts", client_id="confidential")
    Client(url).post(TOKEN, {"grant_type": "password", "client_id": "my-app"})
    told = {"error": "unsupported_grant_type", "client_id": "my-app"}
    assert audited.line() == refused("token", "grant_type", **told)
    Client(url).post(TOKEN, "x", headers={"Content-Type": "text/plain"})
    assert audited.line() == refused("token", "content_type", error="invalid_request")


def test_a_clients_own_token_names_no_user(audited: Audited) -> None:
    form = {"grant_type": "client_credentials", "scope": "project"}
    given = audited.parties.service.post(TOKEN, form).json()
    assert audited.line() == allowed(
        "token",
        grant_type="client_credentials",
        client_id="service",
        grant_id=grant_id(given["access_token"]),
        scope="project",
    )


def test_revoking_and_introspecting(audited: Audited) -> None:
    parties = audited.parties
    client, asking = parties.public, parties.resource_server
    tokens = parties.tokens(client)
    grant = {"user": "demo", "grant_id": grant_id(tokens.access)}
    asker = {"client_id": "resource-server"}
    audited.lines()
    for token in (tokens.access, tokens.refresh):
        asking.introspect(token)
        assert audited.line() == allowed("introspect", active=True, **asker, **grant)
        # Another client's: it is told nothing, and the log whom it asked about.
        parties.service.introspect(token)
        about = {"active": False, "client_id": "service"}
        assert audited.line() == allowed("introspect", **about, **grant)
    parties.with_pkce.revoke(tokens.refresh)
    assert audited.line() == refused("revoke", "client", client_id="pkce-app", **grant)
    client.revoke(tokens.refresh)
    assert audited.line() == allowed("revoke", client_id="my-app", **grant)
    client.revoke("x")
    assert audited.line() == refused("revoke", "unknown", client_id="my-app")
    grant.pop("user")
    client.revoke(tokens.refresh)
    assert audited.line() == refused("revoke", "unknown", client_id="my-app", **grant)
    asking.introspect(tokens.access)
    assert audited.line() == allowed("introspect", active=False, **asker, **grant)
    asking.introspect("x")
    assert audited.line() == allowed("introspect", active=False, **asker)
    client.post(INTROSPECT, {"token": "x", "client_id": "my-app"})
    told = {"error": "invalid_client", "client_id": "my-app"}
    assert audited.line() == refused("introspect", "public_client", **told)


def test_taking_back_what_was_allowed(audited: Audited) -> None:
    browser = audited.parties.browser
    audited.parties.tokens(audited.parties.public)
    page = browser.get("/oauth/applications")
    fields = {**form_of(page).fields, "client_id": "my-app"}
    browser.post("/oauth/applications", fields)
    grant = grant_id(audited.parties.tokens(audited.parties.public).access)
    audited.lines()
    browser.post("/oauth/applications", {**fields, "csrf_token": "x"})
    assert audited.line() == refused("grant.revoke", "csrf", user="demo")
    browser.post("/oauth/applications", fields)
    told = {"user": "demo", "client_id": "my-app", "grant_id": grant}
    assert audited.line() == allowed("grant.revoke", **told)


def test_requests_to_the_backend(audited: Audited) -> None:
    client = audited.parties.public
    access = audited.parties.tokens(client).access
    grant = {"client_id": "my-app", "user": "demo", "grant_id": grant_id(access)}
    audited.lines()
    client.get("/projects/1?q=not-told", access)
    assert audited.line() == allowed("request", method="GET", path="/projects/1", **grant)
    client.get("/admin/x", access)
    about = {"method": "GET", "path": "/admin/x"}
    assert audited.line() == refused("request", "insufficient_scope", status=403, **about, **grant)

    client.revoke(access)
    audited.lines()
    client.get("/projects/1", access)
    about, ended = {"method": "GET", "path": "/projects/1"}, {"grant_id": grant_id(access)}
    assert audited.line() == refused("request", "invalid_token", status=401, **about, **ended)

    port, about = audited.gateway.port, {"method": "POST", "path": "/public/x"}
    request(port, "/public/x", method="POST")
    assert audited.line() == allowed("request", **about)
    about["path"] = "/x"
    for header, why, status in (
        ("Accept: */*", "no_credentials", 401),
        ("Authorization: Bearer a b", "malformed_bearer", 400),
        ("Authorization: Bearer unknown", "invalid_token", 401),
    ):
        request(port, "/x", header, method="POST")
        assert audited.line() == refused("request", why, status=status, **about)
    request(port, "/OAUTH/token/", method="POST")
    about["path"] = "/OAUTH/token/"
    assert audited.line() == refused("request", "path_own", status=400, **about)
    request(port, "/public/../x", method="POST")
    (line,) = audited.lines()
    assert (line["why"], line["status"]) == ("path_dot_segment", 400)


def test_questions_of_a_proxy(audited: Audited) -> None:
    """A decision is a request, from the address that the proxy tells."""
    port = audited.gateway.port
    request(port, "/oauth/verify")
    assert audited.line() == refused("verify", "untrusted_proxy")
    behind, proxy = "X-Forwarded-For: 192.0.2.1", "127.0.0.2"
    told = {"address": "192.0.2.1"}
    request(port, "/oauth/verify", behind, source=proxy)
    assert audited.line() == refused("verify", "missing_original") | told
    about = ("X-Original-Method: TRACE", "X-Original-URI: /public/x")
    request(port, "/oauth/verify", behind, *about, source=proxy)
    assert audited.line() == refused("verify", "method") | told
    about = ("X-Original-Method: PUT", "X-Original-URI: /x?q=not-told")
    request(port, "/oauth/verify", behind, *about, source=proxy)
    asked = {"method": "PUT", "path": "/x"}
    assert audited.line() == refused("request", "no_credentials", status=401, **asked) | told
    access = audited.parties.tokens(audited.parties.public).access
    audited.lines()
    line = f"Authorization: Bearer {access}"
    request(port, "/oauth/verify", behind, *about, line, source=proxy)
    grant = {"client_id": "my-app", "user": "demo", "grant_id": grant_id(access)}
    assert audited.line() == allowed("request", **asked, **grant) | told


# --- The file


def test_the_file_is_not_for_everybody(audited: Audited) -> None:
    audited.parties.browser.get("/public/x")
    assert audited.gateway.audit.stat().st_mode & 0o007 == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_said_in_the_log_and_stops_nobody(tmp_path: Path) -> None:
    full = ((str(tmp_path / "audit.log"), "/dev/full"),)
    with running_gateway("standalone", tmp_path, replace=full) as gateway:
        assert request(gateway.port, "/public/x").status == 200
        log = gateway.log.read_text()
        assert "the audit log cannot be written: [Errno 28] No space left on device" in log
