"""A search of the store and the logs for everything that would let somebody in."""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import requests
from redis import Redis

from tests.support.oauth_client import (
    FRAPPE,
    INTROSPECT,
    TOKEN,
    Browser,
    Client,
    answer_of,
    authorization,
    form_of,
    pkce,
)
from tests.support.parties import Parties
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import (
    CONFIDENTIAL_SECRET,
    PASSWORD,
    SERVICE_SECRET,
    RunningGateway,
    write_settings,
)
from tests.support.store import embedded

SECRET_KEY = "a secret key for tests that is long enough"
WRONG_PASSWORD = "wr0ng-passw0rd-of-somebody-else"
WRONG_SECRET = "wr0ng-secret-of-a-client"


@dataclass
class Run:
    """A gateway that was used in every way, and all the secrets that went through it."""

    gateway: RunningGateway
    secrets: dict[str, set[str]] = field(default_factory=dict)

    def note(self, kind: str, *secrets: str) -> None:
        """Remember secrets that must not be found, and forms of them that would serve as well."""
        for secret in secrets:
            forms = {secret, quote(secret, safe=""), urlencode({"": secret})[1:]}
            self.secrets.setdefault(kind, set()).update(forms)
            self.secrets[kind].add(b64encode(secret.encode()).decode().rstrip("="))

    def searched_for(self) -> Iterator[tuple[str, str]]:
        """Yield each secret with its kind, and the end of each long one."""
        for kind, secrets in self.secrets.items():
            for secret in secrets:
                yield kind, secret
                if len(secret) > 24:
                    yield f"end of {kind}", secret[-20:]

    def found_in(self, text: str) -> set[str]:
        """Return the kinds of secrets that are in ``text``."""
        return {kind for kind, secret in self.searched_for() if secret in text}


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    mode: str = request.param
    folder = tmp_path_factory.mktemp(f"leaks-{mode}")
    port, upstream_port = free_port(), free_port()
    upstream = f"http://127.0.0.1:{upstream_port}"
    url = f"http://127.0.0.1:{port}"
    config = write_settings(folder, port=port, upstream=upstream)
    log = folder / "gateway.log"
    with (
        running(
            python_module("tests.support.echo", str(upstream_port)),
            log=folder / "echo.log",
            ready=f"{upstream}/",
        ),
        running(
            debugging(mode, port, folder),
            log=log,
            ready=f"{url}/oauth/health",
            environ={"GATEWAY_CONFIG": str(config)},
        ),
    ):
        gateway = RunningGateway(mode, url, config, folder / "data", folder / "audit.log", log)
        run = Run(gateway)
        use_in_every_way(run)
        yield run


