"""The gateway's pages for people: sign-in, confirmation, applications, sign-out, errors.

Pure rendering: values in, bytes and response headers out. Names of applications, scopes and
every parameter come from strangers. The templates escape all of it and isolate its direction,
and the Content-Security-Policy allows no script, no image and no frame, and no style but
our own.
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

_TEMPLATES = Path(__file__).parent / "templates"

# The confirmation form's own fields; a parameter of one of these names would answer for the user.
_CONSENT_FIELDS = frozenset({"csrf_token", "decision"})

# Cross-Origin-Opener-Policy is left out on purpose: many clients run the whole flow in a popup
# that their own window watches, and `same-origin` here would cut that tie for good, also after
# the redirect back to them. Frames are refused, and there is no script for an opener to reach.
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
    """One grant, as the user's list of applications shows it.

    ``since`` and ``last_used`` read ``YYYY-MM-DD HH:MM UTC``; an empty ``last_used`` means not
    yet. ``scopes`` are descriptions in words.
    """

    grant_id: str
    client_name: str
    since: str
    last_used: str
    scopes: Sequence[str]


class Pages:
    """Renders every page. Templates are compiled once, here; instances are safe to share."""

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
        # Our own file and no one's input; escaped, it would not be the text that was hashed.
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
        """Ask for name and password; fields ``username``, ``password``, ``next``, ``csrf_token``.

        ``client_name`` is the application that waits for it, if one does; ``error`` is a
        sentence for the user.
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

        The form repeats ``parameters``, the (name, value) pairs of the authorization request,
        beside ``csrf_token``, and answers ``decision=allow`` or ``decision=deny``. ``scopes``
        are (name, description in words); ``redirect_host`` is where the browser goes next.

        Raises ValueError if a parameter bears the name of one of the form's own fields.
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
        """List what has access; each with a form of ``grant_id`` and ``csrf_token`` to end it."""
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
        """Say that the session has ended, with a way back in if ``sign_in_url`` is given."""
        return self._render("signed_out.html", sign_in_url=sign_in_url)

    def error(self, *, title: str, message: str, detail: str = "") -> Page:
        """Say what went wrong: ``message`` for the user, ``detail`` for the developer."""
        return self._render("error.html", title=title, message=message, detail=detail)

    def _render(self, template: str, *, leads_on: bool = False, **values: object) -> Page:
        # A lone surrogate has no UTF-8; a stranger's bytes must not turn a page into a 500.
        body = self._templates[template].render(values).encode("utf-8", "replace")
        # Browsers hold every redirect after a POST against form-action, those of the application
        # among them, and where it sends its users on is not known here (CSP Level 3 §6.4.1).
        policy = self._policy if leads_on else f"{self._policy}; form-action 'self'"
        headers = (
            *_HEADERS,
            ("Content-Security-Policy", policy),
            ("Content-Length", str(len(body))),
        )
        return Page(body, headers)
