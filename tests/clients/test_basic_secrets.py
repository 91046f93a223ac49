"""Secrets with '%' and '+' in Basic: form-encoded, and as most libraries send them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import quote, quote_plus

import pytest
import requests

from tests.support.running_gateway import RunningGateway, running_gateway

SECRETS = ("100%safe", "pa%41ss", "trailing%", "%", "%zz%41", "100% +1", "%ff%fe", "é%C3", "a+b c")


def client_table(number: int, secret: str) -> str:
    return f"""
[[clients]]
client_id = "{client_id(number)}"
name = "A client"
scopes = ["project"]
grant_types = ["client_credentials"]
secret_sha256 = "{sha256(secret.encode()).hexdigest()}"
"""


def client_id(number: int) -> str:
    return f"percent-{number}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    extra = "".join(client_table(number, secret) for number, secret in enumerate(SECRETS))
    with running_gateway("standalone", tmp_path_factory.mktemp("percent"), extra=extra) as running:
        yield running


def status(gateway: RunningGateway, number: int, secret: str) -> int:
    credentials = b64encode(f"{client_id(number)}:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"}
    form = {"grant_type": "client_credentials"}
    answer = requests.post(f"{gateway.url}/oauth/token", form, headers=headers, timeout=20)
    assert answer.ok or answer.json()["error"] == "invalid_client"
    return answer.status_code


@pytest.mark.parametrize("number", range(len(SECRETS)), ids=SECRETS)
def test_a_secret_is_good_as_it_is_and_form_encoded(gateway: RunningGateway, number: int) -> None:
    secret = SECRETS[number]
    for sent in (secret, quote_plus(secret), quote(secret, safe="")):
        assert status(gateway, number, sent) == 200, sent


@pytest.mark.parametrize(
    ("number", "wrong"),
    [
        (0, "100%"),
        (0, "100%25saf"),
        (1, "paAss"),
        (1, "pa%2541s"),
        (2, "trailing"),
        (3, "%25%"),
        (5, "100%  1"),
    ],
)
def test_another_secret_is_wrong_in_every_reading(
    gateway: RunningGateway, number: int, wrong: str
) -> None:
    assert status(gateway, number, wrong) == 401
