"""After a crash of the embedded server, of its keeper or of a gateway, the data is there again."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store import embedded as embedded_store
from gateway.store import supervisor as store_keeper
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError
from tests.store.embedded_gateways import (
    Gateway,
    client_of,
    end_without_lingering,
    has_ended,
    keeper_of,
    keys,
    kill_keeper,
    kill_server,
    path_of,
    server_at,
    try_to_lock,
    until,
    write,
)


def test_a_stale_socket_is_replaced(store: EmbeddedStore, data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(data_dir / store_keeper.SOCKET))

    path = store.ensure_running()

    assert server_at(path) > 0


def test_a_killed_server_comes_back_with_its_data(store: EmbeddedStore) -> None:
    path = store.ensure_running()
    written = set()
    for round_ in range(4):
        written.add(f"key-{round_}")
        write(path, f"key-{round_}")
        killed = kill_server(path)

        assert store.ensure_running() == path
        assert written == keys(path)
        assert killed != server_at(path)


def test_a_killed_keeper_is_replaced_and_its_server_with_it(
    store: EmbeddedStore, data_dir: Path
) -> None:
    path = store.ensure_running()
    for round_ in range(2):
        write(path, f"key-{round_}")
        keeper, server = keeper_of(data_dir), server_at(path)
        kill_keeper(data_dir)

        store.ensure_running()

        assert keeper != keeper_of(data_dir)
        assert server != server_at(path)
        assert len(keys(path)) == round_ + 1


def test_a_server_and_its_keeper_killed_together_come_back(
    store: EmbeddedStore, data_dir: Path
) -> None:
    path = store.ensure_running()
    write(path, "a")
    server = server_at(path)
    os.kill(keeper_of(data_dir), signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    until(lambda: has_ended(data_dir))

    assert keys(store.ensure_running()) == {"a"}


def test_no_second_server_starts_before_the_one_without_a_keeper_has_ended(
    store: EmbeddedStore, data_dir: Path
) -> None:
    path = store.ensure_running()
    write(path, "a")
    server = server_at(path)
    os.kill(server, signal.SIGSTOP)
    try:
        kill_keeper(data_dir)

        with pytest.raises(EmbeddedStoreError, match="does not answer"):
            store.ensure_running(timeout=0.5)
    finally:
        os.kill(server, signal.SIGCONT)

    assert keys(store.ensure_running()) == {"a"}
    assert server != server_at(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tell a server of it")
def test_the_store_ends_when_gateway_and_keeper_are_killed(
    start_gateway: Gateway, data_dir: Path
) -> None:
    gateway = start_gateway()
    path_of(gateway)

    gateway.kill()
    os.kill(keeper_of(data_dir), signal.SIGKILL)

    until(lambda: has_ended(data_dir))


def test_a_server_that_lost_its_keeper_is_ended_before_another_one_writes(
    store: EmbeddedStore, data_dir: Path
) -> None:
    """As on a platform that cannot end a server with its keeper."""
    data_dir.mkdir(mode=0o700)
    with (data_dir / store_keeper.SERVER_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(
            [embedded_store.find_server(), *store_keeper.SERVER_OPTIONS],
            cwd=data_dir,
            stdout=subprocess.DEVNULL,
            pass_fds=(lock.fileno(),),
        )
    try:
        path = data_dir / store_keeper.SOCKET
        until(lambda: store_keeper.ping(str(path)) == "PONG")
        write(path, "a")
        with (data_dir / store_keeper.SUPERVISOR_LOCK).open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            with pytest.raises(EmbeddedStoreError, match="not yet that of the present keeper"):
                store.ensure_running(timeout=0.1)

        assert keys(store.ensure_running()) == {"a"}
        assert orphan.wait(0.1) == 0
    finally:
        orphan.kill()
        orphan.wait()


def test_a_file_cut_in_the_middle_of_a_change_is_loaded(
    store: EmbeddedStore, data_dir: Path
) -> None:
    path = store.ensure_running()
    write(path, "a")
    write(path, "b")
    end_without_lingering(store)
    (changes,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    os.truncate(changes, changes.stat().st_size - 3)

    assert keys(store.ensure_running()) == {"a"}


def test_a_server_of_another_kind_reads_the_data(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra may be installed or removed between two starts."""
    if shutil.which("redis-server") is None or embedded_store._bundled_server() is None:
        pytest.skip("needs the server of the extra 'embedded' and a redis-server on PATH")
    path = store.ensure_running()
    write(path, "a")
    with client_of(path) as client:
        client.bgrewriteaof()
        until((store.data_dir / "appendonlydir" / "appendonly.aof.2.base.aof").exists)
    end_without_lingering(store)
    monkeypatch.setattr(embedded_store, "_bundled_server", lambda: None)

    with client_of(store.ensure_running()) as client:
        assert client.keys() == ["a"]
        assert client.info("server")["executable"].endswith("redis-server")


def test_a_data_dir_that_is_removed_gets_a_new_store(
    store: EmbeddedStore, data_dir: Path, start_gateway: Gateway
) -> None:
    """The former store ends, or those who are connected to it would never see the new one."""
    path_of(start_gateway())
    path = store.ensure_running()
    write(path, "a")
    with (data_dir / store_keeper.SERVER_LOCK).open("a") as former:
        shutil.rmtree(data_dir)

        assert keys(store.ensure_running()) == set()
        until(lambda: try_to_lock(former))
