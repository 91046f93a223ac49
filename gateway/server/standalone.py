"""``gateway serve``: the standalone gateway under gunicorn, with gevent workers.

The settings of gunicorn that matter for security are all here: nobody's word is taken for the
scheme, the path or the script name, since trusted proxies are the gateway's own business
(``server.trusted_proxies``), and every leniency of its parser is off.
"""

from __future__ import annotations

import errno
import logging
import math
import resource
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gunicorn.app.base import BaseApplication

from gateway.application import reverse_proxy
from gateway.config.file import ConfigError
from gateway.config.settings import Settings
from gateway.middleware import OAuthGateway
from gateway.server.master import Master
from gateway.server.worker import KEEP_ALIVE_SECONDS, MASTER_EXTRA_SECONDS, Worker
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError
from gateway.store.format_check import UnreadableStoreError

logger = logging.getLogger("gateway.server")

#: A worker that did not move for so long is replaced.
_HEARTBEAT_SECONDS = 30
#: Files of a worker that are no connections: listeners, logs, pipes, the embedded store's lock.
_OTHER_FILES = 128
#: Before a worker that could not begin ends, and the next one tries.
_RETRY_SECONDS = 1.0


class CannotListen(Exception):  # noqa: N818 - says what is wrong
    """The address of ``server.listen`` cannot be had; the message says why."""


class StandaloneGateway(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """A gunicorn application that builds the gateway in each worker, after the fork.

    ``read_settings`` is called at the start and at each SIGHUP. When what it gives then cannot
    be used, the settings in force stay in force.
    """

    def __init__(self, read_settings: Callable[[], Settings]) -> None:
        self._read_settings = read_settings
        self._settings = read_settings()
        self._store: EmbeddedStore | None = None
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's own settings from the gateway's."""
        server = self._settings.server
        for name, value in {
            "bind": server.listen,
            "workers": server.workers,
            "worker_class": Worker,
            "worker_connections": server.connections,
            "keepalive": KEEP_ALIVE_SECONDS,
            "timeout": _HEARTBEAT_SECONDS,
            "graceful_timeout": math.ceil(server.graceful_seconds) + MASTER_EXTRA_SECONDS,
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

    def prepare(self) -> None:
        """Find out here, before a worker dies of it, what else is wrong.

        Raises CannotListen, EmbeddedStoreError and UnreadableStoreError.
        """
        must_be_free(self._settings.server.listen)
        self._prepare(self._settings)

    def read_again(self) -> bool:
        """Take over the configuration file again, and return whether it could be used."""
        try:
            settings = self._read_settings()
            if settings.server.listen != self._settings.server.listen:
                must_be_free(settings.server.listen)
            self._prepare(settings)
        except (ConfigError, CannotListen, EmbeddedStoreError, UnreadableStoreError) as error:
            logger.error(  # noqa: TRY400 - the operator's fault needs no traceback
                "the new configuration cannot be used, the old one stays:\n%s", error
            )
            return False
        except Exception:
            # Whatever it is: what runs goes on.
            logger.exception("the new configuration cannot be used, the old one stays")
            return False
        self._settings = settings
        return True

    def load(self) -> OAuthGateway:
        """Build the gateway, in a worker."""
        try:
            return reverse_proxy(self._settings)
        except (EmbeddedStoreError, UnreadableStoreError) as error:
            # The store was good when the configuration was read. gunicorn gives the whole server
            # up where a worker cannot begin, but not where one ends like this.
            logger.error("the store cannot be used: %s", error)  # noqa: TRY400
            time.sleep(_RETRY_SECONDS)
            raise SystemExit(1) from None

    def run(self) -> None:
        """Serve until a signal ends it."""
        Master(self).run()

    def _prepare(self, settings: Settings) -> None:
        reverse_proxy(settings).close()
        store = None
        if settings.store.url == "embedded":
            # Held, so that it outlives a moment without workers.
            store = EmbeddedStore(settings.store.data_dir)
            store.ensure_running()
        if self._store is not None:
            self._store.release()
        self._store = store
        allow_files(settings)


def serve(read_settings: Callable[[], Settings]) -> None:
    """Run until a signal ends it.

    Raises ConfigError, CannotListen, EmbeddedStoreError if the embedded store is configured and
    cannot run here, and UnreadableStoreError if a gateway that is too new for this one has written
    to the store. A remote store need not answer yet.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    application = StandaloneGateway(read_settings)
    application.prepare()
    application.run()


def must_be_free(listen: str) -> None:
    """Raise CannotListen if ``listen``, ``host:port`` or ``unix:path``, cannot be had."""
    if listen.startswith("unix:"):
        _must_be_a_place_for_a_socket(listen, Path(listen.removeprefix("unix:")))
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
                else error.strerror or str(error)
            )
            raise CannotListen(f"cannot listen on {listen}: {why}") from None


def _must_be_a_place_for_a_socket(listen: str, path: Path) -> None:
    try:
        if not stat.S_ISDIR(path.parent.stat().st_mode):
            raise CannotListen(f"cannot listen on {listen}: {path.parent} is not a directory")
        if path.exists() and not path.is_socket():
            raise CannotListen(f"cannot listen on {listen}: the path is taken")
    except OSError as error:
        raise CannotListen(f"cannot listen on {listen}: {error.strerror}") from None


def allow_files(settings: Settings) -> None:
    """Raise the limit of open files to what the configured connections need, if it may be."""
    # One connection of a client, one of the backend for it, and those of the store.
    needed = 2 * settings.server.connections + settings.store.connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (ValueError, OSError):
        allowed = soft
    if allowed >= needed:
        logger.info("the limit of open files is raised from %d to %d", soft, allowed)
    else:
        logger.warning(
            "a worker may have %d files open, but server.connections = %d needs %d:"
            " raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            allowed,
            settings.server.connections,
            needed,
        )


def overridden(settings: Settings, listen: str | None) -> Settings:
    """Return the settings with ``listen`` in place of ``server.listen``, if it is given."""
    if listen is None:
        return settings
    return replace(settings, server=replace(settings.server, listen=listen))
