"""A revocation request as clients send it: in a form, in the query, as JSON, or as a header.

RFC 7009 §2.1 knows a form alone. But a token that its holder wants to end should end. So other
places count too, as long as all of them say the same.
"""

from __future__ import annotations

import json
from dataclasses import replace

from gateway.protocol.errors import OAuthError, invalid_request
from gateway.protocol.parameters import REVOKE, Parameters
from gateway.protocol.reasons import Why
from gateway.protocol.request_rules import (
    FORM,
    FormKind,
    Pairs,
    Submission,
    parse,
    query_pairs,
    read_text,
    validate_pairs,
)

JSON = "application/json"


def revocation_parameters(
    sent: Submission, bearer: str | None, *, takes_json: bool = False
) -> Parameters:
    """Return the parameters of a revocation request.

    ``bearer`` is the token in the Authorization header; it counts where no other is named.
    Raises OAuthError ``invalid_request``.
    """
    in_body = _body(sent, takes_json=takes_json)
    pairs = [*in_body, *(pair for pair in _query(sent) if pair not in in_body)]
    if bearer is not None and not any(name == "token" and value for name, value in pairs):
        pairs.append(("token", bearer))
    return validate_pairs(pairs, FormKind.REVOKE)


def _query(sent: Submission) -> Pairs:
    """RFC 6749 §2.3.1: a secret must not be in the URI, where logs keep it."""
    pairs = [pair for pair in query_pairs(sent) if pair[0] in REVOKE]
    if any(name == "client_secret" for name, _ in pairs):
        raise invalid_request("Parameters belong in the body.", Why.PARAMETERS_IN_QUERY)
    return pairs


def _body(sent: Submission, *, takes_json: bool) -> Pairs:
    media_type = sent.form.content_type.partition(";")[0].strip().lower()
    if not media_type and sent.form.announced in {None, "0"}:
        return []
    in_body = replace(sent, query="")
    if media_type != JSON or not takes_json:
        return parse(in_body)
    # Read as a form is, within the same limits.
    return _json_pairs(read_text(replace(in_body, form=replace(sent.form, content_type=FORM))))


def _json_pairs(text: str) -> Pairs:
    """Return the recognised members of a JSON object (RFC 8259 §4); each must be a string."""
    try:
        members = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise _malformed_json() from None
    if not isinstance(members, tuple):
        raise _malformed_json()
    pairs = [(name, value) for name, value in members if name in REVOKE and value is not None]
    if not all(isinstance(value, str) for _, value in pairs):
        raise _malformed_json()
    return pairs


def _malformed_json() -> OAuthError:
    return invalid_request("The body is not an object of strings.", Why.CONTENT_TYPE)
