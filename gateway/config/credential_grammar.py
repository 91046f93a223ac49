"""What keys, digests and hashes may look like: each function returns a fault, or ``None``."""

from __future__ import annotations

import re

SECRET_KEY_BYTES = 32

# What people write between two keys, and around a key or a list.
_BETWEEN_KEYS = re.compile(r"[\s,;|\"'\[\]]+|\\n")
_QUOTES = "\"'[]"

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_SHA256_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_SCRYPT = re.compile(
    r"scrypt(?::([1-9][0-9]{0,9}):([1-9][0-9]{0,9}):([1-9][0-9]{0,9}))?\$[^$]+\$[0-9a-f]{128}"
)
_LEAST_SCRYPT_COST = 128
_MOST_SCRYPT_MEMORY = 1 << 31
_PBKDF2 = re.compile(r"pbkdf2(?::sha(?:1|224|256|384|512)(?::[1-9][0-9]*)?)?\$[^$]+\$[0-9a-f]{40,}")


def secret_key_fault(secret_key: str) -> str | None:
    """RFC 2104 §3: a key is at least as long as the output of its hash."""
    size = len(secret_key.encode("utf-8", "surrogateescape"))
    if size < SECRET_KEY_BYTES:
        return f"must have at least {SECRET_KEY_BYTES} bytes, not {size}; run `gateway new-secret`"
    return _one_key_fault(secret_key)


def _one_key_fault(secret_key: str) -> str | None:
    """Take one key, which is the same in a variable, in a file of keys and in quotation marks."""
    parts = [part for part in _BETWEEN_KEYS.split(secret_key) if len(part) >= SECRET_KEY_BYTES]
    if len(parts) > 1:
        return (
            "holds several keys; write one a line in a variable or a secret_key_file, or a list"
            " in the configuration file"
        )
    if secret_key[0] in _QUOTES and secret_key[-1] in _QUOTES:
        return "must have no quotation marks or brackets around it"
    if secret_key.strip() != secret_key or len(secret_key.splitlines()) > 1:
        return "must be one line, without spaces around it"
    return None


def sha256_fault(hexadecimal: str) -> str | None:
    """Take the SHA-256 of a secret, but not of an empty one."""
    if not _SHA256.fullmatch(hexadecimal):
        return "must be 64 hexadecimal digits, the SHA-256 of the secret"
    if hexadecimal.lower() == _SHA256_OF_NOTHING:
        return "is the SHA-256 of an empty secret"
    return None


def password_hash_fault(password_hash: str) -> str | None:
    """Take ``method$salt$hash`` as :func:`werkzeug.security.generate_password_hash` writes it."""
    scrypt = _SCRYPT.fullmatch(password_hash)
    if scrypt is None and not _PBKDF2.fullmatch(password_hash):
        return "must be a hash as `gateway hash-password` prints it, scrypt:…$salt$hash"
    if scrypt is not None and scrypt[1] and not _is_scrypt_cost(*map(int, scrypt.groups())):
        return "has costs that scrypt cannot have; `gateway hash-password` prints good ones"
    return None


def _is_scrypt_cost(cost: int, block_size: int, parallel: int) -> bool:
    """RFC 7914 §2: a power of two. The bounds follow from the memory that werkzeug allows."""
    power_of_two = cost & (cost - 1) == 0
    memory = 132 * cost * block_size * parallel
    return power_of_two and cost >= _LEAST_SCRYPT_COST and memory < _MOST_SCRYPT_MEMORY
