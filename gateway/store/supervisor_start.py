"""Starts the supervisor of an embedded store as a process of its own."""

from __future__ import annotations

import contextlib
import os
import posix
import shutil
import sys
import time
from pathlib import Path

from gateway.store import supervisor

#: Long enough for a supervisor to take its lock, before another one is started.
_START_SECONDS = 0.5
#: The supervisor gets nothing else: the gateway's environment may hold its secret key.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TZ")


class SupervisorStart:
    """One attempt to start a supervisor, and the pipe for the reason why the store cannot start.

    ``binary`` is the server's path. Raises OSError if the process cannot be started.
    """

    def __init__(self, data_dir: Path, binary: str) -> None:
        self._started_at = time.monotonic()
        self._report, writing_end = os.pipe()
        os.set_blocking(self._report, False)
        try:
            process = _spawn(data_dir, binary, writing_end)
        except OSError:
            self.close()
            raise
        finally:
            os.close(writing_end)
        # The process forks at once, so the supervisor is not our child. A server that reaps every
        # child may have reaped it first.
        with contextlib.suppress(ChildProcessError):
            posix.waitpid(process, 0)

    @property
    def is_over(self) -> bool:
        """Whether the supervisor had enough time to take its lock."""
        return time.monotonic() - self._started_at > _START_SECONDS

    def read_failure(self) -> str:
        """Return the reason why the store cannot start; empty if there is none so far."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._report, 4096).decode("utf-8", "replace")
        return ""

    def close(self) -> None:
        """Close the pipe. The supervisor runs on."""
        if self._report >= 0:
            os.close(self._report)
            self._report = -1


def _spawn(data_dir: Path, binary: str, report: int) -> int:
    python = _python()
    log = str(data_dir / supervisor.LOG)
    # From the module under os: gevent replaces the functions of os and subprocess by its own, which
    # work on the main thread only.
    return posix.posix_spawn(
        python,
        [python, "-I", "-S", supervisor.__file__, str(data_dir), binary],
        {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, report, 1),
            (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        ],
        setsigmask=(),
    )


def _python() -> str:
    """Return the path of a Python. If a server embeds Python, sys.executable is the server's."""
    own = Path(sys.executable or "")
    if own.name.startswith(("python", "pypy")):
        return str(own)
    prefix = Path(sys.prefix, "bin", "python3")
    return str(prefix) if prefix.exists() else shutil.which("python3") or str(own)
