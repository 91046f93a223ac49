"""The authorization code flow (RFC 6749 §4.1): a user allows a request, a client redeems the code.

oauthlib runs both steps. Its own redirect and its own proofs are not used: see
:mod:`gateway.grants.authorization`, and ``tokens/lua/redeem_code.lua`` for the proofs.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2 import AuthorizationCodeGrant

from gateway.clients.registry import RegisteredClient
from gateway.grants.authorization import (
    PKCE_RULES,
    CheckedParameters,
    Destination,
    authorization_response,
    known_client,
    only_code,
    registered_redirect_uri,
)
from gateway.grants.token_response import TokenContext, token_response
from gateway.grants.validator import Parts, Validator, client_of, context_of
from gateway.protocol.errors import unauthorized_client, with_reasons
from gateway.protocol.pkce import s256_challenge
from gateway.protocol.reasons import Why
from gateway.tokens.grant import CodeBinding, Grant
from gateway.tokens.token import Kind, Token, new_grant_id


@dataclass(slots=True)
class AuthorizationContext:
    """One authorization request.

    ``found`` is the client, if it was found before the user was asked. ``registered`` and
    ``destination`` are there once the client and its redirect_uri are known, ``code`` and ``grant``
    once the user has allowed the request.
    """

    checked: CheckedParameters
    found: RegisteredClient | None = None
    registered: RegisteredClient = field(init=False)
    destination: Destination = field(init=False)
    code: Token = field(init=False)
    grant: Grant = field(init=False)


class CodeFlow(AuthorizationCodeGrant):
    """Gives a code for a request that a user allowed, and tokens for a code."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(
            CodeValidator(parts),
            pre_auth=[_strict_check],
            pre_token=[_leave_redirect_uri_to_the_script],
            post_token=[self.issue],
        )
        self._parts = parts

    # --- The authorization request

    def validate_authorization_request(self, request: Request) -> tuple[Any, dict[str, Any]]:
        """Run oauthlib's checks. Raises OAuthError, never oauthlib's own."""
        with with_reasons():
            return super().validate_authorization_request(request)

    def _handle_redirects(self, request: Request) -> None:
        """RFC 6749 §3.1.2.3, by the gateway's rule, which compares character for character.

        This replaces a step of oauthlib's, which takes ``javascript:`` for an absolute URI and
        refuses registered URIs that browsers take, like one with ``[]`` in its query. If a later
        oauthlib has no such step, it asks ``validate_redirect_uri``, which raises: nothing passes.
        """
        context: AuthorizationContext = context_of(request)
        parameters = context.checked.parameters
        context.destination = registered_redirect_uri(parameters, client_of(request))
        request.redirect_uri = context.destination.redirect_uri

    def create_authorization_code(self, request: Request) -> dict[str, str]:
        """RFC 6749 §4.1.2: make a grant and its code."""
        context: AuthorizationContext = context_of(request)
        context.grant = Grant(
            new_grant_id(),
            context.registered.client.client_id,
            request.user,
            " ".join(request.scopes or ()),
            context.registered.source,
        )
        context.code = self._parts.keys.newest.random(Kind.CODE, context.grant.grant_id)
        return {"code": context.code.text}

    def prepare_authorization_response(
        self,
        request: Request,
        token: dict[str, Any],
        headers: dict[str, str],
        body: str | None,
        status: int | None,
    ) -> tuple[dict[str, str], str | None, int | None]:
        """Redirect with the issuer, and keep the redirect_uri's own query byte for byte."""
        context: AuthorizationContext = context_of(request)
        issuer = self._parts.settings.issuer
        location = authorization_response(context.destination, issuer, [*token.items()])
        return headers | {"Location": location}, body, status

    # --- The token request

    def validate_token_request(self, request: Request) -> None:
        """Run oauthlib's checks and then :meth:`issue`. Raises OAuthError, never oauthlib's own."""
        with with_reasons(required="code"):
            super().validate_token_request(request)

    def issue(self, request: Request) -> None:
        """RFC 6749 §4.1.3, RFC 7636 §4.6: prove, consume and issue, in one script."""
        context: TokenContext = context_of(request)
        client, code, key = client_of(request), context.presented, self._parts.keys.newest
        access = key.derived(Kind.ACCESS, code)
        refresh = next_refresh = None
        if "refresh_token" in client.grant_types:
            refresh = key.derived(Kind.REFRESH, code)
            next_refresh = key.derived(Kind.REFRESH, refresh)
        issued = self._parts.store.redeem_code(
            code,
            client_id=client.client_id,
            redirect_uri=request.redirect_uri or "",
            code_challenge=_challenge_of(request.code_verifier),
            request_id=secrets.token_urlsafe(12),
            access=access,
            refresh=refresh,
            next_refresh=next_refresh,
        )
        context.response = token_response(self._parts, issued, access, refresh)


