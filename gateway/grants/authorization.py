"""The authorization request (RFC 6749 §4.1.1): the rules that oauthlib does not keep.

oauthlib runs its checks in this order, and calls these rules on the way
(:mod:`gateway.grants.code`):

1. the client is known: :func:`known_client`
2. the redirect_uri is registered: :func:`registered_redirect_uri`
3. every parameter keeps the strict check: :meth:`CheckedParameters.raise_fault`
4. the response type is ``code``, and the client may use it: oauthlib, :func:`only_code`
5. PKCE is used as it must be: :data:`PKCE_RULES`
6. the scope is one that the client may have: oauthlib

A fault of the first two is shown to the user, and nobody is redirected (§4.1.2.1, §3.1.2.4). Every
later fault goes to the redirect_uri.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from gateway.clients.registry import Clients, RegisteredClient, requires_pkce
from gateway.config.settings import Client, Provider
from gateway.protocol.errors import (
    OAuthError,
    fatal,
    invalid_request,
    unknown_client,
    unsupported_response_type,
)
from gateway.protocol.parameters import Parameters
from gateway.protocol.reasons import Why
from gateway.protocol.redirect_uris import matches_registered
from gateway.protocol.request_rules import FormKind, Pairs, validate_pairs


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the response goes: a redirect_uri that the client registered, and the state."""

    redirect_uri: str
    redirect_uri_sent: bool
    state: str | None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that keeps every rule; ``scopes`` are the ones to grant."""

    registered: RegisteredClient
    destination: Destination
    scopes: tuple[str, ...]
    parameters: Parameters

    @property
    def client(self) -> Client:
        """The client that asks."""
        return self.registered.client


class RedirectedError(OAuthError):
    """A fault to tell the client at its redirect_uri (RFC 6749 §4.1.2.1)."""

    def __init__(self, fault: OAuthError, destination: Destination) -> None:
        super().__init__(fault.oauth2_error, fault.reason, fault.parameter)
        self.about(client_id=fault.client_id)
        self.sent = fault.sent
        self.destination = destination


@dataclass(frozen=True, slots=True)
class CheckedParameters:
    """The parameters of an authorization request that pass the strict check.

    If one of them does not pass, ``fault`` says so, and ``parameters`` has only those that say
    where the answer goes.
    """

    parameters: Parameters
    fault: OAuthError | None = None

    def raise_fault(self) -> None:
        """RFC 6749 §4.1.2.1: raise the fault, once it is known where to send it."""
        if self.fault is not None:
            raise self.fault


def check_parameters(pairs: Pairs) -> CheckedParameters:
    """Check ``pairs``, the decoded names and values of a request.

    Raises OAuthError for a fault in ``client_id`` or ``redirect_uri``: nobody can be redirected.
    """
    client_id = _single(pairs, "client_id")
    redirect_uri = _single(pairs, "redirect_uri", client_id)
    try:
        return CheckedParameters(validate_pairs(pairs, FormKind.AUTHORIZE))
    except OAuthError as fault:
        found = {"client_id": client_id, "redirect_uri": redirect_uri, "state": _state(pairs)}
        return CheckedParameters({name: value for name, value in found.items() if value}, fault)


def _single(pairs: Pairs, name: str, client_id: str | None = None) -> str | None:
    try:
        return _value(pairs, name)
    except OAuthError as fault:
        ours = fatal(fault.description, fault.reason, fault.parameter)
        raise ours.about(client_id=client_id, parameters=dict(pairs)) from None


def _state(pairs: Pairs) -> str | None:
    try:
        return _value(pairs, "state")
    except OAuthError:
        # Repeated or malformed: the error that this causes goes out without it.
        return None


def _value(pairs: Pairs, name: str) -> str | None:
    return validate_pairs([pair for pair in pairs if pair[0] == name], FormKind.AUTHORIZE).get(name)


def known_client(client_id: str, clients: Clients) -> RegisteredClient:
    """RFC 6749 §4.1.1: client_id names a client that the gateway knows."""
    registered = clients.find(client_id)
    if registered is None:
        raise unknown_client().about(client_id=client_id)
    return registered


def registered_redirect_uri(parameters: Parameters, client: Client) -> Destination:
    """RFC 6749 §3.1.2.3: a registered URI; it may be left out where there is just one.

    RFC 8252 §7.3: the port of a loopback address is the client's choice.
    """
    asked = parameters.get("redirect_uri")
    if asked is None and len(client.redirect_uris) != 1:
        raise fatal(
            "The parameter redirect_uri is missing, and the application has no single one.",
            Why.MISSING_REDIRECT_URI,
        )
    if asked is not None and not matches_registered(
        asked, client.redirect_uris, loopback_ports=client.loopback_ports
    ):
        raise fatal("The redirect_uri is not registered for this application.", Why.REDIRECT_URI)
    return Destination(asked or client.redirect_uris[0], asked is not None, parameters.get("state"))


def only_code(response_type: str) -> None:
    """RFC 6749 §3.1.1: the response type is ``code`` and nothing that merely contains it."""
    if response_type != "code":
        raise unsupported_response_type()


def s256_code_challenge_method(parameters: Parameters, client: Client, provider: Provider) -> None:
    """RFC 7636 §4.3: a method left out is ``plain``; RFC 9700 §2.1.1: S256 and nothing less."""
    if "code_challenge" not in parameters and "code_challenge_method" not in parameters:
        return
    if "code_challenge" not in parameters:
        raise invalid_request(
            "A code_challenge_method without a code_challenge.", Why.MISSING_CODE_CHALLENGE
        )
    if parameters.get("code_challenge_method", "plain") != "S256":
        raise invalid_request("The code_challenge_method must be S256.", Why.CODE_CHALLENGE_METHOD)


def code_challenge_where_required(
    parameters: Parameters, client: Client, provider: Provider
) -> None:
    """RFC 9700 §2.1.1: public clients must use PKCE, unless their registration says not."""
    if requires_pkce(client, provider) and "code_challenge" not in parameters:
        raise invalid_request(
            "The parameter code_challenge is missing.", Why.MISSING_CODE_CHALLENGE
        )


#: The rules of PKCE, in order. The strict check has refused an empty challenge before.
PKCE_RULES: tuple[Callable[[Parameters, Client, Provider], None], ...] = (
    s256_code_challenge_method,
    code_challenge_where_required,
)


def authorization_response(
    destination: Destination, issuer: str, members: Sequence[tuple[str, str]]
) -> str:
    """Return the URI to send the browser to, with ``members``, state and issuer in its query.

    RFC 6749 §4.1.2: a query that the redirect_uri already has is kept, byte for byte; oauthlib
    would write it anew. RFC 9207 §2: ``iss``.
    """
    pairs = [*members]
    if destination.state is not None:
        pairs.append(("state", destination.state))
    pairs.append(("iss", issuer))
    uri, mark, query = destination.redirect_uri.partition("?")
    separator = "&" if query and not query.endswith("&") else ""
    return f"{uri}{mark or '?'}{query}{separator}{urlencode(pairs)}"
