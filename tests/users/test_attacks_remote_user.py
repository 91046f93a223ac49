"""A trusted proxy or the WSGI server names the user, and nobody else does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.oauth_client import AUTHORIZE, Client, headers_of
from tests.support.raw import RawResponse, request
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway
from tests.users.signing_in import ASKED, SIGN_IN, SIGN_OUT, TRUSTED_PROXY, post_form


@pytest.fixture(scope="module")
def remote_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that is told of the user by a trusted proxy."""
    folder = tmp_path_factory.mktemp("remote")
    with running_gateway(
        "standalone",
        folder,
        replace=(('method = "password"', 'method = "remote_user"'),),
        extra='\n[sign_in.remote_user]\nheader = "X-Remote-User"\n',
    ) as running:
        yield running


def asks(gateway: RunningGateway, *headers: str, source: str = TRUSTED_PROXY) -> RawResponse:
    return request(gateway.port, ASKED, *headers, source=source)


def test_a_trusted_proxy_names_the_user(remote_user: RunningGateway) -> None:
    page = asks(remote_user, "X-Remote-User: zo\xc3\xab")
    assert page.status == 200
    assert "zoë" in page.body.decode()
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.body.decode()))
    fields = {name: value.replace("&#43;", "+") for name, value in fields.items()}
    target, content_type, body = post_form(AUTHORIZE, {**fields, "decision": "allow"})
    cookie = page.values("Set-Cookie")[0].partition(";")[0]

    def allow(user: str) -> RawResponse:
        lines = (content_type, f"Cookie: {cookie}", f"X-Remote-User: {user}")
        return request(
            remote_user.port, target, *lines, method="POST", body=body, source=TRUSTED_PROXY
        )

    # The page was shown to one user; in the same browser, it does not answer for the next.
    assert allow("admin").status == 403
    allowed = allow("zo\xc3\xab")
    assert allowed.status == 303
    code = parse_qs(urlsplit(allowed.values("Location")[0]).query)["code"][0]
    client = Client(remote_user.url, "two-uris", redirect_uri="com.example.two:/cb")
    token = client.redeem(code).json()["access_token"]
    echoed = client.get("/private", token, headers={"X-Remote-User": "admin"}).json()
    assert headers_of(echoed, "X-Forwarded-User")[0].encode("latin-1").decode() == "zoë"
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize(
    "header",
    [
        "X-Remote-User: admin",
        "X_Remote_User: admin",
        "X-Remote.User: admin",
        "Remote-User: admin",
        "REMOTE_USER: admin",
        "X-Forwarded-User: admin",
    ],
)
def test_nobody_else_names_the_user(remote_user: RunningGateway, header: str) -> None:
    forged = ("X-Forwarded-For: 127.0.0.2", header)
    assert asks(remote_user, *forged, source="127.0.0.1").status == 403
    if not header.startswith("X-Remote-User"):
        assert asks(remote_user, header).status == 403


@pytest.mark.parametrize("source", ["127.0.0.1", TRUSTED_PROXY])
@pytest.mark.parametrize("spelling", ["X-Remote-User", "x-remote_user", "X-Remote.User"])
def test_the_backend_is_not_told_by_that_header(
    remote_user: RunningGateway, spelling: str, source: str
) -> None:
    echoed = request(remote_user.port, "/public/x", f"{spelling}: admin", source=source).json()
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "adm\xe2\x80\x8bin",  # zero width space
        "admin\xc2\xa0",  # no-break space
        "\xe2\x80\x83admin",  # em space
        "admin\xe2\x80\xae",  # right-to-left override
        "admin\xc2\x85",  # next line
    ],
)
def test_a_name_that_looks_like_anothers_is_nobodys(remote_user: RunningGateway, name: str) -> None:
    """Told to the backend in a header, it would become that other name."""
    assert asks(remote_user, f"X-Remote-User: {name}").status == 403


def test_names_that_are_not_utf_8_stay_apart(remote_user: RunningGateway) -> None:
    pages = [asks(remote_user, f"X-Remote-User: {byte}ric").body for byte in ("\xe9", "\xe8")]
    assert ["éric" in page.decode() for page in pages] == [True, False]


def test_there_is_no_password_to_try_where_a_proxy_knows_the_user(
    remote_user: RunningGateway,
) -> None:
    for target in (SIGN_IN, SIGN_OUT):
        assert request(remote_user.port, target).status == 404
        target_, content_type, body = post_form(
            target, {"username": "demo", "password": PASSWORD, "next": "/oauth/applications"}
        )
        answer = request(remote_user.port, target_, content_type, method="POST", body=body)
        assert (answer.status, answer.values("Set-Cookie")) == (404, [])


@pytest.fixture(scope="module")
def server_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A wrapped gateway that believes the WSGI server's REMOTE_USER."""
    method = (('method = "password"', 'method = "remote_user"'),)
    with running_gateway("wrapped", tmp_path_factory.mktemp("server"), replace=method) as running:
        yield running


@pytest.mark.parametrize("name", ["REMOTE_USER", "Remote-User", "X-Remote-User", "Remote.User"])
@pytest.mark.parametrize("source", ["127.0.0.1", TRUSTED_PROXY])
def test_no_header_is_taken_for_the_servers_own_word(
    server_user: RunningGateway, name: str, source: str
) -> None:
    assert asks(server_user, f"{name}: admin", source=source).status == 403
