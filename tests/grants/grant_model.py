"""The life of a grant, in any order of what can happen to it, against a simple model.

The scripts run in a real store. Time is moved by rewriting what a grant keeps of it; every
lifetime is an odd multiple of 50 s and every step an even one, so that a slow machine makes
no difference.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from gateway.clients.registry import RegisteredClient
from gateway.config.settings import Client
from gateway.grants.token_response import TokenResponse
from gateway.protocol.errors import OAuthError
from gateway.protocol.pkce import s256_challenge
from gateway.tokens.grant import Grant, Refusal, Refused
from tests.support.stand import CLIENTS, LIFETIMES, Stand, asked
from tests.support.store import grant_id, grant_key, let_pass

USERS = ("ann", "bob")
WRONG_VERIFIER = "w" * 43


@dataclass
class Life:
    """What the model knows of one grant; times are those of the model's clock (s)."""

    client: Client
    user: str
    scope: str
    code: str
    redirect_uri: str
    verifier: str | None
    dies_at: float
    redeemed: bool = False
    ended: bool = False
    ends_at: float = 0
    current: str = ""
    rotated_at: dict[str, float] = field(default_factory=dict)
    given: dict[tuple[str, str], TokenResponse] = field(default_factory=dict)
    access: dict[str, tuple[float, str]] = field(default_factory=dict)

    def lives(self, now: float) -> bool:
        return not self.ended and now < self.dies_at

    def is_valid(self, access: str, now: float) -> bool:
        return self.lives(now) and now < self.access[access][0]


