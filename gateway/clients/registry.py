"""Registered clients (RFC 6749 §2): those of the configuration file, and those in the store."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Literal

from gateway.config.settings import Client, Provider
from gateway.store.deadline_connection import Command
from gateway.store.format import FORMAT
from gateway.store.redis_client import RedisClient

Registered = Literal["file", "store"]


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client, and where it is registered."""

    client: Client
    registered: Registered


class Clients:
    """Finds clients by their id. The file comes first; the store is asked for the others."""

    def __init__(self, in_file: tuple[Client, ...], redis: RedisClient, key_prefix: str) -> None:
        self._in_file = {client.client_id: client for client in in_file}
        self._redis = redis
        self._prefix = key_prefix

    def find(self, client_id: str) -> RegisteredClient | None:
        """Return the client, or ``None``. Raises StoreUnavailable."""
        return self.find_and_ask(client_id)[0]

    def find_and_ask(
        self, client_id: str, *questions: Command
    ) -> tuple[RegisteredClient | None, list[Any]]:
        """Return the client, or ``None``, and the answers to commands that are sent along.

        One round trip, where their keys are in the client's slot. Raises StoreUnavailable.
        """
        client = self._in_file.get(client_id)
        if client is not None:
            answers = self._redis.commands(*questions) if questions else []
            return RegisteredClient(client, "file"), answers
        read = ("GET", self.key(client_id))
        stored, *answers = self._redis.commands(read, *questions)
        return RegisteredClient(_client(stored), "store") if stored else None, answers

    def in_file(self, client_id: str) -> bool:
        """Tell whether the configuration file has the client. Asks nobody."""
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
        """Keep ``client`` in the store, in place of one of the same id."""
        members = {name: value for name, value in asdict(client).items() if value is not None}
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
    known = {each.name for each in fields(Client)}
    members: dict[str, Any] = {
        # JSON has no tuples.
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(stored).items()
        if name in known
    }
    return Client(**members)


def is_public(client: Client) -> bool:
    """Tell whether the client is a public one (RFC 6749 §2.1): it has no secret."""
    return client.secret_sha256 is None


def secret_matches(client: Client, secret: str) -> bool:
    """Compare a presented secret in constant time (RFC 6749 §2.3.1)."""
    presented = sha256(secret.encode()).hexdigest()
    return client.secret_sha256 is not None and hmac.compare_digest(presented, client.secret_sha256)


def requires_pkce(client: Client, provider: Provider) -> bool:
    """Tell whether the client must send a code challenge (RFC 9700 §2.1.1)."""
    if client.pkce is not None:
        return client.pkce == "required"
    return is_public(client) and provider.pkce == "required"
