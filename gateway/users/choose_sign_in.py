"""The one place that compares ``sign_in.method`` and chooses the class for it."""

from __future__ import annotations

from gateway.config.settings import Settings
from gateway.users.password_sign_in import PasswordSignIn
from gateway.users.remote_user import RemoteUserSignIn
from gateway.users.session_store import SessionStore
from gateway.users.sign_in_method import SignInMethod
from gateway.users.upstream_session import AskBackend, UpstreamSessionSignIn


def choose_sign_in(
    settings: Settings, sessions: SessionStore, ask_backend: AskBackend
) -> SignInMethod:
    """Return the way to sign in that ``sign_in.method`` names."""
    sign_in, paths = settings.sign_in, settings.endpoints
    if sign_in.method == "remote_user":
        return RemoteUserSignIn()
    if sign_in.method == "upstream_session":
        return UpstreamSessionSignIn(sign_in.upstream_session, ask_backend)
    return PasswordSignIn(
        sign_in.users,
        sessions,
        sign_in_path=paths.sign_in[0],
        sign_out_path=paths.sign_out[0],
    )
