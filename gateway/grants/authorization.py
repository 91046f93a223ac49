"""The authorization request (RFC 6749 §4.1.1): what must hold before anybody is asked.

First the client and where to answer; as long as these are in doubt, the fault is shown to
the user and nobody is redirected (§4.1.2.1, §3.1.2.4). After that, every fault goes to the
redirect_uri. The rules stand in :data:`RULES`, in the order in which they run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from gateway.clients.registry import Clients, RegisteredClient, requires_pkce
from gateway.config.settings import Client, Provider
from gateway.protocol.errors import OAuthError, invalid_request, invalid_scope
from gateway.protocol.parameters import Parameters, required, scope_names
from gateway.protocol.redirect_uris import matches_registered
from gateway.protocol.request_rules import FormKind, validate_pairs


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes: a redirect_uri that the client registered, and its state."""

    redirect_uri: str
    redirect_uri_sent: bool
    state: str | None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that keeps every rule; ``scopes`` are those to be granted."""

    registered: RegisteredClient
    destination: Destination
    scopes: tuple[str, ...]
    code_challenge: str | None
    parameters: Parameters

    @property
    def client(self) -> Client:
        """The client that asks."""
        return self.registered.client


class NotRedirectable(OAuthError):  # noqa: N818 - says what follows from it
    """A fault to show to the user: there is no client or no place to redirect to."""


class RedirectedError(OAuthError):
    """A fault to tell the client at its redirect_uri (RFC 6749 §4.1.2.1)."""

    def __init__(self, fault: OAuthError, client_id: str, destination: Destination) -> None:
        super().__init__(fault.error, fault.description, why=fault.why)
        self.about(client_id=client_id)
        self.destination = destination


def authorization_request(
    pairs: Sequence[tuple[str, str]], clients: Clients, provider: Provider
) -> AuthorizationRequest:
    """Check an authorization request, given as decoded name-value pairs.

    Raises NotRedirectable, RedirectedError, and StoreUnavailable.
    """
    registered = known_client(pairs, clients)
    try:
        destination = registered_redirect_uri(pairs, registered.client)
    except NotRedirectable as fault:
        raise fault.about(client_id=registered.client.client_id) from None
    try:
        no_empty_code_challenge(pairs)
        parameters = validate_pairs(pairs, FormKind.AUTHORIZE)
        for rule in RULES:
            rule(parameters, registered.client, provider)
        return AuthorizationRequest(
            registered,
            destination,
            granted_scopes(parameters, registered.client),
            parameters.get("code_challenge"),
            parameters,
        )
    except OAuthError as fault:
        raise RedirectedError(fault, registered.client.client_id, destination) from None


def _single(pairs: Sequence[tuple[str, str]], name: str) -> str | None:
    return validate_pairs([pair for pair in pairs if pair[0] == name], FormKind.AUTHORIZE).get(name)


def known_client(pairs: Sequence[tuple[str, str]], clients: Clients) -> RegisteredClient:
    """RFC 6749 §4.1.1: client_id is required, and names a client we know."""
    try:
        client_id = _single(pairs, "client_id")
    except OAuthError as fault:
        raise NotRedirectable(fault.error, fault.description, why=fault.why) from None
    if client_id is None:
        raise NotRedirectable(
            "invalid_request", "The parameter client_id is missing.", why="missing_client_id"
        )
    registered = clients.find(client_id)
    if registered is None:
        unknown = NotRedirectable("invalid_client", "This application is unknown.", why="client")
        raise unknown.about(client_id=client_id)
    return registered


def registered_redirect_uri(pairs: Sequence[tuple[str, str]], client: Client) -> Destination:
    """RFC 6749 §3.1.2.3: a registered URI; it may be left out where there is just one."""
    try:
        asked = _single(pairs, "redirect_uri")
    except OAuthError as fault:
        raise NotRedirectable(fault.error, fault.description, why=fault.why) from None
    if asked is None and len(client.redirect_uris) != 1:
        raise NotRedirectable(
            "invalid_request",
            "The parameter redirect_uri is missing, and the application has no single one.",
            why="missing_redirect_uri",
        )
    if asked is not None and not matches_registered(asked, client.redirect_uris):
        raise NotRedirectable(
            "invalid_request",
            "The redirect_uri is not registered for this application.",
            why="redirect_uri",
        )
    return Destination(asked or client.redirect_uris[0], asked is not None, _state(pairs))


def _state(pairs: Sequence[tuple[str, str]]) -> str | None:
    try:
        return _single(pairs, "state")
    except OAuthError:
        # Repeated or malformed: the error that this causes goes out without it.
        return None


def no_empty_code_challenge(pairs: Sequence[tuple[str, str]]) -> None:
    """RFC 9700 §2.1.1: who sends a challenge means to be protected by it.

    RFC 6749 §3.1 would have an empty one count as omitted; that is a downgrade.
    """
    if ("code_challenge", "") in pairs:
        raise invalid_request("The code_challenge is empty.", why="empty_code_challenge")


def response_type_code(parameters: Parameters, client: Client, provider: Provider) -> None:
    """RFC 6749 §3.1.1: the response type is ``code``; OAuth 2.1 has no implicit grant."""
    if required(parameters, "response_type") != "code":
        raise OAuthError(
            "unsupported_response_type",
            "The only response_type is code.",
            why="response_type",
        )


def client_may_use_codes(parameters: Parameters, client: Client, provider: Provider) -> None:
    """RFC 6749 §4.1.2.1: the client is registered for this grant."""
    if "authorization_code" not in client.grant_types:
        raise OAuthError(
            "unauthorized_client",
            "The application may not use the authorization code grant.",
            why="grant_type",
        )


def s256_code_challenge_method(parameters: Parameters, client: Client, provider: Provider) -> None:
    """RFC 7636 §4.3: a method left out is ``plain``; RFC 9700 §2.1.1: S256 and nothing less."""
    if "code_challenge" not in parameters and "code_challenge_method" not in parameters:
        return
    if "code_challenge" not in parameters:
        raise invalid_request(
            "A code_challenge_method without a code_challenge.", why="missing_code_challenge"
        )
    if parameters.get("code_challenge_method", "plain") != "S256":
        raise invalid_request(
            "The code_challenge_method must be S256.", why="code_challenge_method"
        )


def code_challenge_where_required(
    parameters: Parameters, client: Client, provider: Provider
) -> None:
    """RFC 9700 §2.1.1: public clients must use PKCE, unless their registration says not."""
    if requires_pkce(client, provider) and "code_challenge" not in parameters:
        raise invalid_request(
            "The parameter code_challenge is missing.", why="missing_code_challenge"
        )


#: Every rule for a request whose client and redirect_uri are known, in order.
RULES: tuple[Callable[[Parameters, Client, Provider], None], ...] = (
    response_type_code,
    client_may_use_codes,
    s256_code_challenge_method,
    code_challenge_where_required,
)


def granted_scopes(parameters: Parameters, client: Client) -> tuple[str, ...]:
    """RFC 6749 §3.3: what was asked for, or by default all that the client may have."""
    asked = scope_names(parameters.get("scope", "")) or client.scopes
    if not set(asked) <= set(client.scopes):
        raise invalid_scope("scope")
    return asked


def authorization_response(
    destination: Destination, issuer: str, answer: Sequence[tuple[str, str]]
) -> str:
    """Return the URI to send the browser to, with ``answer``, state and issuer in its query.

    RFC 6749 §4.1.2: a query that the redirect_uri already has is kept. RFC 9207 §2: ``iss``.
    """
    pairs = [*answer]
    if destination.state is not None:
        pairs.append(("state", destination.state))
    pairs.append(("iss", issuer))
    uri, mark, query = destination.redirect_uri.partition("?")
    separator = "&" if query and not query.endswith("&") else ""
    return f"{uri}{mark or '?'}{query}{separator}{urlencode(pairs)}"
