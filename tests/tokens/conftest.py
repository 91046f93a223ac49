"""A store, and a grant in it whose code waits or that has tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.tokens.grant import Issued
from tests.support.stand import Stand, standing
from tests.tokens.held_grant import Held, held_grant


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("store")) as stand:
        yield stand


@pytest.fixture
def held(stand: Stand) -> Held:
    """A grant whose code waits."""
    return held_grant(stand)


@pytest.fixture
def redeemed(held: Held) -> Held:
    """A grant that has tokens."""
    assert isinstance(held.redeem(), Issued)
    return held
