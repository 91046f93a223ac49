"""Clients that are not who they say, or say it in two ways, or guess."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import requests

from tests.support.assertions import assert_refused
from tests.support.oauth_client import FRAPPE, INTROSPECT, REVOKE, TOKEN, Client
from tests.support.parties import Parties
from tests.support.raw import RawResponse, request
from tests.support.running_gateway import (
    CONFIDENTIAL_SECRET,
    SERVICE_SECRET,
    RunningGateway,
    running_gateway,
)

FORM = "Content-Type: application/x-www-form-urlencoded"


def basic(credentials: str | bytes) -> str:
    raw = credentials.encode() if isinstance(credentials, str) else credentials
    return f"Authorization: Basic {b64encode(raw).decode()}"


ENCODED_SECRET = urlencode({"": CONFIDENTIAL_SECRET})[1:]
GOOD_BASIC = basic(f"confidential:{ENCODED_SECRET}")


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param([basic("confidential:wrong")], id="wrong secret"),
        pytest.param([basic("confidential:")], id="empty secret"),
        pytest.param([basic("confidential")], id="no colon"),
        pytest.param([basic(":secret")], id="no client_id"),
        pytest.param([basic("")], id="nothing"),
        pytest.param([basic("nobody:secret")], id="unknown client"),
        pytest.param([basic("my-app:secret")], id="secret of a public client"),
        pytest.param(["Authorization: Basic !!!"], id="not base64"),
        pytest.param(["Authorization: Basic"], id="no credentials"),
        pytest.param(["Authorization: Basic  "], id="only spaces"),
        pytest.param([f"{GOOD_BASIC[:-2]}"], id="cut off"),
        pytest.param([f"{GOOD_BASIC} {GOOD_BASIC[21:]}"], id="two credentials"),
        pytest.param([GOOD_BASIC, GOOD_BASIC], id="two headers"),
        pytest.param([basic(b"confidential:s\xe9cret +1%25")], id="Latin-1"),
        pytest.param([basic("confidential:wrong%")], id="bad percent"),
        pytest.param([basic("confidential:%ff%fe")], id="percent, not UTF-8"),
        pytest.param([basic("%ff:x")], id="client_id percent, not UTF-8"),
        pytest.param([basic("confidential\0:x")], id="NUL"),
        pytest.param([basic("%00%0a*:x")], id="escaped control characters"),
        pytest.param([basic(f"{'x' * 9000}:x")], id="long client_id"),
        pytest.param(["Authorization: Bearer abc"], id="another scheme"),
        pytest.param(["Authorization: Basi"], id="a prefix"),
        pytest.param(["Authorization: Basic\xa0abc"], id="a strange space"),
    ],
)
@pytest.mark.parametrize("path", [TOKEN, REVOKE, INTROSPECT])
def test_wrong_or_malformed_basic_credentials_are_401_invalid_client(
    standalone: RunningGateway, authorization: list[str], path: str
) -> None:
    """RFC 6749 §5.2: with the scheme that the client may use."""
    answer = request(
        standalone.port,
        path,
        FORM,
        *authorization,
        method="POST",
        body=b"grant_type=refresh_token&token=x",
    )
    assert answer.status == 401, answer
    assert answer.json()["error"] == "invalid_client"
    (challenge,) = answer.values("WWW-Authenticate")
    assert challenge.startswith("Basic realm=")
    assert answer.values("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({"client_id": "confidential"}, id="no secret"),
        pytest.param({"client_id": "confidential", "client_secret": ""}, id="empty secret"),
        pytest.param({"client_id": "confidential", "client_secret": "wrong"}, id="wrong secret"),
        pytest.param({"client_id": "service", "client_secret": CONFIDENTIAL_SECRET}, id="other's"),
        pytest.param({"client_secret": CONFIDENTIAL_SECRET}, id="no client_id"),
        pytest.param({"client_id": "my-app", "client_secret": "x"}, id="of a public client"),
        pytest.param({"client_id": "nobody"}, id="unknown"),
        pytest.param({}, id="nothing"),
    ],
)
def test_wrong_credentials_in_the_body_are_401_invalid_client(
    standalone: RunningGateway, form: dict[str, str]
) -> None:
    answer = requests.post(standalone.url + TOKEN, form | {"grant_type": "x"}, timeout=20)
    assert_refused(answer, "invalid_client", 401)
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_how_authentication_failed_is_not_told(standalone: RunningGateway) -> None:
    """Or anybody could find out which clients there are."""
    answers = {
        requests.post(
            standalone.url + TOKEN,
            {"grant_type": "x", "client_id": client_id, "client_secret": "wrong"},
            timeout=20,
        ).text
        for client_id in ("confidential", "my-app", "nobody")
    }
    assert len(answers) == 1


def test_two_methods_at_once_are_refused_even_if_both_are_right(parties: Parties) -> None:
    """RFC 6749 §2.3."""
    code = parties.code(parties.confidential)
    form = {"client_id": "confidential", "client_secret": CONFIDENTIAL_SECRET}
    assert_refused(parties.confidential.redeem(code, **form), "invalid_client", 401)
    assert parties.confidential.redeem(code).status_code == 200


def test_basic_with_the_same_client_id_in_the_body_is_accepted(parties: Parties) -> None:
    code = parties.code(parties.confidential)
    other = parties.confidential.redeem(code, client_id="service")
    assert_refused(other, "invalid_client", 401)
    assert parties.confidential.redeem(code, client_id="confidential").status_code == 200


def test_a_secret_outside_ascii_works_in_basic_and_in_the_body(parties: Parties) -> None:
    client = parties.confidential
    assert client.redeem(parties.code(client)).status_code == 200
    form = {"client_id": "confidential", "client_secret": CONFIDENTIAL_SECRET}
    in_body = Client(client.gateway, "confidential", None, client.redirect_uri)
    assert in_body.redeem(parties.code(client), **form).status_code == 200


@pytest.mark.parametrize(
    "secret",
    [quote(CONFIDENTIAL_SECRET, safe=""), "sécret%20+1%25", "sécret +1%25"],
    ids=["%20 for the space", "a plus that is not encoded", "only the percent is encoded"],
)
def test_a_secret_is_read_as_real_clients_encode_it(parties: Parties, secret: str) -> None:
    client = parties.confidential
    form = {"grant_type": "authorization_code", "code": parties.code(client)}
    form["redirect_uri"] = client.redirect_uri
    authorization = b64encode(f"confidential:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {authorization}"}
    assert requests.post(parties.url + TOKEN, form, headers=headers, timeout=20).ok


def test_the_scheme_is_read_in_any_case(parties: Parties) -> None:
    authorization = "bAsIc " + GOOD_BASIC.rpartition(" ")[2]
    form = {"grant_type": "authorization_code", "code": parties.code(parties.confidential)}
    form["redirect_uri"] = parties.confidential.redirect_uri
    headers = {"Authorization": authorization}
    assert requests.post(parties.url + TOKEN, form, headers=headers, timeout=20).ok


def test_an_empty_secret_is_one_that_was_left_out(parties: Parties) -> None:
    """RFC 6749 §2.3.1; so do libraries that always send Basic."""
    form = {"grant_type": "authorization_code", "code": parties.code(parties.public)}
    form["redirect_uri"] = parties.public.redirect_uri
    assert requests.post(parties.url + TOKEN, form, auth=("my-app", ""), timeout=20).ok


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that stops a client after three failures."""
    folder: Path = tmp_path_factory.mktemp("limited")
    with running_gateway(
        "wrapped", folder, replace=(("client_attempts = 1000", "client_attempts = 3"),)
    ) as gateway:
        yield gateway


