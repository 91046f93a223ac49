"""Puts the parts of one gateway together. The only place that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from gateway.access.decisions import Decisions
from gateway.access.identity import IdentityHeaders
from gateway.access.routes import Routes
from gateway.clients.registry import Clients
from gateway.config.settings import Settings
from gateway.endpoints import AuthorizationEndpoint, ClientEndpoints
from gateway.grants.consent_store import ConsentStore
from gateway.grants.grants import Grants
from gateway.observe.audit import Audit
from gateway.site.browser_session import Browsers, session_cookie_name
from gateway.site.dispatcher import Endpoint, OwnEndpoints
from gateway.site.endpoint_request import OwnRequest
from gateway.site.health import Health
from gateway.site.metadata import metadata
from gateway.site.pages import Pages
from gateway.site.responses import json_answer
from gateway.site.sign_in_pages import SignInPages
from gateway.site.verify import VerifyEndpoint
from gateway.store.diagnostics import StoreCheck
from gateway.store.rate_limits import AttemptLimit, FailureLimit
from gateway.store.redis_client import RedisLink
from gateway.token_store import TokenStore
from gateway.tokens.token import TokenKeys
from gateway.users.session_store import SessionStore
from gateway.users.sign_in import AskBackend, ResourceOwners

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]

# One address may fail for this many names before it is stopped for all of them.
_NAMES_PER_ADDRESS = 10

# The answer of the backend that says who its cookie belongs to is small.
_LONGEST_WHO_ANSWER = 65_536


@dataclass(frozen=True, slots=True)
class Core:
    """What decides, apart from HTTP: also what the command line works with."""

    link: RedisLink
    store: TokenStore
    clients: Clients
    consents: ConsentStore
    grants: Grants
    keys: TokenKeys


@dataclass(frozen=True, slots=True)
class Gateway:
    """All that the middleware needs to answer or forward a request."""

    link: RedisLink
    store_check: StoreCheck
    audit: Audit
    decisions: Decisions
    identity: IdentityHeaders
    endpoints: OwnEndpoints


def core(settings: Settings) -> Core:
    """Build what decides about grants. Nothing is connected yet."""
    prefix = settings.store.key_prefix
    link = RedisLink(settings.store)
    clients = Clients(settings.clients, link, prefix)
    keys = TokenKeys(settings.secret_keys)
    store = TokenStore(link, prefix, settings.tokens)
    consents = ConsentStore(link, prefix, settings.tokens.grant_seconds)
    return Core(link, store, clients, consents, Grants(store, keys, clients, settings), keys)


def gateway(settings: Settings, backend: WSGIApplication) -> Gateway:
    """Build a gateway in front of ``backend``. Nothing is connected yet."""
    prefix = settings.store.key_prefix
    built = core(settings)
    link, clients, consents, grants = built.link, built.clients, built.consents, built.grants
    audit = Audit(settings.audit)
    pages = Pages()
    identity = IdentityHeaders(
        settings.identity,
        settings.sign_in.remote_user.header,
        [session_cookie_name(settings.issuer)],
    )
    sessions = SessionStore(link, prefix, settings.sign_in.session_seconds)
    owners = ResourceOwners(settings.sign_in, sessions, _asking(backend, settings.issuer))
    browsers = Browsers(settings, built.keys, owners, identity)
    paths = settings.endpoints
    ready, live = _below(paths.health, "/ready"), _below(paths.health, "/live")
    own_paths = {path for each in fields(paths) for path in getattr(paths, each.name)}
    decisions = Decisions(Routes(settings.routes), grants, own_paths.union(ready, live))

    limits = settings.limits
    window = limits.attempt_seconds
    authorization = AuthorizationEndpoint(
        settings,
        pages=pages,
        browsers=browsers,
        consents=consents,
        grants=grants,
        clients=clients,
        audit=audit,
    )
    by_clients = ClientEndpoints(
        grants,
        clients,
        FailureLimit(
            link,
            prefix,
            "client",
            limit=limits.client_attempts,
            window_seconds=window,
            beside=clients.key,
        ),
        audit,
    )
    by_people = SignInPages(
        settings,
        pages=pages,
        browsers=browsers,
        owners=owners,
        sessions=sessions,
        consents=consents,
        grants=grants,
        clients=clients,
        by_name=AttemptLimit(
            link, prefix, "name", limit=limits.sign_in_attempts, window_seconds=window
        ),
        by_address=FailureLimit(
            link,
            prefix,
            "network",
            limit=limits.sign_in_attempts * _NAMES_PER_ADDRESS,
            window_seconds=window,
        ),
        audit=audit,
    )
    store_check = StoreCheck(link)
    health = Health(link, store_check)
    document = metadata(settings)

    def show_metadata(request: OwnRequest) -> Response:
        return json_answer(document)

    own = OwnEndpoints(settings, pages, audit)
    post, get, both = ("POST",), ("GET", "HEAD"), ("GET", "HEAD", "POST")
    for where, endpoint in (
        (paths.authorize, Endpoint("authorize", authorization, both, for_people=True)),
        (paths.token, Endpoint("token", by_clients.token, post, cross_origin=True)),
        (paths.revoke, Endpoint("revoke", by_clients.revoke, post, cross_origin=True)),
        (paths.introspect, Endpoint("introspect", by_clients.introspect, post)),
        (
            paths.verify,
            Endpoint("verify", VerifyEndpoint(decisions, identity, settings, audit), None),
        ),
        (paths.sign_in, Endpoint("sign_in", by_people.sign_in, both, for_people=True)),
        (paths.sign_out, Endpoint("sign_out", by_people.sign_out, both, for_people=True)),
        (
            paths.applications,
            Endpoint("applications", by_people.applications, both, for_people=True),
        ),
        (paths.health, Endpoint("health", health.ready, get)),
        (ready, Endpoint("health", health.ready, get)),
        (live, Endpoint("health", health.live, get)),
        (paths.metadata, Endpoint("metadata", show_metadata, get, cross_origin=True)),
    ):
        own.add(where, endpoint)
    return Gateway(link, store_check, audit, decisions, identity, own)


def _below(paths: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(path + name for path in paths)


def _asking(backend: WSGIApplication, issuer: str) -> AskBackend:
    """Return how to send the backend a request of our own, in process or through the proxy."""

    def ask(path: str, cookie: str) -> tuple[int, bytes]:
        environ = EnvironBuilder(path, base_url=issuer).get_environ()
        environ |= {"HTTP_COOKIE": cookie, "HTTP_ACCEPT": "application/json", "RAW_URI": path}
        body, status, _ = run_wsgi_app(backend, environ, buffered=True)
        return int(status.split(" ", 1)[0]), b"".join(body)[:_LONGEST_WHO_ANSWER]

    return ask
