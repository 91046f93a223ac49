"""What a proxy, or a client through it, may put into a question to the verify endpoint."""

from __future__ import annotations

import pytest

from tests.forward_auth.backend import RecordingBackend
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_a_path_below_the_endpoint_is_the_path_that_is_asked_about(
    decider: RunningGateway, token: str, method: str
) -> None:
    """Envoy's ``path_prefix`` makes it so."""
    bearer = f"Authorization: Bearer {token}"
    assert request(decider.port, "/oauth/verify/private", bearer, method=method).status == 200
    assert request(decider.port, "/oauth/verify/admin", bearer, method=method).status == 403
    assert request(decider.port, "/oauth/verify/admin", method=method).status == 401


def test_it_never_reaches_the_backend(
    decider: RunningGateway, backend: RecordingBackend, token: str
) -> None:
    before = len(backend.targets)
    bearer = f"Authorization: Bearer {token}"
    for target in ("/oauth/verify/x", "/oauth/verify%2Fx", "/OAuth/Verify/x", "//oauth/verify/x"):
        request(decider.port, target, bearer, method="DELETE")
    assert len(backend.targets) == before


def test_a_stranger_asks_nothing_there(decider: RunningGateway, token: str) -> None:
    bearer = f"Authorization: Bearer {token}"
    refused = request(decider.port, "/oauth/verify/private", bearer, source="127.0.0.9")
    assert refused.status == 403


def test_headers_that_name_another_path_contradict_it(decider: RunningGateway, token: str) -> None:
    pair = ("X-Original-Method: GET", "X-Original-URI: /public/x")
    bearer = f"Authorization: Bearer {token}"
    assert request(decider.port, "/oauth/verify/admin", bearer, *pair).status == 403


@pytest.mark.parametrize(
    ("destination", "status"), [("/admin/d.txt", 403), ("/private/d.txt", 200), ("nowhere", 400)]
)
def test_a_destination_is_judged_as_well(
    decider: RunningGateway, token: str, destination: str, status: int
) -> None:
    answer = request(
        decider.port,
        "/oauth/verify",
        f"Authorization: Bearer {token}",
        "X-Original-Method: MOVE",
        "X-Original-URI: /private/a.txt",
        f"Destination: {destination}",
    )
    assert answer.status == status


@pytest.mark.parametrize("target", ["/Admin/x", "/admin%20/x", "/admin./x", "/adm%C4%B1n/x"])
def test_a_variant_of_a_path_meets_its_rule(
    decider: RunningGateway, token: str, target: str
) -> None:
    answer = request(
        decider.port,
        "/oauth/verify",
        f"Authorization: Bearer {token}",
        "X-Original-Method: GET",
        f"X-Original-URI: {target}",
    )
    assert answer.status == 403
