"""``gateway serve``: the standalone gateway under gunicorn, with gevent workers.

All of gunicorn's settings that matter for security are here. No header sets the scheme, the path
or the script name, because the gateway itself judges trusted proxies (``server.trusted_proxies``).
Every leniency of gunicorn's parser is off.
"""

from __future__ import annotations

import logging
import math
import resource
import time
from collections.abc import Callable

from gunicorn.app.base import BaseApplication

from gateway.application import reverse_proxy
from gateway.config.file import ConfigError
from gateway.config.settings import Settings
from gateway.middleware import OAuthGateway
from gateway.server.listener import (
    CannotListen,
    must_be_free,
    share_socket,
    socket_group_id,
    socket_umask,
)
from gateway.server.master import Master
from gateway.server.worker import MASTER_EXTRA_SECONDS, Worker, most_connections
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError
from gateway.store.format_check import UnreadableStoreError

logger = logging.getLogger("gateway.server")

#: A worker that hangs for this long is replaced.
_HEARTBEAT_SECONDS = 30
#: Open files of a worker beside its connections: listeners, logs, pipes, the embedded store's lock.
_OTHER_FILES = 128
#: A worker that could not start waits this long before it exits and the next one tries.
_RETRY_SECONDS = 1.0


class StandaloneGateway(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """A gunicorn application that builds the gateway in each worker, after the fork.

    ``read_settings`` is called at the start and at each SIGHUP. If the new settings cannot be used,
    the old ones stay in force.
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
            "keepalive": server.keep_alive_seconds,
            # gunicorn makes a unix socket with this, so it never has a wider mode than it may.
            "umask": socket_umask(server),
            "timeout": _HEARTBEAT_SECONDS,
            "graceful_timeout": math.ceil(server.graceful_seconds) + MASTER_EXTRA_SECONDS,
            "proc_name": "oauth-gateway",
            "control_socket_disable": True,
            # The tests run against this parser, so it is used even if a faster one is installed.
            "http_parser": "python",
            # The largest authorization request fits into the target, a browser's cookies into a
            # header.
            "limit_request_line": 8190,
            "limit_request_field_size": 16_384,
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            "header_map": "drop",
        }.items():
            self.cfg.set(name, value)

    def prepare(self) -> None:
        """Check the address, and start the embedded store, before any worker could fail on it.

        Raises CannotListen, EmbeddedStoreError and UnreadableStoreError.
        """
        must_be_free(self._settings.server.listen)
        self._prepare(self._settings)

    def share_socket(self) -> None:
        """Give the unix socket its mode and its group. Raises CannotListen."""
        share_socket(self._settings.server)

    def reload_settings(self) -> bool:
        """Read the configuration file again, and return whether it could be used."""
        try:
            settings = self._read_settings()
            if settings.server.listen != self._settings.server.listen:
                must_be_free(settings.server.listen)
            self._prepare(settings)
        except (ConfigError, CannotListen, EmbeddedStoreError, UnreadableStoreError) as error:
            logger.error(  # noqa: TRY400 - a fault of the configuration needs no traceback
                "the new configuration cannot be used, the old one stays:\n%s", error
            )
            return False
        except Exception:
            # Whatever the error is, the running workers go on.
            logger.exception("the new configuration cannot be used, the old one stays")
            return False
        self._settings = settings
        return True

    def load(self) -> OAuthGateway:
        """Build the gateway, in a worker."""
        try:
            return reverse_proxy(self._settings)
        except (EmbeddedStoreError, UnreadableStoreError) as error:
            # The store was good when the configuration was read. If a worker fails to start,
            # gunicorn stops the whole server; if a worker exits like this, it starts another one.
            logger.error("the store cannot be used: %s", error)  # noqa: TRY400
            time.sleep(_RETRY_SECONDS)
            raise SystemExit(1) from None

    def run(self) -> None:
        """Serve until a signal stops it."""
        Master(self).run()

    def _prepare(self, settings: Settings) -> None:
        socket_group_id(settings.server)
        reverse_proxy(settings).close()
        store = None
        if settings.store.url == "embedded":
            # This process uses the store too, so the store runs on while there is no worker.
            store = EmbeddedStore(settings.store.data_dir)
            store.ensure_running()
        if self._store is not None:
            self._store.release()
        self._store = store
        raise_file_limit(settings)


def serve(read_settings: Callable[[], Settings]) -> None:
    """Run until a signal stops it.

    Raises ConfigError, CannotListen, EmbeddedStoreError if the embedded store is configured and
    cannot run here, and UnreadableStoreError if a gateway that is too new for this one has written
    to the store. A remote store need not answer yet.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    application = StandaloneGateway(read_settings)
    application.prepare()
    application.run()


def raise_file_limit(settings: Settings) -> None:
    """Raise the limit of open files to what the configured connections need, if that is allowed."""
    # For each client one connection, and one to the backend; and the connections to the store.
    clients = most_connections(settings.server.connections)
    needed = 2 * clients + settings.store.connections + _OTHER_FILES
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


def with_listen(settings: Settings, listen: str | None) -> Settings:
    """Return the settings with ``listen`` in place of ``server.listen``, unless it is ``None``."""
    if listen is None:
        return settings
    server = settings.server.model_copy(update={"listen": listen})
    return settings.model_copy(update={"server": server})
