"""The settings of a gateway: one frozen dataclass for each table of the configuration file.

Names, meanings and defaults are those of ``config.example.toml``. Reading the file, and
naming every fault in it, is the business of :mod:`gateway.config.file`; everything else in
the package takes these objects and never a dictionary.

Durations are seconds, sizes are bytes, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from gateway.http.peers import TrustedPeer

#: What a client may be registered for (RFC 6749 §4.1, §4.4 and §6).
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")


@dataclass(frozen=True, slots=True)
class Server:
    """``[server]``: how ``gateway serve`` listens."""

    listen: str = "127.0.0.1:8000"
    workers: int = 2
    connections: int = 1000
    trusted_proxies: tuple[TrustedPeer, ...] = ()
    graceful_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """``[upstream]``: the backend, and what is sent to it.

    ``urls`` is the key ``url``, which takes one URL or a list of them: ``http://host:port``,
    ``https://host:port`` or ``unix:/path/to/socket``. Only a standalone gateway needs one;
    ``pass_authorization`` and ``headers`` hold for a wrapped application as well.
    """

    urls: tuple[str, ...] = ("http://127.0.0.1:8080",)
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    total_timeout: float = 0.0
    connections: int = 1000
    ca_file: Path | None = None
    pass_authorization: bool = False
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Store:
    """``[store]``: where grants, sessions and counters live.

    ``timeout`` bounds waiting for a connection, connecting and one command together; they are
    tried twice at most. ``wait_replicas`` is how many replicas must have a revocation before
    it is acknowledged. ``sentinel_user`` and ``sentinel_password`` are for the Sentinels, those in
    ``url`` for the servers. ``ca_file``, ``cert_file`` and ``key_file`` are for ``rediss``.
    """

    url: str = "embedded"
    data_dir: Path = Path("gateway-data")
    key_prefix: str = "gateway"
    timeout: float = 0.5
    connections: int = 100
    wait_replicas: int = 0
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """``[tokens]``: lifetimes. ``refresh_seconds`` is idle time, ``grant_seconds`` absolute."""

    code_seconds: int = 60
    access_seconds: int = 3600
    refresh_seconds: int = 2_592_000
    refresh_grace_seconds: int = 30
    grant_seconds: int = 31_536_000


@dataclass(frozen=True, slots=True)
class EndpointPaths:
    """``[endpoints]``: every path each endpoint answers at; the first one is advertised."""

    authorize: tuple[str, ...] = (
        "/oauth/authorize",
        "/api/method/frappe.integrations.oauth2.authorize",
    )
    token: tuple[str, ...] = ("/oauth/token", "/api/method/frappe.integrations.oauth2.get_token")
    revoke: tuple[str, ...] = (
        "/oauth/revoke",
        "/api/method/frappe.integrations.oauth2.revoke_token",
    )
    introspect: tuple[str, ...] = ("/oauth/introspect",)
    verify: tuple[str, ...] = ("/oauth/verify",)
    sign_in: tuple[str, ...] = ("/oauth/sign-in",)
    sign_out: tuple[str, ...] = ("/oauth/sign-out",)
    applications: tuple[str, ...] = ("/oauth/applications",)
    health: tuple[str, ...] = ("/oauth/health",)
    metadata: tuple[str, ...] = ("/.well-known/oauth-authorization-server",)


@dataclass(frozen=True, slots=True)
class Provider:
    """``[provider]``: ``consent`` is remember, always or never; ``pkce`` required or optional."""

    consent: str = "remember"
    pkce: str = "required"


@dataclass(frozen=True, slots=True)
class Limits:
    """``[limits]``: what one name or address may try, and how large a form may be."""

    sign_in_attempts: int = 10
    client_attempts: int = 30
    attempt_seconds: int = 300
    form_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class AuditLog:
    """``[audit]``: one JSON object a line; ``file`` is a path, or ``-`` for standard error."""

    file: str = "-"
    requests: bool = True


@dataclass(frozen=True, slots=True)
class Client:
    """``[[clients]]``, or a client kept in the store: RFC 6749 §2.

    ``secret_sha256`` is the hexadecimal SHA-256 of the client's secret in UTF-8; ``None``
    makes a public client. ``pkce`` is ``required`` or ``optional``; ``None`` means what
    ``[provider]`` says for a public client and ``optional`` for a confidential one.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    secret_sha256: str | None = None
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    pkce: str | None = None
    skip_consent: bool = False
    introspect_any: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """``[[sign_in.users]]``: somebody who signs in with a password."""

    name: str
    password_hash: str
    full_name: str = ""
    email: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamSession:
    """``[sign_in.upstream_session]``: ask the backend who its own cookie belongs to."""

    url: str = "/api/method/frappe.auth.get_logged_user"
    user: str = "message"
    guest: tuple[str, ...] = ("Guest",)
    login_url: str = "/login?redirect-to={next}"


@dataclass(frozen=True, slots=True)
class RemoteUser:
    """``[sign_in.remote_user]``: who says who the user is.

    With ``header`` empty the WSGI server's ``REMOTE_USER`` counts; otherwise that request
    header, and only from an address in ``server.trusted_proxies``.
    """

    header: str = ""


@dataclass(frozen=True, slots=True)
class SignIn:
    """``[sign_in]``: ``method`` is password, remote_user or upstream_session."""

    method: str = "password"
    session_seconds: int = 28_800
    users: tuple[User, ...] = ()
    upstream_session: UpstreamSession = UpstreamSession()
    remote_user: RemoteUser = RemoteUser()


@dataclass(frozen=True, slots=True)
class Route:
    """``[[routes]]``: what a path needs. ``methods`` of ``None`` means all of them."""

    path: str
    methods: tuple[str, ...] | None = None
    scopes: tuple[str, ...] = ()
    public: bool = False
    host: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """``[identity]``: the header names in which the backend is told who asks."""

    user: str = "X-Forwarded-User"
    client: str = "X-Forwarded-Client"
    scope: str = "X-Forwarded-Scope"


@dataclass(frozen=True, slots=True)
class Settings:
    """One configuration file, read and found without fault.

    ``secret_keys`` holds the gateway's keys, newest first: the first one signs, all verify.
    """

    issuer: str
    secret_keys: tuple[bytes, ...] = field(repr=False)
    allow_insecure_issuer: bool = False
    server: Server = Server()
    upstream: Upstream = field(default_factory=Upstream)
    store: Store = Store()
    tokens: Tokens = Tokens()
    endpoints: EndpointPaths = EndpointPaths()
    provider: Provider = Provider()
    limits: Limits = Limits()
    audit: AuditLog = AuditLog()
    scopes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    clients: tuple[Client, ...] = ()
    sign_in: SignIn = SignIn()
    routes: tuple[Route, ...] = ()
    identity: Identity = Identity()
