"""A gateway in both ways of running it, with one of the two sets of paths."""

from __future__ import annotations

import pytest

from tests.support.running_gateway import RunningGateway
from tests.world.clients.registrations import EXTRA, OF_FRAPPE, STANDARD, Paths


@pytest.fixture(
    scope="session",
    params=[("wrapped", OF_FRAPPE), ("standalone", STANDARD)],
    ids=["wrapped-frappe", "standalone-standard"],
)
def place(request: pytest.FixtureRequest, _gateways: object) -> tuple[RunningGateway, Paths]:
    """Each way of running a gateway, with one of the two sets of paths.

    It asks for a confirmation every time. (test_contract.py has all four combinations.)
    """
    mode, paths = request.param
    started: RunningGateway = _gateways(mode, "clients", extra=EXTRA)  # type: ignore[operator]
    return started, paths


@pytest.fixture
def gateway(place: tuple[RunningGateway, Paths]) -> RunningGateway:
    return place[0]


@pytest.fixture
def paths(place: tuple[RunningGateway, Paths]) -> Paths:
    return place[1]
