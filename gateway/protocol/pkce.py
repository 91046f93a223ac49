"""Proof Key for Code Exchange (RFC 7636): S256, the one method that is safe."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256

#: RFC 7636 §4.1: 43 to 128 unreserved characters.
CODE_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")

#: RFC 7636 §4.2: an S256 challenge is the base64url of 32 bytes, so 43 characters.
S256_CODE_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")


def s256_challenge(code_verifier: str) -> str:
    """Return the S256 code challenge of a code verifier (RFC 7636 §4.2)."""
    hashed = sha256(code_verifier.encode("ascii")).digest()
    return urlsafe_b64encode(hashed).rstrip(b"=").decode("ascii")
