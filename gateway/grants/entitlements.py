"""What the configuration file still allows a grant that was made under an earlier one.

The file may have changed since: a user or a client is taken out, or a client has fewer scopes.
That holds at the next request. Clients in the store are judged by their grants, which end with
the client.
"""

from __future__ import annotations

from gateway.clients.registry import Clients
from gateway.config.settings import Settings
from gateway.tokens.grant import AccessToken, Grant


class Entitlements:
    """Judges grants and access tokens by the configuration file. Never asks the store."""

    def __init__(self, settings: Settings, clients: Clients) -> None:
        self._clients = clients
        self._users = (
            {user.name for user in settings.sign_in.users if not user.disabled}
            if settings.sign_in.method == "password"
            else None
        )
        self._scopes_in_file = {
            client.client_id: frozenset(client.scopes) for client in settings.clients
        }

    def may_act(self, party: AccessToken | Grant) -> bool:
        """Tell whether the client and the user of a grant are still there."""
        if party.registered == "file" and not self._clients.in_file(party.client_id):
            return False
        return party.user is None or self._users is None or party.user in self._users

    def remaining_scope(self, scope: str, party: AccessToken | Grant) -> str:
        """Return ``scope`` without the scopes that the client has no longer."""
        if party.registered != "file":
            return scope
        left = self._scopes_in_file[party.client_id]
        names = scope.split()
        return scope if left.issuperset(names) else " ".join(each for each in names if each in left)
