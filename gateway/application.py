"""The gateway as a reverse proxy in one WSGI application: the middleware around the proxy."""

from __future__ import annotations

import hmac
import os

from gateway.config.file import load_config
from gateway.config.settings import Settings
from gateway.middleware import OAuthGateway

_PSEUDONYM_DIGITS = 16


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

    proxy = Proxy(settings.upstream, settings.server, via_pseudonym(settings))
    return OAuthGateway(proxy, settings, raw_target=True)


def via_pseudonym(settings: Settings) -> str:
    """Return the name of this gateway in Via, the same in all its processes (RFC 9110 §7.6.3).

    A request that comes with this name has been here before. So nobody else may have the name,
    not even a server in front that calls itself by the host of the issuer.
    """
    key, issuer = settings.secret_keys[0], settings.issuer.encode()
    return "gateway-" + hmac.new(key, b"via\0" + issuer, "sha256").hexdigest()[:_PSEUDONYM_DIGITS]
