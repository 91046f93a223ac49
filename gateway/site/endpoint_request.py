"""A request to one of the gateway's own endpoints, read strictly."""

from __future__ import annotations

from typing import Any

from gateway.http.client_socket import time_to_send
from gateway.http.peers import TrustedProxies
from gateway.protocol.request_rules import Form, FormKind, Submission

#: The seconds that a client may take to send a form. It needs no token for that.
FORM_SECONDS = 10.0


class EndpointRequest:
    """The parts of a request that an endpoint reads. The body is read when a form asks for it."""

    def __init__(
        self, environ: dict[str, Any], path: str, proxies: TrustedProxies, form_bytes: int
    ) -> None:
        self.environ = environ
        self.path = path
        self.method: str = environ["REQUEST_METHOD"]
        self.query: str = environ.get("QUERY_STRING", "")
        self.authorization: str | None = environ.get("HTTP_AUTHORIZATION")
        self.from_trusted_proxy = proxies.trusts(environ.get("REMOTE_ADDR", ""))
        self.address = proxies.client_of(environ)
        self._form_bytes = form_bytes

    @property
    def target(self) -> str:
        """The path and query of this request."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def is_over_http(self) -> bool:
        """Tell whether the browser sent this request over plain http, as far as it can be known.

        A server in front that terminates TLS says so in X-Forwarded-Proto. If it does not, a
        browser may: it sends Sec-Fetch-Mode over https alone (and to a loopback address).
        """
        forwarded = self.environ.get("HTTP_X_FORWARDED_PROTO") if self.from_trusted_proxy else None
        if forwarded:
            return str(forwarded).strip().lower() == "http"
        return self.environ["wsgi.url_scheme"] == "http" and not self.environ.get(
            "HTTP_SEC_FETCH_MODE"
        )

    def cookies(self, name: str) -> tuple[str, ...]:
        """Return the values of the cookies of that name: a browser may have several.

        RFC 6265 §4.2.1, to the letter. A name keeps the characters that only look like a space:
        without them it could have the prefix ``__Host-``.
        """
        pairs = (pair.partition("=") for pair in self.environ.get("HTTP_COOKIE", "").split(";"))
        return tuple(value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == name)

    def submission(self, at: FormKind) -> Submission:
        """Return the parameters for the rules: the query, or a form that is not read yet."""
        if at not in FormKind.FORMS:
            return Submission(at, encoded=self.query)
        announced: str | None = self.environ.get("CONTENT_LENGTH") or None
        content_type: str = self.environ.get("CONTENT_TYPE", "")
        return Submission(
            at, self.query, Form(content_type, announced, self._form_bytes, self._read)
        )

    def _read(self, most: int) -> bytes:
        body = bytearray()
        known = self.environ.get("CONTENT_LENGTH") or self.environ.get("wsgi.input_terminated")
        if not known:
            # The server does not tell where the body ends (PEP 3333).
            return b""
        stream = self.environ["wsgi.input"]
        try:
            with time_to_send(self.environ, FORM_SECONDS):
                while len(body) < most and (chunk := stream.read(most - len(body))):
                    body += chunk
        except OSError:
            raise
        except Exception as error:
            # Each server raises its own errors for a body that is malformed.
            raise ValueError("the body is malformed") from error
        return bytes(body)
