"""A form on one of the gateway's pages, and the proof that the gateway showed it to this browser.

Every form has a hidden field ``csrf_token``: an HMAC over the browser id, the form's name and its
context (the user, and every value that the form decides about). Nothing is stored for
it. So two pages that are open at once both work, and a form works for no other browser, no other
user and no other values. It goes on to work when somebody signs in in another tab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from werkzeug.wrappers import Response

from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.pages import Page, Pages
from gateway.site.responses import page_response
from gateway.tokens.token import TokenKeys, new_secret

_NO_COOKIE = (
    "This page was open for too long, or cookies are off, or another site sent you here."
    " Nothing has changed."
)


class BrowserForm:
    """One form. ``name`` tells it from the gateway's other forms."""

    def __init__(self, name: str, browsers: BrowserSessions, keys: TokenKeys, pages: Pages) -> None:
        self._name = name
        self._browsers = browsers
        self._keys = keys
        self._pages = pages

    def show(
        self,
        request: EndpointRequest,
        context: Iterable[str],
        render: Callable[[str], Page],
        status: int = 200,
    ) -> Response:
        """Return the page that ``render`` makes with the form's token.

        The response to a GET sets the browser id, if the browser has none yet.
        """
        known = self._browsers.browser_ids(request)
        if not known and request.method == "POST":
            return self._start_again(request)
        browser_id = known[0] if known else new_secret()
        token = self._keys.newest.form_token(self._name, browser_id, *context)
        response = page_response(render(token), status)
        if not known:
            self._browsers.set_browser_id(response, browser_id)
        return response

    def _start_again(self, request: EndpointRequest) -> Response:
        """Answer a form that came without a browser id, and set no cookie.

        The form of a foreign page comes without cookies (SameSite=Lax). A cookie in the response
        would replace the browser's own.
        """
        page = self._pages.error(
            title="Please start again",
            message=self._browsers.fault_of_scheme(request) or _NO_COOKIE,
            again=request.target,
        )
        return page_response(page, 403)

    def is_genuine(
        self, request: EndpointRequest, token: str | None, context: Iterable[str]
    ) -> bool:
        """Tell whether ``token`` comes from this form, shown to this browser in this context."""
        parts = tuple(context)
        return token is not None and any(
            self._keys.is_form_token(token, self._name, browser_id, *parts)
            for browser_id in self._browsers.browser_ids(request)
        )
