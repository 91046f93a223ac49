"""A gateway says that its store has tokens of a secret key that it does not have."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from gateway.config.settings import Settings, Store, Tokens
from gateway.store.key_check import claim_secret_keys, secret_key_warning
from gateway.store.redis_client import RedisClient
from tests.support.processes import free_port
from tests.support.stand import Stand, standing

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
LIFETIME = 1000
PLACE = "gateway:secret-keys"


@pytest.fixture(scope="module")
def _stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("store")) as stand:
        yield stand


@pytest.fixture
def stand(_stand: Stand) -> Stand:
    _stand.redis.flushall()
    return _stand


def settings(*secret_keys: bytes) -> Settings:
    return Settings(
        issuer="https://gateway.example",
        secret_keys=secret_keys,
        tokens=Tokens(refresh_seconds=LIFETIME),
    )


def start(stand: Stand, *secret_keys: bytes) -> None:
    claim_secret_keys(stand.link, settings(*secret_keys))


def warns(stand: Stand, *secret_keys: bytes) -> bool:
    return secret_key_warning(stand.link, settings(*secret_keys)) is not None


def let_pass(stand: Stand, seconds: int) -> None:
    """Set back the time since when each key is not in use."""
    for name, since in stand.redis.hgetall(PLACE).items():
        if since != "0":
            stand.redis.hset(PLACE, name, int(since) - seconds)


def test_one_key_is_no_fault_however_often_a_gateway_starts(stand: Stand) -> None:
    assert not warns(stand, OLD)
    for _ in range(3):
        start(stand, OLD)
        assert not warns(stand, OLD)


def test_another_key_is_said_at_start_and_on_demand(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    start(stand, OLD)
    assert caplog.text == ""
    assert warns(stand, OTHER)
    for _ in range(2):
        caplog.clear()
        start(stand, OTHER)
        (record,) = caplog.records
        assert (record.levelno, record.name) == (logging.ERROR, "gateway.store")
        assert "another secret key" in record.getMessage()
    # And so it is the other way round.
    assert warns(stand, OLD)


def test_asking_notes_nothing(stand: Stand) -> None:
    start(stand, OLD)
    assert warns(stand, OTHER)
    assert not warns(stand, OLD)


def test_rotation_in_three_steps_at_two_gateways_is_no_fault(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    for step in ((OLD,), (OLD, NEW), (NEW, OLD)):
        for _ in range(2):
            start(stand, *step)
    let_pass(stand, LIFETIME + 1)
    for _ in range(2):
        start(stand, NEW)
    assert caplog.text == ""
    assert stand.redis.hlen(PLACE) == 1


def test_an_old_key_that_goes_too_early_is_said(stand: Stand) -> None:
    start(stand, OLD)
    start(stand, NEW, OLD)
    let_pass(stand, LIFETIME - 100)
    assert warns(stand, NEW)


def test_a_key_that_was_lost_is_said_for_as_long_as_its_tokens_live(stand: Stand) -> None:
    start(stand, OLD)
    start(stand, NEW)
    let_pass(stand, LIFETIME - 100)
    start(stand, NEW)
    assert warns(stand, NEW)
    let_pass(stand, 101)
    assert not warns(stand, NEW)
    start(stand, NEW)
    assert stand.redis.hlen(PLACE) == 1


def test_a_gateway_that_runs_for_long_keeps_its_key_in_use(stand: Stand) -> None:
    start(stand, OLD)
    let_pass(stand, 100 * LIFETIME)
    assert warns(stand, OTHER)


def test_the_store_does_not_have_the_key(stand: Stand) -> None:
    start(stand, OLD)
    (name,) = stand.redis.hgetall(PLACE)
    assert len(name) == 12
    assert OLD.decode() not in str(stand.redis.dump(PLACE))


def test_another_prefix_is_another_store(stand: Stand) -> None:
    start(stand, OLD)
    elsewhere = settings(OTHER).model_copy(update={"store": Store(key_prefix="elsewhere")})
    assert secret_key_warning(stand.link, elsewhere) is None


def test_a_store_that_does_not_answer_keeps_no_gateway_from_starting() -> None:
    link = RedisClient(Store(url=f"redis://127.0.0.1:{free_port()}", timeout=0.2))
    began = time.monotonic()
    claim_secret_keys(link, settings(OLD))
    assert time.monotonic() - began < 5
