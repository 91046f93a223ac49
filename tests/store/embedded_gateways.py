"""Gateways with an embedded store, its keeper and its server, seen from outside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import redis

from gateway.store import supervisor as store_keeper
from gateway.store.embedded import EmbeddedStore

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


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def path_of(gateway: subprocess.Popen[str]) -> Path:
    return Path(first_line(gateway))
