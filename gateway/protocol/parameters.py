"""The parameters of OAuth requests: their names, and the grammar and length of each.

The grammar is that of RFC 6749, appendix A. :mod:`gateway.protocol.request_rules` checks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from unicodedata import category
from urllib.parse import quote_plus

from gateway.protocol.errors import missing_parameter
from gateway.protocol.pkce import CODE_VERIFIER, S256_CODE_CHALLENGE

Grammar = Callable[[str], str | None]
Parameters = Mapping[str, str]


def _matches(pattern: str, longest: int, fault: str) -> Grammar:
    compiled = re.compile(pattern)

    def grammar(value: str) -> str | None:
        if len(value) > longest:
            return f"is longer than {longest} characters"
        return None if compiled.fullmatch(value) else fault

    return grammar


def code_verifier(value: str) -> str | None:
    """RFC 7636 §4.1: 43 to 128 unreserved characters."""
    return None if CODE_VERIFIER.fullmatch(value) else "must be 43 to 128 unreserved characters"


def s256_code_challenge(value: str) -> str | None:
    """RFC 7636 §4.2: an S256 challenge is 43 characters of base64url."""
    return None if S256_CODE_CHALLENGE.fullmatch(value) else "is not an S256 challenge"


def state(value: str) -> str | None:
    """Take any text without control characters; RFC 6749 appendix A.5 knows ASCII alone.

    Clients send more than ASCII. A longer text fits into no header that every hop carries.
    """
    if len(value) > _LONGEST_STATE or len(quote_plus(value)) > _LONGEST_ENCODED_STATE:
        return f"is longer than {_LONGEST_STATE} characters"
    return "has control characters" if any(map(_is_control, value)) else None


def _is_control(character: str) -> bool:
    return category(character) in {"Cc", "Cs", "Zl", "Zp"}


_LONGEST_STATE = 4096
# Escaped in a URI (bytes). RFC 9112 §3 recommends 8000 for a whole request line.
_LONGEST_ENCODED_STATE = 7500

_VSCHAR = r"[\x20-\x7e]+"
_NAME = r"[A-Za-z0-9._\-:/+]+"

# Appendix A of RFC 6749: A.1 and A.2 (client), A.3 to A.6 (authorization request), A.7 to
# A.17 (token request).
client_id = _matches(_VSCHAR, 255, "has characters other than printable ASCII")
client_secret = _matches(r"[^\x00-\x1f\x7f]+", 1024, "has control characters")
response_type = _matches(_NAME + f"( {_NAME})*", 64, "is not a response type")
grant_type = _matches(_NAME, 255, "is not a grant type")
redirect_uri = _matches(r"[\x21-\x7e]+", 2048, "is not a URI")
scope = _matches(
    # Appendix A.4 has one space between two names; clients that join names leave more.
    r" *[\x21\x23-\x5b\x5d-\x7e]+( +[\x21\x23-\x5b\x5d-\x7e]+)* *",
    2048,
    "is not a list of scopes",
)
token = _matches(_VSCHAR, 4096, "has characters other than printable ASCII")
code_challenge_method = _matches(r"[A-Za-z0-9._~\-]+", 64, "is not a challenge method")
token_type_hint = _matches(_NAME, 64, "is not a token type")
decision = _matches(r"allow|deny", 8, "is neither allow nor deny")
form_token = _matches(r"[A-Za-z0-9_\-]+", 64, "is not one of ours")

#: The parameters of each endpoint.
AUTHORIZE: Mapping[str, Grammar] = {
    "client_id": client_id,
    "redirect_uri": redirect_uri,
    "response_type": response_type,
    "scope": scope,
    "state": state,
    "code_challenge": s256_code_challenge,
    "code_challenge_method": code_challenge_method,
}
CONSENT: Mapping[str, Grammar] = {**AUTHORIZE, "decision": decision, "csrf_token": form_token}
TOKEN: Mapping[str, Grammar] = {
    "grant_type": grant_type,
    "client_id": client_id,
    "client_secret": client_secret,
    "code": token,
    "redirect_uri": redirect_uri,
    "code_verifier": code_verifier,
    "refresh_token": token,
    "scope": scope,
}
REVOKE: Mapping[str, Grammar] = {
    "token": token,
    "token_type_hint": token_type_hint,
    "client_id": client_id,
    "client_secret": client_secret,
}
INTROSPECT: Mapping[str, Grammar] = REVOKE


def required(parameters: Parameters, name: str) -> str:
    """Return a parameter that must be there. Raises OAuthError ``invalid_request``."""
    value = parameters.get(name)
    if value is None:
        raise missing_parameter(name)
    return value


def scope_names(scope_value: str) -> tuple[str, ...]:
    """Return the names in a scope, each once, in the order given (RFC 6749 §3.3)."""
    return tuple(dict.fromkeys(scope_value.split()))
