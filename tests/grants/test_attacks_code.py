"""What is tried with an authorization code: by others, with a wrong proof, often, and again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.assertions import assert_not_cached, assert_refused
from tests.support.oauth_client import Client, pkce
from tests.support.parties import Parties


def test_a_code_of_another_client_is_refused_and_still_works_for_its_owner(
    parties: Parties,
) -> None:
    code = parties.code(parties.public)
    for other in (parties.confidential, parties.with_pkce):
        answer = other.redeem(code, redirect_uri=parties.public.redirect_uri)
        assert_refused(answer, "invalid_grant")
    assert parties.public.redeem(code).status_code == 200


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://localhost:3000/oauth_code/",
        "http://localhost:3000/OAUTH_CODE",
        "http://localhost:3000/oauth_code?",
        "http://localhost:3000/oauth%5Fcode",
        "http://localhost:3001/oauth_code",
        "https://localhost:3000/oauth_code",
        "http://localhost:3000/oauth_code\0",
        "",
    ],
)
def test_another_redirect_uri_is_refused_and_the_code_still_works(
    parties: Parties, redirect_uri: str
) -> None:
    """RFC 6749 §4.1.3: identical, and there if there was one."""
    code = parties.code(parties.public)
    answer = parties.public.redeem(code, redirect_uri=redirect_uri)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_grant", "invalid_request"}
    assert parties.public.redeem(code).status_code == 200


def test_a_redirect_uri_that_was_not_sent_need_not_be(parties: Parties) -> None:
    """RFC 6749 §4.1.3: it is required only if the authorization request had one."""
    answer = parties.browser.authorize(
        client_id="my-app", response_type="code", scope="project", state="s"
    )
    if answer.status_code == 200:
        answer = parties.browser.decide(answer)
    code = answer.headers["Location"].partition("code=")[2].partition("&")[0]
    refused = parties.public.redeem(code, redirect_uri="http://localhost:3000/other")
    assert_refused(refused, "invalid_grant")
    assert parties.public.redeem(code, redirect_uri="").status_code == 200


@pytest.mark.parametrize(
    ("kept", "added"),
    [
        pytest.param(slice(0), "", id="none"),
        pytest.param(slice(0), "w" * 43, id="another"),
        pytest.param(slice(42), "", id="42 characters"),
        pytest.param(slice(64), "w" * 65, id="129 characters"),
        pytest.param(slice(63), "+", id="a character that none has"),
        pytest.param(slice(64), "\n", id="a line feed"),
        pytest.param(slice(64), "w", id="one more character"),
    ],
)
def test_a_wrong_verifier_is_refused_and_the_code_still_works(
    parties: Parties, kept: slice, added: str
) -> None:
    """RFC 7636 §4.6."""
    code, verifier = parties.code_with_pkce()
    answer = parties.with_pkce.redeem(code, code_verifier=verifier[kept] + added)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_grant", "invalid_request"}
    assert parties.with_pkce.redeem(code, code_verifier=verifier).status_code == 200


def test_the_challenge_is_no_verifier(parties: Parties) -> None:
    """That would be the method plain."""
    _, challenge = pkce()
    code = parties.code(parties.with_pkce, **challenge)
    answer = parties.with_pkce.redeem(code, code_verifier=challenge["code_challenge"])
    assert_refused(answer, "invalid_grant")


def test_a_verifier_where_no_challenge_was_made_is_refused_and_the_code_still_works(
    parties: Parties,
) -> None:
    """RFC 9700 §2.1.1: else a challenge could be taken out of the request unseen."""
    code = parties.code(parties.public)
    assert_refused(parties.public.redeem(code, code_verifier="v" * 43), "invalid_grant")
    assert parties.public.redeem(code).status_code == 200


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_token_is_no_code(parties: Parties, kind: str) -> None:
    tokens = parties.tokens(parties.public)
    assert_refused(parties.public.redeem(getattr(tokens, kind)), "invalid_grant")
    assert parties.is_valid(tokens.access)


def test_a_code_with_a_character_changed_is_unknown(parties: Parties) -> None:
    code = parties.code(parties.public)
    for position in (0, 4, 23, 24, 55, 56, 67):
        changed = code[:position] + ("B" if code[position] == "A" else "A") + code[position + 1 :]
        assert_refused(parties.public.redeem(changed), "invalid_grant")
    for other in (code[:-1], code + "A", code.upper(), f" {code}", f"{code}="):
        assert_refused(parties.public.redeem(other), "invalid_grant")
    assert parties.public.redeem(code).status_code == 200


def test_parameters_of_the_form_do_not_choose_the_user_or_the_scope(parties: Parties) -> None:
    code = parties.code(parties.public)
    answer = parties.public.redeem(
        code, user="admin", username="admin", scope="project profile", sub="admin"
    )
    assert answer.json()["scope"] == "project"
    echoed = parties.public.get("/", answer.json()["access_token"]).json()
    assert ["X-Forwarded-User", "demo"] in echoed["headers"]


def test_of_fifty_parallel_redemptions_one_succeeds(parties: Parties) -> None:
    code = parties.code(parties.public)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: parties.public.redeem(code), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 49
    for answer in answers:
        assert_not_cached(answer)
        if answer.status_code == 400:
            assert answer.json()["error"] == "invalid_grant"


def test_a_replay_is_refused_and_ends_what_the_code_gave(parties: Parties) -> None:
    """RFC 6749 §4.1.2."""
    code = parties.code(parties.public)
    given = parties.public.redeem(code).json()
    refreshed = parties.public.refresh(given["refresh_token"]).json()
    assert_refused(parties.public.redeem(code), "invalid_grant")
    for each in (given, refreshed):
        assert not parties.is_valid(each["access_token"])
        assert_refused(parties.public.refresh(each["refresh_token"]), "invalid_grant")


def test_a_replay_with_a_wrong_proof_ends_nothing(parties: Parties) -> None:
    """Else whoever sees a code go by could take a user's access away."""
    code, verifier = parties.code_with_pkce()
    given = parties.with_pkce.redeem(code, code_verifier=verifier).json()
    for answer in (
        parties.with_pkce.redeem(code, code_verifier="w" * 43),
        parties.with_pkce.redeem(code, code_verifier=verifier, redirect_uri="https://x.example/"),
        parties.public.redeem(code, redirect_uri="https://app.example/cb", code_verifier=verifier),
        parties.with_pkce.redeem(code),
    ):
        assert_refused(answer, "invalid_grant")
    assert parties.is_valid(given["access_token"])
    assert parties.with_pkce.refresh(given["refresh_token"]).status_code == 200


def test_a_replay_with_a_wrong_secret_ends_nothing(parties: Parties) -> None:
    client = parties.confidential
    code = parties.code(client)
    given = client.redeem(code).json()
    thief = Client(client.gateway, "confidential", "wrong", client.redirect_uri)
    assert_refused(thief.redeem(code), "invalid_client", 401)
    assert parties.is_valid(given["access_token"])
