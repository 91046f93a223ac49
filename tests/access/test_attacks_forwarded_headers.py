"""No Host and no Forwarded of a stranger changes an address of the gateway or its log."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.access.echoed import TRUSTED_PROXY
from tests.support.oauth_client import Browser
from tests.support.raw import RawResponse, request
from tests.support.running_gateway import RunningGateway

HOSTS = [
    pytest.param(["Host: evil.example"], "127.0.0.1", id="Host"),
    pytest.param(["Host: evil.example:80"], "127.0.0.1", id="port"),
    *(
        pytest.param(
            [
                "Host: gateway.test",
                "X-Forwarded-Host: evil.example",
                "X-Forwarded-Proto: evil",
                "X-Forwarded-Port: 666",
                "X-Forwarded-Prefix: //evil.example",
                "X-Host: evil.example",
                "X-Original-URL: //evil.example/",
                "Forwarded: host=evil.example;proto=evil",
            ],
            source,
            id=f"other headers from {source}",
        )
        for source in ("127.0.0.1", TRUSTED_PROXY)
    ),
]


@pytest.mark.parametrize(("forged", "source"), HOSTS)
def test_a_forged_host_changes_no_address_of_the_gateways(
    gateway: RunningGateway, forged: list[str], source: str
) -> None:
    def get(target: str) -> RawResponse:
        return request(gateway.port, target, *forged, host=None, source=source)

    document = get("/.well-known/oauth-authorization-server").json()
    assert document["issuer"] == gateway.url
    assert all(
        value.startswith(gateway.url + "/")
        for name, value in document.items()
        if name.endswith("_endpoint")
    )
    sign_in = get("/oauth/authorize?client_id=my-app&response_type=code")
    assert sign_in.status == 302
    [location] = sign_in.values("Location")
    assert location.startswith("/oauth/sign-in?next=%2Foauth%2Fauthorize%3F")
    page = get(location)
    assert b'action="/oauth/sign-in"' in page.body
    # A fault is told to a client once somebody has signed in (RFC 9700 §4.11.2).
    browser = Browser(gateway.url)
    assert browser.sign_in().status_code == 303
    cookies = "; ".join(f"{name}={value}" for name, value in browser.session.cookies.items())
    denied = request(
        gateway.port,
        "/oauth/authorize?client_id=my-app&response_type=token",
        f"Cookie: {cookies}",
        *forged,
        host=None,
        source=source,
    )
    assert denied.values("Location")[0].startswith("http://localhost:3000/oauth_code?error=")
    assert f"iss={quote(gateway.url, safe='')}" in denied.values("Location")[0]
    challenge = get("/private")
    assert f'realm="{gateway.url}"' in challenge.values("WWW-Authenticate")[0]
    for answer in (sign_in, page, denied, challenge):
        assert "evil" not in str(answer.headers)
        assert b"evil" not in answer.body
        assert not any("domain" in cookie.lower() for cookie in answer.values("Set-Cookie"))


def test_the_log_does_not_take_an_address_from_a_stranger(gateway: RunningGateway) -> None:
    forged = (
        "X-Forwarded-For: 203.0.113.9",
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 203.0.113.9",
    )
    request(gateway.port, "/log-of-a-stranger", *forged)
    assert logged(gateway, "/log-of-a-stranger")["address"] == "127.0.0.1"


def test_the_log_takes_from_a_trusted_proxy_what_it_wrote_itself(gateway: RunningGateway) -> None:
    """The rightmost address that is not a trusted proxy's; a client wrote those before it."""
    chain = "X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.1.2.3"
    request(gateway.port, "/log-of-a-proxy", chain, source=TRUSTED_PROXY)
    assert logged(gateway, "/log-of-a-proxy")["address"] == "198.51.100.7"


def test_what_a_client_sends_cannot_forge_a_line_of_the_log(gateway: RunningGateway) -> None:
    request(gateway.port, '/forged%0a{"event":"request"}%E9')
    last = gateway.audit.read_text().splitlines()[-1]
    assert json.loads(last)["event"] == "request"
    assert last.isascii()


def logged(gateway: RunningGateway, path: str) -> dict[str, Any]:
    lines = (json.loads(line) for line in gateway.audit.read_text().splitlines())
    event: dict[str, Any] = next(line for line in lines if line.get("path") == path)
    return event
