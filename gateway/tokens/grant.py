"""A grant as the store has it, and what the store says of codes and tokens: values, no more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gateway.tokens.token import Token

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
    ``redeemed`` once it has given tokens; before, all there is of it is a code.
    """

    grant_id: str
    client_id: str
    user: str | None
    scope: str
    registered: str
    since: int = 0
    used: int = 0
    redeemed: bool = False


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
    """A grant whose tokens were issued: the access token's scope and remaining seconds."""

    grant: Grant
    expires_in: int
    scope: str
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class RefreshCandidate:
    """What a refresh token gives under one of the gateway's keys."""

    access: Token
    refresh: Token
    next_refresh: Token


def registered_of(members: Mapping[str, Any]) -> str:
    """Return where the client of a grant is registered, from the members that are kept."""
    return str(members.get("registered", IN_FILE))


def grant_from_json(grant_id: str, stored: str) -> Grant:
    """Read a grant as it is kept."""
    members = json.loads(stored)
    return Grant(
        grant_id,
        members["client"],
        members["user"],
        members["scope"],
        registered_of(members),
        members["since"],
        members.get("used", members["since"]),
        "used" in members,
    )
