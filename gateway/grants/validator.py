"""Handing requests to oauthlib: what it gets to see, and what every flow answers to its questions.

oauthlib reads nothing itself. It gets the parameters that passed the strict check, as a mapping and
not as text, so nothing is decoded a second time. Beside them it gets the gateway's own context of
this one request: which client sends it, and room for what the flow finds out. oauthlib makes an
attribute of each. No parameter is called ``context``, so no form can set it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from oauthlib.common import Request
from oauthlib.oauth2 import RequestValidator

from gateway.clients.registry import Clients
from gateway.config.settings import Client, Settings
from gateway.grants.entitlements import Entitlements
from gateway.protocol.parameters import Parameters, scope_names
from gateway.token_store import TokenStore
from gateway.tokens.token import TokenKeys

#: oauthlib wants to know where a request was sent. No query, so there is nothing to read in it.
URI = "https://gateway.invalid/"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the flows work with."""

    settings: Settings
    clients: Clients
    store: TokenStore
    keys: TokenKeys
    entitlements: Entitlements


def request_body(parameters: Parameters, context: object) -> Any:
    """Return what oauthlib gets as the body of a request.

    ``parameters`` have passed the strict check. The client has proved who it is, so its secret is
    left out. Each scope is named once. ``context`` is handed on as it is, since it is no iterable;
    of an iterable oauthlib would make a copy.
    """
    shown = {name: value for name, value in parameters.items() if name != "client_secret"}
    if "scope" in shown:
        shown["scope"] = " ".join(scope_names(shown["scope"]))
    return {**shown, "context": context}


def context_of(request: Request) -> Any:
    """Return the context that was given to :func:`request_body`."""
    return cast("Any", request).context


def client_of(request: Request) -> Client:
    """Return the client of a request that has one: authenticated, or found by its id."""
    return cast("Client", request.client)


class Validator(RequestValidator):
    """The questions that oauthlib asks in more than one flow.

    A question that a flow does not expect raises NotImplementedError, as oauthlib has it.
    """

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """RFC 6749 §3.2.1: yes, and it is done (:mod:`gateway.clients.authentication`)."""
        return True

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """Hand over the client that is authenticated. A public client has only named itself."""
        request.client = context_of(request).client
        return True

    def validate_grant_type(
        self,
        client_id: str,
        grant_type: str,
        client: Any,
        request: Request,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        """RFC 6749 §5.2: the client is registered for this grant."""
        return grant_type in client.grant_types

    def get_default_scopes(
        self, client_id: str, request: Request, *args: Any, **kwargs: Any
    ) -> list[str]:
        """RFC 6749 §3.3: a request without a scope asks for all that the client may have."""
        return list(client_of(request).scopes)

    def validate_scopes(
        self,
        client_id: str,
        scopes: list[str],
        client: Any,
        request: Request,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        """RFC 6749 §3.3: the client is registered for every scope."""
        return set(scopes) <= set(client.scopes)

    def save_token(self, token: object, request: Request, *args: Any, **kwargs: Any) -> None:
        """Nothing is left to save: the script that issued the token has stored it.

        To check first and save afterwards would let two requests redeem one code.
        """