@pytest.mark.parametrize("path", [TOKEN, FRAPPE + "revoke_token", INTROSPECT])
def test_too_many_wrong_secrets_stop_a_client_at_an_address(
    limited: RunningGateway, path: str
) -> None:
    """429 with Retry-After, also for the right secret; others go on."""
    # From a trusted proxy, so that every path has an address of its own.
    here, elsewhere = f"10.1.{len(path)}.1", f"10.2.{len(path)}.1"

    def attempt(secret: str, address: str = here, client_id: str = "service") -> RawResponse:
        return request(
            limited.port,
            path,
            FORM,
            basic(f"{client_id}:{secret}"),
            f"X-Forwarded-For: {address}",
            method="POST",
            body=b"grant_type=client_credentials&token=x",
            source="127.0.0.2",
        )

    assert [attempt(f"guess {number}").status for number in range(3)] == [401] * 3
    for secret in ("guess", SERVICE_SECRET):
        stopped = attempt(secret)
        assert stopped.status == 429
        (retry_after,) = stopped.values("Retry-After")
        assert 0 < int(retry_after) <= 300
        assert stopped.values("Cache-Control") == ["no-store"]
    assert attempt(SERVICE_SECRET, elsewhere).status == 200
    assert attempt(SERVICE_SECRET, client_id="resource-server").status == 200


def test_another_forwarded_address_does_not_evade_the_limit(limited: RunningGateway) -> None:
    """It counts only from a trusted proxy."""
    statuses = [
        request(
            limited.port,
            TOKEN,
            FORM,
            basic("confidential:guess"),
            f"X-Forwarded-For: 10.9.9.{number}",
            method="POST",
            body=b"grant_type=refresh_token",
        ).status
        for number in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]


def test_guesses_at_once_are_counted_as_well(limited: RunningGateway) -> None:
    def attempt(number: int) -> int:
        return request(
            limited.port,
            TOKEN,
            FORM,
            basic(f"service:guess {number}"),
            method="POST",
            body=b"grant_type=client_credentials",
        ).status

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(attempt, range(12)))
    assert statuses.count(401) == 3
    assert statuses.count(429) == 9
