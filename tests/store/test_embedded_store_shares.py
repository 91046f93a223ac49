"""Gateways of one machine share one embedded store, which ends with the last of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from gateway.store import supervisor as store_keeper
from gateway.store.embedded import EmbeddedStore
from tests.store.embedded_gateways import (
    GATEWAY_THAT_RELEASES,
    PRE_FORK_GATEWAY,
    Gateway,
    first_line,
    has_ended,
    is_locked,
    keeper_of,
    keys,
    path_of,
    server_at,
    until,
    write,
)


def test_gateways_that_start_at_once_share_one_server(start_gateway: Gateway) -> None:
    gateways = [start_gateway() for _ in range(4)]
    paths = [path_of(gateway) for gateway in gateways]

    write(paths[0], "a")

    assert keys(paths[3]) == {"a"}
    assert len({server_at(path) for path in paths}) == 1


def test_threads_that_start_at_once_share_one_server(store: EmbeddedStore) -> None:
    servers: list[int] = []
    threads = [
        threading.Thread(target=lambda: servers.append(server_at(store.ensure_running())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(servers) == 8
    assert len(set(servers)) == 1


def test_the_store_ends_with_the_last_gateway_and_starts_with_its_data(
    store: EmbeddedStore, data_dir: Path
) -> None:
    path = store.ensure_running()
    write(path, "a")

    store.release()
    until(lambda: has_ended(data_dir))

    assert not path.exists()
    assert keys(store.ensure_running()) == {"a"}


def test_a_gateway_that_is_restarted_finds_the_same_server(start_gateway: Gateway) -> None:
    gateway = start_gateway()
    before = server_at(path_of(gateway))

    gateway.kill()
    gateway.wait()
    time.sleep(2 * store_keeper.CHECK_SECONDS)

    assert before == server_at(path_of(start_gateway()))


def test_the_store_ends_with_the_last_gateway_that_is_killed(
    start_gateway: Gateway, data_dir: Path
) -> None:
    """A keeper that is asked to end, as by a service manager, waits for the gateways too."""
    first, last = start_gateway(), start_gateway()
    path_of(first)
    path = path_of(last)
    before = server_at(path)

    os.kill(keeper_of(data_dir), signal.SIGTERM)
    first.kill()
    first.wait()
    time.sleep(1.5 * store_keeper.CHECK_SECONDS)
    assert before == server_at(path)

    last.kill()
    until(lambda: has_ended(data_dir))


def test_a_forked_worker_has_a_share_of_its_own(start_gateway: Gateway, data_dir: Path) -> None:
    gateway = start_gateway(PRE_FORK_GATEWAY)
    worker = int(first_line(gateway))
    try:
        before = server_at(data_dir / store_keeper.SOCKET)
        os.kill(keeper_of(data_dir), signal.SIGTERM)
        gateway.kill()
        gateway.wait()
        time.sleep(1.5 * store_keeper.CHECK_SECONDS)

        assert before == server_at(data_dir / store_keeper.SOCKET)
    finally:
        os.kill(worker, signal.SIGKILL)
    until(lambda: has_ended(data_dir))


def test_a_share_given_up_is_kept_by_the_process_that_was_forked(
    start_gateway: Gateway, data_dir: Path
) -> None:
    worker = int(first_line(start_gateway(GATEWAY_THAT_RELEASES)))
    users = data_dir / store_keeper.USERS_LOCK
    try:
        time.sleep(0.1)
        assert is_locked(users)
    finally:
        os.kill(worker, signal.SIGKILL)
    until(lambda: not is_locked(users))
