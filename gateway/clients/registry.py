"""Registered clients (RFC 6749 §2): some stand in the configuration file, some in the store."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from gateway.config.settings import Client, Provider
from gateway.store.deadline_connection import Command
from gateway.store.format import FORMAT
from gateway.store.redis_client import RedisClient

Source = Literal["file", "store"]


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client, and its source: it is registered in the ``file`` or in the ``store``."""

    client: Client
    source: Source


class Clients:
    """Finds clients by their id: first in the file, then in the store."""

    def __init__(self, in_file: tuple[Client, ...], redis: RedisClient, key_prefix: str) -> None:
        self._in_file = {client.client_id: client for client in in_file}
        self._redis = redis
        self._prefix = key_prefix

    def find(self, client_id: str) -> RegisteredClient | None:
        """Return the client, or ``None``. Raises StoreUnavailable."""
        return self.find_with(client_id)[0]

    def find_with(
        self, client_id: str, *commands: Command
    ) -> tuple[RegisteredClient | None, list[Any]]:
        """Return the client, or ``None``, and the replies to ``commands``, which go along.

        This is one round trip if the commands' keys are in the client's slot. Raises
        StoreUnavailable.
        """
        client = self._in_file.get(client_id)
        if client is not None:
            replies = self._redis.commands(*commands) if commands else []
            return RegisteredClient(client, "file"), replies
        read = ("GET", self.key(client_id))
        stored, *replies = self._redis.commands(read, *commands)
        return RegisteredClient(_client(stored), "store") if stored else None, replies

    def in_file(self, client_id: str) -> bool:
        """Tell whether the configuration file has the client. No round trip."""
        return client_id in self._in_file

    def all(self) -> Iterator[RegisteredClient]:
        """Yield every client: the file's in its order, then the store's by id."""
        for client in self._in_file.values():
            yield RegisteredClient(client, "file")
        for client_id in sorted(self._redis.command("SMEMBERS", self._index())):
            stored = self._redis.command("GET", self.key(client_id))
            if stored and client_id not in self._in_file:
                yield RegisteredClient(_client(stored), "store")

    def add(self, client: Client) -> None:
        """Keep ``client`` in the store, in place of a client with the same id."""
        members = {name: value for name, value in client if value is not None}
        members["format"] = FORMAT
        self._redis.command("SADD", self._index(), client.client_id)
        self._redis.command(
            "SET", self.key(client.client_id), json.dumps(members, ensure_ascii=False)
        )

    def remove(self, client_id: str) -> bool:
        """Remove a client from the store; tell whether it was there."""
        removed = self._redis.command("DEL", self.key(client_id))
        self._redis.command("SREM", self._index(), client_id)
        return bool(removed)

    def key(self, client_id: str) -> str:
        """Return the key of a client that is kept in the store."""
        return f"{self._prefix}:client:{client_id}"

    def _index(self) -> str:
        return f"{self._prefix}:clients"


def _client(stored: str) -> Client:
    members: dict[str, Any] = {
        # JSON has no tuples.
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(stored).items()
        if name in Client.model_fields
    }
    # No rule is asked: it may be newer than the client, and this is on the way of token requests.
    return Client.model_construct(**members)


def is_public(client: Client) -> bool:
    """Tell whether the client is a public one (RFC 6749 §2.1): it has no secret."""
    return client.secret_sha256 is None


def secret_matches(client: Client, secret: str) -> bool:
    """Tell whether ``secret`` is the client's; in constant time (RFC 6749 §2.3.1)."""
    presented = sha256(secret.encode()).hexdigest()
    return client.secret_sha256 is not None and hmac.compare_digest(presented, client.secret_sha256)


def requires_pkce(client: Client, provider: Provider) -> bool:
    """Tell whether the client must send a code challenge (RFC 9700 §2.1.1)."""
    if client.pkce is not None:
        return client.pkce == "required"
    return is_public(client) and provider.pkce == "required"
