"""The gateway as a reverse proxy in one WSGI application: the middleware around the proxy."""

from __future__ import annotations

import os

from gateway.config.file import load_config
from gateway.config.settings import Settings
from gateway.middleware import OAuthGateway


def create_app(path: str | os.PathLike[str]) -> OAuthGateway:
    """Return the gateway of a configuration file as a reverse proxy, a WSGI application.

    Needs the extra ``server``. Raises ConfigError, EmbeddedStoreError if the embedded store is
    configured and cannot run here, and UnreadableStoreError if a gateway that is too new for
    this one has written to the store.
    """
    return reverse_proxy(load_config(path))


def reverse_proxy(settings: Settings) -> OAuthGateway:
    """Return the gateway of ``settings`` in front of ``upstream.url``.

    Raises EmbeddedStoreError and UnreadableStoreError as :func:`create_app` does.
    """
    # A wrapped application needs none of the packages that the proxy imports.
    from gateway.proxy.reverse_proxy import Proxy  # noqa: PLC0415

    proxy = Proxy(settings.upstream, settings.server, settings.issuer)
    return OAuthGateway(proxy, settings, raw_target=True)
