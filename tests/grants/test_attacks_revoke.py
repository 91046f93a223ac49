"""What is tried with revocation, and what it promises (RFC 7009)."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from redis import Redis

from gateway.store.embedded import find_server
from tests.support.assertions import assert_not_cached, assert_refused
from tests.support.oauth_client import FRAPPE, REVOKE, Client
from tests.support.parties import Parties, parties_at
from tests.support.processes import end
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.store import grant_id, let_pass

PATHS = [pytest.param(REVOKE, id="standard"), pytest.param(FRAPPE + "revoke_token", id="frappe")]


def assert_done(answer: requests.Response) -> None:
    assert (answer.status_code, answer.json()) == (200, {"message": "success"})
    assert_not_cached(answer)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "token",
    ["unknown", "gwa_" + "A" * 64, "gwr_" + "A" * 64, "*", "gateway:{x}", "%00", "a b", "x" * 4000],
)
def test_an_unknown_token_is_answered_with_success(parties: Parties, path: str, token: str) -> None:
    """RFC 7009 §2.2: the client cannot do anything about it."""
    for client in (parties.public, parties.confidential):
        assert_done(client.post(path, {"token": token}))


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        pytest.param({"token": "unknown"}, 200, b'{"message":"success"}', id="success"),
        pytest.param({"token": ""}, 400, b'{"message":"bad request"}', id="bad-request"),
        pytest.param({}, 400, b'{"message":"bad request"}', id="nothing"),
    ],
)
def test_on_frappes_path_the_bodies_are_frappes_to_the_byte(
    parties: Parties, form: dict[str, str], status: int, body: bytes
) -> None:
    """Its clients may compare them; there is no newline either."""
    answer = requests.post(f"{parties.url}{FRAPPE}revoke_token", form, timeout=20)
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "x" * 5000, "é", "a\nb"])
def test_what_cannot_be_a_token_is_a_bad_request(
    standalone: RunningGateway, path: str, token: str
) -> None:
    answer = requests.post(standalone.url + path, {"token": token}, timeout=20)
    assert answer.status_code == 400


@pytest.mark.parametrize("kind", ["access", "refresh"])
@pytest.mark.parametrize("path", PATHS)
def test_another_clients_token_is_answered_with_success_and_left_alone(
    parties: Parties, path: str, kind: str
) -> None:
    tokens = parties.tokens(parties.confidential)
    token = getattr(tokens, kind)
    assert_done(parties.service.post(path, {"token": token}))
    assert_done(parties.public.post(path, {"token": token, "client_id": "my-app"}))
    assert parties.is_valid(tokens.access)
    assert parties.confidential.refresh(tokens.refresh).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_refresh_token_ends_with_every_access_token_that_came_of_it(
    parties: Parties, path: str
) -> None:
    """RFC 7009 §2.1."""
    client = parties.confidential
    tokens = parties.tokens(client)
    given = client.refresh(tokens.refresh).json()
    narrowed = client.refresh(given["refresh_token"], scope="project").json()
    assert_done(client.post(path, {"token": narrowed["refresh_token"]}))
    for access in (tokens.access, given["access_token"], narrowed["access_token"]):
        assert not parties.is_valid(access)
    for refresh in (tokens.refresh, given["refresh_token"], narrowed["refresh_token"]):
        assert_refused(client.refresh(refresh), "invalid_grant")


def test_an_old_refresh_token_ends_the_grant_as_well(parties: Parties, redis: Redis) -> None:
    client = parties.confidential
    tokens = parties.tokens(client)
    given = client.refresh(tokens.refresh).json()
    let_pass(redis, grant_id(tokens.refresh), 100)
    assert_done(client.revoke(tokens.refresh))
    assert not parties.is_valid(given["access_token"])


def test_an_access_token_ends_alone(parties: Parties) -> None:
    client = parties.public
    tokens = parties.tokens(client)
    given = client.refresh(tokens.refresh).json()
    assert_done(client.revoke(given["access_token"]))
    assert not parties.is_valid(given["access_token"])
    assert parties.is_valid(tokens.access)
    assert client.refresh(given["refresh_token"]).status_code == 200


def test_a_revoked_access_token_is_not_brought_back_by_a_retried_refresh(
    parties: Parties,
) -> None:
    client = parties.public
    tokens = parties.tokens(client)
    given = client.refresh(tokens.refresh).json()
    client.revoke(given["access_token"])
    again = client.refresh(tokens.refresh).json()
    assert again["access_token"] == given["access_token"]
    assert not parties.is_valid(again["access_token"])


@pytest.mark.parametrize("kind", ["access", "refresh"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", "code"])
def test_a_wrong_hint_does_not_hide_a_token(parties: Parties, kind: str, hint: str) -> None:
    """RFC 7009 §2.1: the hint is a hint."""
    client = parties.public
    tokens = parties.tokens(client)
    assert_done(client.revoke(getattr(tokens, kind), token_type_hint=hint))
    assert not parties.is_valid(tokens.access)


def test_whoever_holds_a_token_may_end_it_without_a_name(parties: Parties) -> None:
    """As Frappe's clients do; nothing but ending it can be done that way."""
    tokens = parties.tokens(parties.confidential)
    form = {"token": tokens.access}
    assert_done(requests.post(parties.url + FRAPPE + "revoke_token", form, timeout=20))
    assert not parties.is_valid(tokens.access)


