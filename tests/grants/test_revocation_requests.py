"""Ways to send a token that is to end: all of them are answered with 200, and the token is dead."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.oauth_client import FRAPPE, REVOKE
from tests.support.parties import Parties

FRAPPE_REVOKE = FRAPPE + "revoke_token"
BOTH = pytest.mark.parametrize("path", [REVOKE, FRAPPE_REVOKE], ids=["standard", "frappe"])
JSON = {"Content-Type": "application/json; charset=utf-8"}

WAYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "query": lambda token: {"params": {"token": token}},
    "query, other form": lambda token: {"params": {"token": token}, "data": {"token_": ""}},
    "query and form": lambda token: {"params": {"token": token}, "data": {"token": token}},
    "bearer": lambda token: {"headers": bearer(token)},
    "bearer and form": lambda token: {"headers": bearer(token), "data": {"token": token}},
    "bearer, client_id": lambda token: {"headers": bearer(token), "data": {"client_id": "my-app"}},
    "hint in the query": lambda token: {
        "params": {"token_type_hint": "access_token", "client_id": "my-app", "x": "y"},
        "data": {"token": token},
    },
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def post(parties: Parties, path: str, **options: Any) -> requests.Response:
    return requests.post(parties.url + path, timeout=20, **options)


@BOTH
@pytest.mark.parametrize("way", WAYS)
def test_a_token_ends_wherever_it_stands(parties: Parties, path: str, way: str) -> None:
    access = parties.tokens(parties.public).access
    answer = post(parties, path, **WAYS[way](access))
    assert (answer.status_code, answer.json()) == (200, {"message": "success"})
    assert not parties.is_valid(access)


@pytest.mark.parametrize("more", [{}, {"client_id": "my-app", "cmd": 1, "nested": {"token": "x"}}])
def test_frappes_path_takes_json(parties: Parties, more: dict[str, Any]) -> None:
    access = parties.tokens(parties.public).access
    body = json.dumps({"token": access, "token_type_hint": None, **more})
    answer = post(parties, FRAPPE_REVOKE, data=body, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert not parties.is_valid(access)
    assert post(parties, REVOKE, data=body, headers=JSON).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '"x"',
        '{"token": 1}',
        '{"token": ["x"]}',
        '{"token": "x", "token": "y"}',
        '{"token": "\\ud800"}',
        '{"a": ' + "[" * 30_000 + "]" * 30_000 + "}",
        '{"token": "' + "x" * 70_000 + '"}',
    ],
)
def test_json_that_names_no_single_token_is_a_bad_request(parties: Parties, body: str) -> None:
    answer = post(parties, FRAPPE_REVOKE, data=body, headers=JSON)
    assert answer.status_code in {400, 413}
    assert answer.json() == {"message": "bad request"}


def test_two_words_that_differ_end_nothing(parties: Parties) -> None:
    one, two = parties.tokens(parties.public).access, parties.tokens(parties.public).access
    answers = [
        post(parties, REVOKE, params={"token": one}, data={"token": two}),
        post(parties, REVOKE, params=[("token", one), ("token", two)]),
        post(parties, REVOKE, headers=bearer(one), data={"token": two}),
        post(parties, REVOKE, headers=bearer(one), params={"token": two}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 401, 401]
    assert parties.is_valid(one)
    assert parties.is_valid(two)


def test_a_secret_in_the_query_is_refused(parties: Parties) -> None:
    """RFC 6749 §2.3.1: logs keep it."""
    access = parties.tokens(parties.confidential).access
    query = {"client_id": "confidential", "client_secret": "x"}
    assert post(parties, REVOKE, params=query, data={"token": access}).status_code == 400
    assert parties.is_valid(access)
