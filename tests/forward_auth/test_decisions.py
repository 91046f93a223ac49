"""The gateway's answers reach the client through every proxy, and its own endpoints work there."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from tests.forward_auth.backend import RecordingBackend
from tests.forward_auth.proxies import RunningProxy
from tests.forward_auth.relay import Relay
from tests.support.oauth_client import (
    FRAPPE,
    REDIRECT_URI,
    Browser,
    Client,
    answer_of,
    authorization,
    form_of,
)
from tests.support.running_gateway import PASSWORD, RunningGateway

PATHS = [
    pytest.param("/oauth/authorize", "/oauth/token", "/oauth/revoke", id="standard"),
    pytest.param(FRAPPE + "authorize", FRAPPE + "get_token", FRAPPE + "revoke_token", id="frappe"),
]


@pytest.fixture
def trusted(proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> RunningProxy:
    """The proxy, its certificate believed by requests."""
    if proxy.certificate is not None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proxy.certificate.chain))
    return proxy


@pytest.mark.parametrize(("authorize", "token", "revoke"), PATHS)
def test_the_documented_flow_goes_through_the_proxy(
    trusted: RunningProxy, authorize: str, token: str, revoke: str
) -> None:
    browser, client = Browser(trusted.url), Client(trusted.url)
    to_sign_in = browser.authorize(authorize, **authorization(state="xyz"))
    form = form_of(browser.get(_within(to_sign_in)))
    filled_in = {**form.fields, "username": "demo", "password": PASSWORD}
    confirmation = browser.get(_within(browser.post(form.action, filled_in)))
    if confirmation.status_code == 200:
        confirmation = browser.decide(confirmation)
    answer = answer_of(confirmation)
    assert answer["state"] == "xyz"

    asked = {"client_id": "my-app", "redirect_uri": REDIRECT_URI}
    code = {"grant_type": "authorization_code", "code": answer["code"]}
    first = client.post(token, asked | code).json()
    assert client.get("/resource", first["access_token"]).json()["target"] == "/resource"

    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = client.post(token, asked | refresh).json()
    assert client.get("/resource", second["access_token"]).status_code == 200

    assert client.post(revoke, {"token": second["access_token"]}).json() == {"message": "success"}
    assert client.get("/resource", second["access_token"]).status_code == 401


def _within(response: requests.Response) -> str:
    # The issuer of these tests is the gateway itself; a browser would stay at the proxy.
    location = urlsplit(response.headers["Location"])
    return f"{location.path}?{location.query}"


def test_metadata_is_the_gateways(trusted: RunningProxy, decider: RunningGateway) -> None:
    document = requests.get(f"{trusted.url}/.well-known/oauth-authorization-server", timeout=10)
    assert document.json()["issuer"] == decider.url


def test_without_a_token_the_client_is_challenged(
    proxy: RunningProxy, backend: RecordingBackend, decider: RunningGateway
) -> None:
    """RFC 6750 §3: no error where no credentials were sent."""
    answer = proxy.ask("/challenged")
    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == [f'Bearer realm="{decider.url}"']
    assert not backend.saw("/challenged")


def test_an_unknown_token_is_challenged_with_invalid_token(proxy: RunningProxy) -> None:
    answer = proxy.ask("/private", token="unknown")
    assert answer.status == 401
    (challenge,) = answer.all("WWW-Authenticate")
    assert 'error="invalid_token"' in challenge


def test_a_missing_scope_is_named(
    proxy: RunningProxy, backend: RecordingBackend, token: str
) -> None:
    answer = proxy.ask("/admin/users-of-all", token=token)
    assert answer.status == 403
    (challenge,) = answer.all("WWW-Authenticate")
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="admin"' in challenge
    assert not backend.saw("/admin/users-of-all")


@pytest.mark.parametrize(
    "authorization_headers",
    [
        pytest.param(["Authorization: Bearer"], id="empty"),
        pytest.param(["Authorization: Bearer a b"], id="trailing"),
        pytest.param(["Authorization: Bearer x*y"], id="characters"),
        pytest.param(["Authorization: Bearer one", "Authorization: Bearer two"], id="two"),
    ],
)
def test_a_malformed_token_is_refused(
    proxy: RunningProxy, backend: RecordingBackend, authorization_headers: list[str]
) -> None:
    assert proxy.ask("/malformed", *authorization_headers).status in {400, 401}
    assert not backend.saw("/malformed")


def test_a_preflight_needs_no_token(proxy: RunningProxy) -> None:
    """Fetch, section 4.8: a browser sends it without."""
    preflight = proxy.ask(
        "/private", "Origin: https://app.example", "Access-Control-Request-Method: PUT",
        method="OPTIONS",
    )  # fmt: skip
    assert preflight.echoed["method"] == "OPTIONS"


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_every_method_is_judged(
    proxy: RunningProxy, backend: RecordingBackend, token: str, method: str
) -> None:
    mark = f"/by-{method}-{proxy.name}"
    assert proxy.ask(mark, method=method).status == 401
    assert not backend.saw(mark)
    assert proxy.ask(mark, method=method, token=token).status == 200
    assert backend.saw(mark)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_what_the_backend_answers_stays_the_backends(
    proxy: RunningProxy, token: str, status: int
) -> None:
    answer = proxy.ask(f"/status-{status}", token=token)
    assert answer.status == status
    assert b'"target"' in answer.body


@pytest.fixture
def elsewhere(relay: Relay, decider: RunningGateway) -> Iterator[Relay]:
    """The relay, pointed at the gateway again after the test."""
    yield relay
    relay.point_at(decider.port)


def test_a_store_that_is_down_is_503_for_the_client(
    proxy: RunningProxy,
    backend: RecordingBackend,
    token: str,
    elsewhere: Relay,
    storeless: RunningGateway,
) -> None:
    """And no OAuth error that would make it throw its token away."""
    elsewhere.point_at(storeless.port)
    answer = proxy.ask("/without-a-store", token=token)
    assert answer.status == 503
    assert answer.all("WWW-Authenticate") == []
    assert answer.all("Retry-After") == ["1"]
    assert not backend.saw("/without-a-store")


def test_a_gateway_that_is_gone_lets_nothing_through(
    proxy: RunningProxy,
    backend: RecordingBackend,
    token: str,
    elsewhere: Relay,
    decider: RunningGateway,
) -> None:
    elsewhere.point_at(0)
    for target in ("/without-a-gateway", "/public/without-a-gateway"):
        assert proxy.ask(target, token=token).status in {502, 503}
    assert not backend.saw("without-a-gateway")
    elsewhere.point_at(decider.port)
    assert proxy.ask("/again", token=token).status == 200
