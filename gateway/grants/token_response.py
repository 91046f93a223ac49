"""The token response (RFC 6749 §5.1): what a script of the store issued, and nothing else.

A flow proves, consumes and issues in one script. It does so in oauthlib's ``post_token``, after
every check of oauthlib's own, and leaves the response in the request's context. oauthlib asks
:class:`IssuedToken` for the token then, and gets the one that is issued.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2 import BearerToken, OAuth2Token

from gateway.clients.registry import RegisteredClient
from gateway.config.settings import Client
from gateway.grants.validator import Parts, context_of
from gateway.protocol.errors import OAuthError, invalid_grant, invalid_scope
from gateway.protocol.reasons import Why
from gateway.tokens.grant import Grant, Issued, Refusal, Refused
from gateway.tokens.token import Token


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """The members of a successful response (RFC 6749 §5.1), and the grant it came from.

    ``is_elsewhere``: it repeats a response that another network got.
    """

    members: Mapping[str, Any] = field(repr=False)
    grant: Grant
    is_elsewhere: bool = False

    @property
    def access_token(self) -> str:
        """The access token."""
        return str(self.members["access_token"])

    @property
    def refresh_token(self) -> str | None:
        """The refresh token, if there is one."""
        return self.members.get("refresh_token")

    @property
    def expires_in(self) -> int:
        """The seconds for which the access token is valid."""
        return int(self.members["expires_in"])

    @property
    def scope(self) -> str:
        """The scope of the access token, '' if it has none."""
        return str(self.members.get("scope", ""))


@dataclass(slots=True)
class TokenContext:
    """One token request: who sends it, and what it gives.

    ``network`` is where it comes from, if that is known. ``presented`` is the code or refresh
    token, once its flow has read it. ``response`` is there once the script has issued;
    ``is_elsewhere`` says that another network got it before.
    """

    registered: RegisteredClient
    network: str = ""
    is_elsewhere: bool = False
    presented: Token = field(init=False)
    response: TokenResponse = field(init=False)

    @property
    def client(self) -> Client:
        """The client that sends the request."""
        return self.registered.client


class IssuedToken(BearerToken):
    """The token that a flow has issued already (RFC 6750)."""

    def create_token(
        self, request: Request, refresh_token: bool = False, **kwargs: Any
    ) -> OAuth2Token:
        """Return the members of the response. Nothing is created here."""
        context: TokenContext = context_of(request)
        return OAuth2Token(dict(context.response.members))


def token_response(
    parts: Parts, issued: Issued | Refused, access: Token, refresh: Token | None
) -> TokenResponse:
    """Return the response to what a script answered. Raises OAuthError and StoreUnavailable.

    A grant whose user or client the configuration file no longer has is ended.
    """
    if isinstance(issued, Refused):
        raise _refusal(issued)
    grant = issued.grant
    if not parts.entitlements.may_act(grant):
        parts.store.end_grant(grant.grant_id)
        raise _about(grant, Why.USER_OR_CLIENT_REMOVED)
    scope = parts.entitlements.remaining_scope(issued.scope, grant)
    if issued.scope and not scope:
        raise _about(grant, Why.SCOPE_REMOVED)
    return TokenResponse(_members(access, issued.expires_in, refresh, scope), grant)


def _members(access: Token, expires_in: int, refresh: Token | None, scope: str) -> dict[str, Any]:
    members = {"access_token": access.text, "token_type": "Bearer", "expires_in": expires_in}
    if refresh is not None:
        members["refresh_token"] = refresh.text
    # RFC 6749 §3.3: a scope has one name or more, so an empty one is no member.
    return members | {"scope": scope} if scope else members


def _refusal(refused: Refused) -> OAuthError:
    is_scope = refused.why is Refusal.SCOPE
    fault = invalid_scope(Why.SCOPE) if is_scope else invalid_grant(Why(refused.why.value))
    return fault.about(grant_id=refused.grant_id, user=refused.user)


def _about(grant: Grant, why: Why) -> OAuthError:
    return invalid_grant(why).about(grant_id=grant.grant_id, user=grant.user)
