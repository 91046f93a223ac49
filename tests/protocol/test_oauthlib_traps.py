"""What oauthlib 4 lets through by itself, and the gateway does not: a test for each trap.

The range of oauthlib in pyproject.toml is the one that these tests hold for. Its DEBUG logs have a
file of their own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest
import requests

from tests.support.assertions import assert_refused
from tests.support.oauth_client import (
    AUTHORIZE,
    REDIRECT_URI,
    TOKEN,
    answer_of,
    authorization,
    headers_of,
    pkce,
)
from tests.support.parties import Parties

# --- Codes


def test_eight_parallel_redemptions_of_one_code_give_one_token(parties: Parties) -> None:
    """To validate first and save afterwards, as oauthlib does, would let all eight through."""
    for client in (parties.public, parties.confidential):
        code = parties.code(client)
        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(lambda _, c=client, k=code: c.redeem(k), range(8)))
        assert sorted(each.status_code for each in responses) == [200] + 7 * [400]


# --- PKCE


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"code_challenge_method": "plain"}, id="plain"),
        pytest.param({"code_challenge_method": ""}, id="the method empty"),
        pytest.param({}, id="the method left out, which means plain"),
    ],
)
def test_a_plain_challenge_is_refused(parties: Parties, parameters: dict[str, str]) -> None:
    challenge = {"code_challenge": pkce()[1]["code_challenge"], **parameters}
    told = parties.browser.authorize(**authorization(**challenge))
    assert answer_of(told)["error"] == "invalid_request"


@pytest.mark.parametrize("verifier", ["v", "v" * 42])
def test_a_short_verifier_is_refused(parties: Parties, verifier: str) -> None:
    code, _ = parties.code_with_pkce()
    assert_refused(parties.with_pkce.redeem(code, code_verifier=verifier), "invalid_request")


def test_a_verifier_without_a_stored_challenge_is_refused(parties: Parties) -> None:
    code = parties.code(parties.public)
    assert_refused(parties.public.redeem(code, code_verifier=pkce()[0]), "invalid_grant")


@pytest.mark.parametrize("method", [{}, {"code_challenge_method": "S256"}], ids=["none", "S256"])
def test_an_empty_challenge_is_refused(parties: Parties, method: dict[str, str]) -> None:
    """It is not None, and more does oauthlib not ask."""
    for client in (parties.with_pkce, parties.public):
        asked = authorization(client_id=client.client_id, redirect_uri=client.redirect_uri)
        told = parties.browser.authorize(**asked, code_challenge="", **method)
        assert answer_of(told)["error"] == "invalid_request"


# --- Parameters

#: Attributes of oauthlib's request, and the gateway's own beside them; none is a parameter.
ATTRIBUTES = (
    *("user", "client", "context", "scopes", "extra_credentials", "claims", "expires_in"),
    *("response_mode", "access_token", "headers", "body", "uri", "_params", "__dict__"),
)


def test_a_form_field_sets_no_attribute_of_the_request(parties: Parties) -> None:
    """``user=admin`` at the token endpoint would be the user of the token."""
    client, fields = parties.public, dict.fromkeys((*ATTRIBUTES, "response_type"), "admin")
    given = client.redeem(parties.code(client), **fields).json()
    given = client.refresh(given["refresh_token"], **fields).json()
    assert given.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    told = client.get("/resource", given["access_token"]).json()
    assert headers_of(told, "X-Forwarded-User") == ["demo"]
    assert headers_of(told, "X-Forwarded-Client") == ["my-app"]
    assert given["scope"] == "project"


def test_a_query_sets_no_attribute_of_the_request(parties: Parties) -> None:
    fields = dict.fromkeys((*ATTRIBUTES, "grant_type"), "admin")
    given = parties.public.redeem(parties.browser.code(**fields)).json()
    told = parties.public.get("/resource", given["access_token"]).json()
    assert headers_of(told, "X-Forwarded-User") == ["demo"]
    assert headers_of(told, "X-Forwarded-Scope") == ["project"]


@pytest.mark.parametrize("repeated", ["code_challenge", "code_challenge_method"])
def test_a_repeated_challenge_is_refused(parties: Parties, repeated: str) -> None:
    challenge = pkce()[1]
    query = urlencode([*authorization(**challenge).items(), (repeated, challenge[repeated])])
    told = parties.browser.get(f"{AUTHORIZE}?{query}")
    assert answer_of(told)["error"] == "invalid_request"


def test_a_repeated_resource_decides_nothing(parties: Parties) -> None:
    """RFC 8707 §2 lets it come twice; until the gateway knows resources, it is ignored."""
    resources = [("resource", "https://a.example"), ("resource", "https://b.example")]
    page = parties.browser.get(f"{AUTHORIZE}?{urlencode([*authorization().items(), *resources])}")
    code = parties.browser.decide(page) if page.status_code == 200 else page
    form = {"grant_type": "authorization_code", "client_id": "my-app", "redirect_uri": REDIRECT_URI}
    pairs = [*form.items(), ("code", answer_of(code)["code"]), *resources]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = requests.post(parties.url + TOKEN, urlencode(pairs), headers=headers, timeout=20)
    assert response.status_code == 200
    assert response.json()["scope"] == "project"


@pytest.mark.parametrize("state", ["a|b", "a b", '"', "`", "\\^{}", "%", "<>"])
def test_a_character_that_oauthlib_cannot_read_is_no_error_of_the_server(
    parties: Parties, state: str
) -> None:
    """It raises ValueError for ``|`` and its like, raw or in what it decodes a second time."""
    for encoded in (quote(state, safe=""), quote(state, safe='|"`\\^{}<>')):
        query = urlencode(authorization())
        told = parties.browser.get(f"{AUTHORIZE}?{query}&state={encoded}")
        told = parties.browser.decide(told) if told.status_code == 200 else told
        assert answer_of(told)["state"] == state


def test_a_pipe_in_a_token_request_is_no_error_of_the_server(parties: Parties) -> None:
    form = f"grant_type=authorization_code&client_id=my-app&code=a|b&redirect_uri={REDIRECT_URI}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = requests.post(parties.url + TOKEN, form, headers=headers, timeout=20)
    assert_refused(response, "invalid_grant")


def test_a_token_request_with_a_query_is_answered(parties: Parties) -> None:
    """For oauthlib any query is a fault. With names that nobody knows, it does no harm."""
    code = parties.code(parties.public)
    form = {"grant_type": "authorization_code", "client_id": "my-app", "code": code}
    form["redirect_uri"] = REDIRECT_URI
    refused = requests.post(f"{parties.url}{TOKEN}?code={code}", form, timeout=20)
    assert_refused(refused, "invalid_request")
    assert requests.post(f"{parties.url}{TOKEN}?a=|", form, timeout=20).status_code == 200


# --- The authorization request


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "javascript://x/%0Aalert(1)", "data:,x"])
def test_nobody_is_redirected_to_a_script(parties: Parties, uri: str) -> None:
    """To oauthlib these are absolute URIs like any other."""
    told = parties.browser.authorize(**authorization(redirect_uri=uri))
    assert told.status_code == 400
    assert "Location" not in told.headers


@pytest.mark.parametrize("response_type", ["xcodex", "code token", "none", "code id_token"])
def test_a_response_type_that_contains_code_is_not_code(
    parties: Parties, response_type: str
) -> None:
    told = parties.browser.authorize(**authorization(response_type=response_type))
    assert answer_of(told)["error"] == "unsupported_response_type"


# --- Bearer tokens


def test_a_token_in_the_query_is_no_bearer_token(parties: Parties) -> None:
    """Where there is no Authorization header, oauthlib falls back to ``?access_token=``."""
    tokens = parties.tokens(parties.public)
    target = f"{parties.url}/resource?access_token={tokens.access}"
    assert requests.get(target, timeout=20).status_code == 401
    assert requests.post(target, {"access_token": tokens.access}, timeout=20).status_code == 401
    assert parties.is_valid(tokens.access)
