"""Every reason that the audit log gives: one name each, listed in docs/audit.md.

The names are stable, since operators search for them. A client is never told one of them.
"""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """Why something was refused, or on what grounds it was allowed.

    A value that ends in ``…`` stands for one name for each parameter; :meth:`of` makes it.
    """

    # The request as it was sent (gateway.protocol.request_rules).
    CONTENT_TYPE = "content_type"
    CONTENT_LENGTH = "content_length"
    PARAMETERS_IN_QUERY = "parameters_in_query"
    PARAMETERS_NOT_UTF8 = "parameters_not_utf8"
    TOO_MANY_PARAMETERS = "too_many_parameters"
    TOO_LARGE = "too_large"
    SHORT_BODY = "short_body"
    BROKEN_BODY = "broken_body"
    MISSING = "missing_…"
    REPEATED = "repeated_…"
    MALFORMED = "malformed_…"

    # The client (gateway.clients.authentication).
    UNKNOWN_CLIENT = "unknown_client"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a name, no secret
    MISSING_SECRET = "missing_secret"  # noqa: S105 - a name, no secret
    SECRET_OF_PUBLIC_CLIENT = "secret_of_public_client"  # noqa: S105 - a name, no secret
    TWO_METHODS = "two_methods"
    TWO_CLIENT_IDS = "two_client_ids"
    MALFORMED_BASIC = "malformed_basic"
    AUTHORIZATION_SCHEME = "authorization_scheme"
    MISSING_CLIENT_ID = "missing_client_id"
    PUBLIC_CLIENT = "public_client"

    # The authorization request.
    REDIRECT_URI = "redirect_uri"
    MISSING_REDIRECT_URI = "missing_redirect_uri"
    RESPONSE_TYPE = "response_type"
    GRANT_TYPE = "grant_type"
    SCOPE = "scope"
    CODE_CHALLENGE_METHOD = "code_challenge_method"
    MISSING_CODE_CHALLENGE = "missing_code_challenge"
    EMPTY_CODE_CHALLENGE = "empty_code_challenge"
    WAITING_TOO_LONG = "waiting_too_long"

    # The user, who was asked or need not be.
    ALLOWED_BY_USER = "allowed_by_user"
    DENIED_BY_USER = "denied_by_user"
    NOT_SIGNED_IN = "not_signed_in"
    REMEMBERED = "remembered"
    SKIP_CONSENT = "skip_consent"
    NEVER = "never"
    CSRF = "csrf"
    NO_NAVIGATION = "no_navigation"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a name, no password

    # The code or token, as the store knows it (gateway.tokens.grant.Refusal).
    UNKNOWN = "unknown"
    CLIENT = "client"
    CODE_VERIFIER = "code_verifier"
    REPLAYED = "replayed"
    REUSED = "reused"
    REPEATED_ELSEWHERE = "repeated_elsewhere"
    USER_OR_CLIENT_REMOVED = "user_or_client_removed"
    SCOPE_REMOVED = "scope_removed"

    # Neither of them.
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    STORE_UNAVAILABLE = "store_unavailable"
    BACKEND_UNREACHABLE = "backend_unreachable"
    COMMAND_LINE = "command_line"
    OAUTHLIB = "oauthlib"

    def of(self, parameter: str) -> str:
        """Return the reason about ``parameter``; the same reason where it has no ``…``."""
        return self.value.replace("…", parameter)
