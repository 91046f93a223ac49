"""A form on one of the gateway's pages, and the proof that the gateway showed it to this browser.

Every form has a hidden field ``csrf_token``: an HMAC over the browser's session id, the form's
name and its context (the user, and every value that the form decides about). Nothing is stored for
it. So two pages that are open at once both work, and a form works for no other browser, no other
user and no other values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from werkzeug.wrappers import Response

from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.pages import Page
from gateway.site.responses import page_response
from gateway.tokens.token import TokenKeys, new_secret


class BrowserForm:
    """One form. ``name`` tells it from the gateway's other forms."""

    def __init__(self, name: str, browsers: BrowserSessions, keys: TokenKeys) -> None:
        self._name = name
        self._browsers = browsers
        self._keys = keys

    def show(
        self,
        request: EndpointRequest,
        context: Iterable[str],
        render: Callable[[str], Page],
        status: int = 200,
    ) -> Response:
        """Return the page that ``render`` makes with the form's token.

        The response sets the session cookie, if the browser has none yet.
        """
        known = self._browsers.session_id(request)
        session_id = new_secret() if known is None else known
        token = self._keys.newest.form_token(self._name, session_id, *context)
        response = page_response(render(token), status)
        if known is None:
            self._browsers.set_cookie(response, session_id)
        return response

    def is_genuine(
        self, request: EndpointRequest, token: str | None, context: Iterable[str]
    ) -> bool:
        """Tell whether ``token`` comes from this form, shown to this browser in this context."""
        session_id = self._browsers.session_id(request)
        if session_id is None or token is None:
            return False
        return self._keys.is_form_token(token, self._name, session_id, *context)
