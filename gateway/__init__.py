"""An OAuth 2.0 authorization gateway in front of any backend.

Wrap a WSGI application::

    app = OAuthGateway(app, load_config("gateway.toml"))

or let any WSGI server run the gateway as a proxy in front of ``upstream.url``::

    application = create_app("gateway.toml")
"""

from __future__ import annotations

import os

from gateway.config.file import load_config
from gateway.middleware import OAuthGateway

__all__ = ["OAuthGateway", "create_app", "load_config"]


def create_app(path: str | os.PathLike[str]) -> OAuthGateway:
    """Return the gateway of a configuration file as a reverse proxy, a WSGI application.

    Needs the extra ``server``. Raises ConfigError, and EmbeddedStoreError if the embedded
    store is configured and cannot run here.
    """
    # Wrapping an application needs none of what the proxy does.
    from gateway.proxy import Proxy  # noqa: PLC0415

    settings = load_config(path)
    proxy = Proxy(settings.upstream, settings.server, settings.issuer)
    return OAuthGateway(proxy, settings, raw_target=True)
