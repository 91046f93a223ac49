"""Rules between the keys of a configuration: one rule a function.

Each rule takes the settings and yields a :class:`CrossCheckFault` for everything that it finds. The
fault names all keys that it is about. If one of these keys is at fault itself, the caller drops
the fault between them, so that one mistake makes one line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import urlsplit

from gateway.config.folders import folder_open_to_all
from gateway.config.places import TOP, ConfigFault, Place, nearest_name
from gateway.config.settings import Client, Settings
from gateway.http.header_policy import fold
from gateway.http.peers import UNIX
from gateway.protocol.redirect_uris import is_loopback_host

_CLIENTS = TOP.array("clients")
_ROUTES = TOP.array("routes")
_USERS = TOP.table("sign_in").array("users")
_SCOPES = TOP.table("scopes")


class CrossCheckFault(NamedTuple):
    """A fault between keys: the one to change, and the others that it is about."""

    fault: ConfigFault
    others: tuple[str, ...] = ()


def clashes(settings: Settings) -> Iterator[CrossCheckFault]:
    """Yield the faults that all rules find. Reads the files that the settings name."""
    for rule in _RULES:
        yield from rule(settings)
    for place, client in _clients(settings):
        yield from client_clashes(settings, place, client)


def client_clashes(settings: Settings, place: Place, client: Client) -> Iterator[CrossCheckFault]:
    """Yield the faults of one client, which need not be in the file."""
    for rule in _CLIENT_RULES:
        yield from rule(settings, place, client)


# --- The issuer and the tables of the gateway itself


def plain_http_is_for_loopback(settings: Settings) -> Iterator[CrossCheckFault]:
    """RFC 8414 §2 wants https; without it, tokens travel in the clear."""
    url = urlsplit(settings.issuer)
    in_the_clear = url.scheme == "http" and not is_loopback_host(url.hostname or "")
    if in_the_clear and not settings.allow_insecure_issuer:
        message = "must be https, or of a loopback host, unless allow_insecure_issuer = true"
        yield _clash("issuer", message, "allow_insecure_issuer")


def grace_is_within_refresh_lifetime(settings: Settings) -> Iterator[CrossCheckFault]:
    """A refresh token cannot be presented again after its lifetime."""
    tokens, place = settings.tokens, TOP.table("tokens")
    if tokens.refresh_grace_seconds > tokens.refresh_seconds:
        message = f"must be at most refresh_seconds, {tokens.refresh_seconds}"
        yield _clash(place.key("refresh_grace_seconds"), message, place.key("refresh_seconds"))


def tokens_end_with_their_grant(settings: Settings) -> Iterator[CrossCheckFault]:
    """No token outlives the absolute lifetime of its grant."""
    tokens, place = settings.tokens, TOP.table("tokens")
    for key in ("access_seconds", "refresh_seconds"):
        if getattr(tokens, key) > tokens.grant_seconds:
            message = f"must be at most grant_seconds, {tokens.grant_seconds}"
            yield _clash(place.key(key), message, place.key("grant_seconds"))


def endpoint_paths_are_distinct(settings: Settings) -> Iterator[CrossCheckFault]:
    """One path is one endpoint."""
    place = TOP.table("endpoints")
    owners: dict[str, str] = {}
    for endpoint, paths in settings.endpoints:
        for path in paths:
            owner = owners.setdefault(path, endpoint)
            if owner != endpoint:
                message = f"{path!r} is a path of {owner} already"
                yield _clash(place.key(endpoint), message, place.key(owner))


def identity_headers_are_distinct(settings: Settings) -> Iterator[CrossCheckFault]:
    """WSGI folds ``-``, ``_`` and case: names that differ in nothing else are one header."""
    place = TOP.table("identity")
    owners: dict[str, str] = {}
    for key, name in _identity_headers(settings):
        owner = owners.setdefault(fold(name), key)
        if owner != key:
            yield _clash(place.key(key), f"is the header of {owner} already", place.key(owner))


def added_headers_are_not_identity(settings: Settings) -> Iterator[CrossCheckFault]:
    """A header with a fixed value must not replace one that says who asks."""
    headers, identity = TOP.table("upstream").table("headers"), TOP.table("identity")
    owners = {fold(name): key for key, name in _identity_headers(settings)}
    names: dict[str, str] = {}
    for name in settings.upstream.headers:
        owner = owners.get(fold(name))
        if owner is not None:
            message = f"is the header of {identity.key(owner)}"
            yield _clash(headers.key(name), message, identity.key(owner))
        if names.setdefault(fold(name), name) != name:
            yield _clash(headers.key(name), f"is the same header as {names[fold(name)]}")


def tls_files_are_for_tls(settings: Settings) -> Iterator[CrossCheckFault]:
    """A certificate for a URL without TLS is a mistake: the operator expects TLS there."""
    store, upstream = TOP.table("store"), TOP.table("upstream")
    if not settings.store.url.startswith("rediss"):
        for key in ("ca_file", "cert_file", "key_file"):
            if getattr(settings.store, key) is not None:
                message = "is for a url that begins with rediss"
                yield _clash(store.key(key), message, store.key("url"))
    if not any(url[:6] == "https:" for url in settings.upstream.urls):
        for key in ("ca_file", "server_name"):
            if getattr(settings.upstream, key):
                message = "is for a url that begins with https"
                yield _clash(upstream.key(key), message, upstream.key("url"))


def sentinel_logins_are_for_sentinels(settings: Settings) -> Iterator[CrossCheckFault]:
    """Without Sentinels nobody asks for this login, so it protects nothing."""
    store, of = settings.store, TOP.table("store")
    for key in ("sentinel_user", "sentinel_password"):
        if getattr(store, key) and "+sentinel:" not in store.url:
            message = "is for a url with +sentinel"
            yield _clash(of.key(key), message, of.key("url"))
    if store.sentinel_user and not store.sentinel_password:
        message = "has no sentinel_password"
        yield _clash(of.key("sentinel_user"), message, of.key("sentinel_password"))


def tls_files_can_be_read(settings: Settings) -> Iterator[CrossCheckFault]:
    """Certificates and keys are PEM files (RFC 7468)."""
    store = settings.store
    yield from _pem_clashes(TOP.table("upstream").key("ca_file"), settings.upstream.ca_file)
    yield from _pem_clashes(TOP.table("store").key("ca_file"), store.ca_file)
    yield from _pem_clashes(TOP.table("store").key("cert_file"), store.cert_file)
    yield from _pem_clashes(TOP.table("store").key("key_file"), store.key_file)


def audit_folder_is_there(settings: Settings) -> Iterator[CrossCheckFault]:
    """The gateway makes the file of the log, but not its folder."""
    if settings.audit.file != "-":
        folder = Path(settings.audit.file).parent
        if not os.access(folder, os.F_OK):
            yield _clash(
                TOP.table("audit").key("file"), f"is in a folder that is not there: {folder}"
            )


def unix_socket_needs_its_proxy_trusted(settings: Settings) -> Iterator[CrossCheckFault]:
    """Clients on a unix socket have no address: all of them would share one limit of attempts."""
    server = settings.server
    if server.listen.startswith("unix:") and UNIX not in server.trusted_proxies:
        proxies = TOP.table("server").key("trusted_proxies")
        yield _clash(
            TOP.table("server").key("listen"),
            f"is a unix socket, so only a proxy can tell clients apart: put {UNIX!r} in {proxies}",
            proxies,
        )


def unix_socket_is_in_a_private_folder(settings: Settings) -> Iterator[CrossCheckFault]:
    """A user who can replace the socket gets the requests that are meant for the gateway."""
    listen = settings.server.listen
    if not listen.startswith("unix:"):
        return
    with suppress(OSError):
        if (shared := folder_open_to_all(Path(listen.removeprefix("unix:")).parent)) is not None:
            message = f"is in a folder that every user may write to: {shared}"
            yield _clash(TOP.table("server").key("listen"), message)


# --- Signing in


def remote_user_header_needs_trusted_proxies(settings: Settings) -> Iterator[CrossCheckFault]:
    """If the gateway believed this header from every peer, each client could name any user."""
    if settings.sign_in.remote_user.header and not settings.server.trusted_proxies:
        where = TOP.table("sign_in").table("remote_user").key("header")
        proxies = TOP.table("server").key("trusted_proxies")
        yield _clash(where, f"needs the addresses of who sends it, in {proxies}", proxies)


def password_sign_in_needs_users(settings: Settings) -> Iterator[CrossCheckFault]:
    """A client that asks for codes sends users here, so there must be users (RFC 6749 §4.1)."""
    if settings.sign_in.method == "password" and not settings.sign_in.users:
        method = TOP.table("sign_in").key("method")
        for place, client in _clients(settings):
            if "authorization_code" in client.grant_types:
                message = f"is password, and there are no {_USERS.header} for {place.header}"
                yield _clash(method, message, _USERS.header, place.key("grant_types"))
                return


def user_names_are_distinct(settings: Settings) -> Iterator[CrossCheckFault]:
    """One name is one user; RFC 8265 §3.4 compares names in NFC."""
    names = [normalize("NFC", user.name) for user in settings.sign_in.users]
    yield from _repetitions(_USERS, "name", names)


# --- Clients


def client_ids_are_distinct(settings: Settings) -> Iterator[CrossCheckFault]:
    """RFC 6749 §2.2: an identifier is unique to the authorization server."""
    ids = [client.client_id for client in settings.clients]
    yield from _repetitions(_CLIENTS, "client_id", ids)


def redirect_uris_go_with_the_code_grant(
    _: Settings, place: Place, client: Client
) -> Iterator[CrossCheckFault]:
    """RFC 6749 §3.1.2.2: a client that asks for codes registers where they go; others do not."""
    asks_for_codes = "authorization_code" in client.grant_types
    where, grant_types = place.key("redirect_uris"), place.key("grant_types")
    if asks_for_codes and not client.redirect_uris:
        yield _clash(where, "must have one URI or more, for authorization_code", grant_types)
    if client.redirect_uris and not asks_for_codes:
        yield _clash(where, "must not be there without authorization_code", grant_types)


def client_credentials_need_a_secret(
    _: Settings, place: Place, client: Client
) -> Iterator[CrossCheckFault]:
    """RFC 6749 §4.4: only confidential clients may use this grant."""
    if "client_credentials" in client.grant_types and client.secret_sha256 is None:
        message = "must not have client_credentials without secret_sha256 (RFC 6749 section 4.4)"
        yield _clash(place.key("grant_types"), message, place.key("secret_sha256"))


def client_scopes_are_known(
    settings: Settings, place: Place, client: Client
) -> Iterator[CrossCheckFault]:
    """RFC 6749 §3.3: the server defines the scopes; the confirmation page needs words for each."""
    yield from _unknown_scopes(settings, place, client.scopes)


# --- Routes


def public_routes_need_no_scopes(settings: Settings) -> Iterator[CrossCheckFault]:
    """Without a token there are no scopes."""
    for position, route in enumerate(settings.routes, 1):
        place = _ROUTES.item(position, route.path)
        if route.public and route.scopes:
            message = "must not be true beside scopes: whoever needs a scope needs a token"
            yield _clash(place.key("public"), message, place.key("scopes"))


def route_scopes_are_known(settings: Settings) -> Iterator[CrossCheckFault]:
    """No token could ever have a scope that is not in ``[scopes]``."""
    for position, route in enumerate(settings.routes, 1):
        yield from _unknown_scopes(settings, _ROUTES.item(position, route.path), route.scopes)


def unmatched_scopes_are_known(settings: Settings) -> Iterator[CrossCheckFault]:
    """No token could ever have a scope that is not in ``[scopes]``; nor does one help with deny."""
    access, place = settings.access, TOP.table("access")
    for scope in access.unmatched_scopes:
        if scope not in settings.scopes:
            nearest = nearest_name(scope, settings.scopes)
            fault = ConfigFault(
                place.key("unmatched_scopes"), f"{scope!r} is not in [scopes]", nearest
            )
            yield CrossCheckFault(fault, (_SCOPES.header,))
    if access.unmatched == "deny" and access.unmatched_scopes:
        message = 'must not be there beside unmatched = "deny"'
        yield _clash(place.key("unmatched_scopes"), message, place.key("unmatched"))


def routes_can_be_reached(settings: Settings) -> Iterator[CrossCheckFault]:
    """The first route that matches wins: a second one for the same requests never does."""
    # By path and host: the methods that the routes above take, ``None`` for all of them.
    taken: dict[tuple[str, str], set[str] | None] = {}
    about: dict[str, list[str]] = {}
    for position, route in enumerate(settings.routes, 1):
        place = _ROUTES.item(position, route.path)
        keys = about.setdefault(route.path, [])
        keys.append(place.key("methods"))
        # RFC 9110 §9.3.2: HEAD asks for what GET would answer, so a route for GET takes both.
        methods = set(route.methods or ()) | ({"HEAD"} if "GET" in (route.methods or ()) else set())
        before = [taken.get((route.path, host), set()) for host in {"", route.host}]
        if None in before or (methods and methods <= set().union(*filter(None, before))):
            message = "is not reached: a route above has the same path and methods"
            yield _clash(place.key("path"), message, *keys)
            continue
        own = taken.setdefault((route.path, route.host), set())
        taken[route.path, route.host] = None if route.methods is None else {*(own or ()), *methods}


# --- Shared by the rules


_Rule = Callable[[Settings], Iterator[CrossCheckFault]]
_ClientRule = Callable[[Settings, Place, Client], Iterator[CrossCheckFault]]

_RULES: tuple[_Rule, ...] = (
    plain_http_is_for_loopback,
    tls_files_are_for_tls,
    sentinel_logins_are_for_sentinels,
    tls_files_can_be_read,
    grace_is_within_refresh_lifetime,
    tokens_end_with_their_grant,
    endpoint_paths_are_distinct,
    audit_folder_is_there,
    unix_socket_needs_its_proxy_trusted,
    unix_socket_is_in_a_private_folder,
    remote_user_header_needs_trusted_proxies,
    password_sign_in_needs_users,
    user_names_are_distinct,
    public_routes_need_no_scopes,
    route_scopes_are_known,
    unmatched_scopes_are_known,
    routes_can_be_reached,
    identity_headers_are_distinct,
    added_headers_are_not_identity,
    client_ids_are_distinct,
)

_CLIENT_RULES: tuple[_ClientRule, ...] = (
    redirect_uris_go_with_the_code_grant,
    client_credentials_need_a_secret,
    client_scopes_are_known,
)


def _clash(where: str, message: str, *others: str, nearest: str | None = None) -> CrossCheckFault:
    return CrossCheckFault(ConfigFault(where, message, nearest), others)


def _clients(settings: Settings) -> Iterator[tuple[Place, Client]]:
    for position, client in enumerate(settings.clients, 1):
        yield _CLIENTS.item(position, client.client_id), client


def _identity_headers(settings: Settings) -> Iterator[tuple[str, str]]:
    identity = settings.identity
    yield from (("user", identity.user), ("client", identity.client), ("scope", identity.scope))


def _unknown_scopes(
    settings: Settings, place: Place, scopes: Iterable[str]
) -> Iterator[CrossCheckFault]:
    for scope in scopes:
        if scope not in settings.scopes:
            nearest = nearest_name(scope, settings.scopes)
            message = f"{scope!r} is not in {_SCOPES.header}"
            yield _clash(place.key("scopes"), message, _SCOPES.header, nearest=nearest)


def _repetitions(array: Place, key: str, values: Iterable[str]) -> Iterator[CrossCheckFault]:
    first: dict[str, int] = {}
    for position, value in enumerate(values, 1):
        if value and first.setdefault(value, position) != position:
            where = array.item(position, value).key(key)
            yield _clash(where, f"is that of #{first[value]} already")


def _pem_clashes(where: str, path: Path | None) -> Iterator[CrossCheckFault]:
    if path is None:
        return
    try:
        if b"-----BEGIN " not in path.read_bytes():
            yield _clash(where, "holds nothing in PEM format")
    except OSError as error:
        yield _clash(where, f"cannot be read: {error.strerror}")
