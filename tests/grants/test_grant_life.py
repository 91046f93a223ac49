"""A grant lives as the model says, and ends with its client and its user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from gateway.clients.registry import RegisteredClient
from gateway.config.settings import SignIn, User
from gateway.protocol.errors import OAuthError
from tests.grants.grant_model import Gateway
from tests.support.stand import CLIENTS, Stand, asked, standing


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("store")) as stand:
        yield stand


def test_a_grant_lives_as_the_model_says(stand: Stand) -> None:
    class OnThisStand(Gateway):
        pass

    OnThisStand.stand = stand
    run_state_machine_as_test(
        OnThisStand,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("grant_type", ["client_credentials", "refresh_token", "code"])
def test_a_client_removed_while_it_asks_gets_nothing(stand: Stand, grant_type: str) -> None:
    """It had proved who it is; then it was removed and its grants were ended."""
    gateway = stand.gateway()
    client = CLIENTS[0].model_copy(
        update={
            "client_id": "kept",
            "secret_sha256": "0" * 64,
            "grant_types": ("authorization_code", "refresh_token", "client_credentials"),
        }
    )
    gateway.clients.add(client)
    registered = gateway.clients.find("kept")
    assert registered is not None
    code, *_ = gateway.authorization_server.authorize(asked(gateway, client), "ann")
    parameters = {
        "grant_type": "authorization_code",
        "code": code.text,
        "redirect_uri": client.redirect_uris[0],
    }
    if grant_type == "client_credentials":
        parameters = {"grant_type": grant_type}
    elif grant_type == "refresh_token":
        given = gateway.authorization_server.exchange(registered, parameters)
        assert given.refresh_token is not None
        parameters = {"grant_type": grant_type, "refresh_token": given.refresh_token}

    assert gateway.clients.remove("kept")
    assert list(gateway.grants.end_all(client_id="kept"))
    with pytest.raises(OAuthError) as refused:
        gateway.authorization_server.exchange(registered, parameters)
    assert refused.value.error in {"invalid_client", "invalid_grant"}
    assert list(gateway.grants.end_all(client_id="kept")) == []
    gateway.redis.close()


@pytest.mark.parametrize("who", ["user", "disabled", "client"])
def test_who_is_taken_out_of_the_file_loses_the_grant(stand: Stand, who: str) -> None:
    """At the next request where it reads, and for good at the next exchange."""
    password_hash = "scrypt:32768:8:1$salt$" + "0f" * 64
    users = tuple(User(name=name, password_hash=password_hash) for name in ("ann", "bob"))
    with_all = SignIn(users=users)
    gateway = stand.gateway(sign_in=with_all)
    parameters = {"grant_type": "authorization_code", "redirect_uri": "https://one.example/cb"}
    authorize = gateway.authorization_server.authorize
    waiting, *_ = authorize(asked(gateway, CLIENTS[0]), "ann")
    code, *_ = authorize(asked(gateway, CLIENTS[0]), "ann")
    client = RegisteredClient(CLIENTS[0], "file")
    given = gateway.authorization_server.exchange(client, parameters | {"code": code.text})
    gateway.redis.close()

    if who == "user":
        after = stand.gateway(sign_in=SignIn(users=users[1:]))
    elif who == "disabled":
        disabled = users[0].model_copy(update={"disabled": True})
        after = stand.gateway(sign_in=SignIn(users=(disabled, users[1])))
    else:
        after = stand.gateway(sign_in=with_all, clients=CLIENTS[1:])
    assert after.access.access_token(given.access_token) is None
    assert given.refresh_token is not None
    for text in (given.access_token, given.refresh_token):
        asking = RegisteredClient(CLIENTS[1].model_copy(update={"introspect_any": True}), "file")
        told = after.authorization_server.introspect(asking, {"token": text})
        assert told.members == {"active": False}
    for each in (
        {"grant_type": "refresh_token", "refresh_token": given.refresh_token},
        parameters | {"code": waiting.text},
    ):
        with pytest.raises(OAuthError, match="invalid_grant"):
            after.authorization_server.exchange(client, each)
    after.redis.close()

    again = stand.gateway(sign_in=with_all)
    assert again.access.access_token(given.access_token) is None
    again.redis.close()
