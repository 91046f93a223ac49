"""A browser in which a user has signed in before: guessers elsewhere do not lock that user out.

The cookie is a random number, and an HMAC over it and the user's name. So it tells nobody the name,
and proves an earlier sign-in for that one name.
"""

from __future__ import annotations

from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.tokens.token import TokenKeys, new_secret

_PURPOSE = "known-browser"


class KnownBrowsers:
    """Makes and checks the proof that a user signed in with this browser before."""

    def __init__(self, browsers: BrowserSessions, keys: TokenKeys) -> None:
        self._browsers = browsers
        self._keys = keys

    def new_proof(self, name: str) -> str:
        """Return the cookie for a browser in which the user of that name has just signed in."""
        number = new_secret()
        return f"{number}.{self._keys.newest.form_token(_PURPOSE, number, name)}"

    def is_known(self, request: EndpointRequest, name: str) -> bool:
        """Tell whether the user of that name has signed in with this browser before."""
        return any(self._proves(proof, name) for proof in self._browsers.known_proofs(request))

    def _proves(self, proof: str, name: str) -> bool:
        number, _, tag = proof.partition(".")
        return self._keys.is_form_token(tag, _PURPOSE, number, name)
