"""Headers that a backend may take for somebody's identity never come from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.access.echoed import TRUSTED_PROXY, bearer, said, told
from tests.support.parties import Parties
from tests.support.running_gateway import RunningGateway, running_gateway

NAMES = (
    "Remote-User",
    "remote_user",
    "X-Remote-User",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X_Auth_Request_Groups",
    "X-WebAuth-User",
    "X-WebAuth-Role",
    "Ssl-Client-Verify",
    "Ssl-Client-S-Dn",
    "SSL_CLIENT_CERT",
    "X-SSL-Client-Dn",
    "Client-Cert",
    "True-Client-Ip",
    "X-Forwarded-Email",
)


@pytest.mark.parametrize("source", ["127.0.0.1", TRUSTED_PROXY])
def test_no_claim_of_identity_reaches_the_backend(gateway: RunningGateway, source: str) -> None:
    """Not from a trusted proxy either: it may let a client's own through."""
    lines = [f"{name}: admin" for name in NAMES]
    echoed = said(gateway, "/public/x", *lines, source=source)
    assert "admin" not in str(echoed)


def test_nor_on_a_route_that_needs_a_token(parties: Parties, gateway: RunningGateway) -> None:
    access = parties.tokens(parties.public).access
    lines = [f"{name}: admin" for name in NAMES]
    echoed = said(gateway, "/private", bearer(access), *lines)
    assert "admin" not in str(echoed)
    assert told(echoed, "X-Forwarded-User") == ["demo"]


@pytest.mark.parametrize(
    "name", ["Cf-Connecting-Ip", "X-Client-Ip", "Fastly-Client-Ip", "Client-Ip"]
)
def test_another_address_than_the_clients_comes_from_a_trusted_proxy_alone(
    gateway: RunningGateway, name: str
) -> None:
    line = f"{name}: 203.0.113.7"
    assert told(said(gateway, "/public/x", line), name) == []
    assert told(said(gateway, "/public/x", line, source=TRUSTED_PROXY), name) == ["203.0.113.7"]


@pytest.mark.parametrize("name", ["X-Usage", "Client-Certainty", "X-Webauthn", "Remote-Users"])
def test_a_name_that_only_looks_alike_goes_through(gateway: RunningGateway, name: str) -> None:
    assert told(said(gateway, "/public/x", f"{name}: a"), name) == ["a"]


def test_the_operator_adds_names(tmp_path: Path) -> None:
    extra = '\n[identity]\nuser = "Remote-User"\nremove = ["X-Tenant", "x_employee-id"]\n'
    with running_gateway("standalone", tmp_path, extra=extra) as gateway:
        lines = "X_Tenant: admin", "X-Employee.Id: admin", "Remote-User: admin", "X-Other: kept"
        for source in ("127.0.0.1", TRUSTED_PROXY):
            echoed = said(gateway, "/public/x", *lines, source=source)
            assert "admin" not in str(echoed)
            assert told(echoed, "X-Other") == ["kept"]
