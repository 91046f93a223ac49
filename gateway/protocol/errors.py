"""What a client may be told (the standard's words), beside what the audit log is told."""

from __future__ import annotations

from typing import Self


class OAuthError(Exception):
    """A refusal in RFC 6749's terms (§4.1.2.1, §5.2).

    ``error`` and ``description`` go to the client. The rest is for the audit log alone:
    ``why`` is the reason in our words, a stable name; ``client_id``, ``user`` and ``grant_id``
    are whom and what it is about, as far as that is known.
    """

    def __init__(self, error: str, description: str, *, why: str) -> None:
        super().__init__(f"{error}: {why}")
        self.error = error
        self.description = description
        self.why = why
        self.client_id: str | None = None
        self.user: str | None = None
        self.grant_id: str | None = None

    def about(
        self,
        *,
        client_id: str | None = None,
        user: str | None = None,
        grant_id: str | None = None,
    ) -> Self:
        """Say whom and what the refusal is about, where that was not known before."""
        self.client_id = self.client_id or client_id
        self.user = self.user or user
        self.grant_id = self.grant_id or grant_id
        return self


def invalid_request(description: str, why: str) -> OAuthError:
    """The request is missing something, or repeats or malforms it."""
    return OAuthError("invalid_request", description, why=why)


def invalid_client(why: str) -> OAuthError:
    """Client authentication failed; how is nobody's business but the operator's."""
    return OAuthError("invalid_client", "Client authentication failed.", why=why)


def invalid_grant(why: str) -> OAuthError:
    """The code or refresh token is not good, for this client and these parameters."""
    return OAuthError(
        "invalid_grant",
        "The grant is invalid, expired, revoked, or was issued to another client"
        " or for another redirect_uri.",
        why=why,
    )


def invalid_scope(why: str) -> OAuthError:
    """A scope is unknown, malformed, or more than may be had."""
    return OAuthError("invalid_scope", "The requested scope is not allowed.", why=why)
