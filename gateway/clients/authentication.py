"""Which client sends a token, revocation or introspection request (RFC 6749 §2.3)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from urllib.parse import unquote

from gateway.clients.registry import Clients, RegisteredClient, is_public, secret_matches
from gateway.http.peers import network_of
from gateway.protocol.errors import invalid_client
from gateway.protocol.parameters import Parameters
from gateway.protocol.parameters import client_id as client_id_grammar
from gateway.protocol.reasons import Why
from gateway.store.rate_limits import FailureLimit, TooMany

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Presented:
    """What a client says of itself: its id, and every reading of its secret if it sent one."""

    client_id: str
    secrets: tuple[str, ...] = field(repr=False)


def presented_client(authorization: str | None, parameters: Parameters) -> Presented | None:
    """Return what the client presents, or ``None`` if it does not say who it is.

    ``authorization`` is the Authorization header's value. A client must not use two methods
    at once (RFC 6749 §2.3). The client's id in the body beside the header is no second method,
    as long as both ids are the same. Raises OAuthError ``invalid_client``.
    """
    in_body = parameters.get("client_id")
    if authorization is None:
        if in_body is None:
            if "client_secret" in parameters:
                raise invalid_client(Why.MISSING_CLIENT_ID)
            return None
        secret = parameters.get("client_secret")
        return Presented(in_body, () if secret is None else (secret,))
    if "client_secret" in parameters:
        raise invalid_client(Why.TWO_METHODS)
    presented = basic_credentials(authorization)
    if in_body is not None and in_body != presented.client_id:
        raise invalid_client(Why.TWO_CLIENT_IDS)
    return presented


def basic_credentials(authorization: str) -> Presented:
    """RFC 7617 §2, with both parts form-encoded as RFC 6749 §2.3.1 demands.

    Many clients do not encode their id and their secret. So the secret has up to three readings:
    decoded as a form, decoded but for '+', and as it was sent. An id that is no form is taken as
    it was sent. Raises OAuthError ``invalid_client``.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise invalid_client(Why.AUTHORIZATION_SCHEME)
    try:
        decoded = b64decode(encoded.strip(" ").encode("ascii"), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError):
        raise invalid_client(Why.MALFORMED_BASIC) from None
    client_id, colon, secret = decoded.partition(":")
    if not colon or not client_id or _CONTROL.search(decoded):
        raise invalid_client(Why.MALFORMED_BASIC)
    client_id = _form_decoded(client_id.replace("+", " ")) or client_id
    if client_id_grammar(client_id) is not None:
        raise invalid_client(Why.MALFORMED_BASIC)
    readings = _form_decoded(secret.replace("+", " ")), _form_decoded(secret), secret
    # RFC 6749 §2.3.1: an empty secret counts as omitted.
    return Presented(client_id, tuple(dict.fromkeys(filter(None, readings))))


def _form_decoded(text: str) -> str | None:
    """Return ``text`` without its percent-escapes, ``None`` if a '%' in it starts none."""
    if _BAD_PERCENT.search(text):
        return None
    try:
        return unquote(text, errors="strict")
    except UnicodeError:
        return None


def authenticated_client(
    presented: Presented | None, clients: Clients, failures: FailureLimit, address: str
) -> RegisteredClient:
    """Return the client that ``presented`` proves to be (RFC 6749 §3.2.1).

    A public client names itself and proves nothing. Raises OAuthError ``invalid_client``, TooMany
    after too many failures for this client from this address, and StoreUnavailable.
    """
    if presented is None:
        raise invalid_client(Why.MISSING_CLIENT_ID)
    client_id = presented.client_id
    who = client_id, network_of(address)
    # A client that sends no secret does not guess one.
    count_command = [failures.count_command(*who)] if presented.secrets else []
    registered, counts = clients.find_with(client_id, *count_command)
    why = _fault(registered, presented)
    try:
        for count in counts:
            failures.check_count(count, *who)
        if why is Why.WRONG_SECRET:
            # Only a wrong secret is a guess. To count other faults would let anybody fill the
            # store with names.
            failures.count(*who)
    except TooMany as stop:
        stop.client_id = client_id
        raise
    if why is not None:
        raise invalid_client(why).about(client_id=client_id)
    assert registered is not None  # noqa: S101 - _fault() says so
    return registered


def _fault(registered: RegisteredClient | None, presented: Presented) -> Why | None:
    if registered is None:
        return Why.UNKNOWN_CLIENT
    if is_public(registered.client):
        return Why.SECRET_OF_PUBLIC_CLIENT if presented.secrets else None
    if not presented.secrets:
        return Why.MISSING_SECRET
    matches = [secret_matches(registered.client, secret) for secret in presented.secrets]
    return None if any(matches) else Why.WRONG_SECRET
