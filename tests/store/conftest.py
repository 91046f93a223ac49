"""A data folder, and stores and gateways that use it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store import embedded as embedded_store
from gateway.store.embedded import EmbeddedStore
from tests.store.embedded_gateways import GATEWAY, Gateway, kill_what_is_left


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
