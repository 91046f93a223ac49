"""``gateway serve``: the standalone gateway under gunicorn, with gevent workers.

The settings of gunicorn that matter for security are all here: nobody's word is taken for the
scheme, the path or the script name, since trusted proxies are the gateway's own business
(``server.trusted_proxies``), and every leniency of its parser is off.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from gunicorn.app.base import BaseApplication

from gateway.config import Settings
from gateway.config_file import ConfigError
from gateway.embedded_store import EmbeddedStore
from gateway.middleware import OAuthGateway
from gateway.proxy import Proxy

logger = logging.getLogger("gateway.server")

_KEEP_ALIVE_SECONDS = 5


class CannotListen(Exception):  # noqa: N818 - says what is wrong
    """The address of ``server.listen`` cannot be had; the message says why."""


class StandaloneGateway(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """A gunicorn application that builds the gateway in each worker, after the fork.

    ``read_settings`` is called at the start and at each SIGHUP. When it raises ConfigError at
    a SIGHUP, the settings in force stay in force.
    """

    def __init__(self, read_settings: Callable[[], Settings]) -> None:
        self._read_settings = read_settings
        self._settings = read_settings()
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's own settings from the gateway's."""
        server = self._settings.server
        for name, value in {
            "bind": server.listen,
            "workers": server.workers,
            "worker_class": "gevent",
            "worker_connections": server.connections,
            "keepalive": _KEEP_ALIVE_SECONDS,
            "graceful_timeout": int(server.graceful_seconds),
            "proc_name": "oauth-gateway",
            "control_socket_disable": True,
            # The parser that the tests are run against, also where a faster one is installed.
            "http_parser": "python",
            # A target as long as the largest authorization request, headers as large as a
            # browser's cookies.
            "limit_request_line": 8190,
            "limit_request_field_size": 16_384,
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            "header_map": "drop",
        }.items():
            self.cfg.set(name, value)

    def reload(self) -> None:
        """Take over the configuration file again (SIGHUP)."""
        try:
            self._settings = self._read_settings()
        except ConfigError as error:
            logger.error("the new configuration has faults, the old one stays:\n%s", error)  # noqa: TRY400
        super().reload()

    def load(self) -> OAuthGateway:
        """Build the gateway, in a worker."""
        settings = self._settings
        proxy = Proxy(settings.upstream, settings.server, settings.issuer)
        return OAuthGateway(proxy, settings, raw_target=True)


def serve(read_settings: Callable[[], Settings]) -> None:
    """Run until a signal ends it.

    Raises ConfigError, CannotListen, and EmbeddedStoreError if the embedded store is
    configured and cannot run here. A remote store need not answer yet.
    """
    application = StandaloneGateway(read_settings)
    settings = read_settings()
    must_be_free(settings.server.listen)
    embedded = (
        EmbeddedStore(settings.store.data_dir) if settings.store.url == "embedded" else None
    )
    if embedded is not None:
        # Here, so that what is wrong is said once and before a worker dies of it; and held,
        # so that it outlives a moment without workers.
        embedded.ensure_running()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    application.run()


def must_be_free(listen: str) -> None:
    """Raise CannotListen if ``listen``, ``host:port`` or ``unix:path``, cannot be had."""
    if listen.startswith("unix:"):
        return
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            why = (
                "another program listens there"
                if error.errno == errno.EADDRINUSE
                else os.strerror(error.errno or 0)
            )
            raise CannotListen(f"cannot listen on {listen}: {why}") from None


def overridden(settings: Settings, listen: str | None) -> Settings:
    """Return the settings with ``listen`` in place of ``server.listen``, if it is given."""
    if listen is None:
        return settings
    return replace(settings, server=replace(settings.server, listen=listen))

