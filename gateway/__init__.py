"""An OAuth 2.0 authorization gateway in front of any backend.

Wrap a WSGI application::

    app = OAuthGateway(app, load_config("gateway.toml"))

or let any WSGI server run the gateway as a proxy in front of ``upstream.url``::

    application = create_app("gateway.toml")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.application import create_app
    from gateway.config.file import load_config
    from gateway.middleware import OAuthGateway

__all__ = ["OAuthGateway", "create_app", "load_config"]

_MODULES = {
    "OAuthGateway": "gateway.middleware",
    "create_app": "gateway.application",
    "load_config": "gateway.config.file",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for (PEP 562): the command needs none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module 'gateway' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
