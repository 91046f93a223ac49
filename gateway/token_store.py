"""Grants, codes and tokens in Redis. Every change of a grant is one step at one key.

All that is kept of a grant is the value of ``gateway:{<grant id>}``, a JSON object: its code,
its refresh token, and its access tokens with their ends. So a validation reads one key, every
change is one script about one key, and a grant ends with all its tokens at once.

Times are those of the store's clock, so gateways need not agree about the time. Tokens appear as
parts of their SHA-256 alone. ``docs/storage.md`` shows every key and every member.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from gateway.config.settings import Tokens
from gateway.store.digest import digest
from gateway.store.redis_client import RedisClient, Script, StoreUnavailable
from gateway.tokens.grant import (
    AccessToken,
    CodeBinding,
    Grant,
    Issued,
    RefreshCandidate,
    Refusal,
    Refused,
    grant_json,
    parse_grant,
    read_access_token,
    read_grant,
    read_refreshable_grant,
)
from gateway.tokens.grant_index import GrantIndex
from gateway.tokens.outbox import Message, Outbox
from gateway.tokens.scripts import (
    ISSUE_ACCESS,
    NOTE_DELIVERY,
    OPEN_GRANT,
    REDEEM_CODE,
    REVOKE_TOKEN,
    ROTATE_REFRESH,
    TOUCH_GRANT,
    Exchanged,
    Revoked,
)
from gateway.tokens.token import Token

# How long to wait before asking again whether an earlier answer has arrived (s).
_PENDING_PAUSE = 0.02

# How often, and for how long, a lost note of delivery is sent again (s). It has to arrive soon: a
# client that asks again waits for it. After the longest life of a code, nobody can get a lost
# answer a second time, except a refresh token's successor, with both tokens in hand.
_DELIVERY_PAUSE = 0.1
_DELIVERY_PATIENCE = 600.0

# How long the noted time of a grant's last use may be out of date (s), and for how many grants a
# process remembers that it has noted one.
_TOUCH_SECONDS = 60.0
_TOUCHES_REMEMBERED = 20_000

# Of the digest of a network: 36 bits.
_ORIGIN_CHARACTERS = 6


class TokenStore:
    """Every operation on grants. Each raises StoreUnavailable when Redis does not answer."""

    def __init__(self, redis: RedisClient, key_prefix: str, lifetimes: Tokens) -> None:
        self._redis = redis
        self._outbox = Outbox(redis)
        self._index = GrantIndex(redis, key_prefix, self._outbox)
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
        bound = {
            "code": code.digest,
            "redirect_uri": binding.redirect_uri,
            "challenge": binding.code_challenge,
        }
        omitted = {} if binding.redirect_uri_sent else {"redirect_uri_omitted": True}
        stored = grant_json(grant, **bound, **omitted)
        self._redis.run(OPEN_GRANT, [self.grant_key(grant.grant_id)], [stored, self._code_ms])
        # After the grant, so that an entry without a grant may be dropped by any reader; and
        # before anybody has the code, so that no grant that can give tokens is missing.
        self._index.enter(grant, self._code_ms)

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
        request had none. A replay with the right proof ends the grant (RFC 9700 §4.5).
        """
        arguments: list[str | int] = [
            client_id,
            code.digest,
            redirect_uri,
            code_challenge,
            request_id,
            access.digest,
            refresh.digest if refresh else "",
            next_refresh.digest if next_refresh else "",
            self._access_ms,
            self._idle_ms,
            self._absolute_ms,
            self._settling_ms,
            self._code_ms,
        ]
        reply = self._exchange(REDEEM_CODE, code, arguments)
        if reply.status != "ok":
            return self._refused(code, reply)
        issued = _issued(code, reply)
        # Before anybody has the tokens. Where the indexes cannot be reached nobody gets them, and
        # the code is good for the client's next attempt.
        self._index.post(issued.grant, reply.listing_ms)
        self._note_delivery(code, request_id, reply)
        return issued

    def rotate_refresh(
        self,
        presented: Token,
        *,
        client_id: str,
        scope: str,
        candidates: Sequence[RefreshCandidate],
        network: str = "",
    ) -> Issued | Refused:
        """Exchange a refresh token for its successor.

        ``network`` is where the request comes from, for the answer to tell whether a repetition
        comes from elsewhere.
        ``scope`` is empty for all that was granted. ``candidates`` are what the token gives
        under each of the gateway's keys, newest first; the answer names the one to hand out.
        Within the grace time a token gives the same successor again; after it, its reuse
        ends the grant (RFC 9700 §4.14.2).
        """
        arguments: list[str | int] = [
            client_id,
            presented.digest,
            scope,
            _origin(presented, network),
            self._access_ms,
            self._idle_ms,
            self._grace_ms,
            self._settling_ms,
            *(
                token.digest
                for each in candidates
                for token in (each.access, each.refresh, each.next_refresh)
            ),
        ]
        reply = self._exchange(ROTATE_REFRESH, presented, arguments)
        if reply.status != "ok":
            return self._refused(presented, reply)
        issued = _issued(presented, reply)
        if reply.listing_ms:
            self._index.lengthen(issued.grant, reply.listing_ms)
        self._note_delivery(presented, presented.digest, reply)
        return issued

    def _exchange(
        self, script: Script, presented: Token, arguments: Sequence[str | int]
    ) -> Exchanged:
        """Run a script until it is certain whether an earlier answer has arrived."""
        deadline = monotonic() + self._redis.request_timeout
        keys = [self.grant_key(presented.grant_id)]
        while (reply := Exchanged(*self._redis.run(script, keys, arguments))).status == "pending":
            if monotonic() > deadline:
                raise StoreUnavailable("pending")
            self._redis.pause(_PENDING_PAUSE)
        return reply

    def _note_delivery(self, presented: Token, request: str, reply: Exchanged) -> None:
        """Tell the store that the reply to ``request`` is here.

        The client gets its tokens in any case: this gateway may be the only one that knows them.
        """
        key, arguments = self.grant_key(presented.grant_id), (request, reply.made_at_ms)
        self._outbox.send(
            Message(NOTE_DELIVERY, key, arguments, _DELIVERY_PAUSE, _DELIVERY_PATIENCE)
        )

    def _refused(self, presented: Token, reply: Exchanged) -> Refused:
        refusal = Refusal(reply.status)
        if refusal in {Refusal.REPLAYED, Refusal.REUSED}:
            self._index.remove(parse_grant(presented.grant_id, reply.stored))
        return _refused(refusal, presented, reply.stored)

    def issue_access(self, grant: Grant, access: Token) -> Issued:
        """Keep a client's own grant and its one access token (RFC 6749 §4.4)."""
        arguments = (grant_json(grant), access.digest, self._access_ms)
        self._redis.run(ISSUE_ACCESS, [self.grant_key(grant.grant_id)], arguments)
        self._index.enter(replace(grant, redeemed=True), self._access_ms)
        return Issued(grant, _seconds(self._access_ms), grant.scope)

    def access_token(self, access: Token) -> AccessToken | None:
        """Return what a genuine access token allows, or ``None``: expired, revoked, unknown.

        One round trip, also when the time of the grant's last use is noted along with it.
        """
        key = self.grant_key(access.grant_id)
        note = self._touch(key, access) if self._take_touch(access.grant_id) else None
        stored, now_ms = self._redis.read_with_clock(key, note)
        return read_access_token(access, stored, now_ms)

    def is_current_refresh(self, refresh: Token) -> Grant | None:
        """Return the grant whose refresh token this is at the moment, or ``None``."""
        stored = self._redis.command("GET", self.grant_key(refresh.grant_id))
        return read_refreshable_grant(refresh, stored)

    def revoke(self, token: Token, client_id: str, *, whole_grant: bool) -> Refused | Grant:
        """Take a genuine token back: a refresh token with its whole grant (RFC 7009 §2.1).

        ``client_id`` is empty when the caller did not say which client it is.
        """
        access = "" if whole_grant else token.digest
        reply = self._revoke(token.grant_id, client_id, access)
        if reply.status == "revoked":
            return parse_grant(token.grant_id, reply.stored)
        # A grant that has ended is unknown, also while the store has the record of its end.
        stored = reply.stored if reply.status == "client" else ""
        return _refused(Refusal(reply.status), token, stored)

    def end_grant(self, grant_id: str) -> None:
        """End a grant with all its tokens; they are refused from this moment on."""
        self._revoke(grant_id, client_id="", access="")

    def _revoke(self, grant_id: str, client_id: str, access: str) -> Revoked:
        keys, arguments = [self.grant_key(grant_id)], [client_id, access]
        reply = Revoked(*self._redis.run(REVOKE_TOKEN, keys, arguments, replicated=True))
        # 'unknown' with a record: the grant has ended already, perhaps by a first attempt whose
        # reply got lost.
        if not access and reply.stored and reply.status in {"revoked", "unknown"}:
            self._index.remove(parse_grant(grant_id, reply.stored))
        return reply

    def grants_of_user(self, user: str) -> Iterator[Grant]:
        """Yield the user's grants: those with tokens, and those whose code waits."""
        return self._listed(self._index.of_user(user))

    def grants_of_client(self, client_id: str) -> Iterator[Grant]:
        """Yield the client's grants: those with tokens, and those whose code waits."""
        return self._listed(self._index.of_client(client_id))

    def _listed(self, indexes: Iterable[str]) -> Iterator[Grant]:
        # A grant whose code was redeemed just now is in two indexes.
        seen: set[str] = set()
        for index in indexes:
            for grant_ids in self._index.read(index):
                for grant in self._read(index, grant_ids):
                    if grant.grant_id not in seen:
                        seen.add(grant.grant_id)
                        yield grant

    def _read(self, index: str, grant_ids: Sequence[str]) -> Iterator[Grant]:
        """Yield the live ones of these grants, and drop the others from the index."""
        stored = self._redis.commands(*(("GET", self.grant_key(each)) for each in grant_ids))
        gone = []
        for grant_id, value in zip(grant_ids, stored, strict=True):
            grant = read_grant(grant_id, value)
            if grant is None:
                gone.append(grant_id)
            else:
                yield grant
        self._index.drop(index, gone)

    def indexes_of(self, grant: Grant) -> list[str]:
        """Return the keys of the indexes that a grant belongs in."""
        return self._index.of_grant(grant)

    def _take_touch(self, grant_id: str) -> bool:
        """Tell whether the last use has to be noted; the caller then does so."""
        now = monotonic()
        if now - self._touched.get(grant_id, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return False
        if len(self._touched) >= _TOUCHES_REMEMBERED:
            self._touched.clear()
        self._touched[grant_id] = now
        return True

    def _touch(self, key: str, access: Token) -> tuple[str | int, ...]:
        return ("EVAL", TOUCH_GRANT.text, 1, key, access.digest)

    def grant_key(self, grant_id: str) -> str:
        """Return the key of a grant."""
        return f"{self._prefix}:{{{grant_id}}}"


def _issued(presented: Token, reply: Exchanged) -> Issued:
    grant = parse_grant(presented.grant_id, reply.stored)
    return Issued(
        grant,
        _seconds(reply.access_ms),
        reply.scope,
        reply.candidate - 1,
        bool(reply.is_elsewhere),
    )


def _origin(presented: Token, network: str) -> str:
    """Return enough to tell networks apart; another one for each grant."""
    return digest(f"{presented.grant_id} {network}")[:_ORIGIN_CHARACTERS] if network else ""


def _refused(refusal: Refusal, token: Token, stored: str) -> Refused:
    user = parse_grant(token.grant_id, stored).user if stored else None
    return Refused(refusal, token.grant_id, user)


def _seconds(milliseconds: int) -> int:
    # Rounded up: a fresh token's lifetime is the configured one.
    return -(-milliseconds // 1000)
