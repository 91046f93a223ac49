"""The verify endpoint, asked as a proxy would ask it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_network

import pytest
import requests

from gateway.http.peers import TrustedProxies
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.verify import NotAsked, original_request
from tests.forward_auth.proxies import RunningProxy
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

NGINX = ("X-Original-Method", "X-Original-URI")
OTHERS = ("X-Forwarded-Method", "X-Forwarded-Uri")
PAIRS = [pytest.param(NGINX, id="original"), pytest.param(OTHERS, id="forwarded")]


def ask(
    gateway: RunningGateway,
    headers: Mapping[str, str],
    token: str | None = None,
    *,
    method: str = "GET",
) -> requests.Response:
    """Ask from 127.0.0.1, which the gateway trusts."""
    credentials = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{gateway.url}/oauth/verify"
    return requests.request(method, url, headers={**headers, **credentials}, timeout=10)


def about(pair: tuple[str, str], target: str, method: str = "GET") -> dict[str, str]:
    return dict(zip(pair, (method, target), strict=True))


@pytest.mark.parametrize("pair", PAIRS)
def test_it_decides_for_the_original_method_and_target(
    decider: RunningGateway, token: str, pair: tuple[str, str]
) -> None:
    assert ask(decider, about(pair, "/private")).status_code == 401
    assert ask(decider, about(pair, "/private", "OPTIONS")).status_code == 200
    assert ask(decider, about(pair, "/public/x?y=z")).status_code == 200
    assert ask(decider, about(pair, "/private?x=1"), token).status_code == 200
    assert ask(decider, about(pair, "/admin"), token).status_code == 403


def test_200_has_the_identity_headers_and_is_never_kept(
    decider: RunningGateway, token: str
) -> None:
    """A proxy's cache must not outlive a revocation."""
    answer = ask(decider, about(NGINX, "/private"), token)
    assert answer.headers["X-Forwarded-User"] == "demo"
    assert answer.headers["X-Forwarded-Client"] == "my-app"
    assert answer.headers["X-Forwarded-Scope"] == "project"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content == b""


def test_401_and_403_have_the_challenge(decider: RunningGateway, token: str) -> None:
    """RFC 6750 §3."""
    nobody = ask(decider, about(NGINX, "/private"))
    assert nobody.headers["WWW-Authenticate"] == f'Bearer realm="{decider.url}"'
    narrow = ask(decider, about(NGINX, "/admin"), token)
    assert 'scope="admin"' in narrow.headers["WWW-Authenticate"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"])
def test_the_method_of_the_question_itself_does_not_matter(
    decider: RunningGateway, token: str, method: str
) -> None:
    """Envoy asks with the method of the original request."""
    assert ask(decider, about(OTHERS, "/private"), token, method=method).status_code == 200
    assert ask(decider, about(OTHERS, "/private"), method=method).status_code == 401


@pytest.mark.parametrize("headers", [about(NGINX, "/public/x"), about(OTHERS, "/public/x")])
def test_from_anybody_but_a_trusted_proxy_it_is_refused(
    decider: RunningGateway, headers: dict[str, str], token: str
) -> None:
    stranger = RunningProxy("stranger", decider.port, None)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    assert stranger.ask("/oauth/verify", *lines, token=token).status == 403


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        pytest.param({}, "missing_original", id="nothing"),
        pytest.param({"X-Original-URI": "/public/x"}, "missing_original", id="no-method"),
        pytest.param({"X-Forwarded-Method": "GET"}, "missing_original", id="no-target"),
        pytest.param(
            {"X-Original-URI": "/public/x", "X-Forwarded-Method": "GET"},
            "missing_original",
            id="half-of-each",
        ),
        pytest.param(
            about(NGINX, "/admin") | {"X-Forwarded-Uri": "/public/x"},
            "missing_original",
            id="one-and-a-half",
        ),
        pytest.param(
            about(NGINX, "/admin") | about(OTHERS, "/public/x"),
            "contradictory_original",
            id="two-targets",
        ),
        pytest.param(
            about(NGINX, "/x", "POST") | about(OTHERS, "/x", "OPTIONS"),
            "contradictory_original",
            id="two-methods",
        ),
        pytest.param(
            about(OTHERS, "/public/x,/admin", "GET,GET"), "malformed_method", id="added-not-set"
        ),
        pytest.param(about(NGINX, "/public/x", "GET /"), "malformed_method", id="no-token"),
        pytest.param(about(NGINX, "/public/x", "TRACE"), "method", id="trace"),
        pytest.param(about(OTHERS, "/public/x", "CONNECT"), "method", id="connect"),
    ],
)
def test_what_is_no_clear_question_is_refused(
    decider: RunningGateway, token: str, headers: dict[str, str], why: str
) -> None:
    refused = ask(decider, headers, token)
    assert refused.status_code == 403
    assert "WWW-Authenticate" not in refused.headers
    assert json.loads(decider.audit.read_text().splitlines()[-1])["why"] == why


