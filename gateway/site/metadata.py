"""Authorization server metadata (RFC 8414), from which clients configure themselves."""

from __future__ import annotations

from typing import Any

from gateway.config.settings import Settings


def metadata(settings: Settings) -> dict[str, Any]:
    """Return the metadata document. Every URL in it comes from the configured issuer."""
    paths = settings.endpoints
    client_authentication = ["client_secret_basic", "client_secret_post"]
    grant_types = ["authorization_code", "refresh_token"]
    if any("client_credentials" in client.grant_types for client in settings.clients):
        grant_types.append("client_credentials")
    return {
        "issuer": settings.issuer,
        "authorization_endpoint": settings.issuer + paths.authorize[0],
        "token_endpoint": settings.issuer + paths.token[0],
        "revocation_endpoint": settings.issuer + paths.revoke[0],
        "introspection_endpoint": settings.issuer + paths.introspect[0],
        "scopes_supported": list(settings.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": grant_types,
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", *client_authentication],
        "revocation_endpoint_auth_methods_supported": ["none", *client_authentication],
        "introspection_endpoint_auth_methods_supported": client_authentication,
        "authorization_response_iss_parameter_supported": True,
    }
