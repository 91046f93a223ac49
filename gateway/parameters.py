"""The strict check of parameters: names, repetitions, grammar and lengths.

Nothing else in the gateway reads a query or a form of an OAuth request. RFC 6749 §3.1 and
§3.2: unrecognised parameters are ignored, one sent without a value counts as omitted, and
none may be sent twice (but ``resource``, RFC 8707 §2). The grammar is that of its appendix A.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl

from gateway.errors import OAuthError, invalid_request
from gateway.pkce import CODE_VERIFIER, S256_CODE_CHALLENGE

Rule = Callable[[str], str | None]
Parameters = Mapping[str, str]

_MOST_FIELDS = 64


def _matches(pattern: str, longest: int, fault: str) -> Rule:
    compiled = re.compile(pattern)

    def rule(value: str) -> str | None:
        if len(value) > longest:
            return f"is longer than {longest} characters"
        return None if compiled.fullmatch(value) else fault

    return rule


def code_verifier(value: str) -> str | None:
    """RFC 7636 §4.1: 43 to 128 unreserved characters."""
    return None if CODE_VERIFIER.fullmatch(value) else "must be 43 to 128 unreserved characters"


def s256_code_challenge(value: str) -> str | None:
    """RFC 7636 §4.2: an S256 challenge is 43 characters of base64url."""
    return None if S256_CODE_CHALLENGE.fullmatch(value) else "is not an S256 challenge"


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
    r"[\x21\x23-\x5b\x5d-\x7e]+( +[\x21\x23-\x5b\x5d-\x7e]+)*", 2048, "is not a list of scopes"
)
state = _matches(_VSCHAR, 4096, "has characters other than printable ASCII")
token = _matches(_VSCHAR, 4096, "has characters other than printable ASCII")
code_challenge_method = _matches(r"[A-Za-z0-9._~\-]+", 64, "is not a challenge method")
token_type_hint = _matches(_NAME, 64, "is not a token type")
decision = _matches(r"allow|deny", 8, "is neither allow nor deny")
form_token = _matches(r"[A-Za-z0-9_\-]+", 64, "is not one of ours")

#: Which rule runs on which parameter of which endpoint; any other name is ignored.
AUTHORIZE: Mapping[str, Rule] = {
    "client_id": client_id,
    "redirect_uri": redirect_uri,
    "response_type": response_type,
    "scope": scope,
    "state": state,
    "code_challenge": s256_code_challenge,
    "code_challenge_method": code_challenge_method,
}
CONSENT: Mapping[str, Rule] = {**AUTHORIZE, "decision": decision, "csrf_token": form_token}
TOKEN: Mapping[str, Rule] = {
    "grant_type": grant_type,
    "client_id": client_id,
    "client_secret": client_secret,
    "code": token,
    "redirect_uri": redirect_uri,
    "code_verifier": code_verifier,
    "refresh_token": token,
    "scope": scope,
}
REVOKE: Mapping[str, Rule] = {
    "token": token,
    "token_type_hint": token_type_hint,
    "client_id": client_id,
    "client_secret": client_secret,
}
INTROSPECT: Mapping[str, Rule] = REVOKE


def decoded_pairs(encoded: str) -> list[tuple[str, str]]:
    """Decode ``application/x-www-form-urlencoded`` (RFC 6749 appendix B).

    ``encoded`` holds one byte a character (latin-1), as WSGI gives it. Raises OAuthError
    ``invalid_request`` for what is not UTF-8 underneath, and for more than 64 fields.
    """
    try:
        # The bytes again, so that raw non-ASCII is decoded as UTF-8 like the escaped kind.
        text = encoded.encode("latin-1").decode("utf-8")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeError:
        raise invalid_request("The parameters are not UTF-8.", why="parameters_not_utf8") from None
    except ValueError:
        raise invalid_request("Too many parameters.", why="too_many_parameters") from None


def not_repeated(pairs: Iterable[tuple[str, str]], rules: Mapping[str, Rule]) -> Parameters:
    """Return the recognised parameters that have a value (RFC 6749 §3.1, §3.2).

    Raises OAuthError ``invalid_request`` if one of them was sent twice.
    """
    seen: dict[str, str] = {}
    for name, value in pairs:
        if name not in rules:
            continue
        if name in seen:
            raise invalid_request(
                f"The parameter {name} was sent more than once.", why=f"repeated_{name}"
            )
        seen[name] = value
    return {name: value for name, value in seen.items() if value}


def well_formed(parameters: Parameters, rules: Mapping[str, Rule]) -> Parameters:
    """Return the parameters if each keeps its rule.

    Raises OAuthError ``invalid_request``; ``invalid_scope`` for a malformed scope (RFC 6749
    §4.1.2.1, §5.2).
    """
    for name, value in parameters.items():
        fault = rules[name](value)
        if fault is not None:
            error = "invalid_scope" if name == "scope" else "invalid_request"
            raise OAuthError(error, f"The parameter {name} {fault}.", why=f"malformed_{name}")
    return parameters


def required(parameters: Parameters, name: str) -> str:
    """Return a parameter that must be there. Raises OAuthError ``invalid_request``."""
    value = parameters.get(name)
    if value is None:
        raise invalid_request(f"The parameter {name} is missing.", why=f"missing_{name}")
    return value


def scope_names(scope_value: str) -> tuple[str, ...]:
    """Return the names in a scope, each once, in the order given (RFC 6749 §3.3)."""
    return tuple(dict.fromkeys(scope_value.split()))


__all__ = [
    "AUTHORIZE",
    "CONSENT",
    "INTROSPECT",
    "REVOKE",
    "TOKEN",
    "OAuthError",
    "Parameters",
    "decoded_pairs",
    "not_repeated",
    "required",
    "scope_names",
    "well_formed",
]
