"""A request to one of the gateway's own endpoints, read strictly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gateway.client_socket import time_to_send
from gateway.config import TrustedPeer
from gateway.errors import OAuthError, invalid_request
from gateway.parameters import decoded_pairs
from gateway.peers import client_address, is_trusted

# More digits than any form has, and few enough to be a number on every Python.
_LENGTH = re.compile(r"[0-9]{1,18}")

#: A client may take so long to send a form; it needs no token for it.
FORM_SECONDS = 10.0

FORM = "application/x-www-form-urlencoded"


class TooLarge(OAuthError):  # noqa: N818 - HTTP's 413
    """The form is larger than ``limits.form_bytes``."""


class OwnRequest:
    """What an endpoint reads of a request; the body is read only when it is asked for."""

    def __init__(
        self, environ: dict[str, Any], path: str, trusted: Sequence[TrustedPeer], form_bytes: int
    ) -> None:
        self.environ = environ
        self.path = path
        self.method: str = environ["REQUEST_METHOD"]
        self.query: str = environ.get("QUERY_STRING", "")
        self.authorization: str | None = environ.get("HTTP_AUTHORIZATION")
        peer = environ.get("REMOTE_ADDR", "")
        self.from_trusted_proxy = is_trusted(peer, trusted)
        self.address = client_address(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), trusted)
        self._form_bytes = form_bytes

    @property
    def target(self) -> str:
        """The path and query of this request."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def cookie(self, name: str) -> str | None:
        """Return the cookie of that name, ``None`` if there is none, or more than one.

        RFC 6265 §4.2.1, to the letter: a name is not trimmed of what only looks like a space
        (that would undo the prefix ``__Host-``), and of two nobody knows who set which.
        """
        pairs = (pair.partition("=") for pair in self.environ.get("HTTP_COOKIE", "").split(";"))
        values = [value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == name]
        return values[0] if len(values) == 1 else None

    def query_pairs(self) -> list[tuple[str, str]]:
        """Return the query's parameters. Raises OAuthError."""
        return decoded_pairs(self.query)

    def form_pairs(self) -> list[tuple[str, str]]:
        """Return the form's parameters (RFC 6749 appendix B).

        Raises OAuthError for another content type, a body that is larger than allowed, and
        one that is shorter than announced.
        """
        content_type = self.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if content_type != FORM:
            raise invalid_request(f"The Content-Type must be {FORM}.", why="content_type")
        return decoded_pairs(self._body().decode("latin-1"))

    def _body(self) -> bytes:
        announced = self.environ.get("CONTENT_LENGTH") or None
        if announced is not None and not _LENGTH.fullmatch(announced):
            raise invalid_request("The Content-Length is malformed.", why="content_length")
        length = int(announced) if announced is not None else None
        if length is not None and length > self._form_bytes:
            raise _too_large()
        if length is None and not self.environ.get("wsgi.input_terminated"):
            return b""
        body = self._read(self._form_bytes + 1 if length is None else length)
        if len(body) > self._form_bytes:
            raise _too_large()
        if length is not None and len(body) < length:
            raise invalid_request("The body is shorter than announced.", why="short_body")
        return body

    def _read(self, most: int) -> bytes:
        body = bytearray()
        stream = self.environ["wsgi.input"]
        try:
            with time_to_send(self.environ, FORM_SECONDS):
                while len(body) < most and (chunk := stream.read(most - len(body))):
                    body += chunk
        except (OSError, ValueError):
            raise invalid_request("The body cannot be read.", why="broken_body") from None
        return bytes(body)


def _too_large() -> OAuthError:
    return TooLarge("invalid_request", "The request is too large.", why="too_large")
