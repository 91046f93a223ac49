"""The tables that say who the users are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from gateway.config.credential_grammar import password_hash_fault
from gateway.config.grammar import (
    backend_target_fault,
    cookie_name_fault,
    login_url_fault,
    not_empty,
    printable,
    remote_user_header_fault,
)
from gateway.config.tables.table import Hint, Secret, Table
from gateway.config.values import Line, ListOf, Seconds, Tables, obeys


class User(Table):
    """``[[sign_in.users]]``: somebody who signs in with a password."""

    LABEL: ClassVar[str] = "name"
    HINTS: ClassVar[Mapping[str, Hint]] = {
        "password": Hint(
            "password_hash",
            "the file holds the hash of the password, as `gateway hash-password` makes it",
        )
    }

    name: Annotated[str, obeys(not_empty, printable)]
    """required"""
    password_hash: Annotated[str, obeys(password_hash_fault), Secret(is_hash=True)]
    """required; nobody knows this password: put yours in, from `gateway hash-password`"""
    full_name: Line = ""
    """default: empty"""
    email: Line = ""
    """default: empty"""
    disabled: bool = False
    """true: cannot sign in, and has no access"""


class UpstreamSession(Table):
    """``[sign_in.upstream_session]``: ask the backend who its own cookie belongs to."""

    url: Annotated[str, obeys(backend_target_fault)] = "/api/method/frappe.auth.get_logged_user"
    user: Annotated[str, obeys(not_empty)] = "message"
    """the JSON member that holds the name"""
    guest: ListOf[str] = ("Guest",)
    """names that mean nobody"""
    login_url: Annotated[str, obeys(login_url_fault)] = "/login?redirect-to={next}"
    """where the backend signs in; {next} is where to come back to"""


class RemoteUser(Table):
    """``[sign_in.remote_user]``: somebody in front knows the user."""

    header: Annotated[str, obeys(remote_user_header_fault)] = ""
    """which header says so, from server.trusted_proxies; empty: REMOTE_USER of the WSGI server"""


class SignIn(Table):
    """``[sign_in]``: how users sign in."""

    method: Literal["password", "remote_user", "upstream_session"] = "password"
    """password, remote_user or upstream_session"""
    session_seconds: Seconds = 28_800
    """how long a user stays signed in"""
    cookie_name: Annotated[str, obeys(cookie_name_fault)] = "gateway_session"
    """the session cookie; several gateways on one host need a name each"""
    users: Tables[User] = ()
    upstream_session: UpstreamSession = UpstreamSession()
    remote_user: RemoteUser = RemoteUser()
