"""Grants, codes and tokens in Redis: every change one atomic step in one hash slot.

Two kinds of key hold everything about a grant, under its id as hash tag, and a third one its
end by a replay, for a minute::

    gateway:{<grant id>}                 the grant, JSON; while it exists its tokens can live
    gateway:{<grant id>}:<token digest>  one access token: when it expires, and its scope
    gateway:{<grant id>}:ended           what was replayed, and the grant as it was

So validation is one MGET, and ending a grant is one DEL. Lifetimes are the keys' own: the
clock is Redis's, and gateways need not agree about the time. ``docs/storage.md`` shows every
key. Tokens appear as SHA-256 alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

from gateway.config.settings import Tokens
from gateway.store.redis_client import BeingMoved, RedisClient, StoreUnavailable, script
from gateway.tokens.delivery_acks import DeliveryAcks
from gateway.tokens.grant import (
    IN_FILE,
    AccessToken,
    CodeBinding,
    Grant,
    Issued,
    RefreshCandidate,
    Refusal,
    Refused,
    grant_from_json,
    registered_of,
)
from gateway.tokens.grant_index import GrantIndex
from gateway.tokens.token import Token

# How long to wait before asking again whether a code's first request was answered (s).
_PENDING_PAUSE = 0.02

# How long a grant's last use may be out of date (s), and of how many grants one process
# remembers having noted it.
_TOUCH_SECONDS = 60.0
_TOUCHES_REMEMBERED = 20_000


class TokenStore:
    """Every operation on grants. Each raises StoreUnavailable when Redis does not answer."""

    def __init__(self, redis: RedisClient, key_prefix: str, lifetimes: Tokens) -> None:
        self._redis = redis
        self._deliveries = DeliveryAcks(redis)
        self._index = GrantIndex(redis, key_prefix)
        self._prefix = key_prefix
        self._access_ms = lifetimes.access_seconds * 1000
        self._code_ms = lifetimes.code_seconds * 1000
        self._idle_ms = lifetimes.refresh_seconds * 1000
        self._grace_ms = lifetimes.refresh_grace_seconds * 1000
        self._absolute_ms = lifetimes.grant_seconds * 1000
        # Longer than a request waits for a silent store, and then for the circuit.
        self._settling_ms = int(1500 * redis.request_timeout)
        self._touched: dict[str, float] = {}

    def open_grant(self, grant: Grant, code: Token, binding: CodeBinding) -> None:
        """Keep a grant that the user allowed, until ``code`` is redeemed or expires."""
        stored = _stored_grant(grant) | {
            "code": code.digest,
            "redirect_uri": binding.redirect_uri,
            "challenge": binding.code_challenge,
        }
        if not binding.redirect_uri_sent:
            stored["redirect_uri_omitted"] = True
        self._redis.run(
            "open_grant", [self.grant_key(grant.grant_id)], [_json(stored), self._code_ms]
        )
        # After the grant, so that whoever finds an entry without one may drop it; and before
        # anybody has the code, so that no grant that can come to life is missing.
        self._list(grant, self._absolute_ms + self._code_ms)

    def redeem_code(
        self,
        code: Token,
        *,
        client_id: str,
        redirect_uri: str,
        code_challenge: str,
        request_id: str,
        access: Token,
        refresh: Token | None,
        next_refresh: Token | None,
    ) -> Issued | Refused:
        """Consume ``code`` and store what it gives; at most one request ever succeeds.

        ``redirect_uri`` and ``code_challenge`` (made of the verifier) are empty where the
        request had none. A replay with the right proof ends the grant.
        """
        keys = [
            self.grant_key(code.grant_id),
            self._ended_key(code.grant_id),
            self._access_key(access),
        ]
        arguments: list[str | int] = [
            client_id,
            code.digest,
            redirect_uri,
            code_challenge,
            request_id,
            self._access_ms,
            self._idle_ms,
            self._absolute_ms,
            refresh.digest if refresh else "",
            next_refresh.digest if next_refresh else "",
            self._settling_ms,
            self._code_ms,
        ]
        status, stored, *issued = self._settled("redeem_code", keys, arguments)
        if status != "ok":
            return _refused(status, code, stored)
        remaining_ms, made_at, *_ = issued
        self._deliveries.note(keys[0], request_id, made_at)
        grant = grant_from_json(code.grant_id, stored)
        return Issued(grant, _seconds(remaining_ms), grant.scope)

    def rotate_refresh(
        self,
        presented: Token,
        *,
        client_id: str,
        scope: str,
        candidates: Sequence[RefreshCandidate],
    ) -> Issued | Refused:
        """Exchange a refresh token for its successor.

        ``scope`` is empty for all that was granted. ``candidates`` are what the token gives
        under each of the gateway's keys, newest first; the answer names the one to hand out.
        Within the grace time a token gives the same successor again; after it, its reuse
        ends the grant.
        """
        digests = [
            token.digest for each in candidates for token in (each.refresh, each.next_refresh)
        ]
        status, stored, *issued = self._settled(
            "rotate_refresh",
            [
                self.grant_key(presented.grant_id),
                self._ended_key(presented.grant_id),
                *(self._access_key(each.access) for each in candidates),
            ],
            [
                client_id,
                presented.digest,
                scope,
                self._access_ms,
                self._idle_ms,
                self._grace_ms,
                self._settling_ms,
                *digests,
            ],
        )
        if status != "ok":
            return _refused(status, presented, stored)
        remaining_ms, made_at, given_scope, candidate, *_ = issued
        self._deliveries.note(self.grant_key(presented.grant_id), presented.digest, made_at)
        grant = grant_from_json(presented.grant_id, stored)
        return Issued(grant, _seconds(remaining_ms), given_scope, int(candidate) - 1)

    def _settled(self, name: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run a script until it can tell whether an earlier answer has arrived."""
        ends = monotonic() + self._redis.request_timeout
        while (answer := self._changed(name, keys, arguments))[0] == "pending":
            if monotonic() > ends:
                raise StoreUnavailable("pending")
            self._redis.pause(_PENDING_PAUSE)
        return answer

    def _changed(self, name: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Change a grant, and keep the access token that this gives.

        Where a cluster is just moving them one by one, they may be on two nodes, and a new one
        belongs to the other: then first the grant is changed and after that the access token
        kept. Both can be repeated, and neither is worth anything without the other.
        """
        try:
            return self._redis.run(name, keys, arguments, apart=True)
        except BeingMoved:
            since = monotonic()
            answer = self._redis.run(name, keys[:1], arguments)
        if answer[0] == "ok":
            number, value, lifetime_ms = answer[5:]
            answer[2] = self._kept(keys[1 + number], value, lifetime_ms, since)
        return answer

    def _kept(self, access_key: str, value: str, lifetime_ms: int, since: float) -> int:
        """Keep an access token that lives so long from ``since`` on; return what is left (ms)."""
        # It may not outlive its time, nor the empty value that stands for a revoked one.
        left = lifetime_ms - int(1000 * (monotonic() - since)) - 1
        if left <= 0:
            return 0
        return int(self._redis.run("keep_access", [access_key], [value, left]))

    def issue_access(self, grant: Grant, access: Token) -> Issued:
        """Keep a client's own grant and its one access token (RFC 6749 §4.4)."""
        keys = [self.grant_key(grant.grant_id), self._access_key(access)]
        arguments: list[str | int] = [_json(_stored_grant(grant)), self._access_ms]
        try:
            self._redis.run("issue_access", keys, arguments, apart=True)
        except BeingMoved:
            since = monotonic()
            value = self._redis.run("issue_access", keys[:1], arguments)
            self._kept(keys[1], value, self._access_ms, since)
        self._list(grant, self._access_ms)
        return Issued(grant, _seconds(self._access_ms), grant.scope)

    def access_token(self, access: Token) -> AccessToken | None:
        """Return what a genuine access token allows, or ``None``: expired, revoked, unknown.

        One round trip, also when the time of the grant's last use is noted along with it.
        """
        keys = self.grant_key(access.grant_id), self._access_key(access)
        try:
            stored, remaining = (
                self._redis.command_with_best_effort(("MGET", *keys), self._touch(access))
                if self._touch_is_due(access.grant_id)
                else self._redis.command("MGET", *keys, apart=True)
            )
        except BeingMoved:
            stored, remaining = self._redis.commands(*(("GET", key) for key in keys))
        if not stored or not remaining:
            return None
        grant = json.loads(stored)
        expires_at, _, scope = remaining.partition(" ")
        return AccessToken(
            access.grant_id,
            grant["client"],
            grant["user"],
            scope,
            int(expires_at),
            registered_of(grant),
        )

    def is_current_refresh(self, refresh: Token) -> Grant | None:
        """Return the grant whose refresh token this is at the moment, or ``None``."""
        stored = self._redis.command("GET", self.grant_key(refresh.grant_id))
        if not stored or json.loads(stored).get("refresh") != refresh.digest:
            return None
        return grant_from_json(refresh.grant_id, stored)

    def revoke(self, token: Token, client_id: str, *, whole_grant: bool) -> Refused | Grant:
        """Take a genuine token back: a refresh token with its whole grant (RFC 7009 §2.1).

        ``client_id`` is empty when the caller did not say which client it is.
        """
        keys = [self.grant_key(token.grant_id)]
        if not whole_grant:
            keys.append(self._access_key(token))
        try:
            status, stored = self._redis.run(
                "revoke_token", keys, [client_id], replicated=True, apart=True
            )
        except BeingMoved:
            status, stored = self._revoked_apart(keys[0], keys[1], client_id)
        if status != "revoked":
            return _refused(status, token, stored)
        return grant_from_json(token.grant_id, stored)

    def _revoked_apart(self, key: str, access_key: str, client_id: str) -> tuple[str, str]:
        stored, lifetime_ms = self._redis.commands(("GET", key), ("PTTL", key))
        if stored is None:
            return "unknown", ""
        if client_id and json.loads(stored)["client"] != client_id:
            return "client", stored
        self._redis.run("end_access", [access_key], [lifetime_ms], replicated=True)
        return "revoked", stored

    def end_grant(self, grant_id: str) -> None:
        """End a grant with all its tokens; they are refused from this moment on."""
        self._redis.command("DEL", self.grant_key(grant_id), replicated=True)

    def grants_of_user(self, user: str) -> Iterator[Grant]:
        """Yield the user's grants: those with tokens, and those whose code waits."""
        return self._listed(self._index.of_user(user))

    def grants_of_client(self, client_id: str) -> Iterator[Grant]:
        """Yield the client's grants: those with tokens, and those whose code waits."""
        for index in self._index.all_of_client(client_id):
            yield from self._listed(index)

    def _listed(self, index: str) -> Iterator[Grant]:
        for grant_ids in self._index.read(index):
            answers = self._redis.commands(*(("GET", self.grant_key(each)) for each in grant_ids))
            dropped = []
            for grant_id, stored in zip(grant_ids, answers, strict=True):
                if stored is None:
                    dropped.append(grant_id)
                else:
                    yield grant_from_json(grant_id, stored)
            self._index.drop(index, dropped)

    def _list(self, grant: Grant, lifetime_ms: int) -> None:
        for index in self.indexes_of(grant):
            self._index.enter(index, grant.grant_id, lifetime_ms)

    def indexes_of(self, grant: Grant) -> list[str]:
        """Return the keys of the indexes that a grant belongs in."""
        indexes = [self._index.of_client(grant.client_id, grant.grant_id)]
        if grant.user is not None:
            indexes.append(self._index.of_user(grant.user))
        return indexes

    def _touch_is_due(self, grant_id: str) -> bool:
        now = monotonic()
        if now - self._touched.get(grant_id, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return False
        if len(self._touched) >= _TOUCHES_REMEMBERED:
            self._touched.clear()
        self._touched[grant_id] = now
        return True

    def _touch(self, access: Token) -> tuple[str | int, ...]:
        keys = self.grant_key(access.grant_id), self._access_key(access)
        return ("EVAL", script("touch_grant").text, len(keys), *keys)

    def grant_key(self, grant_id: str) -> str:
        """Return the key of a grant."""
        return f"{self._prefix}:{{{grant_id}}}"

    def _ended_key(self, grant_id: str) -> str:
        return f"{self.grant_key(grant_id)}:ended"

    def _access_key(self, access: Token) -> str:
        return f"{self.grant_key(access.grant_id)}:{access.digest}"


def _stored_grant(grant: Grant) -> dict[str, Any]:
    members = {"client": grant.client_id, "user": grant.user, "scope": grant.scope}
    # What most grants have alike takes no room in each.
    return members if grant.registered == IN_FILE else members | {"registered": grant.registered}


def _refused(status: str, token: Token, stored: str) -> Refused:
    user = grant_from_json(token.grant_id, stored).user if stored else None
    return Refused(Refusal(status), token.grant_id, user)


def _json(members: dict[str, Any]) -> str:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def _seconds(milliseconds: int) -> int:
    # Rounded up: a fresh token's lifetime is the configured one.
    return -(-milliseconds // 1000)
