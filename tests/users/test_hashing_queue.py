"""Sign-ins wait for their turn to be hashed, and a flood of them keeps nobody else waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from gateway.users.hashing_queue import WAITING_PER_NETWORK, Busy, HashingQueue
from tests.support import raw
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway
from tests.users.test_attacks_guessing import Visitor


class Hall:
    """A queue with one thread, which a test lets go on when it likes."""

    def __init__(self) -> None:
        self.queue = HashingQueue(threads=1, wait_seconds=20.0)
        self.order: list[str] = []
        self._go_on = threading.Semaphore(0)
        self._pool = ThreadPoolExecutor(64)

    def sign_in(self, name: str, network: str) -> Future[None]:
        """Begin a sign-in, and return when it waits or hashes."""
        before = self._present()
        future = self.begin(name, network)
        while self._present() == before:
            time.sleep(0.001)
        return future

    def begin(self, name: str, network: str) -> Future[None]:
        return self._pool.submit(self._hash, name, network)

    def _present(self) -> int:
        waiting = sum(map(len, list(self.queue._waiting.values())))
        return waiting + len(self.order) + (self.queue._free == 0)

    def _hash(self, name: str, network: str) -> None:
        with self.queue.turn(network):
            self.order.append(name)
            assert self._go_on.acquire(timeout=20)

    def let_go_on(self, count: int = 1) -> None:
        for _ in range(count):
            self._go_on.release()

    def close(self) -> None:
        self.let_go_on(100)
        self._pool.shutdown()


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    yield hall
    hall.close()


def test_sign_ins_of_one_network_are_hashed_in_order(hall: Hall) -> None:
    signing_in = [hall.sign_in(name, "a") for name in ("first", "second", "third")]
    hall.let_go_on(3)
    for each in signing_in:
        each.result(20)

    assert hall.order == ["first", "second", "third"]


def test_networks_take_turns(hall: Hall) -> None:
    signing_in = [hall.sign_in(f"a{number}", "a") for number in range(4)]
    signing_in += [hall.sign_in("b0", "b"), hall.sign_in("c0", "c"), hall.sign_in("b1", "b")]
    hall.let_go_on(7)
    for each in signing_in:
        each.result(20)

    assert hall.order == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]


def test_of_too_many_from_one_network_the_oldest_is_refused(hall: Hall) -> None:
    """Whoever comes last has the best chance that somebody still waits for the answer."""
    hashing = hall.sign_in("hashing", "a")
    waiting = [hall.sign_in(f"a{number}", "a") for number in range(WAITING_PER_NETWORK)]
    last = hall.begin("last", "a")

    with pytest.raises(Busy):
        waiting[0].result(20)
    hall.let_go_on(WAITING_PER_NETWORK + 1)
    for each in (hashing, *waiting[1:], last):
        each.result(20)
    assert hall.order[-1] == "last"


def test_nobody_waits_for_longer_than_the_limit() -> None:
    queue = HashingQueue(threads=1, wait_seconds=0.05)
    with queue.turn("a"):
        with pytest.raises(Busy), queue.turn("b"):
            pass
        assert not queue._waiting
    with queue.turn("b"):
        pass


def test_a_turn_that_ends_with_an_error_is_given_on() -> None:
    queue = HashingQueue(threads=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), queue.turn("a"):
            raise ZeroDivisionError


# --- A flood of sign-ins


@pytest.fixture(scope="module", params=["standalone", "wrapped"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway that lets an address fail a hundred times, as by default."""
    limits = (("sign_in_attempts = 1000", "sign_in_attempts = 10"),)
    folder = tmp_path_factory.mktemp(f"flood-{request.param}")
    with running_gateway(request.param, folder, replace=limits) as running:
        yield running


@contextmanager
def flood(gateway: RunningGateway, address: str, number: int = 90) -> Iterator[list[Future[int]]]:
    """Sign in with made-up names, all at once, from one address."""
    visitor = Visitor(gateway, address)
    with ThreadPoolExecutor(number) as pool:
        forms = list(pool.map(lambda _: visitor.open_form(), range(number)))
        begin = threading.Barrier(number)

        def guess(position: int) -> int:
            begin.wait(60)
            return visitor.send_form(forms[position], f"user-{position}", "wrong").status

        yield [pool.submit(guess, position) for position in range(number)]


def seconds_to_sign_in(gateway: RunningGateway, address: str) -> float:
    started = time.monotonic()
    assert Visitor(gateway, address).sign_in("demo", PASSWORD).status == 303
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("flooding", "address"),
    [("198.51.100.1", "198.51.100.2"), ("198.51.100.6", "198.51.100.6")],
    ids=["another address", "the same address"],
)
def test_a_right_password_is_not_kept_waiting_by_a_flood(
    gateway: RunningGateway, flooding: str, address: str
) -> None:
    """Nor is anybody else, whose request needs no password."""
    alone = max(seconds_to_sign_in(gateway, address) for _ in range(2))
    with flood(gateway, flooding) as guesses:
        # Until the flood has arrived.
        while sum(guess.done() for guess in guesses) < 10:
            time.sleep(0.01)
        asked = time.monotonic()
        assert raw.request(gateway.port, "/oauth/health/live").status == 200
        seconds_of_health = time.monotonic() - asked
        seconds = seconds_to_sign_in(gateway, address)
        statuses = [guess.result() for guess in guesses]

    # Eight guesses at most wait before it, two are hashed at a time. All of them would take the
    # time of 45. A busy machine is busier at one moment than at another, so this is generous.
    assert seconds < 3.0 + 12 * alone
    assert seconds_of_health < 2.0
    assert set(statuses) <= {401, 429}
    assert statuses.count(429) > 0


def test_a_guess_counts_before_it_is_hashed(gateway: RunningGateway) -> None:
    """Of 130 at once from one address no more than a hundred are even looked at."""
    with flood(gateway, "198.51.100.3", 130) as guesses:
        statuses = [guess.result() for guess in guesses]

    assert set(statuses) <= {401, 429}
    assert Visitor(gateway, "198.51.100.3").sign_in("demo", PASSWORD).status == 429
    assert Visitor(gateway, "198.51.100.4").sign_in("demo", PASSWORD).status == 303


def test_a_right_password_counts_as_no_failure(gateway: RunningGateway) -> None:
    visitor = Visitor(gateway, "198.51.100.5")
    assert all(visitor.sign_in("demo", PASSWORD).status == 303 for _ in range(12))
