"""No header of a client tells the backend who asks; the gateway alone does."""

from __future__ import annotations

import json

import pytest

from tests.access.echoed import TRUSTED_PROXY, bearer, said, told
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

FORGED = [
    pytest.param(["X-Forwarded-User: admin"], id="plain"),
    pytest.param(["x-forwarded-user: admin"], id="lower case"),
    pytest.param(["X-FoRwArDeD-uSeR: admin"], id="mixed case"),
    pytest.param(["X_Forwarded_User: admin"], id="underscores"),
    pytest.param(["X-Forwarded_User: admin"], id="one underscore"),
    pytest.param(["x_forwarded-user: admin"], id="other underscore"),
    pytest.param(["X-Forwarded.User: admin"], id="dot"),
    pytest.param(["X.Forwarded.User: admin"], id="dots"),
    pytest.param(["X~Forwarded!User: admin"], id="other characters"),
    pytest.param(["X-Forwarded-User: admin", "X-Forwarded-User: admin"], id="twice"),
    pytest.param(["X-Forwarded-User:", "X-Forwarded-User: admin"], id="empty, then not"),
    pytest.param(["X-Forwarded-User:\tadmin"], id="tab"),
    pytest.param(["X-Forwarded-User: demo", "X_Forwarded_User: admin"], id="two spellings"),
    pytest.param(["Connection: close, X-Forwarded-User", "X-Forwarded-User: admin"], id="named"),
    pytest.param(["X-Forwarded-Client: admin", "X-Forwarded-Scope: admin"], id="client and scope"),
    pytest.param(["X_Forwarded_Scope: admin", "X-Forwarded.Client: admin"], id="the same, odd"),
]


@pytest.mark.parametrize("forged", FORGED)
def test_the_backend_sees_the_real_user_once(
    gateway: RunningGateway, token: str, forged: list[str]
) -> None:
    echoed = said(gateway, "/private", bearer(token), *forged)
    assert told(echoed, "X-Forwarded-User") == ["demo"]
    assert told(echoed, "X-Forwarded-Client") == ["my-app"]
    assert told(echoed, "X-Forwarded-Scope") == ["project"]
    assert echoed.get("remote_user", "demo") == "demo"
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize("forged", FORGED)
def test_a_public_route_without_a_token_has_no_user(
    gateway: RunningGateway, forged: list[str]
) -> None:
    echoed = said(gateway, "/public/x", *forged)
    for name in ("X-Forwarded-User", "X-Forwarded-Client", "X-Forwarded-Scope"):
        assert told(echoed, name) == []
    assert echoed.get("remote_user") is None
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize("forged", FORGED)
def test_a_client_that_acts_for_itself_cannot_name_a_user(
    gateway: RunningGateway, service_token: str, forged: list[str]
) -> None:
    echoed = said(gateway, "/private", bearer(service_token), *forged)
    assert told(echoed, "X-Forwarded-User") == []
    assert told(echoed, "X-Forwarded-Client") == ["service"]
    assert told(echoed, "X-Forwarded-Scope") == ["project"]
    assert echoed.get("remote_user") is None


def test_a_trusted_proxy_cannot_pass_a_user_on_either(gateway: RunningGateway, token: str) -> None:
    """It may let through what a client sent."""
    forged = ("X-Forwarded-User: admin", "X-Forwarded.User: admin", "X-Original-URL: /admin")
    echoed = said(gateway, "/private", bearer(token), *forged, source=TRUSTED_PROXY)
    assert told(echoed, "X-Forwarded-User") == ["demo"]
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize("name", ["Remote-User", "REMOTE_USER", "Auth-Type", "gateway.token"])
def test_no_header_becomes_a_variable_of_wsgi(
    gateway: RunningGateway, name: str, token: str
) -> None:
    public = said(gateway, "/public/x", f"{name}: admin")
    assert (public.get("remote_user"), public.get("token")) == (None, None)
    assert said(gateway, "/private", bearer(token), f"{name}: admin").get("remote_user") in {
        None,
        "demo",
    }


@pytest.mark.parametrize("line", ["X-Forwarded-User : admin", " X-Forwarded-User: admin", ": x"])
def test_a_malformed_header_line_is_a_400(gateway: RunningGateway, token: str, line: str) -> None:
    """RFC 9112 §5.1."""
    assert request(gateway.port, "/private", bearer(token), "X: 1", line).status == 400


@pytest.mark.parametrize(
    "options",
    [
        "close, X-Forwarded-User, X-Forwarded-Client, X-Forwarded-Scope",
        "X-Forwarded-User, close",
        "close, x_forwarded_user",
        "close, Authorization",
        "close, Cookie, Host, Via, Forwarded, X-Forwarded-For",
        "close, Content-Length, Transfer-Encoding",
    ],
)
def test_no_connection_option_removes_what_the_gateway_says(
    gateway: RunningGateway, token: str, options: str
) -> None:
    connection = f"Connection: {options}"
    echoed = said(gateway, "/private", bearer(token), connection, method="POST", body=b"x=1")
    assert told(echoed, "X-Forwarded-User") == ["demo"]
    assert told(echoed, "X-Forwarded-Client") == ["my-app"]
    assert told(echoed, "X-Forwarded-Scope") == ["project"]
    assert told(echoed, "Host") == ["gateway.test"]
    assert echoed["body"] == "x=1"


def test_a_header_that_connection_names_is_not_forwarded(standalone: RunningGateway) -> None:
    """RFC 9110 §7.6.1; a wrapped application is not the other side of a proxy."""
    connection = "Connection: close, X-One, x_two"
    echoed = said(standalone, "/public/x", connection, "X-One: 1", "X-Two: 2", "X-Three: 3")
    assert (told(echoed, "X-One"), told(echoed, "X-Two")) == ([], [])
    assert told(echoed, "X-Three") == ["3"]