class Gateway(RuleBasedStateMachine):
    """Issue, redeem, refresh, replay, revoke, expire: in any order, by right and by wrong."""

    stand: Stand

    codes = Bundle("codes")
    refresh_tokens = Bundle("refresh_tokens")

    @initialize(target=refresh_tokens)
    def start(self) -> Any:
        self.stand.redis.flushall()
        self.now = 0.0
        self.lives: dict[str, Life] = {}
        self.secret_keys = [b"0" * 32]
        self.core = self.stand.gateway(*self.secret_keys)
        return self.client_is_given_tokens(CLIENTS[0], "project profile")

    def teardown(self) -> None:
        with suppress(AttributeError):
            self.core.redis.close()

    @rule()
    def the_secret_key_is_changed(self) -> None:
        """A gateway is restarted with a new key before the old ones."""
        self.core.redis.close()
        self.secret_keys.insert(0, secrets.token_bytes(32))
        self.core = self.stand.gateway(*self.secret_keys)

    @rule(seconds=st.sampled_from([100, 100, 200, 300, 400, 2000]))
    def time_passes(self, seconds: int) -> None:
        for each in self.lives:
            let_pass(self.stand.redis, each, seconds)
        self.now += seconds

    @rule(
        target=codes,
        client=st.sampled_from(CLIENTS),
        user=st.sampled_from(USERS),
        scope=st.sampled_from(["project", "project profile"]),
        pkce=st.booleans(),
    )
    def user_allows(self, client: Client, user: str, scope: str, *, pkce: bool) -> str:
        verifier = secrets.token_urlsafe(48) if pkce else None
        parameters = {"scope": scope}
        if verifier:
            parameters |= {
                "code_challenge": s256_challenge(verifier),
                "code_challenge_method": "S256",
            }
        request = asked(self.core, client, **parameters)
        code, grant, _ = self.core.authorization_server.authorize(request, user)
        self.lives[grant.grant_id] = Life(
            client,
            user,
            scope,
            code.text,
            client.redirect_uris[0],
            verifier,
            dies_at=self.now + LIFETIMES.code_seconds,
        )
        return code.text

    @rule(
        target=refresh_tokens,
        client=st.sampled_from(CLIENTS),
        scope=st.sampled_from(["project", "project profile"]),
    )
    def client_is_given_tokens(self, client: Client, scope: str) -> Any:
        """Most steps need a grant that has tokens."""
        code = self.user_allows(client, USERS[0], scope, pkce=False)
        return self.client_redeems(code, "right")

    @rule(
        target=refresh_tokens,
        code=codes,
        proof=st.sampled_from(
            ["right"] * 4 + ["client", "redirect_uri", "verifier", "no verifier"]
        ),
    )
    def client_redeems(self, code: str, proof: str) -> Any:
        life = self.lives[grant_id(code)]
        client = life.client
        parameters = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": life.redirect_uri,
        }
        if life.verifier:
            parameters["code_verifier"] = life.verifier
        is_right = proof == "right"
        if proof == "client":
            client = CLIENTS[1 - CLIENTS.index(client)]
        elif proof == "redirect_uri":
            parameters["redirect_uri"] = client.redirect_uris[1]
        elif proof == "verifier":
            # Where no challenge was made, any verifier is a wrong one.
            parameters["code_verifier"] = WRONG_VERIFIER
        elif proof == "no verifier":
            is_right = parameters.pop("code_verifier", None) is None
        answer = self._exchange(client, parameters)
        if not life.lives(self.now) or not is_right:
            assert answer == "invalid_grant"
            return multiple()
        if life.redeemed:
            assert answer == "invalid_grant"
            life.ended = True
            return multiple()
        assert isinstance(answer, TokenResponse)
        life.redeemed = True
        life.ends_at = self.now + LIFETIMES.grant_seconds
        assert answer.scope == life.scope
        return self._given(life, answer, answer.scope, self.now)

    @rule(
        target=refresh_tokens,
        token=refresh_tokens,
        scope=st.sampled_from(["", "", "", "project", "project profile", "admin"]),
        by_owner=st.sampled_from([True, True, True, False]),
    )
    def client_refreshes(self, token: str, scope: str, *, by_owner: bool) -> Any:
        life = self.lives[grant_id(token)]
        client = life.client if by_owner else CLIENTS[1 - CLIENTS.index(life.client)]
        answer = self._exchange(
            client,
            {"grant_type": "refresh_token", "refresh_token": token}
            | ({"scope": scope} if scope else {}),
        )
        if not life.lives(self.now) or not by_owner:
            assert answer == "invalid_grant"
            return multiple()
        if not set(scope.split()) <= set(life.scope.split()):
            assert answer == "invalid_scope"
            return multiple()
        rotated_at = life.rotated_at.get(token)
        if rotated_at is None:
            assert token == life.current
            life.rotated_at[token] = rotated_at = self.now
        elif self.now - rotated_at >= LIFETIMES.refresh_grace_seconds:
            assert answer == "invalid_grant"
            life.ended = True
            return multiple()
        assert isinstance(answer, TokenResponse)
        before = life.given.setdefault((token, scope), answer)
        assert (answer.access_token, answer.refresh_token) == (
            before.access_token,
            before.refresh_token,
        )
        same = {each.refresh_token for (old, _), each in life.given.items() if old == token}
        assert same == {answer.refresh_token}
        assert answer.scope == (scope or life.scope)
        return self._given(life, answer, answer.scope, rotated_at)

    def _given(self, life: Life, answer: TokenResponse, scope: str, at: float) -> str:
        assert answer.refresh_token is not None
        if life.current in {"", *life.rotated_at} and answer.refresh_token not in life.rotated_at:
            life.current = answer.refresh_token
        expires_at = min(at + LIFETIMES.access_seconds, life.ends_at)
        known = life.access.setdefault(answer.access_token, (expires_at, scope))
        idle_until = min(self.now + LIFETIMES.refresh_seconds, life.ends_at)
        life.dies_at = max(idle_until, min(self.now + LIFETIMES.access_seconds, life.ends_at))
        if known[0]:
            left = max(0, known[0] - self.now)
            assert left - 30 <= answer.expires_in <= left
        return answer.refresh_token

    @rule(target=refresh_tokens, token=refresh_tokens, seconds=st.sampled_from([100, 300, 400]))
    def client_refreshes_and_repeats_it_later(self, token: str, seconds: int) -> Any:
        """The sequence in which idempotence and the reuse of a token are told apart."""
        current = self.lives[grant_id(token)].current
        first = self.client_refreshes(current, "", by_owner=True)
        self.time_passes(seconds)
        self.client_refreshes(current, "", by_owner=True)
        return first

    @rule(token=st.one_of(refresh_tokens, codes), by=st.sampled_from(["owner", "", "other"]))
    def somebody_revokes(self, token: str, by: str) -> None:
        """A refresh token ends its grant; a code is no token and ends nothing."""
        life = self.lives[grant_id(token)]
        done = self.core.authorization_server.revoke(self._revoker(life, by), {"token": token})
        if token == life.code:
            assert done is None
        elif not life.lives(self.now):
            assert done == Refused(Refusal.UNKNOWN, grant_id(token))
        elif by == "other":
            assert done == Refused(Refusal.CLIENT, grant_id(token), life.user)
        else:
            assert isinstance(done, Grant)
            life.ended = True

    @rule(token=refresh_tokens, which=st.integers(0, 10), by=st.sampled_from(["owner", "other"]))
    def somebody_revokes_an_access_token(self, token: str, which: int, by: str) -> None:
        """It ends alone, and whatever gives it again gives it dead."""
        life = self.lives[grant_id(token)]
        access = sorted(life.access)[which % len(life.access)]
        self.core.authorization_server.revoke(self._revoker(life, by), {"token": access})
        if by == "owner" and life.is_valid(access, self.now):
            life.access[access] = (0, life.access[access][1])

    def _revoker(self, life: Life, by: str) -> RegisteredClient | None:
        other = CLIENTS[1 - CLIENTS.index(life.client)]
        asking = {"owner": life.client, "other": other, "": None}[by]
        return RegisteredClient(asking, "file") if asking else None

    @rule(user=st.sampled_from([*USERS, None]), client=st.sampled_from([*CLIENTS, None]))
    def operator_ends_grants(self, user: str | None, client: Client | None) -> None:
        if user is None and client is None:
            return
        client_id = client.client_id if client else None
        ended = list(self.core.grants.end_all(user=user, client_id=client_id))
        expected = {
            key
            for key, life in self.lives.items()
            if life.lives(self.now)
            and user in {None, life.user}
            and (client is None or client is life.client)
        }
        assert {grant.grant_id for grant in ended} == expected
        assert len(ended) == len(expected)
        for key in expected:
            self.lives[key].ended = True

    @rule(token=st.one_of(codes, refresh_tokens))
    def store_forgets_a_grant(self, token: str) -> None:
        """Its key is gone, as if it had expired; its access tokens' keys are still there."""
        self.stand.redis.delete(grant_key(grant_id(token)))
        self.lives[grant_id(token)].ended = True

    @invariant()
    def every_access_token_is_judged_as_the_model_says(self) -> None:
        for life in getattr(self, "lives", {}).values():
            for text, (_, scope) in life.access.items():
                found = self.core.access.access_token(text)
                assert (found is not None) == life.is_valid(text, self.now)
                if found is not None:
                    assert (found.client_id, found.user) == (life.client.client_id, life.user)
                    assert found.scope == scope

    @invariant()
    def only_the_newest_refresh_token_is_active(self) -> None:
        for life in getattr(self, "lives", {}).values():
            for text in {*life.rotated_at, life.current} - {""}:
                asking = RegisteredClient(life.client, "file")
                introspect = self.core.authorization_server.introspect
                answer = introspect(asking, {"token": text}).members
                assert answer["active"] == (life.lives(self.now) and text == life.current)

    @invariant()
    def every_live_grant_is_listed(self) -> None:
        for user in USERS:
            expected = {
                key
                for key, life in getattr(self, "lives", {}).items()
                if life.user == user and life.redeemed and life.lives(self.now)
            }
            assert {grant.grant_id for grant in self.core.grants.live_grants(user=user)} == expected

    def _exchange(self, client: Client, parameters: Mapping[str, str]) -> TokenResponse | str:
        try:
            registered = RegisteredClient(client, "file")
            return self.core.authorization_server.exchange(registered, parameters)
        except OAuthError as fault:
            return fault.error
