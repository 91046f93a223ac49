"""No parameter and no method of an authorization request answers for the user (RFC 6749 §3.1)."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import pytest

from tests.support.oauth_client import (
    AUTHORIZE,
    FRAPPE,
    Browser,
    Client,
    answer_of,
    form_of,
    headers_of,
)
from tests.support.running_gateway import RunningGateway


@pytest.mark.parametrize("scope", ["", "&scope="])
def test_without_a_scope_the_clients_own_are_asked_for(demo: Browser, scope: str) -> None:
    """RFC 6749 §3.1 (empty is omitted) and §3.3; and the page says so."""
    page = demo.get(f"{AUTHORIZE}?client_id=my-app&response_type=code{scope}")
    assert page.status_code == 200
    assert "See and change your projects" in page.text
    assert "See your name and address" in page.text


def test_parameters_that_nobody_knows_are_ignored(
    demo: Browser, gateway: RunningGateway, asked: dict[str, str]
) -> None:
    """RFC 6749 §3.1; none of them becomes an answer, a user or a mode."""
    page = demo.authorize(
        **asked,
        user="admin",
        decision="allow",
        csrf_token="x",
        prompt="none",
        response_mode="fragment",
        request="x",
        request_uri="https://evil.example/",
        skip_consent="true",
    )
    assert page.status_code == 200
    fields = form_of(page).fields
    assert fields.keys() == {*asked, "csrf_token"}
    allowed = demo.decide(page)
    assert urlsplit(allowed.headers["Location"]).fragment == ""
    token = Client(gateway.url, asked["client_id"], redirect_uri=asked["redirect_uri"])
    issued = token.redeem(answer_of(allowed)["code"]).json()
    echoed = token.get("/private", issued["access_token"]).json()
    assert headers_of(echoed, "X-Forwarded-User") == ["demo"]


@pytest.mark.parametrize(
    "resources",
    [
        "resource=https%3A%2F%2Fone.example&resource=https%3A%2F%2Ftwo.example",
        "resource=https%3A%2F%2Fone.example&resource=https%3A%2F%2Fone.example",
        "resource=&resource=https%3A%2F%2Fone.example",
    ],
    ids=["two", "the same twice", "an empty one"],
)
@pytest.mark.parametrize("path", [AUTHORIZE, FRAPPE + "authorize"], ids=["standard", "frappe"])
def test_two_resources_are_no_error(
    demo: Browser, nobody: Browser, asked: dict[str, str], path: str, resources: str
) -> None:
    """RFC 8707 §2; neither in the request nor in the confirmation, and with nobody signed in."""
    target = f"{path}?{resources}&{urlencode(asked)}"
    sign_in = nobody.get(target)
    assert sign_in.status_code == 302
    assert sign_in.headers["Location"].startswith("/oauth/sign-in?next=")

    page = demo.get(target)
    assert page.status_code == 200
    form = form_of(page)
    assert form.fields.keys() == {*asked, "csrf_token"}
    confirmed = demo.session.post(
        demo.gateway + form.action,
        f"{urlencode(form.fields)}&{resources}&decision=allow",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        allow_redirects=False,
    )
    for redirect in (confirmed, demo.get(target)):
        assert redirect.headers["Location"].startswith(asked["redirect_uri"])
        assert answer_of(redirect).keys() == {"code", "state", "iss"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "post"])
def test_other_methods_are_not_taken_for_an_answer(
    demo: Browser, asked: dict[str, str], method: str
) -> None:
    answer = demo.session.request(
        method, f"{demo.gateway}{AUTHORIZE}?{urlencode(asked)}", allow_redirects=False
    )
    assert answer.status_code in {400, 405}
    assert "Location" not in answer.headers
