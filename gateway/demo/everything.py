"""``gateway demo``: one command runs a gateway, a store, a backend, a client and a user."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gateway.config.settings import Settings
from gateway.demo.addresses import Addresses, listen
from gateway.demo.files import write_settings
from gateway.demo.walkthrough import Walkthrough
from gateway.server.listener import CannotListen
from gateway.server.standalone import StandaloneGateway
from gateway.store.embedded import EmbeddedStore

__all__ = ["CannotListen", "run"]

#: Not ``gateway-data``: a gateway that is set up here must not find the demo's tokens in its store.
_FOLDER = Path("gateway-demo")
_SITES_END_SECONDS = 5.0


def run(port: int, client_port: int = 3000, backend_port: int | None = None) -> None:
    """Run everything in the foreground until a signal stops it.

    The files are in ``gateway-demo`` of the current folder. Raises CannotListen if a port is in
    use, ConfigError if a file cannot be written, and EmbeddedStoreError.
    """
    listeners = listen(port, client_port, backend_port)
    addresses = listeners.addresses(port)
    settings = write_settings(_FOLDER, addresses)
    with _run_sites(addresses, listeners.client.fileno(), listeners.backend.fileno()):
        listeners.close()
        store = EmbeddedStore(settings.store.data_dir)
        # This process uses the store too, so the store runs on while there is no worker.
        store.ensure_running()
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        _DemoGateway(settings, Walkthrough(addresses).text(str(_FOLDER))).run()


class _DemoGateway(StandaloneGateway):
    """The standalone gateway; it prints the walkthrough, and nothing else while all is well."""

    def __init__(self, settings: Settings, text: str) -> None:
        self._text = text
        super().__init__(lambda: settings)

    def load_config(self) -> None:
        """Set gunicorn's own settings."""
        super().load_config()
        self.cfg.set("loglevel", "warning")
        self.cfg.set("when_ready", self._set_signals)
        self.cfg.set("post_worker_init", self._print_text)

    def _set_signals(self, arbiter: Any) -> None:
        # SIGINT would break off the requests in flight. SIGHUP, from a terminal that closes, would
        # only restart the workers.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _, frame: arbiter.signal(signal.SIGTERM, frame))

    def _print_text(self, worker: Any) -> None:
        # Ctrl-C reaches every process of the terminal, but the master decides when workers exit.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Every printed request works at once, so nothing is printed before the first worker runs.
        if worker.age == 1:
            click.echo(self._text)


@contextmanager
def _run_sites(addresses: Addresses, *listeners: int) -> Iterator[None]:
    """Run the sample sites in a process of their own, which exits with this one."""
    # -P and this process's path: the current folder may hold another folder called gateway.
    command = [sys.executable, "-P", "-m", "gateway.demo.sites"]
    command += [addresses.issuer, addresses.client, addresses.backend]
    # In a session of its own: Ctrl-C reaches the gateway only, which then stops the sites.
    sites = subprocess.Popen(  # noqa: S603 - no argument comes from outside
        [*command, *map(str, listeners)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        pass_fds=listeners,
        start_new_session=True,
    )
    owner = os.getpid()
    try:
        yield
    finally:
        # gunicorn's workers leave through here as well.
        if os.getpid() == owner:
            _stop(sites)


def _stop(sites: subprocess.Popen[bytes]) -> None:
    if sites.stdin is not None:
        sites.stdin.close()
    try:
        sites.wait(_SITES_END_SECONDS)
    except subprocess.TimeoutExpired:
        sites.kill()
        sites.wait()
