"""The embedded store, with real gateways' processes, keepers and servers."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest

from gateway.store import supervisor as store_keeper
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError
from tests.store.embedded_gateways import (
    GEVENT_GATEWAY,
    PRE_FORK_GATEWAY,
    Gateway,
    client_of,
    first_line,
    keeper_of,
    keys,
    kill_what_is_left,
    path_of,
    server_at,
    write,
)


def test_the_server_keeps_every_change_and_never_evicts(store: EmbeddedStore) -> None:
    expected = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
    }

    with client_of(store.ensure_running()) as client:
        assert expected == client.config_get(*expected)


def test_only_the_owner_can_reach_the_server(store: EmbeddedStore, data_dir: Path) -> None:
    path = store.ensure_running()
    write(path, "a")

    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [file for file in data_dir.rglob("*") if file.stat().st_mode & 0o077]
    with client_of(path) as client:
        assert client.config_get("port", "tls-port") == {"port": "0", "tls-port": "0"}


def test_a_gateway_that_starts_while_the_store_is_ending_waits(
    store: EmbeddedStore, data_dir: Path
) -> None:
    data_dir.mkdir(mode=0o700)
    with (data_dir / store_keeper.USERS_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedStoreError, match="still ending"):
            store.ensure_running(timeout=0.1)
        threading.Timer(0.2, lambda: fcntl.flock(lock, fcntl.LOCK_UN)).start()

        assert server_at(store.ensure_running()) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the path goes through /proc/self/fd")
def test_a_data_dir_longer_than_a_socket_path_works(tmp_path: Path, start_gateway: Gateway) -> None:
    long = tmp_path / ("d" * 120)
    store = EmbeddedStore(long)
    try:
        worker = int(first_line(start_gateway(PRE_FORK_GATEWAY, data_dir=long)))
        try:
            path = store.ensure_running()
            write(path, "a")

            assert store.ensure_running() == path
            assert keys(path) == {"a"}
            assert stat.S_IMODE((long / store_keeper.SOCKET).stat().st_mode) == 0o600
        finally:
            os.kill(worker, signal.SIGKILL)
    finally:
        store.release()
        kill_what_is_left(long)


@pytest.mark.parametrize("where", ["greenlet", "thread"])
def test_it_starts_under_gevent(start_gateway: Gateway, where: str) -> None:
    gateway = start_gateway(GEVENT_GATEWAY, where)

    assert server_at(path_of(gateway)) > 0


def test_the_keeper_keeps_nothing_of_the_gateway(start_gateway: Gateway, data_dir: Path) -> None:
    """No listening socket, no standard output (`gateway serve | tee` ends), no secret."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        listener.set_inheritable(True)
        gateway = start_gateway(
            environment={"GATEWAY_SECRET_KEY": "not-for-the-keeper"},
            pass_fds=(listener.fileno(),),
        )
        path = path_of(gateway)
    server = server_at(path)

    gateway.kill()
    output, _ = gateway.communicate(timeout=1)

    assert output == ""
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass
    assert server == server_at(path)
    if sys.platform == "linux":
        for process in (keeper_of(data_dir), server):
            environment = Path(f"/proc/{process}/environ").read_bytes()
            assert b"not-for-the-keeper" not in environment