def test_repeated_headers_are_no_clear_question(decider: RunningGateway) -> None:
    """From a proxy that sets the method and adds the target to what the client sent."""
    lines = ["X-Original-Method: GET", "X-Original-URI: /public/x", "X-Original-URI: /admin/x"]
    assert request(decider.port, "/oauth/verify", *lines).status == 403
    last = json.loads(decider.audit.read_text().splitlines()[-1])
    assert last["why"] == "contradictory_original"


@pytest.mark.parametrize(
    "target", ["/public/a,b", "/public/x?ids=/a,/b", "/public/x?next=%2C/y", "/public/x,/admin/x"]
)
def test_a_comma_alone_joins_nothing(decider: RunningGateway, target: str) -> None:
    assert ask(decider, about(NGINX, target)).status_code == 200


@pytest.mark.parametrize("target", ["/public/x,/admin/x", "/public/x?a=b,/admin/x"])
def test_where_a_server_shows_no_lines_what_could_be_joined_is_refused(target: str) -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_X_ORIGINAL_METHOD": "GET",
        "HTTP_X_ORIGINAL_URI": target,
    }
    proxies = TrustedProxies([ip_network("127.0.0.1")])
    asked = EndpointRequest(environ, "/oauth/verify", proxies, 0)
    with pytest.raises(NotAsked, match="contradictory_original"):
        original_request(asked, ["/oauth/verify"])


def test_two_pairs_that_agree_are_one_question(decider: RunningGateway, token: str) -> None:
    headers = about(NGINX, "/private") | about(OTHERS, "/private")
    assert ask(decider, headers, token).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        *("/public/../admin", "/public/%2e%2e/admin", "/public\\x", "/public/%00"),
        *("/public/x#y", "/public/x?y#z", "/public/caf\xe9", "/public/a b"),
        *("public/x", "*", "http://127.0.0.1/public/x", "://public/x", "?/public/x"),
    ],
)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_target_that_the_gateway_refuses_is_refused_here_as_well(
    decider: RunningGateway, token: str, pair: tuple[str, str], target: str
) -> None:
    refused = ask(decider, about(pair, target), token)
    assert refused.status_code == 400
    assert "WWW-Authenticate" not in refused.headers


def test_without_its_store_it_answers_503(storeless: RunningGateway, token: str) -> None:
    """Where a token must be looked up; a public path needs no store."""
    unavailable = ask(storeless, about(NGINX, "/private"), token)
    assert unavailable.status_code == 503
    assert unavailable.headers["Retry-After"] == "1"
    assert ask(storeless, about(NGINX, "/public/x")).status_code == 200


def test_a_503_is_logged_as_a_decision_here_and_of_the_request_itself(
    storeless: RunningGateway, token: str
) -> None:
    ask(storeless, about(NGINX, "/a%20b?q=not-told"), token)
    by_proxy = json.loads(storeless.audit.read_text().splitlines()[-1])
    request(storeless.port, "/a%20b?q=not-told", f"Authorization: Bearer {token}")
    itself = json.loads(storeless.audit.read_text().splitlines()[-1])
    assert by_proxy | {"time": itself["time"]} == itself
    told = {name: itself[name] for name in ("event", "outcome", "why", "status", "path")}
    assert told == {
        "event": "request",
        "outcome": "refused",
        "why": "store_unavailable",
        "status": 503,
        "path": "/a%20b",
    }
