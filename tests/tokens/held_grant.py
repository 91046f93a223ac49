"""A grant in a real store, worked on script by script."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from redis import Redis

from gateway.config.settings import Tokens
from gateway.protocol.pkce import s256_challenge
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant, Issued, RefreshCandidate, Refusal, Refused
from gateway.tokens.token import Kind, Token, TokenKey, new_grant_id
from tests.support.stand import LIFETIMES, Stand
from tests.support.store import grant_key, keys_of, let_pass


def why(answer: Issued | Refused | Grant) -> Refusal | None:
    """Return the reason of a refusal, ``None`` for another answer."""
    return answer.why if isinstance(answer, Refused) else None


@dataclass(frozen=True)
class Held:
    """One grant in the store, worked on script by script."""

    redis: Redis
    store: TokenStore
    key: TokenKey
    code: Token
    binding: CodeBinding

    @property
    def access(self) -> Token:
        """The access token that the code gives."""
        return self.key.derived(Kind.ACCESS, self.code)

    @property
    def refresh(self) -> Token:
        """The refresh token that the code gives."""
        return self.key.derived(Kind.REFRESH, self.code)

    def redeem(self, request_id: str = "first", **changed: str) -> Issued | Refused:
        """Redeem the code with the right proof, or with one that is ``changed``."""
        proof = {
            "client_id": "one",
            "redirect_uri": self.binding.redirect_uri,
            "code_challenge": self.binding.code_challenge,
        }
        return self.store.redeem_code(
            self.code,
            **(proof | changed),
            request_id=request_id,
            access=self.access,
            refresh=self.refresh,
            next_refresh=self.key.derived(Kind.REFRESH, self.refresh),
        )

    def successor(self, token: Token) -> Token:
        """Return the refresh token that ``token`` gives."""
        return self.key.derived(Kind.REFRESH, token)

    def rotate(self, token: Token, *keys: TokenKey, scope: str = "") -> Issued | Refused:
        """Exchange a refresh token, at a gateway that has these keys."""
        return self.store.rotate_refresh(
            token,
            client_id="one",
            scope=scope,
            candidates=[
                RefreshCandidate(
                    access=key.derived(Kind.ACCESS, token, scope),
                    refresh=key.derived(Kind.REFRESH, token),
                    next_refresh=key.derived(Kind.REFRESH, key.derived(Kind.REFRESH, token)),
                )
                for key in keys or (self.key,)
            ],
        )

    def access_of(self, token: Token, scope: str = "") -> Token:
        """Return the access token that a refresh token gives."""
        return self.key.derived(Kind.ACCESS, token, scope)

    def value(self) -> str | None:
        """Return the grant as it is kept now, ``None`` if it has ended."""
        value = self.redis.get(grant_key(self.code.grant_id))
        assert value is None or isinstance(value, str)
        return None if value is None or "ended" in json.loads(value) else value

    def set_back(self, value: str | None) -> None:
        """Restore what the grant was before, as a store does that lost its last second."""
        assert value is not None
        self.redis.set(grant_key(self.code.grant_id), value, keepttl=True)

    def everything(self) -> dict[str, Any]:
        """Return all that is kept of the grant."""
        return {key: self.redis.get(key) for key in keys_of(self.redis, self.code.grant_id)}

    def let_pass(self, seconds: int) -> None:
        """Let time pass for this grant."""
        let_pass(self.redis, self.code.grant_id, seconds)


def held_grant(
    stand: Stand, lifetimes: Tokens = LIFETIMES, key: TokenKey | None = None, scope: str = "project"
) -> Held:
    store = TokenStore(stand.link, "gateway", lifetimes)
    key = key or TokenKey(b"k" * 32)
    code = key.random(Kind.CODE, new_grant_id())
    binding = CodeBinding("https://one.example/cb", True, s256_challenge("v" * 43))
    store.open_grant(Grant(code.grant_id, "one", "ann", scope, "file"), code, binding)
    return Held(stand.redis, store, key, code, binding)
