"""Under https the cookie belongs to its host alone, and no answer names an http address."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.raw import request
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway
from tests.users.signing_in import APPLICATIONS, SIGN_IN, post_form


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose issuer is https; TLS ends before it."""
    issuer = (('issuer = "http://127.0.0.1:', 'issuer = "https://gateway.example:'),)
    folder = tmp_path_factory.mktemp("https")
    with running_gateway("standalone", folder, replace=issuer) as running:
        yield running


def test_under_https_the_cookie_is_pinned_to_the_host(https: RunningGateway) -> None:
    """RFC 6265bis §4.1.3.2."""
    page = request(https.port, SIGN_IN)
    [cookie] = page.values("Set-Cookie")
    pair, *attributes = cookie.split("; ")
    assert pair.startswith("__Host-gateway_session_browser=")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]

    csrf_token = re.findall(rb'name="csrf_token" value="([^"]+)"', page.body)[0].decode()
    fields = {"username": "demo", "password": PASSWORD, "csrf_token": csrf_token, "next": ""}
    target, content_type, body = post_form(SIGN_IN, fields)
    signed_in = request(
        https.port, target, content_type, f"Cookie: {pair}", method="POST", body=body
    )
    assert signed_in.status == 303
    session = signed_in.values("Set-Cookie")[0].partition(";")[0].partition("=")[2]

    def status(cookie: str) -> int:
        return request(https.port, APPLICATIONS, f"Cookie: {cookie}").status

    assert status(f"__Host-gateway_session={session}") == 200
    # What another host of the same site can set is not taken for it.
    for tossed in (
        f"gateway_session={session}",
        f"__host-gateway_session={session}",
        f"__Secure-gateway_session={session}",
        f"\xe2\x80\x80__Host-gateway_session={session}",
        f"\xc2\xa0__Host-gateway_session={session}",
        f"\xc2\x85__Host-gateway_session={session}",
        f"=__Host-gateway_session={session}",
        f"x=__Host-gateway_session={session}",
        f'"__Host-gateway_session"={session}',
        f"$Version=1; $Path=/; x,__Host-gateway_session={session}",
    ):
        assert status(tossed) == 302, tossed
    assert request(https.port, "/public/x", f"Cookie: {pair}; a=1").json()["headers"][1] == [
        "Cookie",
        "a=1",
    ]


def test_under_https_nothing_says_http(https: RunningGateway) -> None:
    document = request(https.port, "/.well-known/oauth-authorization-server").body
    assert b"http://" not in document
    challenge = request(https.port, "/private").values("WWW-Authenticate")[0]
    assert 'realm="https://gateway.example:' in challenge


@pytest.mark.parametrize(
    ("lines", "is_over_http"),
    [
        ((), True),
        (("X-Forwarded-Proto: http",), True),
        (("X-Forwarded-Proto: HTTP", "Sec-Fetch-Mode: navigate"), True),
        (("X-Forwarded-Proto: https",), False),
        (("Sec-Fetch-Mode: navigate",), False),
    ],
    ids=["nothing", "http", "HTTP", "https", "a browser that says so"],
)
def test_a_page_over_http_says_what_is_wrong_and_so_does_the_log(
    https: RunningGateway, lines: tuple[str, ...], *, is_over_http: bool
) -> None:
    source = "127.0.0.2"
    page = request(https.port, SIGN_IN, *lines, source=source)
    assert (b"This page came over http." in page.body) == is_over_http
    target, content_type, body = post_form(SIGN_IN, {"username": "demo", "password": PASSWORD})
    sent = request(
        https.port, target, content_type, *lines, method="POST", body=body, source=source
    )
    assert sent.status == 403
    assert (b"This page came over http." in sent.body) == is_over_http
    if is_over_http:
        assert https.log.read_text().count("a sign-in page was asked for over http") == 1
