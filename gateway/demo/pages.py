"""The pages of the two sample sites: no script, no picture, one stylesheet."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from werkzeug.wrappers import Response

_TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Renders the templates; instances are safe to share between threads."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        stylesheet = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
        # Our own file and no one's input; escaped, it would not be the text that was hashed.
        self._environment.globals["stylesheet"] = Markup(stylesheet)  # noqa: S704
        digest = base64.b64encode(hashlib.sha256(stylesheet.encode()).digest()).decode()
        self._headers = {
            "Cache-Control": "no-store",
            # A code may stand in the address.
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}';"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        }

    def response(self, template: str, status: int = 200, **values: object) -> Response:
        """Return a rendered page."""
        body = self._environment.get_template(template).render(values)
        return Response(body, status, self._headers, mimetype="text/html")
