"""The gateway's pages for people: sign-in, confirmation, applications, sign-out, errors.

This module only renders: values in, bytes and response headers out. The names of applications and
scopes and every parameter come from strangers, so the templates escape them and isolate their text
direction. The Content-Security-Policy allows no script, no image, no frame, and no style but the
gateway's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

# The applications page shows so many scopes of an application without a click.
_MOST_SCOPES_IN_SIGHT = 3

_TEMPLATES = Path(__file__).parent / "templates"

# The confirmation form's own fields. A parameter with one of these names would decide for the user.
_CONSENT_FIELDS = frozenset({"csrf_token", "decision"})

# Cross-Origin-Opener-Policy is left out on purpose. Many clients run the whole flow in a popup that
# their own window watches, and `same-origin` would cut that tie for good, even after the redirect
# back to them. Frames are refused, and these pages have no script that an opener could reach.
_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Pragma", "no-cache"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    (
        "Permissions-Policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), usb=()",
    ),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A rendered page: its UTF-8 bytes, and every header of the response that carries it."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Application:
    """One application that has access, as the applications page shows it.

    ``since`` and ``last_used`` have the form ``YYYY-MM-DD HH:MM UTC``; ``last_used`` is empty if
    the access was never used. ``ends`` says in words when it ends. ``scopes`` are descriptions in
    words.
    """

    client_id: str
    client_name: str
    since: str
    last_used: str
    ends: str
    scopes: Sequence[str]

    @property
    def has_many_scopes(self) -> bool:
        """Tell whether the scopes are folded, so that the next application stays in sight."""
        return len(self.scopes) > _MOST_SCOPES_IN_SIGHT


class Pages:
    """Renders every page. The templates are compiled once; an instance may be shared by threads."""

    def __init__(self) -> None:
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        stylesheet = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
        # This is the gateway's own file. If it were escaped, its hash would not match.
        environment.globals["stylesheet"] = Markup(stylesheet)  # noqa: S704
        self._templates = MappingProxyType(
            {name: environment.get_template(name) for name in environment.list_templates(["html"])}
        )
        digest = base64.b64encode(hashlib.sha256(stylesheet.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )

    def sign_in(
        self,
        *,
        action: str,
        next: str,  # noqa: A002 - the name of the form's field
        csrf_token: str,
        client_name: str | None,
        username: str = "",
        error: str | None = None,
    ) -> Page:
        """Ask for the user's name and password.

        The form's fields are ``username``, ``password``, ``next`` and ``csrf_token``.
        ``client_name`` is the application that waits for the sign-in, ``None`` if none does.
        ``error`` is a sentence for the user.
        """
        return self._render(
            "sign_in.html",
            leads_on=client_name is not None,
            action=action,
            next=next,
            csrf_token=csrf_token,
            client_name=client_name,
            username=username,
            error=error,
        )

    def consent(
        self,
        *,
        action: str,
        csrf_token: str,
        parameters: Sequence[tuple[str, str]],
        client_name: str,
        client_id: str,
        user_name: str,
        user_detail: str,
        scopes: Sequence[tuple[str, str]],
        redirect_host: str,
        sign_out_url: str,
    ) -> Page:
        """Ask whether the application may act for the user (RFC 6749 §4.1.1).

        The form sends ``decision=allow`` or ``decision=deny``, ``csrf_token``, and ``parameters``:
        the (name, value) pairs of the authorization request. ``scopes`` are pairs of a name and a
        description in words. The browser goes to ``redirect_host`` next.

        Raises ValueError if a parameter has the name of one of the form's own fields.
        """
        if clash := _CONSENT_FIELDS.intersection(name for name, _ in parameters):
            raise ValueError(f"not parameters of an authorization request: {sorted(clash)}")
        return self._render(
            "consent.html",
            leads_on=True,
            action=action,
            csrf_token=csrf_token,
            parameters=parameters,
            client_name=client_name,
            client_id=client_id,
            user_name=user_name,
            user_detail=user_detail,
            scopes=scopes,
            redirect_host=redirect_host,
            sign_out_url=sign_out_url,
        )

    def applications(
        self,
        *,
        action: str,
        csrf_token: str,
        user_name: str,
        user_detail: str,
        applications: Sequence[Application],
        sign_out_url: str,
    ) -> Page:
        """List the applications that have access.

        Each has a form that ends its access, with the fields ``client_id`` and ``csrf_token``.
        """
        return self._render(
            "applications.html",
            action=action,
            csrf_token=csrf_token,
            user_name=user_name,
            user_detail=user_detail,
            applications=applications,
            sign_out_url=sign_out_url,
        )

    def sign_out_confirm(self, *, action: str, csrf_token: str, user_name: str) -> Page:
        """Ask before signing out: a link must not end a session, a POST with its token may."""
        return self._render(
            "sign_out_confirm.html", action=action, csrf_token=csrf_token, user_name=user_name
        )

    def signed_out(self, *, sign_in_url: str | None = None) -> Page:
        """Say that the session has ended, with a link to ``sign_in_url``, if it is given."""
        return self._render("signed_out.html", sign_in_url=sign_in_url)

    def error(self, *, title: str, message: str, detail: str = "", again: str = "") -> Page:
        """Say what went wrong: ``message`` to the user, ``detail`` to the developer.

        ``again`` is the URL of a link to start again, "" for no link.
        """
        return self._render("error.html", title=title, message=message, detail=detail, again=again)

    def sign_in_elsewhere(self) -> Page:
        """Say that another site signs users in."""
        return self.error(
            title="Sign in elsewhere",
            message="This site signs you in by other means, before you come here.",
        )

    def _render(self, template: str, *, leads_on: bool = False, **values: object) -> Page:
        # A lone surrogate has no UTF-8. A stranger's bytes must not turn a page into a 500.
        body = self._templates[template].render(values).encode("utf-8", "replace")
        # Browsers apply form-action to every redirect after a POST, even to the application's own
        # (CSP Level 3 §6.4.1). Those targets are unknown here, so a page that leads on to an
        # application gets no form-action.
        policy = self._policy if leads_on else f"{self._policy}; form-action 'self'"
        headers = (
            *_HEADERS,
            ("Content-Security-Policy", policy),
            ("Content-Length", str(len(body))),
        )
        return Page(body, headers)
