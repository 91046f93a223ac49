"""A server process that a test starts, hurts and asks: the program of the embedded store."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from gateway.store.embedded import EmbeddedStoreError, find_server
from tests.support.processes import free_port


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until ``condition()`` is true; raise if it takes longer than that."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds:g} s: {condition}")
        time.sleep(0.02)


def server_binary() -> str:
    """Return the server's path, or skip the test."""
    try:
        return find_server()
    except EmbeddedStoreError as error:
        pytest.skip(str(error))


@dataclass
class Server:
    """One server process, with a connection beside the gateway's."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    #: The user and the password of the connections beside the gateway's, if not the default.
    login: tuple[str, str] = ("", "")

    def start(self, *options: str, wait: bool = True) -> Server:
        """Start it, or start it again on the same data; wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [*self._command(), *options]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if wait:
            wait_until(self.answers)
        return self

    def _command(self) -> list[str]:
        return [server_binary(), *self._options()]

    def _options(self) -> tuple[str, ...]:
        return (
            *("--port", str(self.port), "--bind", "127.0.0.1", "--protected-mode", "no"),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
            *("--enable-debug-command", "yes"),
            *self.options,
        )

    @property
    def redis(self) -> Redis:
        """A connection beside the gateway's."""
        user, password = self.login
        return Redis(
            port=self.port,
            username=user or None,
            password=password or None,
            decode_responses=True,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def ask(self, *words: str | int) -> Any:
        """Send one command on a connection of its own."""
        connection = self.redis
        # Replies as the server sends them.
        connection.response_callbacks.clear()
        try:
            return connection.execute_command(*words)
        finally:
            connection.close()

    def answers(self) -> bool:
        """Tell whether it takes commands."""
        with suppress(RedisError):
            return bool(self.ask("PING") == "PONG")
        return False

    def is_primary(self) -> bool:
        """Tell whether it takes itself for a primary."""
        with suppress(RedisError):
            return bool(self.ask("ROLE")[0] == "master")
        return False

    def decisions(self) -> int:
        """Count the reads and scripts that gateways sent it since it started."""
        found = self.redis.info("commandstats")
        return sum(found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "evalsha"))

    def errors(self, name: str) -> int:
        """Count how often it answered an error of this name since it started."""
        found = self.redis.info("errorstats").get(f"errorstat_{name}", {})
        return int(found.get("count", 0))

    def is_loading(self) -> bool:
        """Tell whether it is still reading its data."""
        try:
            self.ask("PING")
        except BusyLoadingError:
            return True
        except RedisError:
            pass
        return False

    def pause(self) -> None:
        """Stop the process where it is: connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on. It then reads everything that was sent to it meanwhile."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, as a crash does: it tidies nothing up."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
