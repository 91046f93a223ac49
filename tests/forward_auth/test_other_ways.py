"""The other two ways of docs/deploy.md: wrapped and standalone, with TLS in front; and Frappe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.forward_auth.backend import RecordingBackend
from tests.forward_auth.gateways import running_example, running_wrapped
from tests.forward_auth.proxies import CLIENT_ADDRESS, KINDS, RunningProxy, running_nginx
from tests.support.oauth_client import Browser, Client, answer_of, authorization
from tests.support.running_gateway import RunningGateway

FORGED = [
    *("X-Forwarded-User: forged", "X-Forwarded-For: 6.6.6.6", "X-Original-URI: /public/forged"),
    *("X-Forwarded-Uri: /public/forged", "X-Forwarded-Method: OPTIONS", "Forwarded: for=forged"),
]


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def behind_tls(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    decider: RunningGateway,
) -> Iterator[tuple[RunningGateway, RunningProxy]]:
    """A gateway run in one of the two ways, and nginx-tls.conf in front of it."""
    if (missing := KINDS["nginx"].missing) is not None:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp(f"tls-{request.param}")
    with ExitStack() as stack:
        gateway = decider
        if request.param == "wrapped":
            gateway = stack.enter_context(running_wrapped(folder))
        nginx = running_nginx(folder, gateway=gateway.port, example="nginx-tls.conf")
        yield gateway, stack.enter_context(nginx)


def test_with_tls_in_front_the_backend_is_told_who_asks(
    behind_tls: tuple[RunningGateway, RunningProxy],
) -> None:
    gateway, nginx = behind_tls
    browser = Browser(gateway.url)
    browser.sign_in()
    token = Client(gateway.url).redeem(browser.code()).json()["access_token"]

    assert nginx.ask("/private", *FORGED).status == 401
    assert nginx.ask("/public/../admin", *FORGED, token=token).status == 400
    assert nginx.ask("/admin", *FORGED, token=token).status == 403
    answer = nginx.ask("/private", *FORGED, token=token)
    if gateway.mode == "wrapped":
        assert answer.body == b"Hello, demo. This is /private.\n"
    else:
        assert answer.arrived("X-Forwarded-User") == ["demo"]
        assert "forged" not in json.dumps(answer.echoed)
        assert answer.arrived("X-Forwarded-Proto") == ["https"]
    addresses = {
        json.loads(line)["address"] for line in gateway.audit.read_text().splitlines()[-4:]
    }
    assert addresses == {CLIENT_ADDRESS}


def test_a_frappe_sites_users_sign_in_at_the_site(
    tmp_path_factory: pytest.TempPathFactory, backend: RecordingBackend
) -> None:
    """The backend plays the site: it says that the cookie sid=site-session is Ann's."""
    folder = tmp_path_factory.mktemp("frappe")
    with running_example(folder, backend=backend.port, example="frappe.toml") as gateway:
        browser = Browser(gateway.url)
        to_the_site = browser.authorize(**authorization(state="s"))
        assert to_the_site.status_code in {302, 303}
        assert to_the_site.headers["Location"].startswith("/login?redirect-to=%2Foauth%2Fauthorize")
        for public in ("/login", "/", "/assets/app.js", "/api/method/login"):
            assert requests.get(gateway.url + public, timeout=10).status_code == 200
        for private in ("/api/resource/Project", "/api/method/frappe.client.get_list", "/app"):
            assert requests.get(gateway.url + private, timeout=10).status_code == 401

        browser.session.cookies.set("sid", "site-session")
        confirmation = browser.authorize(**authorization(state="s"))
        code = answer_of(browser.decide(confirmation))["code"]
        client = Client(gateway.url)
        token = client.redeem(code).json()["access_token"]
        echoed = client.get("/api/resource/Project", token).json()
        headers = {name.lower(): value for name, value in echoed["headers"]}
        assert headers["x-forwarded-user"] == "ann@example.com"
        assert headers["x-frappe-site-name"] == "site.example.com"
