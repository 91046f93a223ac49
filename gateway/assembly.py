"""Puts the parts of one gateway together. No other module knows them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from gateway.access.decisions import Decisions
from gateway.access.identity import IdentityHeaders
from gateway.access.routes import DENIED, Requirement, Routes
from gateway.clients.registry import Clients
from gateway.config.settings import Access, Settings
from gateway.endpoints import AuthorizationEndpoint, ClientEndpoints
from gateway.grants.access import AccessTokens
from gateway.grants.authorization_server import AuthorizationServer
from gateway.grants.consent_store import ConsentStore
from gateway.grants.entitlements import Entitlements
from gateway.grants.live_grants import LiveGrants
from gateway.grants.validator import Parts
from gateway.grants.waiting_requests import WaitingRequests
from gateway.http.peers import TrustedProxies
from gateway.observe.audit import Audit
from gateway.site.applications_page import ApplicationsPage
from gateway.site.browser_form import BrowserForm
from gateway.site.browser_session import BrowserSessions, own_cookie_names
from gateway.site.dispatcher import Dispatcher, Endpoint
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.health import Health
from gateway.site.metadata import metadata
from gateway.site.pages import Pages
from gateway.site.responses import json_response
from gateway.site.sign_in_pages import SignInElsewhere, SignInPages
from gateway.site.verify import VerifyEndpoint
from gateway.store.diagnostics import StoreDiagnostics
from gateway.store.rate_limits import AttemptLimit, FailureLimit
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from gateway.tokens.token import TokenKeys
from gateway.users.choose_sign_in import choose_sign_in
from gateway.users.password_sign_in import PasswordSignIn
from gateway.users.session_store import SessionStore
from gateway.users.upstream_session import AskBackend

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]

# An address may fail for so many names before it is stopped for all of them.
_NAMES_PER_ADDRESS = 10

# So many addresses may fail for a name before it is stopped for all of them.
_ADDRESSES_PER_NAME = 5

# The backend's response that names the user of a cookie is small.
_LONGEST_USER_RESPONSE = 65_536


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that decide, apart from HTTP. The command line works with them too."""

    redis: RedisClient
    store: TokenStore
    clients: Clients
    sessions: SessionStore
    consents: ConsentStore
    grants: LiveGrants
    access: AccessTokens
    authorization_server: AuthorizationServer
    keys: TokenKeys


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """The parts with which the middleware answers or forwards a request."""

    redis: RedisClient
    store_diagnostics: StoreDiagnostics
    proxies: TrustedProxies
    audit: Audit
    decisions: Decisions
    identity: IdentityHeaders
    endpoints: Dispatcher


def core(settings: Settings) -> Core:
    """Build the parts that decide about grants. Nothing is connected yet."""
    prefix = settings.store.key_prefix
    redis = RedisClient(settings.store)
    clients = Clients(settings.clients, redis, prefix)
    keys = TokenKeys(settings.secret_keys)
    store = TokenStore(redis, prefix, settings.tokens)
    consents = ConsentStore(redis, prefix, settings.tokens.grant_seconds)
    entitlements = Entitlements(settings, clients)
    access = AccessTokens(store, keys, entitlements)
    server = AuthorizationServer(Parts(settings, clients, store, keys, entitlements), access)
    sessions = SessionStore(redis, prefix, settings.sign_in.session_seconds)
    grants = LiveGrants(store)
    return Core(redis, store, clients, sessions, consents, grants, access, server, keys)


