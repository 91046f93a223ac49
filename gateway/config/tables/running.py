"""The tables that say how a gateway runs: its server, backend, store, limits and audit log."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from gateway.config.grammar import (
    field_value_fault,
    host_name_fault,
    key_prefix_fault,
    listen_fault,
    one_line,
    socket_mode_fault,
    store_url_fault,
    upstream_header_fault,
    upstream_url_fault,
)
from gateway.config.tables.table import Secret, Table
from gateway.config.values import (
    Count,
    Duration,
    DurationOrZero,
    FilePath,
    FrozenMapping,
    ListOf,
    LogName,
    OneOrSomeOf,
    Peer,
    Seconds,
    obeys,
)

_UpstreamURL = Annotated[str, obeys(upstream_url_fault)]
_HeaderName = Annotated[str, obeys(upstream_header_fault)]
_HeaderValue = Annotated[str, obeys(field_value_fault)]


class Server(Table):
    """``[server]``: how ``gateway serve`` listens."""

    listen: Annotated[str, obeys(listen_fault)] = "127.0.0.1:8000"
    """HOST:PORT, [IPV6]:PORT or unix:/path"""
    socket_mode: Annotated[str, obeys(socket_mode_fault)] = "0660"
    """of the unix socket: who may connect, whatever the umask"""
    socket_group: Annotated[str, obeys(one_line)] = ""
    """of the unix socket; empty: the group of the process"""
    workers: Count = 2
    """processes"""
    connections: Count = 1000
    """at once, in each worker"""
    trusted_proxies: ListOf[Peer] = ()
    """addresses, CIDR blocks or "unix": the proxies whose X-Forwarded-* headers are believed"""
    keep_alive_seconds: Seconds = 75
    """how long a connection waits for its next request; longer than the proxy in front keeps it"""
    graceful_seconds: DurationOrZero = 30.0
    """how long a stop or a reload waits for requests in flight"""


class Upstream(Table):
    """``[upstream]``: the backend, and what is sent to it.

    ``urls`` is the key ``url``. Only a standalone gateway needs one; ``pass_authorization`` and
    ``headers`` hold for a wrapped application as well.
    """

    # A password in it is refused, so there is none to keep in a file.
    urls: Annotated[
        OneOrSomeOf[_UpstreamURL],
        Secret(in_url=True, has_file=False),
        Field(validation_alias="url"),
    ] = ("http://127.0.0.1:8080",)
    """http://, https:// or unix:/path, or a list of them; never with a path"""
    connect_timeout: Duration = 5.0
    """of one attempt to connect"""
    read_timeout: Duration = 60.0
    """between two parts of an answer, or of a body that the client sends"""
    stream_timeout: DurationOrZero = 0.0
    """the same for an event stream (text/event-stream), in place of read_timeout; 0: none"""
    total_timeout: DurationOrZero = 0.0
    """of a whole exchange, the upload included; 0: none"""
    connections: Count = 1000
    """kept open or in use, at most, in each worker"""
    ca_file: FilePath | None = None
    """certificates that an https backend must chain to; absent: the system's"""
    server_name: Annotated[str, obeys(host_name_fault)] = ""
    """the name in the certificate of an https backend; absent: the host of url"""
    pass_authorization: bool = False
    """true: every Authorization header reaches the backend; false: on public routes, no bearer"""
    headers: Annotated[FrozenMapping[_HeaderName, _HeaderValue], Secret()] = Field(
        default_factory=lambda: MappingProxyType({})
    )
    """added to every forwarded request: { X-Site = "main" }"""


class Store(Table):
    """``[store]``: where grants, sessions and counters live.

    ``sentinel_user`` and ``sentinel_password`` are for the Sentinels, those in ``url`` for the
    servers. ``ca_file``, ``cert_file`` and ``key_file`` are for ``rediss``.
    """

    url: Annotated[str, obeys(store_url_fault), Secret(in_url=True)] = "embedded"
    """embedded, unix://, redis:// or rediss://, and the last two with +sentinel or +cluster"""
    data_dir: FilePath = Field(Path("gateway-data"), validate_default=True)
    """of the embedded store"""
    key_prefix: Annotated[str, obeys(key_prefix_fault)] = "gateway"
    """of every key in the store"""
    timeout: Duration = 0.5
    """of one attempt, from waiting for a connection to the answer; there are two at most"""
    connections: Count = 100
    """in each worker"""
    wait_replicas: Annotated[int, Field(ge=0)] = 0
    """how many replicas must have a revocation before it is acknowledged"""
    sentinel_user: str = ""
    """at the Sentinels themselves; url has the user and the password of the servers"""
    sentinel_password: Annotated[str, Secret()] = ""
    """empty: they ask for none"""
    ca_file: FilePath | None = None
    """for rediss: certificates that the store must chain to"""
    cert_file: FilePath | None = None
    """for rediss: the certificate to show to the store"""
    key_file: FilePath | None = None
    """for rediss: its key"""


class Limits(Table):
    """``[limits]``: what one name or address may try, and how large a form may be."""

    sign_in_attempts: Count = 10
    """failed, for one name and address; five times as many for a name from all addresses"""
    client_attempts: Count = 30
    """wrong secrets for one client from one network; then the right one is stopped there too"""
    attempt_seconds: Seconds = 300
    """in which attempts are counted"""
    form_bytes: Count = 65_536
    """the largest form"""


class AuditLog(Table):
    """``[audit]``: one JSON object a line for each decision."""

    file: LogName = "-"
    """a path; -: standard error"""
    requests: bool = True
    """false: no line for a forwarded request that was allowed"""
