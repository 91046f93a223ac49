"""From ``store.url`` to a redis-py client: one node, Sentinel or Cluster.

Every client made here sends a command once. redis-py by default sends one that timed out up
to eleven times; whether a repeat is safe is known one layer up, in
:mod:`gateway.redis_link`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import SplitResult, unquote, urlsplit

from redis import BlockingConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from gateway.config import Store


class RedisClient(Protocol):
    """What the gateway asks of a client, whichever topology is behind it."""

    def execute_command(self, *words: str | int) -> Any:
        """Send a command and return its answer."""

    def pipeline(self, *, transaction: bool) -> Any:
        """Return a pipeline, which sends its commands in one round trip."""

    def close(self) -> None:
        """Close every connection."""


_DEFAULT_PORT = 6379
_DEFAULT_SENTINEL_PORT = 26379


class _BlockingSentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """A pool that follows the primary, and waits for a connection instead of raising."""


def connect(store: Store, embedded_socket: Path | None = None) -> RedisClient:
    """Return a client for ``store.url``. Nothing is sent yet, but to find a cluster's nodes.

    ``embedded_socket`` is where the embedded store listens, when the URL is ``embedded``.
    A URL may carry a user and a password, ``/1`` for a database on one node or behind
    Sentinel, and for Sentinel the primary's name: ``redis+sentinel://host:26379/mymaster/0``.
    Raises redis-py's errors if a cluster cannot be reached.
    """
    if embedded_socket is not None:
        return _one_node(store, UnixDomainSocketConnection, path=str(embedded_socket))
    url = urlsplit(store.url)
    scheme, _, topology = url.scheme.partition("+")
    if topology == "sentinel":
        return _sentinel(store, url, tls=scheme == "rediss")
    if topology == "cluster":
        return _cluster(store, url, tls=scheme == "rediss")
    if scheme == "unix":
        return _one_node(
            store, UnixDomainSocketConnection, path=unquote(url.path), **_credentials(url)
        )
    (host, port), *_ = _addresses(url, _DEFAULT_PORT)
    connection_class = {"connection_class": SSLConnection} if scheme == "rediss" else {}
    return _one_node(
        store,
        host=host,
        port=port,
        db=int(url.path.strip("/") or 0),
        **connection_class,
        **_credentials(url),
        **_tls_files(store, tls=scheme == "rediss"),
    )


def _common(store: Store) -> dict[str, Any]:
    return {
        "socket_timeout": store.timeout,
        "socket_connect_timeout": store.timeout,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
        # RESP2 needs no greeting; nothing here asks for more. Nor does a connection introduce
        # the library, which would be two more round trips.
        "protocol": 2,
        "driver_info": None,
    }


def _one_node(store: Store, connection_class: Any = None, **connection: Any) -> RedisClient:
    if connection_class is not None:
        connection["connection_class"] = connection_class
    pool = BlockingConnectionPool(
        max_connections=store.connections,
        timeout=store.timeout,
        **_common(store),
        **connection,
    )
    return cast(RedisClient, Redis(connection_pool=pool))


def _sentinel(store: Store, url: SplitResult, *, tls: bool) -> RedisClient:
    service, _, database = url.path.strip("/").partition("/")
    common = _common(store) | _tls_files(store, tls=tls)
    sentinels = Sentinel(
        _addresses(url, _DEFAULT_SENTINEL_PORT),
        sentinel_kwargs={**common, "ssl": True} if tls else common,
        **common,
        **_credentials(url),
    )
    client = sentinels.master_for(
        service or "mymaster",
        connection_pool_class=_BlockingSentinelPool,
        max_connections=store.connections,
        timeout=store.timeout,
        db=int(database or 0),
        **({"ssl": True} if tls else {}),
    )
    return cast(RedisClient, client)


def _cluster(store: Store, url: SplitResult, *, tls: bool) -> RedisClient:
    nodes = [ClusterNode(host, port) for host, port in _addresses(url, _DEFAULT_PORT)]
    options: dict[str, Any] = _common(store) | _credentials(url) | _tls_files(store, tls=tls)
    if tls:
        options["ssl"] = True
    client = RedisCluster(
        startup_nodes=nodes,
        max_connections=store.connections,
        # Decisions are never read from a replica: it may not know of a revocation yet.
        read_from_replicas=False,
        **options,
    )
    return cast(RedisClient, client)


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


def _tls_files(store: Store, *, tls: bool) -> dict[str, Any]:
    if not tls:
        return {}
    files = {
        "ssl_ca_certs": store.ca_file,
        "ssl_certfile": store.cert_file,
        "ssl_keyfile": store.key_file,
    }
    return {name: str(path) for name, path in files.items() if path is not None}