@pytest.mark.parametrize(
    ("path", "status"), [(REVOKE, 401), (FRAPPE + "revoke_token", 401)], ids=["standard", "frappe"]
)
def test_with_a_wrong_secret_nothing_is_revoked(parties: Parties, path: str, status: int) -> None:
    tokens = parties.tokens(parties.confidential)
    for form, secret in (
        ({}, "wrong"),
        ({"client_id": "confidential", "client_secret": "wrong"}, None),
        ({"client_id": "confidential"}, None),
        ({"client_secret": "wrong"}, None),
    ):
        client = Client(parties.url, "confidential", secret)
        answer = client.post(path, {"token": tokens.refresh, **form})
        assert answer.status_code == status
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert parties.is_valid(tokens.access)


def test_a_code_is_no_token_to_revoke(parties: Parties) -> None:
    code = parties.code(parties.public)
    assert_done(parties.public.revoke(code))
    assert parties.public.redeem(code).status_code == 200


def test_revoking_again_is_answered_with_success(parties: Parties) -> None:
    tokens = parties.tokens(parties.public)
    for token in (tokens.access, tokens.access, tokens.refresh, tokens.refresh, tokens.access):
        assert_done(parties.public.revoke(token))


def test_what_a_refresh_gives_while_the_grant_is_revoked_is_dead(parties: Parties) -> None:
    """Whichever came first, once the revocation is answered no token of the grant is valid."""
    client = parties.public
    for _ in range(8):
        tokens = parties.tokens(client)
        with ThreadPoolExecutor(6) as pool:
            refreshes = [pool.submit(client.refresh, tokens.refresh) for _ in range(3)]
            revocation = pool.submit(client.revoke, tokens.refresh)
            refreshes += [pool.submit(client.refresh, tokens.refresh) for _ in range(2)]
            assert_done(revocation.result())
        for each in refreshes:
            answer = each.result()
            if answer.status_code == 200:
                assert not parties.is_valid(answer.json()["access_token"])
                assert_refused(client.refresh(answer.json()["refresh_token"]), "invalid_grant")
            else:
                assert_refused(answer, "invalid_grant")
        assert not parties.is_valid(tokens.access)


def test_what_a_code_gives_while_it_is_replayed_is_dead(parties: Parties) -> None:
    """A replay and a refresh of what the code gave, at once."""
    client = parties.public
    for _ in range(5):
        code = parties.code(client)
        given = client.redeem(code).json()
        with ThreadPoolExecutor(4) as pool:
            refresh = pool.submit(client.refresh, given["refresh_token"])
            replay = pool.submit(client.redeem, code)
            assert_refused(replay.result(), "invalid_grant")
        if refresh.result().status_code == 200:
            assert not parties.is_valid(refresh.result().json()["access_token"])
        assert not parties.is_valid(given["access_token"])


@pytest.fixture(scope="module")
def with_a_store_of_its_own(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningGateway, subprocess.Popen[bytes]]]:
    """A gateway, and the process of its store."""
    folder: Path = tmp_path_factory.mktemp("store")
    socket = folder / "s"
    command = [find_server(), "--port", "0", "--unixsocket", str(socket), "--save", ""]
    with (folder / "store.log").open("wb") as log:
        store = subprocess.Popen([*map(str, command), "--dir", str(folder)], stdout=log)
    try:
        with running_gateway(
            "wrapped",
            folder / "gateway",
            store=f"unix://{socket}",
            replace=(("timeout = 5.0", "timeout = 0.5"),),
        ) as gateway:
            yield gateway, store
    finally:
        store.send_signal(signal.SIGCONT)
        end(store)


def test_while_the_store_does_not_answer_nothing_is_said_to_be_revoked(
    with_a_store_of_its_own: tuple[RunningGateway, subprocess.Popen[bytes]],
) -> None:
    """503 with Retry-After, never 200, and never an error that costs a client its tokens."""
    gateway, store = with_a_store_of_its_own
    parties = parties_at(gateway)
    tokens = parties.tokens(parties.confidential)
    client, nobody = parties.confidential, Client(parties.url)
    store.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(6) as pool:
            answers = [
                pool.submit(client.revoke, tokens.refresh),
                pool.submit(client.post, FRAPPE + "revoke_token", {"token": tokens.refresh}),
                pool.submit(nobody.post, FRAPPE + "revoke_token", {"token": tokens.access}),
                pool.submit(client.introspect, tokens.access),
                pool.submit(client.refresh, tokens.refresh),
                pool.submit(client.get, "/resource", tokens.access),
            ]
        for each in answers:
            answer = each.result()
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            assert "WWW-Authenticate" not in answer.headers
            assert_not_cached(answer)
    finally:
        store.send_signal(signal.SIGCONT)
