"""Gateways on stores that get into trouble."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import Proxy, proxied
from tests.faults.site import Site, site
from tests.faults.topologies import Server, one_node


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all that the tests of one file run."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[Server]:
    """One server, with its append-only file on."""
    with one_node(folder / "node") as server:
        yield server


@pytest.fixture(scope="module")
def way(node: Server) -> Iterator[Proxy]:
    """The way from the standalone gateway to the server."""
    with proxied(node.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def standalone_site(folder: Path, way: Proxy) -> Iterator[Site]:
    """A standalone gateway (greenlets) whose grace time is a second."""
    url = f"redis://127.0.0.1:{way.port}"
    with site("standalone", folder / "standalone", url, "refresh_grace_seconds = 1") as running:
        yield running
