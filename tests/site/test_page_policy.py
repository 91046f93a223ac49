"""The headers of a page: it loads nothing, runs nothing and is neither framed nor stored."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.site.rendered_pages import (
    LEAD_ON,
    STYLESHEET,
    Document,
    Render,
    every_page,
    header,
    sign_in,
)


# Headers.
@every_page
def test_a_page_may_load_nothing_and_nobody_may_keep_or_frame_it(render: Render) -> None:
    page = render()
    digest = base64.b64encode(hashlib.sha256(STYLESHEET.encode()).digest()).decode()
    expected = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), "
        "midi=(), payment=(), usb=()",
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; frame-ancestors 'none'"
        + ("" if render in LEAD_ON else "; form-action 'self'"),
        "Content-Length": str(len(page.body)),
    }
    assert dict(page.headers) == expected
    assert len(page.headers) == len(expected)


@every_page
def test_the_hash_in_the_policy_is_that_of_the_style_element(render: Render) -> None:
    page = render()
    style = Document(page).one("style").text
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in header(page, "Content-Security-Policy")


@every_page
def test_a_form_may_end_elsewhere_only_where_an_application_waits(render: Render) -> None:
    """Browsers hold every redirect after a POST against ``form-action``, the application's too."""
    policy = header(render(), "Content-Security-Policy")
    assert ("form-action 'self'" in policy) == (render not in LEAD_ON)
    alone = header(sign_in(client_name=None), "Content-Security-Policy")
    assert alone.endswith("; form-action 'self'")


# Nothing but the page.
@every_page
def test_a_page_is_one_request_and_runs_nothing(render: Render) -> None:
    loads = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "base", "svg"}
    for element in Document(render()).elements:
        assert element.tag not in loads
        assert not [name for name in element.attributes if name.startswith("on")]
        assert not {"src", "srcset", "style", "ping", "target"} & element.attributes.keys()


@every_page
def test_a_page_names_no_other_site(render: Render) -> None:
    body = render().body.decode()
    assert not re.search(r"https?:|url\(|@import|//", body)
