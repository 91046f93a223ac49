"""From ``store.url`` to the servers behind it: one node, Sentinel or Cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from redis.exceptions import AskError

from gateway.config.settings import Store
from gateway.store.cluster import Cluster
from gateway.store.node import RedisNode
from gateway.store.sentinel import BehindSentinel


class Topology(Protocol):
    """Which server to ask. ``deadline`` (monotonic) is when its caller stops waiting."""

    def node_of(self, key: str, deadline: float) -> RedisNode:
        """Return the server that has ``key``. Raises RedisError."""

    def follow(self, redirect: AskError, asked: RedisNode) -> RedisNode:
        """Return the server that ``asked`` named in its place (MOVED, ASK).

        Raises ``redirect`` if the store is no cluster.
        """

    def refresh(self, deadline: float) -> None:
        """Learn anew which server is which, after trouble."""

    def primaries(self, deadline: float) -> list[RedisNode]:
        """Return all servers that together have every key. Raises RedisError."""

    def close(self) -> None:
        """Close every connection."""


class OneNode:
    """The topology of a single server."""

    def __init__(self, node: RedisNode) -> None:
        self._node = node

    def node_of(self, key: str, deadline: float) -> RedisNode:
        """Return the one server."""
        return self._node

    def follow(self, redirect: AskError, asked: RedisNode) -> RedisNode:
        """Raise ``redirect``: one node of a cluster is not a store by itself."""
        raise redirect

    def refresh(self, deadline: float) -> None:
        """Do nothing: each new connection looks up the server's name anew."""

    def primaries(self, deadline: float) -> list[RedisNode]:
        """Return the one server."""
        return [self._node]

    def close(self) -> None:
        """Close every connection."""
        self._node.close()


_DEFAULT_PORT = 6379
_DEFAULT_SENTINEL_PORT = 26379


def connect(store: Store, embedded_socket: Path | None = None) -> Topology:
    """Return the topology of ``store.url``. Nothing is sent yet.

    ``embedded_socket`` is the path of the embedded store's socket if the URL is ``embedded``. A
    URL may have a user and a password. For one node or Sentinel it may have a database (``/1``),
    and for Sentinel the name of the primary: ``redis+sentinel://host:26379/mymaster/0``.
    """
    if embedded_socket is not None:
        return OneNode(_node(store, {"path": str(embedded_socket)}, {}))
    url = urlsplit(store.url)
    scheme, _, topology = url.scheme.partition("+")
    tls = _tls(store) if scheme == "rediss" else {}
    if topology == "sentinel":
        return _sentinel(store, url, tls)
    if topology == "cluster":
        return _cluster(store, url, tls)
    return OneNode(_one_node(store, url, tls))


def _one_node(store: Store, url: SplitResult, tls: Mapping[str, Any]) -> RedisNode:
    if url.scheme == "unix":
        return _node(store, {"path": unquote(url.path)}, _login(url))
    (host, port), *_ = _addresses(url, _DEFAULT_PORT)
    database = {"db": int(url.path.strip("/") or 0)}
    return _node(store, {"host": host, "port": port}, {**_login(url), **tls, **database})


def _cluster(store: Store, url: SplitResult, tls: Mapping[str, Any]) -> Cluster:
    options = {**_login(url), **tls}
    return Cluster(
        _addresses(url, _DEFAULT_PORT),
        lambda host, port: _node(store, {"host": host, "port": port}, options),
        store.timeout,
    )


def _sentinel(store: Store, url: SplitResult, tls: Mapping[str, Any]) -> BehindSentinel:
    service, _, database = url.path.strip("/").partition("/")
    options = {**_login(url), **tls, "db": int(database or 0)}
    sentinel_options = {**_sentinel_login(store), **tls}
    return BehindSentinel(
        [
            _node(store, {"host": host, "port": port}, sentinel_options)
            for host, port in _addresses(url, _DEFAULT_SENTINEL_PORT)
        ],
        service or "mymaster",
        lambda host, port: _node(store, {"host": host, "port": port}, options),
        store.timeout,
    )


def _sentinel_login(store: Store) -> dict[str, Any]:
    """Return the login for the Sentinels: the login in the URL is for primary and replicas."""
    if not store.sentinel_password:
        return {}
    return {"username": store.sentinel_user or None, "password": store.sentinel_password}


def _node(store: Store, address: Mapping[str, Any], options: Mapping[str, Any]) -> RedisNode:
    return RedisNode(address, options, connections=store.connections, timeout=store.timeout)


def _addresses(url: SplitResult, default_port: int) -> list[tuple[str, int]]:
    hosts = url.netloc.rpartition("@")[2]
    addresses = []
    for address in hosts.split(","):
        one = urlsplit(f"//{address}")
        addresses.append((one.hostname or "localhost", one.port or default_port))
    return addresses


def _login(url: SplitResult) -> dict[str, Any]:
    user, colon, password = url.netloc.rpartition("@")[0].partition(":")
    if not colon:
        return {}
    return {"username": unquote(user) or None, "password": unquote(password)}


def _tls(store: Store) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": store.ca_file,
        "ssl_certfile": store.cert_file,
        "ssl_keyfile": store.key_file,
    }
    return {"tls": True} | {name: str(path) for name, path in files.items() if path is not None}
