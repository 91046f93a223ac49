"""What the configuration file may hold: a reader for every field of every dataclass.

Defaults, and which keys are required, are those of :mod:`gateway.config.settings`.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from gateway.config.grammar import (
    backend_target_fault,
    client_id_fault,
    endpoint_path_fault,
    field_value_fault,
    file_name_fault,
    identity_header_fault,
    issuer_fault,
    key_prefix_fault,
    listen_fault,
    login_url_fault,
    method_fault,
    not_empty,
    one_line,
    password_hash_fault,
    remote_user_header_fault,
    route_path_fault,
    scope_token_fault,
    secret_key_fault,
    sha256_fault,
    socket_mode_fault,
    store_url_fault,
    trusted_peer,
    upstream_header_fault,
    upstream_url_fault,
)
from gateway.config.reader import Array, Entries, Hint, Table
from gateway.config.settings import (
    GRANT_TYPES,
    AuditLog,
    Client,
    EndpointPaths,
    Identity,
    Limits,
    Provider,
    RemoteUser,
    Route,
    Server,
    Settings,
    SignIn,
    Store,
    Tokens,
    Upstream,
    UpstreamSession,
    User,
)
from gateway.config.values import (
    boolean,
    list_of,
    number,
    one_of,
    one_or_list_of,
    text,
    whole_number,
)
from gateway.protocol.redirect_uris import redirect_uri_fault

# RFC 6749 §4.1.2: ten minutes at most.
_LONGEST_CODE_SECONDS = 600

# A hundred years: beyond it, times would not fit where the store keeps them.
_LONGEST_SECONDS = 3_153_600_000


def _file(value: object) -> Path:
    return Path(text(file_name_fault)(value))


def _lower_case_sha256(value: object) -> str:
    return text(sha256_fault)(value).lower()


_SECONDS = whole_number(1, _LONGEST_SECONDS)
_COUNT = whole_number(1)
_HEADER = text(identity_header_fault)
_PKCE = one_of("required", "optional")
_SCOPE_NAMES = list_of(text())

_SERVER = Table(
    Server,
    {
        "listen": text(listen_fault),
        "socket_mode": text(socket_mode_fault),
        "socket_group": text(one_line),
        "workers": _COUNT,
        "connections": _COUNT,
        "trusted_proxies": list_of(trusted_peer),
        "graceful_seconds": number(zero=True),
        "keep_alive_seconds": _SECONDS,
    },
)

_UPSTREAM = Table(
    Upstream,
    {
        "url": one_or_list_of(text(upstream_url_fault), shown=False),
        "connect_timeout": number(zero=False),
        "read_timeout": number(zero=False),
        "total_timeout": number(zero=True),
        "connections": _COUNT,
        "ca_file": _file,
        "pass_authorization": boolean,
        "headers": Entries(upstream_header_fault, text(field_value_fault)),
    },
    fields={"url": "urls"},
)

_STORE = Table(
    Store,
    {
        "url": text(store_url_fault),
        "data_dir": _file,
        "key_prefix": text(key_prefix_fault),
        "timeout": number(zero=False),
        "connections": _COUNT,
        "wait_replicas": whole_number(0),
        "sentinel_user": text(),
        "sentinel_password": text(),
        "ca_file": _file,
        "cert_file": _file,
        "key_file": _file,
    },
)

_TOKENS = Table(
    Tokens,
    {
        "code_seconds": whole_number(1, _LONGEST_CODE_SECONDS),
        "access_seconds": _SECONDS,
        "refresh_seconds": _SECONDS,
        "refresh_grace_seconds": _SECONDS,
        "grant_seconds": _SECONDS,
    },
)

_ENDPOINTS = Table(
    EndpointPaths,
    {
        endpoint.name: list_of(text(endpoint_path_fault), empty=False)
        for endpoint in fields(EndpointPaths)
    },
)

_PROVIDER = Table(Provider, {"consent": one_of("remember", "always", "never"), "pkce": _PKCE})

_LIMITS = Table(
    Limits,
    {
        "sign_in_attempts": _COUNT,
        "client_attempts": _COUNT,
        "attempt_seconds": _SECONDS,
        "form_bytes": _COUNT,
    },
)

_AUDIT = Table(AuditLog, {"file": text(file_name_fault), "requests": boolean})

_SECRET_HINT = Hint(
    "secret_sha256",
    "the file holds the SHA-256 of the secret, as `gateway client add`"
    " or `printf %s SECRET | sha256sum` makes it",
)

CLIENT = Table(
    Client,
    {
        "client_id": text(client_id_fault),
        "name": text(not_empty, one_line),
        "redirect_uris": list_of(text(redirect_uri_fault)),
        "scopes": _SCOPE_NAMES,
        "secret_sha256": _lower_case_sha256,
        "grant_types": list_of(one_of(*GRANT_TYPES), empty=False),
        "pkce": _PKCE,
        "skip_consent": boolean,
        "introspect_any": boolean,
    },
    label="client_id",
    hints={"secret": _SECRET_HINT, "client_secret": _SECRET_HINT},
)

_PASSWORD_HINT = Hint(
    "password_hash", "the file holds the hash of the password, as `gateway hash-password` makes it"
)

_USER = Table(
    User,
    {
        "name": text(not_empty, one_line),
        "password_hash": text(password_hash_fault),
        "full_name": text(one_line),
        "email": text(one_line),
        "disabled": boolean,
    },
    label="name",
    hints={"password": _PASSWORD_HINT},
)

_SIGN_IN = Table(
    SignIn,
    {
        "method": one_of("password", "remote_user", "upstream_session"),
        "session_seconds": _SECONDS,
        "users": Array(_USER),
        "upstream_session": Table(
            UpstreamSession,
            {
                "url": text(backend_target_fault),
                "user": text(not_empty),
                "guest": list_of(text()),
                "login_url": text(login_url_fault),
            },
        ),
        "remote_user": Table(RemoteUser, {"header": text(remote_user_header_fault)}),
    },
)

_ROUTE = Table(
    Route,
    {
        "path": text(route_path_fault),
        "methods": list_of(text(method_fault), empty=False),
        "scopes": _SCOPE_NAMES,
        "public": boolean,
    },
    label="path",
)

_IDENTITY = Table(Identity, {"user": _HEADER, "client": _HEADER, "scope": _HEADER})

#: The whole file.
FILE = Table(
    Settings,
    {
        "issuer": text(issuer_fault),
        "allow_insecure_issuer": boolean,
        "secret_key": one_or_list_of(text(secret_key_fault), shown=False),
        "secret_key_file": _file,
        "server": _SERVER,
        "upstream": _UPSTREAM,
        "store": _STORE,
        "tokens": _TOKENS,
        "endpoints": _ENDPOINTS,
        "provider": _PROVIDER,
        "limits": _LIMITS,
        "audit": _AUDIT,
        "scopes": Entries(scope_token_fault, text(not_empty, one_line)),
        "clients": Array(CLIENT),
        "sign_in": _SIGN_IN,
        "routes": Array(_ROUTE),
        "identity": _IDENTITY,
    },
)
