"""The life of a grant: a code is given, redeemed, refreshed, asked about, and taken back.

Which client is asking has been settled before (:mod:`gateway.clients.authentication`); here is
what it may have. Every change is one script of :mod:`gateway.token_store`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gateway.clients.registry import Clients, RegisteredClient, is_public
from gateway.config.settings import Client, Settings
from gateway.grants.authorization import AuthorizationRequest
from gateway.protocol.errors import OAuthError, invalid_client, invalid_grant, invalid_scope
from gateway.protocol.parameters import Parameters, required, scope_names
from gateway.protocol.pkce import s256_challenge
from gateway.token_store import TokenStore
from gateway.tokens.grant import (
    AccessToken,
    CodeBinding,
    Grant,
    Issued,
    RefreshCandidate,
    Refusal,
    Refused,
)
from gateway.tokens.token import Kind, Token, TokenKeys, new_grant_id


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A successful token response (RFC 6749 §5.1), and the grant it came from."""

    access_token: str = field(repr=False)
    expires_in: int
    scope: str
    refresh_token: str | None = field(repr=False)
    grant: Grant

    def members(self) -> dict[str, str | int]:
        """Return the members of the JSON object."""
        answer: dict[str, str | int] = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
        }
        if self.refresh_token is not None:
            answer["refresh_token"] = self.refresh_token
        return answer | {"scope": self.scope}


@dataclass(frozen=True, slots=True)
class Introspection:
    """The members of an introspection response (RFC 7662 §2.2); whose grant it is about."""

    members: Mapping[str, str | int | bool]
    grant_id: str | None = None
    user: str | None = None


