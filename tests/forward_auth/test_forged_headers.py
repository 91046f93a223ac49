"""What a client says in the proxies' and the gateway's name counts for nothing."""

from __future__ import annotations

import json

import pytest

from tests.forward_auth.backend import RecordingBackend
from tests.forward_auth.proxies import CLIENT_ADDRESS, RunningProxy
from tests.forward_auth.relay import Relay
from tests.support.running_gateway import RunningGateway

#: Each spelling that a WSGI or CGI backend takes for the gateway's own header.
IDENTITY = [
    *("X-Forwarded-User: forged", "x-forwarded-user: forged", "X-FORWARDED-USER: forged"),
    *("X_Forwarded_User: forged", "X-Forwarded_User: forged", "X_Forwarded-User: forged"),
    *("X-Forwarded-Client: forged", "X_Forwarded_Client: forged"),
    *("X-Forwarded-Scope: forged admin", "X_Forwarded_Scope: forged admin"),
]

#: What would make of a request another one. OPTIONS and /public/ are public.
REWRITES = [
    pytest.param(["X-Original-URI: /public/forged"], id="original-uri"),
    pytest.param(["X-Original-Method: OPTIONS"], id="original-method"),
    pytest.param(
        ["X-Original-URI: /public/forged", "X-Original-Method: OPTIONS"], id="original-both"
    ),
    pytest.param(["X-Forwarded-Uri: /public/forged"], id="forwarded-uri"),
    pytest.param(["X-Forwarded-Method: OPTIONS"], id="forwarded-method"),
    pytest.param(
        ["X-Forwarded-Uri: /public/forged", "X-Forwarded-Method: OPTIONS"], id="forwarded-both"
    ),
    pytest.param(
        ["X_Forwarded_Uri: /public/forged", "X_Original_URI: /public/f"], id="underscores"
    ),
    pytest.param(["X-Original-URL: /public/forged"], id="original-url"),
    pytest.param(["X-Rewrite-URL: /public/forged"], id="rewrite-url"),
    pytest.param(["X-Forwarded-Prefix: /public"], id="prefix"),
    pytest.param(["X-Envoy-Original-Path: /public/forged"], id="envoy-original-path"),
    pytest.param(
        ["Connection: close, X-Original-URI, X-Forwarded-Uri, X-Original-Method"], id="connection"
    ),
]

#: Nothing of these is for a backend that stands behind a proxy.
NOT_THE_CLIENTS = [
    *("Forwarded: for=forged", "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6"),
    *("X-Forwarded-Host: forged", "X-Forwarded-Proto: forged", "X-Forwarded-Prefix: /forged"),
    *("X-Original-URI: /forged", "X-Original-URL: /forged", "X-Original-Method: FORGED"),
    *("X-Forwarded-Uri: /forged", "X-Forwarded-Method: FORGED", "X-Rewrite-URL: /forged"),
    *("X-HTTP-Method: FORGED", "X-HTTP-Method-Override: FORGED", "X-Method-Override: FORGED"),
    *("X_Original_URI: /forged", "X_HTTP_Method_Override: FORGED", "Proxy: forged"),
]


def test_the_backend_is_told_the_real_user_once(proxy: RunningProxy, token: str) -> None:
    answer = proxy.ask("/who", *IDENTITY, token=token)
    assert answer.arrived("X-Forwarded-User") == ["demo"]
    assert answer.arrived("X-Forwarded-Client") == ["my-app"]
    assert answer.arrived("X-Forwarded-Scope") == ["project"]


def test_on_a_public_route_nobody_is_named(proxy: RunningProxy) -> None:
    answer = proxy.ask("/public/page", *IDENTITY)
    for name in ("X-Forwarded-User", "X-Forwarded-Client", "X-Forwarded-Scope"):
        assert "".join(answer.arrived(name)) == ""


@pytest.mark.parametrize(
    "connection", ["close, X-Forwarded-User, X-Forwarded-Scope", "x-forwarded-user"]
)
def test_a_connection_header_cannot_name_the_user_away(
    proxy: RunningProxy, token: str, connection: str
) -> None:
    answer = proxy.ask("/who", f"Connection: {connection}", token=token)
    assert answer.arrived("X-Forwarded-User") == ["demo"]
    assert answer.arrived("X-Forwarded-Scope") == ["project"]


