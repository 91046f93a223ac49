"""A grant and its tokens as values: how they are kept, and how they are read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from gateway.store.format import FORMAT, NEWEST_READABLE
from gateway.store.redis_client import StoreUnavailable
from gateway.tokens.token import Token

logger = logging.getLogger("gateway.store")

_NOTHING: Mapping[str, Any] = MappingProxyType({})

#: Where a client is registered, unless it says otherwise.
IN_FILE = "file"


class Refusal(Enum):
    """Why a code or token was refused. For the audit log; clients get RFC 6749's error."""

    UNKNOWN = "unknown"
    CLIENT = "client"
    REDIRECT_URI = "redirect_uri"
    CODE_VERIFIER = "code_verifier"
    SCOPE = "scope"
    REPLAYED = "replayed"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user allowed a client, or a client its own; times are seconds since the epoch.

    ``registered`` tells where the client was registered: ``file`` or ``store``. A grant is
    ``redeemed`` once it has given tokens; before, all there is of it is a code. ``ends`` is the
    latest time at which a token of the grant can be good, 0 before it has given one.
    """

    grant_id: str
    client_id: str
    user: str | None
    scope: str
    registered: str
    since: int = 0
    used: int = 0
    redeemed: bool = False
    ends: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A code or token that was refused: why, and of which grant it is, if there is one."""

    why: Refusal
    grant_id: str
    user: str | None = None


@dataclass(frozen=True, slots=True)
class CodeBinding:
    """What an authorization code is bound to (RFC 6749 §4.1.3, RFC 7636 §4.4)."""

    redirect_uri: str
    redirect_uri_sent: bool
    code_challenge: str


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A valid access token; ``expires_at`` is seconds since the epoch."""

    grant_id: str
    client_id: str
    user: str | None
    scope: str
    expires_at: int
    registered: str

    @property
    def scopes(self) -> frozenset[str]:
        """The scope as a set of names."""
        return frozenset(self.scope.split())


@dataclass(frozen=True, slots=True)
class Issued:
    """A grant whose tokens were issued: the access token's scope and remaining seconds.

    ``is_elsewhere``: the refresh token was exchanged before, from another network.
    """

    grant: Grant
    expires_in: int
    scope: str
    candidate: int = 0
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class RefreshCandidate:
    """What a refresh token gives under one of the gateway's keys."""

    access: Token
    refresh: Token
    next_refresh: Token


def parse_grant(grant_id: str, stored: str) -> Grant:
    """Return a grant from its value, or whose it was from the record of its end.

    Raises StoreUnavailable for a format that this version does not read.
    """
    return _grant(grant_id, _members(stored))


def read_grant(grant_id: str, stored: str | None) -> Grant | None:
    """Return the live grant that is kept as ``stored``; ``None`` if there is none.

    Raises StoreUnavailable as :func:`parse_grant` does.
    """
    members = _members(stored)
    return _grant(grant_id, members) if _is_live(members) else None


def read_refreshable_grant(refresh: Token, stored: str | None) -> Grant | None:
    """Return the grant that is kept as ``stored``, if ``refresh`` is its refresh token now.

    Raises StoreUnavailable as :func:`parse_grant` does.
    """
    members = _members(stored)
    is_current = _is_live(members) and members.get("refresh") == refresh.digest
    return _grant(refresh.grant_id, members) if is_current else None


def read_access_token(access: Token, stored: str | None, now_ms: int) -> AccessToken | None:
    """Return what ``access`` allows by the grant that is kept as ``stored``, or ``None``.

    ``now_ms`` is the store's clock. Raises StoreUnavailable as :func:`parse_grant` does.
    """
    members, digest = _members(stored), access.digest
    ends_ms = members.get("access", _NOTHING).get(digest, 0)
    if ends_ms <= now_ms:
        return None
    return AccessToken(
        access.grant_id,
        members["client"],
        members["user"],
        members.get("narrowed", _NOTHING).get(digest, members["scope"]),
        ends_ms // 1000,
        members.get("registered", IN_FILE),
    )


def grant_json(grant: Grant, **more: str | bool) -> str:
    """Return a new grant as it is kept, before a script adds its times and tokens."""
    members = {"client": grant.client_id, "user": grant.user, "scope": grant.scope}
    if grant.registered != IN_FILE:
        # A member that most grants would have alike takes no room in each.
        members["registered"] = grant.registered
    kept = {"format": FORMAT, **members, **more}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def _members(stored: str | None) -> Mapping[str, Any]:
    if not stored:
        return _NOTHING
    members: dict[str, Any] = json.loads(stored)
    if members.get("format", 0) > NEWEST_READABLE:
        logger.error("a gateway that is two formats ahead has written a grant: upgrade this one")
        raise StoreUnavailable("format")
    return members


def _is_live(members: Mapping[str, Any]) -> bool:
    # The record of an end stands for a minute where the grant was.
    return bool(members) and "ended" not in members


def _grant(grant_id: str, members: Mapping[str, Any]) -> Grant:
    since = members.get("since", 0)
    return Grant(
        grant_id,
        members["client"],
        members["user"],
        members.get("scope", ""),
        members.get("registered", IN_FILE),
        since,
        members.get("used", since),
        "used" in members,
        _ends_ms(members) // 1000,
    )


def _ends_ms(members: Mapping[str, Any]) -> int:
    """Return when the last token of a grant ends: a refresh token gives new ones until then."""
    if "refresh" in members:
        return int(members.get("ends", 0))
    return int(max(members.get("access", _NOTHING).values(), default=0))