def debugging(mode: str, port: int, folder: Path) -> list[str]:
    """Return the command that runs a gateway which logs all it can.

    The log of the server around a wrapped gateway is not searched: it is not the gateway's.
    """
    if mode == "standalone":
        return python_module("tests.support.debugging", str(folder / "gateway.toml"))
    return [
        *python_module("gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "16"),
        *("--no-control-socket", "--error-logfile", str(folder / "server.log")),
        "tests.support.debugging_wrapped:app",
    ]


def use_in_every_way(run: Run) -> None:
    run.note("secret key", SECRET_KEY)
    run.note("password", PASSWORD, WRONG_PASSWORD)
    run.note("client secret", CONFIDENTIAL_SECRET, SERVICE_SECRET, WRONG_SECRET)
    browser = Browser(run.gateway.url)
    browser.session.headers["Connection"] = "close"
    parties = Parties(run.gateway.url, browser)
    sign_in_and_out(run, browser)
    for client in (parties.public, parties.confidential):
        exchange(run, parties, client)
    exchange_with_pkce(run, parties)
    issued = parties.service.post(TOKEN, {"grant_type": "client_credentials"}).json()
    run.note("access token", issued["access_token"])
    fail(run, parties)
    be_malformed(run)


def sessions(browser: Browser) -> list[str]:
    return [cookie.value or "" for cookie in browser.session.cookies]


def sign_in_and_out(run: Run, browser: Browser) -> None:
    for password in (WRONG_PASSWORD, PASSWORD):
        page = browser.get("/oauth/sign-in")
        run.note("csrf token", form_of(page).fields["csrf_token"])
        run.note("session", *sessions(browser))
        browser.sign_in(password=password)
        run.note("session", *sessions(browser))
    page = browser.get("/oauth/sign-out")
    run.note("csrf token", form_of(page).fields["csrf_token"])
    browser.post(form_of(page).action, form_of(page).fields)
    assert browser.sign_in().status_code == 303
    run.note("session", *sessions(browser))
    page = browser.get("/oauth/applications")
    browser.post("/oauth/applications", {"csrf_token": "wrong", "client_id": "wrong"})


def exchange(run: Run, parties: Parties, client: Client) -> None:
    asked = authorization(client_id=client.client_id, redirect_uri=client.redirect_uri)
    page = parties.browser.authorize(**asked)
    run.note("csrf token", form_of(page).fields["csrf_token"])
    run.note("code", code := answer_of(parties.browser.decide(page))["code"])
    client.redeem(code, redirect_uri="https://wrong.example/")
    given = client.redeem(code).json()
    run.note("access token", given["access_token"])
    run.note("refresh token", given["refresh_token"])
    for _ in range(2):
        refreshed = client.refresh(given["refresh_token"]).json()
        run.note("access token", refreshed["access_token"])
        run.note("refresh token", refreshed["refresh_token"])
    for token in (given["access_token"], refreshed["refresh_token"]):
        assert client.get("/resource", refreshed["access_token"]).status_code == 200
        client.introspect(token)
        parties.resource_server.introspect(token)
    client.revoke(given["access_token"])
    client.get("/resource", given["access_token"])
    client.redeem(code)
    client.refresh(refreshed["refresh_token"])
    kept = parties.tokens(client)
    run.note("access token", kept.access)
    run.note("refresh token", kept.refresh)


def exchange_with_pkce(run: Run, parties: Parties) -> None:
    verifier, challenge = pkce()
    run.note("verifier", verifier)
    code = parties.code(parties.with_pkce, **challenge)
    run.note("code", code)
    parties.with_pkce.redeem(code, code_verifier="w" * 43)
    given = parties.with_pkce.redeem(code, code_verifier=verifier).json()
    run.note("access token", given["access_token"])
    run.note("refresh token", given["refresh_token"])
    waiting = parties.code(parties.public)
    run.note("code", waiting)


def fail(run: Run, parties: Parties) -> None:
    """Send good credentials to where they are not expected, and bad ones to where they are."""
    url = run.gateway.url
    tokens = parties.tokens(parties.public)
    run.note("access token", tokens.access)
    run.note("refresh token", tokens.refresh)
    requests.get(f"{url}/resource?access_token={tokens.access}", timeout=20)
    requests.get(f"{url}/public/x", headers={"Authorization": tokens.access}, timeout=20)
    requests.get(f"{url}/x", headers={"Authorization": f"Bearer {tokens.access} x"}, timeout=20)
    requests.get(f"{url}/../x", headers={"Authorization": f"Bearer {tokens.access}"}, timeout=20)
    requests.get(f"{url}/admin", headers={"Authorization": f"Bearer {tokens.access}"}, timeout=20)
    requests.post(f"{url}{TOKEN}?refresh_token={tokens.refresh}", timeout=20)
    requests.post(url + TOKEN, json={"refresh_token": tokens.refresh}, timeout=20)
    requests.post(url + FRAPPE + "revoke_token", {"tok": tokens.access}, timeout=20)
    requests.post(url + INTROSPECT, {"token": tokens.access}, timeout=20)
    requests.get(f"{url}{TOKEN}", {"refresh_token": tokens.refresh}, timeout=20)
    for auth in (("confidential", WRONG_SECRET), (CONFIDENTIAL_SECRET.encode(), b"x")):
        requests.post(url + TOKEN, {"grant_type": "x"}, auth=auth, timeout=20)  # type: ignore[arg-type]
    parties.public.redeem("gwc_x", code_verifier=tokens.refresh)
    parties.public.refresh(tokens.refresh, scope="admin")


def be_malformed(run: Run) -> None:
    """Break HTTP itself, with credentials in what is broken."""
    tokens = [f"gwa_{'m' * 40}{number:024}" for number in range(8)]
    run.note("access token", *tokens)
    first, second, third, fourth, fifth, sixth, seventh, eighth = (
        token.encode() for token in tokens
    )
    host = b"Host: gateway.test\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    for data in (
        b"GET / HTTP/1.1\r\n" + host + b"Authorization Bearer " + first + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"Authorization: Bearer \0" + second + b"\r\n\r\n",
        # A body that is longer than announced is read as the next request.
        b"POST /oauth/token HTTP/1.1\r\n"
        + host
        + form
        + b"Content-Length: 2\r\n\r\nx=1&refresh_token="
        + third
        + b"\r\n\r\n",
        b"POST /oauth/token HTTP/1.1\r\n"
        + host
        + form
        + b"Transfer-Encoding: chunked\r\n\r\nrefresh_token="
        + fourth
        + b"\r\n\r\n",
        b"GET /?access_token=" + fifth + b" HTTP/9.9\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + sixth + b": x y\r\n(" + sixth + b"): z\r\n\r\n",
        b"GET /" + seventh + b"\r\n\r\n",
        # The client goes away in the middle of the headers.
        b"GET / HTTP/1.1\r\n" + host + b"Authorization: Bearer " + eighth + b"\r\nX-Half: ",
    ):
        send_and_go(run.gateway.port, data)


