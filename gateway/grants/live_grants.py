"""The live grants of a user or a client: to list them, and to end them."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.token_store import TokenStore
from gateway.tokens.grant import Grant


class LiveGrants:
    """Lists and ends grants. Everything raises StoreUnavailable."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    def live_grants(self, *, user: str | None = None, client_id: str | None = None) -> list[Grant]:
        """Return the live grants of a user, of a client, or of a user with a client.

        Only grants that have given tokens, the newest first.
        """
        redeemed = (grant for grant in self._all(user, client_id) if grant.redeemed)
        return sorted(redeemed, key=lambda grant: grant.since, reverse=True)

    def end_all(self, *, user: str | None = None, client_id: str | None = None) -> Iterator[Grant]:
        """End the grants of a user, of a client, or of a user with a client; yield each.

        Each step of the iterator ends one grant. A grant whose code is not redeemed yet ends as
        well: it would give tokens in a moment.
        """
        for grant in self._all(user, client_id):
            self._store.end_grant(grant.grant_id)
            yield grant

    def _all(self, user: str | None, client_id: str | None) -> Iterator[Grant]:
        if user is not None:
            for grant in self._store.grants_of_user(user):
                if client_id in {None, grant.client_id}:
                    yield grant
        elif client_id is not None:
            yield from self._store.grants_of_client(client_id)
        else:
            raise ValueError("say whose grants")
