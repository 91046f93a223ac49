"""Codes and tokens: how they are made, read and derived. Pure; nothing here asks the store.

A token is ``<kind>_<grant id><secret><tag>``, 68 characters, URL-safe::

    gwa_  k3J9…(20)  Qx71…(32)  8fYt…(12)
    kind  grant      secret     tag

- The **kind** (``gwc`` code, ``gwa`` access, ``gwr`` refresh) keeps one from passing for
  another, and lets secret scanners find a leaked one.
- The **grant id** is 120 random bits and no secret. It names the grant in the audit log,
  and is the hash tag of every key of that grant, so one script in one slot changes it.
- The **secret** is 192 bits: random in a code, derived in everything that a code gives.
- The **tag** is an HMAC over all before it. Whatever this gateway never issued is told
  apart without asking the store; so a refresh token that is genuine but not current is
  known to have been used before, and a made-up one cannot end anybody's grant.

A code gives its tokens, and a refresh token its successors, by HMAC under the gateway's
secret key. The same call therefore computes the same answer again, with nothing in
plaintext kept anywhere; and neither the key alone nor a token alone gives the next one.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

_GRANT_ID_BYTES = 15
_SECRET_BYTES = 24
_TAG_BYTES = 9
_TAG_CHARACTERS = 12
_DIGEST_CHARACTERS = 22

_TOKEN = re.compile(r"(gw[acr])_([A-Za-z0-9_-]{20})[A-Za-z0-9_-]{32}[A-Za-z0-9_-]{12}")
# The beginning of one: enough to tell that a text has a code or token in it.
_BEGINNING = re.compile(r"gw[acr]_[A-Za-z0-9_-]{20}")

#: The grammar of a grant's id, as the command line takes it.
GRANT_ID = re.compile(r"[A-Za-z0-9_-]{20}")


class Kind(Enum):
    """What a token is good for; the value is its prefix."""

    CODE = "gwc"
    ACCESS = "gwa"
    REFRESH = "gwr"


@dataclass(frozen=True, slots=True)
class Token:
    """A code or token that this gateway issued. Its text is the secret: never log it."""

    kind: Kind
    grant_id: str
    text: str

    def __repr__(self) -> str:
        """Show which token it is, and nothing that lets anyone in."""
        return f"<{self.kind.name.lower()} token of grant {self.grant_id}>"

    @property
    def digest(self) -> str:
        """132 bits of the SHA-256 of the text, 22 characters: all that the store ever sees.

        That is as hard to invert as the whole, and a grant keeps up to seven of them.
        """
        hashed = sha256(self.text.encode()).digest()
        return urlsafe_b64encode(hashed)[:_DIGEST_CHARACTERS].decode("ascii")


def has_token(text: str) -> bool:
    """Tell whether ``text`` has something in it that looks like a code or token of a gateway."""
    return _BEGINNING.search(text) is not None


def new_grant_id() -> str:
    """Return a fresh id for a grant, 20 characters."""
    return _base64url(secrets.token_bytes(_GRANT_ID_BYTES))


def new_secret() -> str:
    """Return 256 random bits in base64url: a session, a client secret, a gateway key."""
    return _base64url(secrets.token_bytes(32))


class TokenKey:
    """One of the gateway's secret keys, at work on tokens and on forms."""

    def __init__(self, secret_key: bytes) -> None:
        # A key for each use, so that no text of one use is ever valid in another.
        tag_key = hmac.digest(secret_key, b"gateway: tag of a token", "sha256")
        # With the key taken in already; each tag begins with a copy.
        self._tag_begun = hmac.new(tag_key, digestmod="sha256")
        self._derivation_key = hmac.digest(secret_key, b"gateway: derived token", "sha256")
        self._form_key = hmac.digest(secret_key, b"gateway: form", "sha256")

    def random(self, kind: Kind, grant_id: str) -> Token:
        """Make a token with a random secret."""
        return self._tagged(kind, grant_id, secrets.token_bytes(_SECRET_BYTES))

    def derived(self, kind: Kind, parent: Token, scope: str = "") -> Token:
        """Make the token of ``kind`` that ``parent`` gives when ``scope`` is asked for."""
        context = f"{kind.value}\0{parent.text}\0{scope}".encode()
        secret = hmac.digest(self._derivation_key, context, "sha256")[:_SECRET_BYTES]
        return self._tagged(kind, parent.grant_id, secret)

    def is_genuine(self, text: str) -> bool:
        """Tell whether ``text``, which has the form of a token, has this key's tag."""
        return hmac.compare_digest(self._tag(text[:-_TAG_CHARACTERS]), text[-_TAG_CHARACTERS:])

    def form_token(self, *context: str) -> str:
        """Return the proof that a form was shown in just this context (user, parameters)."""
        # Each part with its length before it: no two contexts have the same encoding.
        encoded = b"".join(b"%d:%b" % (len(part), part) for part in map(str.encode, context))
        return _base64url(hmac.digest(self._form_key, encoded, "sha256"))

    def _tagged(self, kind: Kind, grant_id: str, secret: bytes) -> Token:
        untagged = f"{kind.value}_{grant_id}{_base64url(secret)}"
        return Token(kind, grant_id, untagged + self._tag(untagged))

    def _tag(self, untagged: str) -> str:
        tag = self._tag_begun.copy()
        tag.update(untagged.encode())
        return _base64url(tag.digest()[:_TAG_BYTES])


class TokenKeys:
    """The gateway's secret keys, newest first: the first one makes, every one recognises."""

    def __init__(self, secret_keys: tuple[bytes, ...]) -> None:
        self.all = tuple(TokenKey(secret_key) for secret_key in secret_keys)
        self.newest = self.all[0]

    def read(self, kind: Kind, text: str) -> Token | None:
        """Return the token that ``text`` is, or ``None`` if no key of ours made it so."""
        form = _TOKEN.fullmatch(text)
        if form is None or form.group(1) != kind.value:
            return None
        if not any(key.is_genuine(text) for key in self.all):
            return None
        return Token(kind, form.group(2), text)

    def is_form_token(self, form_token: str, *context: str) -> bool:
        """Tell whether ``form_token`` is one of ours for just this context."""
        presented = form_token.encode()
        return any(
            hmac.compare_digest(key.form_token(*context).encode(), presented) for key in self.all
        )


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