@pytest.mark.parametrize("forged", REWRITES)
def test_a_forged_original_request_is_not_what_is_judged(
    proxy: RunningProxy, backend: RecordingBackend, forged: list[str]
) -> None:
    answer = proxy.ask("/private-of-forged", *forged, method="POST", body=b"x")
    assert answer.status == 401
    assert not backend.saw("/private-of-forged")


@pytest.mark.parametrize("forged", REWRITES)
def test_a_forged_original_request_does_not_widen_a_scope(
    proxy: RunningProxy, token: str, forged: list[str]
) -> None:
    assert proxy.ask("/admin/forged", *forged, token=token).status == 403


def test_nothing_that_only_a_proxy_may_say_reaches_the_backend(
    proxy: RunningProxy, token: str
) -> None:
    answer = proxy.ask("/what", *NOT_THE_CLIENTS, token=token)
    arrived = json.dumps(answer.echoed).lower()
    assert "forged" not in arrived
    assert "6.6.6.6" not in arrived
    assert answer.arrived("X-Forwarded-For") == [CLIENT_ADDRESS]


def test_nothing_that_only_a_proxy_may_say_reaches_the_gateway(
    proxy: RunningProxy, token: str, relay: Relay
) -> None:
    """Neither with the question, nor with a request for the gateway itself."""
    relay.asked()
    proxy.ask("/what", *NOT_THE_CLIENTS, *IDENTITY, token=token)
    proxy.ask("/oauth/health", *NOT_THE_CLIENTS, *IDENTITY)
    asked = relay.asked().lower()
    assert asked.count(b"/oauth/health") == 1
    assert b"forged" not in asked
    assert b"6.6.6.6" not in asked


def test_the_audit_log_names_the_client_behind_the_proxy(
    proxy: RunningProxy, decider: RunningGateway
) -> None:
    mark = f"/addressed-by-{proxy.name}"
    proxy.ask(mark, "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6")
    lines = [json.loads(line) for line in decider.audit.read_text().splitlines()]
    assert [line["address"] for line in lines if line.get("path") == mark] == [CLIENT_ADDRESS]


def test_the_token_does_not_reach_the_backend(proxy: RunningProxy, token: str) -> None:
    for target in ("/private", "/public/page"):
        arrived = json.dumps(proxy.ask(target, token=token).echoed)
        assert token not in arrived
        assert "Authorization" not in arrived.title()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("gateway_session=mine", [], id="alone"),
        pytest.param("gateway_session=mine; a=1; b=2", ["a=1; b=2"], id="first"),
        pytest.param("a=1; gateway_session=mine; b=2", ["a=1; b=2"], id="between"),
        pytest.param("a=1; b=2; gateway_session=mine", ["a=1; b=2"], id="last"),
        pytest.param("a=1; __Host-gateway_session=mine", ["a=1"], id="secure"),
        pytest.param("a=1; x_gateway_session=2", ["a=1; x_gateway_session=2"], id="another"),
        pytest.param("a=1; b=gateway_session", ["a=1; b=gateway_session"], id="value"),
    ],
)
def test_the_gateways_cookie_does_not_reach_the_backend(
    proxy: RunningProxy, sent: str, expected: list[str]
) -> None:
    answer = proxy.ask("/public/page", f"Cookie: {sent}")
    assert [value for value in answer.arrived("Cookie") if value] == expected


@pytest.mark.parametrize(
    "cookies",
    [
        pytest.param(
            ["Cookie: gateway_session=mine; a=1; gateway_session=mine"], id="in-one-header"
        ),
        pytest.param(
            ["Cookie: gateway_session=mine", "Cookie: a=1; __Host-gateway_session=mine"],
            id="in-two-headers",
        ),
        pytest.param(
            ["Cookie: gateway_session=mine;gateway_session=mine;gateway_session=mine"],
            id="without-spaces",
        ),
    ],
)
def test_not_even_one_of_several_such_cookies(proxy: RunningProxy, cookies: list[str]) -> None:
    assert "mine" not in "".join(proxy.ask("/public/page", *cookies).arrived("Cookie"))
