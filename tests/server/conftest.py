"""The slow backend, and gateways in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.support.serving import Serve, serving, slow_backend


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with slow_backend(tmp_path_factory.mktemp("slow")) as url:
        yield url


@pytest.fixture
def serve(backend: str, tmp_path: Path) -> Serve:
    """Return how to run a gateway; its arguments are those of ``serving``."""
    return partial(serving, tmp_path, backend)


@pytest.fixture
def in_background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as executor:
        yield executor