class Grants:
    """Issues, exchanges, checks and ends grants. Everything raises StoreUnavailable."""

    def __init__(
        self, store: TokenStore, keys: TokenKeys, clients: Clients, settings: Settings
    ) -> None:
        self._store = store
        self._keys = keys
        self._clients = clients
        self._users = (
            {user.name for user in settings.sign_in.users if not user.disabled}
            if settings.sign_in.method == "password"
            else None
        )
        self._scopes_in_file = {
            client.client_id: frozenset(client.scopes) for client in settings.clients
        }
        self._exchanges: Mapping[str, Callable[[RegisteredClient, Parameters], TokenResponse]] = {
            "authorization_code": self._redeem_code,
            "refresh_token": self._refresh,
            "client_credentials": self._client_credentials,
        }

    def authorize(self, request: AuthorizationRequest, user: str) -> tuple[Token, Grant]:
        """Return the code for what ``user`` allowed (RFC 6749 §4.1.2)."""
        grant = Grant(
            new_grant_id(),
            request.client.client_id,
            user,
            " ".join(request.scopes),
            request.registered.registered,
        )
        code = self._keys.newest.random(Kind.CODE, grant.grant_id)
        binding = CodeBinding(
            request.destination.redirect_uri,
            request.destination.redirect_uri_sent,
            request.code_challenge or "",
        )
        self._store.open_grant(grant, code, binding)
        return code, grant

    def exchange(self, registered: RegisteredClient, parameters: Parameters) -> TokenResponse:
        """Answer a token request of a client whose identity is settled (RFC 6749 §3.2).

        Raises OAuthError with one of the errors of §5.2.
        """
        grant_type = required(parameters, "grant_type")
        exchange = self._exchanges.get(grant_type)
        if exchange is None:
            raise OAuthError(
                "unsupported_grant_type", "The grant_type is not supported.", why="grant_type"
            )
        if grant_type not in registered.client.grant_types:
            raise OAuthError(
                "unauthorized_client",
                "The application may not use this grant_type.",
                why="grant_type",
            )
        return exchange(registered, parameters)

    def _redeem_code(self, registered: RegisteredClient, parameters: Parameters) -> TokenResponse:
        """RFC 6749 §4.1.3, RFC 7636 §4.6."""
        code = self._keys.read(Kind.CODE, required(parameters, "code"))
        if code is None:
            raise invalid_grant("unknown")
        client = registered.client
        key = self._keys.newest
        access = key.derived(Kind.ACCESS, code)
        refresh = next_refresh = None
        if "refresh_token" in client.grant_types:
            refresh = key.derived(Kind.REFRESH, code)
            next_refresh = key.derived(Kind.REFRESH, refresh)
        verifier = parameters.get("code_verifier")
        issued = self._store.redeem_code(
            code,
            client_id=client.client_id,
            redirect_uri=parameters.get("redirect_uri", ""),
            code_challenge=s256_challenge(verifier) if verifier else "",
            request_id=secrets.token_urlsafe(12),
            access=access,
            refresh=refresh,
            next_refresh=next_refresh,
        )
        return self._answer(issued, access, refresh)

    def _refresh(self, registered: RegisteredClient, parameters: Parameters) -> TokenResponse:
        """RFC 6749 §6, RFC 9700 §4.14.2. A ``redirect_uri``, as Frappe's clients send, is moot."""
        presented = self._keys.read(Kind.REFRESH, required(parameters, "refresh_token"))
        if presented is None:
            raise invalid_grant("unknown")
        asked = scope_names(parameters.get("scope", ""))
        if not set(asked) <= set(registered.client.scopes):
            raise invalid_scope("scope").about(grant_id=presented.grant_id)
        scope = " ".join(asked)
        candidates = []
        for key in self._keys.all:
            refresh = key.derived(Kind.REFRESH, presented)
            candidates.append(
                RefreshCandidate(
                    access=key.derived(Kind.ACCESS, presented, scope),
                    refresh=refresh,
                    next_refresh=key.derived(Kind.REFRESH, refresh),
                )
            )
        issued = self._store.rotate_refresh(
            presented,
            client_id=registered.client.client_id,
            scope=scope,
            candidates=candidates,
        )
        given = candidates[issued.candidate if isinstance(issued, Issued) else 0]
        return self._answer(issued, given.access, given.refresh)

    def _client_credentials(
        self, registered: RegisteredClient, parameters: Parameters
    ) -> TokenResponse:
        """RFC 6749 §4.4: confidential clients only, and no refresh token (§4.4.3)."""
        client = registered.client
        if is_public(client):
            raise OAuthError(
                "unauthorized_client", "The application has no credentials.", why="public_client"
            )
        scopes = scope_names(parameters.get("scope", "")) or client.scopes
        if not set(scopes) <= set(client.scopes):
            raise invalid_scope("scope")
        grant = Grant(
            new_grant_id(), client.client_id, None, " ".join(scopes), registered.registered
        )
        access = self._keys.newest.random(Kind.ACCESS, grant.grant_id)
        issued = self._store.issue_access(grant, access)
        if registered.registered == "store" and self._clients.find(client.client_id) is None:
            # Removed since it proved who it is, and its grants ended before this one was there.
            self._store.end_grant(grant.grant_id)
            raise invalid_client("unknown_client")
        return self._answer(issued, access, None)

    def _answer(
        self, issued: Issued | Refused, access: Token, refresh: Token | None
    ) -> TokenResponse:
        if isinstance(issued, Refused):
            is_scope = issued.why is Refusal.SCOPE
            fault = invalid_scope("scope") if is_scope else invalid_grant(issued.why.value)
            raise fault.about(grant_id=issued.grant_id, user=issued.user)
        grant = issued.grant
        if not self._may_still_act(grant):
            self._store.end_grant(grant.grant_id)
            fault = invalid_grant("user_or_client_removed")
            raise fault.about(grant_id=grant.grant_id, user=grant.user)
        scope = self._narrowed(issued.scope, grant)
        if issued.scope and not scope:
            raise invalid_grant("scope_removed").about(grant_id=grant.grant_id, user=grant.user)
        return TokenResponse(
            access.text,
            issued.expires_in,
            scope,
            refresh.text if refresh else None,
            grant,
        )

    def access_token(self, text: str) -> AccessToken | None:
        """Return what a bearer token allows, or ``None`` if it is not a valid one.

        One round trip to the store; none for what this gateway never issued.
        """
        token = self._keys.read(Kind.ACCESS, text)
        if token is None:
            return None
        access = self._store.access_token(token)
        if access is None or not self._may_still_act(access):
            return None
        scope = self._narrowed(access.scope, access)
        if scope == access.scope:
            return access
        # Where nothing is left, not even that is which any valid token may do.
        return replace(access, scope=scope) if scope else None

    def _may_still_act(self, party: AccessToken | Grant) -> bool:
        # Who is taken out of the configuration file loses access at once.
        if party.registered == "file" and not self._clients.in_file(party.client_id):
            return False
        return party.user is None or self._users is None or party.user in self._users

    def _narrowed(self, scope: str, party: AccessToken | Grant) -> str:
        # What is taken out of a client's scopes in the file is taken from its tokens as well.
        if party.registered != "file":
            return scope
        left = self._scopes_in_file[party.client_id]
        names = scope.split()
        return scope if left.issuperset(names) else " ".join(each for each in names if each in left)

    def revoke(self, text: str, client: Client | None) -> Refused | Grant | None:
        """Take a token back (RFC 7009 §2.1): a refresh token with all that came of it.

        ``client`` is ``None`` when the caller did not say who it is: then holding the token is
        proof enough, since all that can be done with it here is to end it. Returns ``None`` for
        what this gateway never issued.
        """
        client_id = client.client_id if client else ""
        for kind in (Kind.REFRESH, Kind.ACCESS):
            token = self._keys.read(kind, text)
            if token is not None:
                return self._store.revoke(token, client_id, whole_grant=kind is Kind.REFRESH)
        return None

    def introspection(self, text: str, client: Client) -> Introspection:
        """Say what a token is good for (RFC 7662 §2.2).

        A client learns of its own tokens, unless it is registered to ask about any.
        """
        access = self.access_token(text)
        if access is not None:
            return _introspection(access, client, token_type="Bearer", exp=access.expires_at)  # noqa: S106
        refresh = self._keys.read(Kind.REFRESH, text)
        grant = self._store.is_current_refresh(refresh) if refresh else None
        if grant is None or not self._may_still_act(grant):
            return Introspection({"active": False}, self.grant_id_of(text))
        scope = self._narrowed(grant.scope, grant)
        if grant.scope and not scope:
            return Introspection({"active": False}, grant.grant_id, grant.user)
        found = replace(grant, scope=scope)
        return _introspection(found, client, token_type="refresh_token")  # noqa: S106

    def grant_id_of(self, text: str) -> str | None:
        """Return the id of the grant that a genuine code or token is of, valid or not."""
        for kind in Kind:
            token = self._keys.read(kind, text)
            if token is not None:
                return token.grant_id
        return None

    def live_grants(self, *, user: str | None = None, client_id: str | None = None) -> list[Grant]:
        """Return the live grants of a user, of a client, or of a user with a client.

        Those that have given tokens, the newest first.
        """
        found = (grant for grant in self._found(user, client_id) if grant.redeemed)
        return sorted(found, key=lambda grant: grant.since, reverse=True)

    def end(self, grant: Grant) -> None:
        """End a grant with all its tokens."""
        self._store.end_grant(grant.grant_id)

    def end_all(self, *, user: str | None = None, client_id: str | None = None) -> Iterator[Grant]:
        """End the grants of a user, of a client, or of a user with a client; yield each.

        None is ended before it is asked for.
        """
        # Those whose code is not redeemed yet as well: it would give tokens in a moment.
        for grant in self._found(user, client_id):
            self._store.end_grant(grant.grant_id)
            yield grant

    def _found(self, user: str | None, client_id: str | None) -> Iterator[Grant]:
        if user is not None:
            for grant in self._store.grants_of_user(user):
                if client_id in {None, grant.client_id}:
                    yield grant
        elif client_id is not None:
            yield from self._store.grants_of_client(client_id)
        else:
            raise ValueError("say whose grants")


def _introspection(party: AccessToken | Grant, client: Client, **more: str | int) -> Introspection:
    if party.client_id != client.client_id and not client.introspect_any:
        return Introspection({"active": False}, party.grant_id, party.user)
    members: dict[str, str | int | bool] = {
        "active": True,
        "scope": party.scope,
        "client_id": party.client_id,
    }
    if party.user is not None:
        members |= {"username": party.user, "sub": party.user}
    return Introspection(members | more, party.grant_id, party.user)
