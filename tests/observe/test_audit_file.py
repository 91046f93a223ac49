"""The file of the audit log: whole lines, whoever else writes, rotates or fills the disk."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.config.settings import AuditLog
from gateway.observe import audit_file
from gateway.observe.audit import Audit
from gateway.observe.audit_file import AuditFile


@contextmanager
def room_for(more: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as a disk that is nearly full does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_line_that_did_not_fit_is_an_error_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path)
    file.append(b"first\n")
    with room_for(10):
        for _ in range(2):
            with pytest.raises(OSError, match="File too large"):
                file.append(b"second\n")
    file.append(b"third\n")
    file.append(b"fourth\n")
    assert path.read_bytes() == b"first\nseco\nthird\nfourth\n"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the path before each line."""
    monkeypatch.setattr(audit_file, "_LOOK_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_file_that_was_rotated_away_is_left_alone(tmp_path: Path) -> None:
    path, rotated = tmp_path / "audit.log", tmp_path / "audit.log.1"
    file = AuditFile(path)
    file.append(b"first\n")
    path.rename(rotated)
    file.append(b"second\n")
    path.rename(tmp_path / "audit.log.2")
    path.write_bytes(b"made by logrotate\n")
    file.append(b"third\n")
    assert rotated.read_bytes() == b"first\n"
    assert path.read_bytes() == b"made by logrotate\nthird\n"


@pytest.mark.usefixtures("at_once")
def test_threads_that_write_while_it_is_rotated_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path)

    def write(thread: int) -> None:
        for number in range(200):
            file.append(b"%d/%d\n" % (thread, number))

    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(write, number) for number in range(4)]
        rotated = 0
        while not all(each.done() for each in writing):
            if path.exists():
                rotated += 1
                path.rename(tmp_path / f"audit.log.{rotated}")
        for each in writing:
            each.result()
    lines = b"".join(each.read_bytes() for each in tmp_path.iterdir()).splitlines()
    assert sorted(lines) == sorted(b"%d/%d" % (t, n) for t in range(4) for n in range(200))


def test_it_takes_no_descriptor_along_when_it_goes(tmp_path: Path) -> None:
    before = _next_descriptor()
    for number in range(3):
        AuditFile(tmp_path / str(number)).append(b"line\n")
    assert _next_descriptor() == before


def _next_descriptor() -> int:
    # The lowest that is free (POSIX).
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


class _Closed:
    def write(self, _text: str) -> None:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stderr", [None, _Closed()], ids=["none", "closed"])
def test_a_standard_error_that_is_gone_stops_nobody(
    stderr: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stderr)
    Audit(AuditLog(file="-")).record("request", outcome="allowed")
