"""The digest that the store's keys and values have in place of a secret or of free text."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in base64url without padding, 43 characters."""
    return urlsafe_b64encode(sha256(secret.encode()).digest()).rstrip(b"=").decode("ascii")
