"""A token counts in a well-formed Authorization header and nowhere else (RFC 6750 §2)."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import requests

from tests.access.echoed import assert_refused, said, told
from tests.support.oauth_client import Browser, authorization, form_of
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

TOKENLESS = [
    pytest.param("/private?access_token={}", [], id="query"),
    pytest.param("/private?token={}&Authorization=Bearer%20{}", [], id="query, other names"),
    pytest.param("/private", ["Authorization: {}"], id="bare"),
    pytest.param("/private", ["Authorization: Token {}"], id="Token"),
    pytest.param("/private", ["Authorization: Basic {}"], id="Basic"),
    pytest.param("/private", ["Authorization: Bearer{}"], id="no space"),
    pytest.param("/private", ["Authorization: Bearer\t{}"], id="tab"),
    pytest.param("/private", ["Authorization: Bearer,{}"], id="comma"),
    pytest.param("/private", ["Authorization: X Bearer {}"], id="second word"),
    pytest.param("/private", ["Authorization:"], id="empty"),
    pytest.param("/private", ["Proxy-Authorization: Bearer {}"], id="proxy"),
    pytest.param("/private", ["X-Authorization: Bearer {}"], id="X-"),
    pytest.param("/private", ["Authorization.: Bearer {}"], id="odd name"),
    pytest.param("/private", ["Cookie: access_token={}; Authorization=Bearer {}"], id="cookie"),
]


@pytest.mark.parametrize(("target", "headers"), TOKENLESS)
def test_a_token_anywhere_else_counts_as_none(
    gateway: RunningGateway, token: str, target: str, headers: list[str]
) -> None:
    """RFC 6750 §3.1: no error where no credentials were sent as they should be."""
    lines = [header.replace("{}", token) for header in headers]
    answer = request(gateway.port, target.replace("{}", token), *lines)
    assert_refused(answer)
    [challenge] = answer.values("WWW-Authenticate")
    assert challenge.startswith("Bearer realm=")
    assert "error" not in challenge


def test_a_token_in_a_form_counts_as_none(gateway: RunningGateway, token: str) -> None:
    form = requests.post(gateway.url + "/private", {"access_token": token}, timeout=5)
    assert form.status_code == 401
    assert "error" not in form.headers["WWW-Authenticate"]


MALFORMED = [
    pytest.param(["Bearer"], id="nothing"),
    pytest.param(["Bearer  "], id="spaces"),
    pytest.param(["Bearer {} x"], id="trailing word"),
    pytest.param(["Bearer {}, Bearer {}"], id="list"),
    pytest.param(["Bearer {};"], id="semicolon"),
    pytest.param(["Bearer {}:*"], id="colon and star"),
    pytest.param(["Bearer *"], id="star"),
    pytest.param(["Bearer :"], id="colon"),
    pytest.param(['Bearer "{}"'], id="quoted"),
    pytest.param(["Bearer =={}"], id="padding first"),
    pytest.param(["Bearer {}\xe9"], id="not ASCII"),
    pytest.param(["Bearer {}\x00"], id="NUL"),
    pytest.param(["Bearer {}\x7f"], id="DEL"),
    pytest.param(["Bearer {}\r\n x"], id="folded"),
    pytest.param(["Bearer " + "a" * 513], id="too long"),
    pytest.param(["Bearer {}", "Bearer {}"], id="two of the same"),
    pytest.param(["Bearer {}", "Bearer x"], id="good, then bad"),
    pytest.param(["Bearer x", "Bearer {}"], id="bad, then good"),
    pytest.param(["Bearer {}", "Basic eDp5"], id="two schemes"),
]

#: What is no header line never comes to the gateway.
REFUSED_BY_THE_SERVER = (["Bearer {}\x00"], ["Bearer {}\x7f"], ["Bearer {}\r\n x"])


@pytest.mark.parametrize("values", MALFORMED)
def test_a_malformed_bearer_header_is_a_400(
    gateway: RunningGateway, token: str, values: list[str]
) -> None:
    """RFC 6750 §3.1: invalid_request."""
    lines = [f"Authorization: {value.replace('{}', token)}" for value in values]
    answer = request(gateway.port, "/private", *lines)
    assert answer.status == 400
    assert b"target" not in answer.body
    if values in REFUSED_BY_THE_SERVER:
        return
    (challenge,) = answer.values("WWW-Authenticate")
    assert challenge.startswith('Bearer realm="')
    assert 'error="invalid_request"' in challenge
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("megabytes", [1])
def test_a_megabyte_of_token_is_refused(gateway: RunningGateway, megabytes: int) -> None:
    answer = request(gateway.port, "/private", "Authorization: Bearer " + "a" * megabytes * 2**20)
    assert answer.status in {400, 431}


@pytest.mark.parametrize(
    "presented",
    [
        "gateway:access:x",
        "a",
        "a" * 512,
        "gwa_" + "A" * 64,
        "{}=",
        "{}A",
        "GWA{tail}",
        "gwr{tail}",
        "gwc{tail}",
        "../../etc/passwd",
        "-._~+/",
    ],
)
def test_what_is_no_token_of_ours_is_invalid_and_nothing_breaks(
    gateway: RunningGateway, token: str, presented: str
) -> None:
    value = presented.replace("{}", token).replace("{tail}", token[3:])
    answer = request(gateway.port, "/private", f"Authorization: Bearer {value}")
    if ":" in value:
        assert_refused(answer, 400)
        return
    assert_refused(answer)
    assert 'error="invalid_token"' in answer.values("WWW-Authenticate")[0]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_the_scheme_is_read_without_regard_to_case(
    gateway: RunningGateway, token: str, scheme: str
) -> None:
    """RFC 9110 §11.1."""
    assert told(
        said(gateway, "/private", f"Authorization: {scheme} {token}"), "X-Forwarded-User"
    ) == ["demo"]


def test_a_signed_in_browser_is_not_a_bearer(gateway: RunningGateway) -> None:
    """A session lets its user confirm; it opens no resource, so no foreign page can use it."""
    browser = Browser(gateway.url)
    browser.sign_in()
    assert browser.get("/private").status_code == 401
    page = browser.get("/oauth/authorize", params=authorization(client_id="two-uris"))
    assert form_of(page).fields.get("access_token") is None
    assert urlsplit(page.url).path == "/oauth/authorize"
