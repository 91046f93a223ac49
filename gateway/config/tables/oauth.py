"""The tables of the authorization server: its endpoints, tokens, clients, routes and identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gateway.config.credential_grammar import sha256_fault
from gateway.config.grammar import (
    GrantType,
    client_id_fault,
    endpoint_path_fault,
    host_name_fault,
    identity_header_fault,
    method_fault,
    origin_fault,
    route_path_fault,
)
from gateway.config.tables.table import Hint, Secret, Table
from gateway.config.values import ListOf, Name, Pkce, Seconds, SomeOf, obeys
from gateway.protocol.redirect_uris import redirect_uri_fault

# RFC 6749 §4.1.2: ten minutes at most.
_LONGEST_CODE_SECONDS = 600

_Paths = SomeOf[Annotated[str, obeys(endpoint_path_fault)]]
_RedirectURI = Annotated[str, obeys(redirect_uri_fault)]
_Header = Annotated[str, obeys(identity_header_fault)]
_Method = Annotated[str, obeys(method_fault)]
_Sha256 = Annotated[str, obeys(sha256_fault), AfterValidator(str.lower)]

_SECRET_HINT = Hint(
    "secret_sha256",
    "the file holds the SHA-256 of the secret, as `gateway client add`"
    " or `printf %s SECRET | sha256sum` makes it",
)


class Tokens(Table):
    """``[tokens]``: lifetimes. ``refresh_seconds`` is idle time, ``grant_seconds`` absolute."""

    code_seconds: Annotated[int, Field(ge=1, le=_LONGEST_CODE_SECONDS)] = 60
    """600 at most"""
    access_seconds: Seconds = 3600
    """of an access token"""
    refresh_seconds: Seconds = 2_592_000
    """of a refresh token that is not used"""
    refresh_grace_seconds: Seconds = 30
    """how long a used refresh token gives the same new pair again"""
    grant_seconds: Seconds = 31_536_000
    """of a grant, however much it is used"""


class EndpointPaths(Table):
    """``[endpoints]``: every path each endpoint answers at; the first one is advertised."""

    authorize: _Paths = ("/oauth/authorize", "/api/method/frappe.integrations.oauth2.authorize")
    token: _Paths = ("/oauth/token", "/api/method/frappe.integrations.oauth2.get_token")
    revoke: _Paths = ("/oauth/revoke", "/api/method/frappe.integrations.oauth2.revoke_token")
    introspect: _Paths = ("/oauth/introspect",)
    verify: _Paths = ("/oauth/verify",)
    """forward-auth: what nginx, Caddy, Traefik and Envoy ask"""
    sign_in: _Paths = ("/oauth/sign-in",)
    sign_out: _Paths = ("/oauth/sign-out",)
    applications: _Paths = ("/oauth/applications",)
    """the user's page of applications that have access"""
    health: _Paths = ("/oauth/health",)
    metadata: _Paths = ("/.well-known/oauth-authorization-server",)


class Provider(Table):
    """``[provider]``: when users and clients are asked for more."""

    consent: Literal["remember", "always", "never"] = "remember"
    """remember: ask again only for scopes not granted before; always; never"""
    pkce: Pkce = "required"
    """required or optional, for public clients that do not say otherwise"""


class Cors(Table):
    """``[cors]``: which scripts may read why the gateway refuses their requests."""

    origins: ListOf[Annotated[str, obeys(origin_fault)]] = ()
    """https://app.example: their scripts can read a 401 or 403 of the gateway's"""


class Client(Table):
    """``[[clients]]``, or a client kept in the store: RFC 6749 §2.

    A client without ``secret_sha256`` is a public one. If ``pkce`` is ``None``, ``[provider]``
    decides for a public client, and a confidential one may leave PKCE out.
    """

    LABEL: ClassVar[str] = "client_id"
    HINTS: ClassVar[Mapping[str, Hint]] = {
        "secret": _SECRET_HINT,
        "client_secret": _SECRET_HINT,
    }

    client_id: Annotated[str, obeys(client_id_fault)]
    """required"""
    name: Name
    """required: what the confirmation page calls it"""
    redirect_uris: ListOf[_RedirectURI] = ()
    """required for authorization_code"""
    loopback_ports: bool = False
    """true: http://localhost/… is good with any port, as http://127.0.0.1/… always is"""
    scopes: ListOf[str] = ()
    """what it may ask for; default: nothing"""
    secret_sha256: Annotated[_Sha256 | None, Secret(is_hash=True)] = None
    """the SHA-256 of its secret: printf %s SECRET | sha256sum; absent: a public client"""
    grant_types: SomeOf[GrantType] = ("authorization_code", "refresh_token")
    """client_credentials for clients with a secret"""
    pkce: Pkce | None = None
    """required or optional; absent: what [provider] says for a public client, else optional"""
    skip_consent: bool = False
    """true: never ask the user"""
    introspect_any: bool = False
    """true: may introspect tokens of other clients"""


class Route(Table):
    """``[[routes]]``: what a path needs. ``methods`` of ``None`` means all of them."""

    LABEL: ClassVar[str] = "path"

    path: Annotated[str, obeys(route_path_fault)]
    """required, written decoded; * within a segment, ** across segments"""
    methods: SomeOf[_Method] | None = None
    """absent: all; GET is HEAD as well"""
    scopes: ListOf[str] = ()
    """all of them; default: none"""
    public: bool = False
    """true: no token needed"""
    host: Annotated[str, obeys(host_name_fault)] = ""
    """the rule is for requests to this host alone, whatever the port; absent: every host"""


class Access(Table):
    """``[access]``: what a request needs whose path no route matches."""

    unmatched: Literal["token", "deny"] = "token"
    """what no route matches: token, any valid one is enough; deny: nobody gets there"""
    unmatched_scopes: ListOf[str] = ()
    """scopes that a token needs there as well; default: none"""


class Identity(Table):
    """``[identity]``: the header names in which the backend is told who asks.

    The backend gets the headers of ``remove`` from nobody, as little as those of other
    authentication proxies.
    """

    user: _Header = "X-Forwarded-User"
    client: _Header = "X-Forwarded-Client"
    scope: _Header = "X-Forwarded-Scope"
    remove: ListOf[_Header] = ()
    """more headers that the backend must not get from outside"""
