"""Authorization server metadata (RFC 8414), from which clients configure themselves."""

from __future__ import annotations

from typing import Any

from gateway.config.grammar import GRANT_TYPES
from gateway.config.settings import Settings


def metadata(settings: Settings) -> dict[str, Any]:
    """Return the metadata document. Every URL in it comes from the configured issuer.

    Clients may be added to the store at any time. So the document says what any client can be
    registered for, and not what the configuration file has. A list without values is left out
    (§2).
    """
    paths = settings.endpoints
    client_authentication = ["client_secret_basic", "client_secret_post"]
    scopes = {"scopes_supported": list(settings.scopes)} if settings.scopes else {}
    return {
        "issuer": settings.issuer,
        "authorization_endpoint": settings.issuer + paths.authorize[0],
        "token_endpoint": settings.issuer + paths.token[0],
        "revocation_endpoint": settings.issuer + paths.revoke[0],
        "introspection_endpoint": settings.issuer + paths.introspect[0],
        **scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", *client_authentication],
        "revocation_endpoint_auth_methods_supported": ["none", *client_authentication],
        "introspection_endpoint_auth_methods_supported": client_authentication,
        "authorization_response_iss_parameter_supported": True,
    }