def _strict_check(request: Request) -> dict[str, Any]:
    """Run in oauthlib's ``pre_auth``, where the client and the redirect_uri are known."""
    context: AuthorizationContext = context_of(request)
    context.checked.raise_fault()
    return {}


def _leave_redirect_uri_to_the_script(request: Request) -> None:
    """Run in oauthlib's ``pre_token``: a redirect_uri that is left out stays left out.

    oauthlib would put the client's default in its place, and refuse a client that has none. The
    script knows whether the authorization request had a redirect_uri.
    """
    request.redirect_uri = request.redirect_uri or ""


def _challenge_of(code_verifier: str | None) -> str:
    return s256_challenge(code_verifier) if code_verifier else ""


class CodeValidator(Validator):
    """Answers oauthlib's questions about an authorization request and a code."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._parts = parts

    # --- The authorization request

    def validate_client_id(
        self, client_id: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        """RFC 6749 §4.1.1: find the client, unless that was done before the user was asked."""
        context: AuthorizationContext = context_of(request)
        context.registered = context.found or known_client(client_id, self._parts.clients)
        request.client = context.registered.client
        return True

    def validate_response_type(
        self,
        client_id: str,
        response_type: str,
        client: Any,
        request: Request,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        """RFC 6749 §3.1.1, §4.1.2.1: the type is ``code``, and the client may use it."""
        only_code(response_type)
        if "authorization_code" not in client.grant_types:
            raise unauthorized_client(
                "The application may not use the authorization code grant.", Why.GRANT_TYPE
            )
        return True

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        """Run the gateway's rules of PKCE in an authorization request, and leave oauthlib none.

        oauthlib takes ``plain``, and takes it where the method is left out. At the token endpoint
        the script compares verifier and challenge; oauthlib would pass a verifier that no challenge
        was made of.
        """
        if request.response_type is not None:
            parameters = context_of(request).checked.parameters
            for rule in PKCE_RULES:
                rule(parameters, client_of(request), self._parts.settings.provider)
        return False

    def save_authorization_code(
        self, client_id: str, code: Any, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the grant, bound to its redirect_uri and challenge. Raises StoreUnavailable."""
        context: AuthorizationContext = context_of(request)
        binding = CodeBinding(
            context.destination.redirect_uri,
            context.destination.redirect_uri_sent,
            request.code_challenge or "",
        )
        self._parts.store.open_grant(context.grant, context.code, binding)

    # --- The token request

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        """Tell whether this gateway made the code. The script proves the rest."""
        presented = self._parts.keys.read(Kind.CODE, code)
        if presented is None:
            return False
        context_of(request).presented = presented
        return True

    def get_code_challenge(self, code: str, request: Request) -> Any:
        """Return ``None``: the script compares the challenge with the verifier's."""
        return None

    def confirm_redirect_uri(
        self,
        client_id: str,
        code: str,
        redirect_uri: str,
        client: Any,
        request: Request,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        """Return ``True``: the script compares the redirect_uri with the one of the request."""
        return True

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing is left to invalidate: the script that issued the tokens consumed the code.

        To consume it here would let two requests redeem one code.
        """
