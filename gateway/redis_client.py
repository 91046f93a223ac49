"""From ``store.url`` to a redis-py client: one node, Sentinel or Cluster.

Every client made here sends a command once. redis-py by default sends one that timed out up
to eleven times; whether a repeat is safe is known one layer up, in
:mod:`gateway.redis_link`.
"""

from __future__ import annotations

from pathlib import Path
from queue import Empty
from typing import Any, Protocol, cast
from urllib.parse import SplitResult, unquote, urlsplit

from redis import BlockingConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisClusterException
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


class _Pool(BlockingConnectionPool):
    """A pool that waits for a connection, and says so when there is none in time."""

    def get_connection(self, *words: Any, **options: Any) -> Any:
        """Return a connection. Raises MaxConnectionsError when all stay in use."""
        base: Any = super()
        try:
            return base.get_connection(*words, **options)
        except RedisConnectionError as error:
            # The base class raises what it raises for a dead server, and these differ.
            if isinstance(error.__context__, Empty):
                raise MaxConnectionsError(*error.args) from error
            raise


class _SentinelPool(SentinelConnectionPool, _Pool):
    """Such a pool that follows the primary."""


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


def node_of(client: RedisClient | None, key: str) -> str:
    """Return the name of the cluster's node that has ``key``; empty where there is just one."""
    if not isinstance(client, RedisCluster):
        return ""
    try:
        node = client.get_node_from_key(key)
    except RedisClusterException:
        # No node covers the slot at the moment.
        return ""
    return str(node.name) if node else ""


def _common(store: Store) -> dict[str, Any]:
    return {
        "socket_timeout": store.timeout,
        # Waiting for a connection, making it, and one command are twice ``timeout`` at most.
        "socket_connect_timeout": store.timeout / 2,
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
    make_pool: Any = _Pool
    pool = make_pool(
        max_connections=store.connections,
        timeout=store.timeout / 2,
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
        connection_pool_class=_SentinelPool,
        max_connections=store.connections,
        timeout=store.timeout / 2,
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
