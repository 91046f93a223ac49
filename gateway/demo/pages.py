"""Renders the pages of the two sample sites: no script, no picture, one stylesheet."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from werkzeug.wrappers import Response

_TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Renders the templates; an instance may be shared by threads."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        stylesheet = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
        # This is the demo's own file. If it were escaped, its hash would not match.
        self._environment.globals["stylesheet"] = Markup(stylesheet)  # noqa: S704
        digest = base64.b64encode(hashlib.sha256(stylesheet.encode()).digest()).decode()
        self._headers = {
            "Cache-Control": "no-store",
            # The address may hold a code.
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}';"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        }

    def response(self, template: str, status: int = 200, **values: object) -> Response:
        """Return a rendered page."""
        body = self._environment.get_template(template).render(values)
        return Response(body, status, self._headers, mimetype="text/html")
