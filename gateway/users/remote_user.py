"""``sign_in.method = "remote_user"``: the WSGI server or a trusted proxy signs users in."""

from __future__ import annotations

from gateway.users.sign_in_method import Credentials, ResourceOwner


class RemoteUserSignIn:
    """Believes the name that comes with the request."""

    def current_user(self, credentials: Credentials) -> ResourceOwner | None:
        """Return the user of that name, or ``None`` if no name came."""
        return ResourceOwner(credentials.remote_user) if credentials.remote_user else None

    def sign_in_url(self, target: str) -> None:
        """Return ``None``: the server in front signs users in before they come here."""

    def sign_out_url(self, target: str = "") -> str:
        """Return "": users sign out at the server in front."""
        return ""
