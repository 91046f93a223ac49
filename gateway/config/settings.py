"""The settings of a gateway: :class:`Settings`, and the model of each table in it.

Names, meanings and defaults are those of ``config.example.toml``. :mod:`gateway.config.file`
reads a file and names its faults; everything else takes these models and never a dictionary.

Durations are seconds and sizes are bytes, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import Field

from gateway.config.grammar import GRANT_TYPES, issuer_fault, scope_token_fault
from gateway.config.tables.oauth import (
    Access,
    Client,
    Cors,
    EndpointPaths,
    Identity,
    Provider,
    Route,
    Tokens,
)
from gateway.config.tables.running import AuditLog, Limits, Server, Store, Upstream
from gateway.config.tables.sign_in import RemoteUser, SignIn, UpstreamSession, User
from gateway.config.tables.table import Secret, Table
from gateway.config.values import FrozenMapping, Name, OneOrSomeOf, SecretKey, Tables, obeys

__all__ = [
    "GRANT_TYPES",
    "Access",
    "AuditLog",
    "Client",
    "Cors",
    "EndpointPaths",
    "Identity",
    "Limits",
    "Provider",
    "RemoteUser",
    "Route",
    "Server",
    "Settings",
    "SignIn",
    "Store",
    "Tokens",
    "Upstream",
    "UpstreamSession",
    "User",
]

_ScopeName = Annotated[str, obeys(scope_token_fault)]


class Settings(Table):
    """One configuration, read and found without fault.

    ``secret_keys`` holds the gateway's keys, newest first: the first one signs, all verify.
    """

    WHEN_MISSING: ClassVar[Mapping[str, str]] = {
        "secret_key": "; run `gateway new-secret`, and set it here or as GATEWAY_SECRET_KEY,"
        " or name a secret_key_file"
    }

    issuer: Annotated[str, obeys(issuer_fault)]
    """required: the gateway's URL as browsers see it, without a slash at the end"""
    secret_keys: Annotated[OneOrSomeOf[SecretKey], Secret(), Field(validation_alias="secret_key")]
    """one key, or a list of keys, the newest first"""
    allow_insecure_issuer: bool = False
    """true: take an http issuer that is not on a loopback host"""
    server: Server = Server()
    upstream: Upstream = Field(default_factory=Upstream)
    store: Store = Store()
    tokens: Tokens = Tokens()
    endpoints: EndpointPaths = EndpointPaths()
    provider: Provider = Provider()
    limits: Limits = Limits()
    audit: AuditLog = AuditLog()
    scopes: FrozenMapping[_ScopeName, Name] = Field(default_factory=lambda: MappingProxyType({}))
    clients: Tables[Client] = ()
    sign_in: SignIn = SignIn()
    access: Access = Access()
    routes: Tables[Route] = ()
    identity: Identity = Identity()
    cors: Cors = Cors()
