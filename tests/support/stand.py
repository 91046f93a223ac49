"""Grants in a real store without HTTP: what decides about them, as a gateway builds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from gateway.assembly import Core, core
from gateway.config.settings import Client, Settings, SignIn, Store, Tokens
from gateway.grants.authorization import AuthorizationRequest
from gateway.store.redis_client import RedisClient
from tests.support.store import embedded

#: Odd multiples of 50 s, where tests let even ones pass: a slow machine makes no difference.
LIFETIMES = Tokens(
    code_seconds=150,
    access_seconds=350,
    refresh_seconds=2050,
    refresh_grace_seconds=450,
    grant_seconds=5050,
)
SCOPES = ("project", "profile", "admin")
CLIENTS = tuple(
    Client(
        client_id=name,
        name=name,
        redirect_uris=(f"https://{name}.example/cb", f"https://{name}.example/other"),
        scopes=SCOPES,
        pkce="optional",
    )
    for name in ("one", "two")
)


@dataclass(frozen=True)
class Stand:
    """A real store, a connection beside the gateway's, and gateways that work on it."""

    redis: Redis
    data_dir: Path
    link: RedisClient

    def gateway(self, *secret_keys: bytes, **changes: Any) -> Core:
        """Build what decides about grants, with these secret keys, newest first."""
        settings = Settings(
            issuer="https://gateway.example",
            secret_keys=secret_keys or (b"k" * 32,),
            store=Store(data_dir=self.data_dir, timeout=5.0),
            tokens=LIFETIMES,
            clients=CLIENTS,
            scopes=dict.fromkeys(SCOPES, "Words"),
            sign_in=SignIn(method="remote_user"),
        )
        return core(settings.model_copy(update=changes))


@contextmanager
def standing(data_dir: Path) -> Iterator[Stand]:
    """Run a store in ``data_dir``."""
    link = RedisClient(Store(data_dir=data_dir, timeout=5.0))
    with embedded(data_dir) as redis:
        yield Stand(redis, data_dir, link)
        link.close()


def asked(gateway: Core, client: Client, **parameters: str) -> AuthorizationRequest:
    """Return a good authorization request of ``client``."""
    pairs = {
        "client_id": client.client_id,
        "response_type": "code",
        "redirect_uri": client.redirect_uris[0],
        **parameters,
    }
    return gateway.authorization_server.authorization_request([*pairs.items()])