def send_and_go(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        # Until the server is done with it.
        while connection.recv(65_536):
            pass


def dump(redis: Redis) -> str:
    """Return every key of the store with its value, as text."""
    reading: dict[str, Callable[[str], object]] = {
        "string": redis.get,
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "hash": redis.hgetall,
        "list": lambda key: redis.lrange(key, 0, -1),
    }
    lines = [f"{key} {reading[str(redis.type(key))](key)!r}" for key in redis.scan_iter(count=1000)]
    return "\n".join(lines)


def test_no_key_and_no_value_of_the_store_lets_anybody_in(run: Run) -> None:
    with embedded(run.gateway.data_dir) as redis:
        dumped = dump(redis)
    for kind in ("gateway:{", "gateway:session:", "gateway:consent:", "gateway:grants-of-user:"):
        assert kind in dumped
    assert run.found_in(dumped) == set()
    assert not re.search(r"gw[acr]_", dumped)


def test_the_files_of_the_store_let_nobody_in(run: Run) -> None:
    """The append-only file has the words of every change."""
    files = [path for path in run.gateway.data_dir.rglob("*") if path.is_file()]
    written = "\n".join(path.read_bytes().decode("latin-1") for path in files)
    assert "redeemed" in written
    assert run.found_in(written) == set()
    assert run.found_in("\n".join(map(str, files))) == set()


def test_a_log_of_everything_lets_nobody_in(run: Run) -> None:
    logged = run.gateway.log.read_text()
    assert "DEBUG test.support: this log has everything" in logged
    if run.gateway.mode == "standalone":
        assert "[DEBUG] a connection has ended" in logged
        assert "refused a request of 127.0.0.1: InvalidRequestLine" in logged
    assert run.found_in(logged) == set()


def test_the_audit_log_lets_nobody_in(run: Run) -> None:
    audited = run.gateway.audit.read_text()
    for event in ("sign_in", "sign_out", "authorize", "token", "revoke", "introspect", "request"):
        assert f'"event": "{event}"' in audited
    for outcome in ("replayed", "wrong_secret", "wrong_password", "invalid_token"):
        assert outcome in audited
    assert run.found_in(audited) == set()
    assert not re.search(r"gw[acr]_", audited)


def test_the_search_would_find_them(run: Run) -> None:
    assert {"code", "access token", "refresh token", "session", "csrf token", "verifier"} < set(
        run.secrets
    )
    for kind, secret in run.searched_for():
        assert kind in run.found_in(f"some {secret} text")
