"""What a client may be told (the standard's words), beside what the audit log is told.

The errors are oauthlib's: its classes carry RFC 6749's error code and the HTTP status. oauthlib
turns such an error into JSON at the moment it is raised, and JSON has no place for the audit log's
reason. So the gateway raises :class:`OAuthError`, which holds oauthlib's error and the reason, and
which oauthlib lets pass. :func:`with_reasons` does the same for the errors that oauthlib raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Self

from oauthlib.oauth2 import (
    FatalClientError,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidRequestFatalError,
    InvalidScopeError,
    MissingClientIdError,
    MissingResponseTypeError,
    OAuth2Error,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
    UnsupportedResponseTypeError,
)

from gateway.protocol.reasons import Why

#: The parameters whose refused value the audit log has: they are no secrets.
_LOGGED = frozenset({"redirect_uri", "scope"})
_LOGGED_CHARACTERS = 300

_NOTHING: Mapping[str, str] = MappingProxyType({})


class OAuthError(Exception):
    """A refusal in RFC 6749's terms (§4.1.2.1, §5.2).

    ``oauth2_error`` is oauthlib's: its code, description and status are what the client gets.
    The rest is for the audit log alone: ``reason``, and ``parameter`` where the reason is about
    one; ``client_id``, ``user`` and ``grant_id`` say whom and what it is about, as far as that is
    known; ``sent`` is the redirect_uri or the scope that was refused.
    """

    def __init__(self, oauth2_error: OAuth2Error, reason: Why, parameter: str = "") -> None:
        super().__init__(f"{oauth2_error.error}: {reason.of(parameter)}")
        self.oauth2_error = oauth2_error
        self.reason = reason
        self.parameter = parameter
        self.client_id: str | None = None
        self.user: str | None = None
        self.grant_id: str | None = None
        self.sent: dict[str, str] = {}

    @property
    def error(self) -> str:
        """RFC 6749's code."""
        return self.oauth2_error.error or ""

    @property
    def description(self) -> str:
        """The words for the client's developer, or for the user of the browser."""
        return self.oauth2_error.description

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.oauth2_error.status_code

    @property
    def why(self) -> str:
        """The reason's name in the audit log."""
        return self.reason.of(self.parameter)

    @property
    def is_fatal(self) -> bool:
        """RFC 6749 §4.1.2.1: the user is told, and nobody is redirected."""
        return isinstance(self.oauth2_error, FatalClientError)

    def about(
        self,
        *,
        client_id: str | None = None,
        user: str | None = None,
        grant_id: str | None = None,
        parameters: Mapping[str, str] = _NOTHING,
    ) -> Self:
        """Add whom and what the refusal is about, where that was not known before.

        ``parameters`` are those of the request, as they were sent.
        """
        self.client_id = self.client_id or client_id
        self.user = self.user or user
        self.grant_id = self.grant_id or grant_id
        self.sent = self.sent or self._refused(parameters)
        return self

    def _refused(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return the parameter that the reason is about, if it may be in a log."""
        name = self.parameter or self.reason.value
        if name not in _LOGGED or name not in parameters:
            return {}
        value = parameters[name]
        is_long = len(value) > _LOGGED_CHARACTERS
        return {name: value[:_LOGGED_CHARACTERS] + "…" if is_long else value}


def invalid_request(description: str, why: Why, parameter: str = "") -> OAuthError:
    """The request is missing something, or repeats or malforms it."""
    return OAuthError(InvalidRequestError(description), why, parameter)


def missing_parameter(name: str) -> OAuthError:
    """RFC 6749 §4.1.2.1, §5.2: a required parameter is missing."""
    return invalid_request(f"The parameter {name} is missing.", Why.MISSING, name)


def too_large() -> OAuthError:
    """RFC 9110 §15.5.14: the form is larger than ``limits.form_bytes``."""
    return OAuthError(
        InvalidRequestError("The request is too large.", status_code=413), Why.TOO_LARGE
    )


def invalid_client(why: Why) -> OAuthError:
    """RFC 6749 §5.2: client authentication failed; only the operator learns how."""
    return OAuthError(InvalidClientError("Client authentication failed."), why)


def invalid_grant(why: Why) -> OAuthError:
    """RFC 6749 §5.2: the code or refresh token is not good, for this client and this request."""
    return OAuthError(
        InvalidGrantError(
            "The grant is invalid, expired, revoked, or was issued to another client"
            " or for another redirect_uri."
        ),
        why,
    )


def invalid_scope(why: Why) -> OAuthError:
    """RFC 6749 §5.2: a scope is unknown, or more than the client may have."""
    return OAuthError(InvalidScopeError("The requested scope is not allowed."), why)


def unauthorized_client(description: str, why: Why) -> OAuthError:
    """RFC 6749 §5.2: the client is not registered for this grant."""
    return OAuthError(UnauthorizedClientError(description), why)


def unsupported_response_type() -> OAuthError:
    """RFC 6749 §4.1.2.1: there is one response type; OAuth 2.1 has no implicit grant."""
    return OAuthError(
        UnsupportedResponseTypeError("The only response_type is code."), Why.RESPONSE_TYPE
    )


def fatal(description: str, why: Why, parameter: str = "") -> OAuthError:
    """RFC 6749 §4.1.2.1: there is no client, or no place to send an answer to."""
    return OAuthError(InvalidRequestFatalError(description), why, parameter)


def unknown_client() -> OAuthError:
    """RFC 6749 §4.1.2.1: the client of an authorization request is unknown; a page says so."""
    return OAuthError(
        InvalidClientError("This application is unknown.", status_code=400), Why.CLIENT
    )


def unsupported_grant_type() -> OAuthError:
    """RFC 6749 §5.2: no flow of the gateway has this grant_type."""
    description = "The grant_type is not supported."
    return OAuthError(UnsupportedGrantTypeError(description), Why.GRANT_TYPE)


#: What oauthlib refuses by itself, in the gateway's words. A test reaches each of them.
_IN_OUR_WORDS: Mapping[type[OAuth2Error], Callable[[], OAuthError]] = {
    InvalidGrantError: partial(invalid_grant, Why.UNKNOWN),
    InvalidScopeError: partial(invalid_scope, Why.SCOPE),
    MissingClientIdError: partial(
        fatal, "The parameter client_id is missing.", Why.MISSING, "client_id"
    ),
    MissingResponseTypeError: partial(missing_parameter, "response_type"),
    UnauthorizedClientError: partial(
        unauthorized_client, "The application may not use this grant_type.", Why.GRANT_TYPE
    ),
    UnsupportedGrantTypeError: unsupported_grant_type,
    UnsupportedResponseTypeError: unsupported_response_type,
}


@contextmanager
def with_reasons(required: str = "") -> Iterator[None]:
    """Raise OAuthError for every error that oauthlib raises by itself.

    ``required`` is the one parameter whose absence oauthlib reports as a bare InvalidRequestError:
    the strict check (:mod:`gateway.protocol.request_rules`) leaves it nothing else to report so.
    """
    try:
        yield
    except OAuth2Error as error:
        raise _in_our_words(error, required) from None


def _in_our_words(error: OAuth2Error, required: str) -> OAuthError:
    kind = type(error)
    if kind is InvalidRequestError and required:
        return missing_parameter(required)
    ours = _IN_OUR_WORDS.get(kind)
    return OAuthError(error, Why.OAUTHLIB) if ours is None else ours()