def gateway(settings: Settings, backend: WSGIApplication) -> GatewayParts:
    """Build a gateway in front of ``backend``. Nothing is connected yet."""
    prefix = settings.store.key_prefix
    built = core(settings)
    redis, clients, consents, grants = built.redis, built.clients, built.consents, built.grants
    audit = Audit(settings.audit)
    pages = Pages()
    identity = IdentityHeaders(
        settings.identity,
        settings.sign_in.remote_user.header,
        own_cookie_names(settings),
    )
    sign_in = choose_sign_in(settings, built.sessions, _backend_client(backend, settings.issuer))
    browsers = BrowserSessions(settings, sign_in, identity)
    paths = settings.endpoints
    ready, live = _below(paths.health, "/ready"), _below(paths.health, "/live")
    own_paths = {path for _, every in paths for path in every}
    decisions = Decisions(
        Routes(settings.routes, _unmatched(settings.access)),
        built.access,
        own_paths.union(ready, live),
        paths.verify,
    )

    waiting = WaitingRequests(redis, prefix)
    limits = settings.limits
    window = limits.attempt_seconds
    authorization = AuthorizationEndpoint(
        settings,
        pages=pages,
        browsers=browsers,
        form=BrowserForm("consent", browsers, built.keys, pages),
        consents=consents,
        waiting=waiting,
        authorization_server=built.authorization_server,
        audit=audit,
    )
    client_endpoints = ClientEndpoints(
        built.authorization_server,
        clients,
        FailureLimit(
            redis,
            prefix,
            "client",
            limit=limits.client_attempts,
            window_seconds=window,
            slot_key=clients.key,
        ),
        audit,
    )
    sign_in_pages = (
        SignInPages(
            settings,
            pages=pages,
            browsers=browsers,
            sign_in=sign_in,
            keys=built.keys,
            authorization_server=built.authorization_server,
            waiting=waiting,
            by_name=AttemptLimit(
                redis, prefix, "name", limit=limits.sign_in_attempts, window_seconds=window
            ),
            anywhere=FailureLimit(
                redis,
                prefix,
                "name-anywhere",
                limit=limits.sign_in_attempts * _ADDRESSES_PER_NAME,
                window_seconds=window,
            ),
            by_address=FailureLimit(
                redis,
                prefix,
                "network",
                limit=limits.sign_in_attempts * _NAMES_PER_ADDRESS,
                window_seconds=window,
            ),
            audit=audit,
        )
        if isinstance(sign_in, PasswordSignIn)
        else SignInElsewhere(pages)
    )
    applications = ApplicationsPage(
        settings.scopes,
        pages=pages,
        browsers=browsers,
        keys=built.keys,
        consents=consents,
        grants=grants,
        clients=clients,
        audit=audit,
    )
    store_diagnostics = StoreDiagnostics(redis)
    health = Health(redis, store_diagnostics)
    document = metadata(settings)

    def show_metadata(request: EndpointRequest) -> Response:
        return json_response(document)

    own = Dispatcher(settings, pages, audit)
    post, get, both = ("POST",), ("GET", "HEAD"), ("GET", "HEAD", "POST")
    for where, endpoint in (
        (paths.authorize, Endpoint("authorize", authorization, both, for_people=True)),
        (paths.token, Endpoint("token", client_endpoints.token, post, cross_origin=True)),
        (paths.revoke, Endpoint("revoke", client_endpoints.revoke, post, cross_origin=True)),
        (paths.introspect, Endpoint("introspect", client_endpoints.introspect, post)),
        (
            paths.verify,
            Endpoint(
                "verify", VerifyEndpoint(decisions, identity, settings, audit), None, below=True
            ),
        ),
        (paths.sign_in, Endpoint("sign_in", sign_in_pages.sign_in, both, for_people=True)),
        (paths.sign_out, Endpoint("sign_out", sign_in_pages.sign_out, both, for_people=True)),
        (paths.applications, Endpoint("applications", applications, both, for_people=True)),
        (paths.health, Endpoint("health", health.ready, get)),
        (ready, Endpoint("health", health.ready, get)),
        (live, Endpoint("health", health.live, get)),
        (paths.metadata, Endpoint("metadata", show_metadata, get, cross_origin=True)),
    ):
        own.add(where, endpoint)
    proxies = TrustedProxies(settings.server.trusted_proxies)
    return GatewayParts(redis, store_diagnostics, proxies, audit, decisions, identity, own)


def _unmatched(access: Access) -> Requirement:
    """Return what a request needs whose path no route matches."""
    return DENIED if access.unmatched == "deny" else Requirement(scopes=access.unmatched_scopes)


def _below(paths: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(path + name for path in paths)


def _backend_client(backend: WSGIApplication, issuer: str) -> AskBackend:
    """Return a function that sends the backend a request, in process or through the proxy."""

    def ask(path: str, cookie: str) -> tuple[int, bytes]:
        environ = EnvironBuilder(path, base_url=issuer).get_environ()
        environ |= {"HTTP_COOKIE": cookie, "HTTP_ACCEPT": "application/json", "RAW_URI": path}
        body, status, _ = run_wsgi_app(backend, environ, buffered=True)
        return int(status.split(" ", 1)[0]), b"".join(body)[:_LONGEST_USER_RESPONSE]

    return ask
