"""An OAuth 2.0 authorization gateway in front of any backend.

Wrap a WSGI application::

    app = OAuthGateway(app, load_config("gateway.toml"))

or let any WSGI server run the gateway as a proxy in front of ``upstream.url``::

    application = create_app("gateway.toml")
"""

from __future__ import annotations

from gateway.application import create_app
from gateway.config.file import load_config
from gateway.middleware import OAuthGateway

__all__ = ["OAuthGateway", "create_app", "load_config"]
