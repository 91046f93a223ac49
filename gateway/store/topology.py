"""From ``store.url`` to the servers behind it: one node, Sentinel or Cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from redis.exceptions import AskError, MovedError

from gateway.config.settings import Store
from gateway.store.cluster import Cluster
from gateway.store.node import RedisNode
from gateway.store.sentinel import BehindSentinel


class Topology(Protocol):
    """Which server to ask. ``ends`` is when an answer is of no use any more (monotonic)."""

    def node_of(self, key: str, ends: float) -> RedisNode:
        """Return the server that has ``key``. Raises RedisError."""

    def follow(self, error: AskError | MovedError, asked: RedisNode) -> RedisNode | None:
        """Return the server that ``asked`` named in its place, if that is possible here."""

    def look_again(self, ends: float) -> None:
        """Find out anew who is where, after trouble."""

    def primaries(self, ends: float) -> list[RedisNode]:
        """Return all servers that together have every key. Raises RedisError."""

    def close(self) -> None:
        """Close every connection."""


class OneNode:
    """The topology of a single server."""

    def __init__(self, node: RedisNode) -> None:
        self._node = node

    def node_of(self, key: str, ends: float) -> RedisNode:
        """Return the one server."""
        return self._node

    def follow(self, error: AskError | MovedError, asked: RedisNode) -> RedisNode | None:
        """Return ``None``: a node of a cluster is no store by itself."""
        return None

    def look_again(self, ends: float) -> None:
        """Do nothing: a name that leads elsewhere now is looked up with every connection."""

    def primaries(self, ends: float) -> list[RedisNode]:
        """Return the one server."""
        return [self._node]

    def close(self) -> None:
        """Close every connection."""
        self._node.close()


_DEFAULT_PORT = 6379
_DEFAULT_SENTINEL_PORT = 26379


def connect(store: Store, embedded_socket: Path | None = None) -> Topology:
    """Return who answers for ``store.url``. Nothing is sent yet.

    ``embedded_socket`` is where the embedded store listens, when the URL is ``embedded``.
    A URL may carry a user and a password, ``/1`` for a database on one node or behind
    Sentinel, and for Sentinel the primary's name: ``redis+sentinel://host:26379/mymaster/0``.
    """
    if embedded_socket is not None:
        return OneNode(_node(store, {"path": str(embedded_socket)}, {}))
    url = urlsplit(store.url)
    scheme, _, topology = url.scheme.partition("+")
    options = _credentials(url) | _tls(store, tls=scheme == "rediss")
    if topology == "sentinel":
        return _sentinel(store, url, options, tls=scheme == "rediss")
    if topology == "cluster":
        return Cluster(
            _addresses(url, _DEFAULT_PORT),
            lambda host, port: _node(store, {"host": host, "port": port}, options),
            store.timeout,
        )
    if scheme == "unix":
        return OneNode(_node(store, {"path": unquote(url.path)}, options))
    (host, port), *_ = _addresses(url, _DEFAULT_PORT)
    options["db"] = int(url.path.strip("/") or 0)
    return OneNode(_node(store, {"host": host, "port": port}, options))


def _sentinel(store: Store, url: SplitResult, options: dict[str, Any], *, tls: bool) -> Topology:
    service, _, database = url.path.strip("/").partition("/")
    in_database = {**options, "db": int(database or 0)}
    # The credentials in the URL are the servers'; the certificates are for all of them.
    of_sentinel = _tls(store, tls=tls)
    if store.sentinel_password:
        of_sentinel |= {
            "username": store.sentinel_user or None,
            "password": store.sentinel_password,
        }
    return BehindSentinel(
        [
            _node(store, {"host": host, "port": port}, of_sentinel)
            for host, port in _addresses(url, _DEFAULT_SENTINEL_PORT)
        ],
        service or "mymaster",
        lambda host, port: _node(store, {"host": host, "port": port}, in_database),
        store.timeout,
    )


def _node(store: Store, address: Mapping[str, Any], options: Mapping[str, Any]) -> RedisNode:
    return RedisNode(address, options, connections=store.connections, timeout=store.timeout)


def _addresses(url: SplitResult, default_port: int) -> list[tuple[str, int]]:
    hosts = url.netloc.rpartition("@")[2]
    addresses = []
    for address in hosts.split(","):
        one = urlsplit(f"//{address}")
        addresses.append((one.hostname or "localhost", one.port or default_port))
    return addresses


def _credentials(url: SplitResult) -> dict[str, Any]:
    user, colon, password = url.netloc.rpartition("@")[0].partition(":")
    if not colon:
        return {}
    return {"username": unquote(user) or None, "password": unquote(password)}


def _tls(store: Store, *, tls: bool) -> dict[str, Any]:
    if not tls:
        return {}
    files = {
        "ssl_ca_certs": store.ca_file,
        "ssl_certfile": store.cert_file,
        "ssl_keyfile": store.key_file,
    }
    return {"tls": True} | {name: str(path) for name, path in files.items() if path is not None}
