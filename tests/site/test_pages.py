"""The pages as text: what is in them, what is not, and the headers that go with them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import gateway.site.pages
from gateway.site.pages import Application, Page, Pages

PAGES = Pages()
STYLESHEET = (Path(gateway.site.pages.__file__).parent / "templates" / "style.css").read_text(
    "utf-8"
)

VOID_ELEMENTS = {"input", "meta"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    ancestors: tuple[Element, ...] = field(repr=False)
    text: str = ""

    def inside(self, tag: str) -> bool:
        return any(element.tag == tag for element in (self, *self.ancestors))


class Document(HTMLParser):
    """A page, parsed; an element that is not closed in its turn is an error."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page.body.decode("utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len({name for name, _ in attrs}), "an attribute is given twice"
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(self._open))
        self.elements.append(element)
        if tag not in VOID_ELEMENTS:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def one(self, tag: str) -> Element:
        (element,) = self.all(tag)
        return element

    def by_id(self, name: str) -> Element:
        (element,) = [e for e in self.elements if e.attributes.get("id") == name]
        return element

    def fields(self) -> list[tuple[str, str, str]]:
        """Return (name, type, value) of every input, in order."""
        return [
            (e.attributes["name"], e.attributes["type"], e.attributes.get("value", ""))
            for e in self.all("input")
        ]


def header(page: Page, name: str) -> str:
    (value,) = [value for key, value in page.headers if key.lower() == name.lower()]
    return value


# Each page with the same text in every place, but for the named changes.


def sign_in(text: str = "plain", **changes: Any) -> Page:
    names = ("action", "next", "csrf_token", "client_name", "username", "error")
    return PAGES.sign_in(**dict.fromkeys(names, text) | changes)


def consent(text: str = "plain", **changes: Any) -> Page:
    names = ("action", "csrf_token", "client_name", "client_id", "user_name", "user_detail")
    lists = {
        "parameters": [(text, text), ("state", text)],
        "scopes": [(text, text), (text, "")],
    }
    rest = dict.fromkeys((*names, "redirect_host", "sign_out_url"), text)
    return PAGES.consent(**rest | lists | changes)


def applications(text: str = "plain", **changes: Any) -> Page:
    names = ("action", "csrf_token", "user_name", "user_detail", "sign_out_url")
    grants = [Application(text, text, text, text, [text, text])] * 2
    return PAGES.applications(**dict.fromkeys(names, text) | {"applications": grants} | changes)


def sign_out_confirm(text: str = "plain", **changes: Any) -> Page:
    names = ("action", "csrf_token", "user_name")
    return PAGES.sign_out_confirm(**dict.fromkeys(names, text) | changes)


def signed_out(text: str = "plain") -> Page:
    return PAGES.signed_out(sign_in_url=text)


def error(text: str = "plain") -> Page:
    return PAGES.error(title=text, message=text, detail=text)


#: Behind these an application waits.
LEAD_ON = (sign_in, consent)

every_page = pytest.mark.parametrize(
    "render",
    [
        pytest.param(render, id=render.__name__)
        for render in (sign_in, consent, applications, sign_out_confirm, signed_out, error)
    ],
)
Render = Callable[..., Page]


# What strangers write.


@every_page
@pytest.mark.parametrize(
    "text",
    [
        pytest.param('"><script>alert(1)</script><x y="', id="closes-a-double-quoted-attribute"),
        pytest.param("'><img src=x onerror=alert(1)>", id="closes-a-single-quoted-attribute"),
        pytest.param("x onfocus=alert(1) autofocus y", id="ends-an-unquoted-attribute"),
        pytest.param("</title></style></main></form><form>", id="closes-elements"),
        pytest.param("{{ 7 * 7 }}{% raw %}", id="template-syntax"),
        pytest.param("&quot;&lt;script&gt;&#60;", id="character-references"),
        pytest.param("<!-- <![CDATA[ <?", id="opens-a-comment"),
    ],
)
def test_no_text_changes_the_structure_of_a_page(render: Render, text: str) -> None:
    """Every field holds the text at once; tags and attributes stay, and the text is all there."""
    hostile, plain = Document(render(text)), Document(render())

    def structure(document: Document) -> list[tuple[str, list[str]]]:
        return [(e.tag, list(e.attributes)) for e in document.elements]

    def texts(document: Document, value: str) -> list[tuple[str, int, list[str]]]:
        return [
            (e.tag, e.text.count(value), [n for n, v in e.attributes.items() if v == value])
            for e in document.elements
            if e.tag != "style"
        ]

    assert structure(hostile) == structure(plain)
    assert texts(hostile, text) == texts(plain, "plain")


@every_page
def test_bytes_that_are_no_text_do_not_break_a_page(render: Render) -> None:
    """WSGI servers hand over undecodable bytes as lone surrogates."""
    assert "caf?" in render("caf\udce9").body.decode("utf-8")


def test_what_an_application_is_called_is_isolated_from_our_words() -> None:
    """``bdi`` ends every override of direction that a name begins, and no title has a name."""
    name = "\u202egnihtemos"
    for page in (
        sign_in(client_name=name),
        consent(client_name=name, client_id=name, redirect_host=name, scopes=[(name, name)]),
        applications(applications=[Application("g", name, "", "", [name])]),
    ):
        shown = [element for element in Document(page).elements if name in element.text]
        assert shown
        assert all(e.tag == "bdi" and e.attributes["translate"] == "no" for e in shown)


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


# Forms: the names are the contract.


def test_the_sign_in_form_asks_for_username_and_password() -> None:
    page = Document(
        sign_in(action="/oauth/sign-in", next="/a?b=c&d", csrf_token="t", username="", error=None)
    )
    assert page.one("form").attributes == {"method": "post", "action": "/oauth/sign-in"}
    assert page.fields() == [
        ("csrf_token", "hidden", "t"),
        ("next", "hidden", "/a?b=c&d"),
        ("username", "text", ""),
        ("password", "password", ""),
    ]
    assert page.by_id("username").attributes["autocomplete"] == "username"
    assert page.by_id("password").attributes["autocomplete"] == "current-password"


@pytest.mark.parametrize(("username", "focused"), [("", "username"), ("demo", "password")])
def test_the_first_empty_field_has_the_focus(username: str, focused: str) -> None:
    page = Document(sign_in(username=username))
    assert [e.attributes["id"] for e in page.elements if "autofocus" in e.attributes] == [focused]
    assert page.by_id("username").attributes["value"] == username


def test_a_failed_sign_in_is_announced_and_tied_to_both_fields() -> None:
    page = Document(sign_in(error="The user name or the password is wrong."))
    alert = page.by_id("error")
    assert alert.attributes["role"] == "alert"
    assert alert.text == "The user name or the password is wrong."
    described = [e.attributes["id"] for e in page.elements if "aria-describedby" in e.attributes]
    assert described == ["username", "password"]


def test_a_sign_in_page_without_an_error_has_no_alert() -> None:
    page = Document(sign_in(error=None))
    assert not [e for e in page.elements if {"role", "aria-describedby"} & e.attributes.keys()]


def test_a_sign_in_that_no_application_asked_for_names_none() -> None:
    assert "To continue to" in [e.text for e in Document(sign_in()).all("p")]
    assert "To continue to" not in [e.text for e in Document(sign_in(client_name=None)).all("p")]


def test_a_password_is_never_written_back() -> None:
    assert "value" not in Document(sign_in()).by_id("password").attributes


def test_the_confirmation_says_who_asks_for_whom_for_what_and_where_it_leads() -> None:
    page = Document(
        consent(
            client_name="My App",
            client_id="my-app",
            user_name="Demo User",
            user_detail="demo@example.com",
            scopes=[("project", "See and change your projects"), ("openid", "")],
            redirect_host="localhost:3000",
            sign_out_url="/oauth/sign-out",
        )
    )
    assert [e.text for e in page.all("bdi")] == [
        "My App",
        "my-app",
        "Demo User",
        "demo@example.com",
        "See and change your projects",
        "project",
        "openid",
        "localhost:3000",
    ]
    assert page.one("a").text == "Not you? Sign out"
    assert page.one("a").attributes["href"] == "/oauth/sign-out"


def test_a_confirmation_without_scopes_says_what_that_means() -> None:
    page = Document(consent(scopes=[]))
    assert page.all("ul") == []
    assert [e for e in page.all("p") if e.text.startswith("It asks for no particular permission.")]


def test_the_confirmation_form_repeats_every_parameter_in_order() -> None:
    parameters = [
        ("client_id", "my-app"),
        ("state", 'a&amp;b"<é\u202e'),
        ("resource", "https://one.example"),
        ("resource", "https://two.example"),
        ("empty", ""),
    ]
    page = Document(consent(action="/oauth/authorize", csrf_token="t", parameters=parameters))
    assert page.one("form").attributes == {"method": "post", "action": "/oauth/authorize"}
    repeated = [(name, "hidden", value) for name, value in parameters]
    assert page.fields() == [("csrf_token", "hidden", "t"), *repeated]


def test_allow_and_deny_are_the_only_buttons_and_the_first_denies() -> None:
    """A browser that submits without a button pressed takes the first one; it grants nothing."""
    page = Document(consent())
    buttons = page.all("button")
    assert [(b.attributes["name"], b.attributes["value"], b.text) for b in buttons] == [
        ("decision", "deny", "Deny"),
        ("decision", "allow", "Allow"),
    ]
    assert all(b.attributes["type"] == "submit" and b.inside("form") for b in buttons)
    assert not [e for e in page.elements if "autofocus" in e.attributes]


@pytest.mark.parametrize("name", ["decision", "csrf_token"])
def test_no_parameter_can_answer_for_the_user(name: str) -> None:
    with pytest.raises(ValueError, match=f"not parameters of an authorization request.*{name}"):
        consent(parameters=[("client_id", "my-app"), (name, "allow")])


def test_each_application_has_a_form_of_its_own_that_takes_back_its_grant() -> None:
    grants = [
        Application("g1", "One", "2025-01-02 10:11 UTC", "2025-03-04 05:06 UTC", ["See projects"]),
        Application("g2", "Two", "2025-01-03 10:11 UTC", "", []),
    ]
    page = Document(applications(action="/apps", csrf_token="t", applications=grants))
    form = {"method": "post", "action": "/apps"}
    assert [element.attributes for element in page.all("form")] == [form, form]
    assert page.fields() == [
        ("csrf_token", "hidden", "t"),
        ("grant_id", "hidden", "g1"),
        ("csrf_token", "hidden", "t"),
        ("grant_id", "hidden", "g2"),
    ]
    buttons = page.all("button")
    assert [b.text for b in buttons] == ["Take back access"] * 2
    headings = [page.by_id(b.attributes["aria-describedby"]) for b in buttons]
    assert [e.text for e in page.all("bdi") if e.ancestors[-1] in headings] == ["One", "Two"]
    assert [e.text for e in page.all("dd") if e.text.strip()] == [
        "2025-01-02 10:11 UTC",
        "2025-03-04 05:06 UTC",
        "2025-01-03 10:11 UTC",
        "Not yet",
    ]


def test_a_user_without_applications_is_told_so() -> None:
    page = Document(applications(applications=[], sign_out_url="/oauth/sign-out"))
    assert page.all("form") == []
    assert "No application has access to your account." in [e.text for e in page.all("p")]
    assert page.one("a").attributes["href"] == "/oauth/sign-out"


def test_signing_out_takes_a_post_with_the_csrf_token() -> None:
    page = Document(sign_out_confirm(action="/oauth/sign-out", csrf_token="t"))
    assert page.one("form").attributes == {"method": "post", "action": "/oauth/sign-out"}
    assert page.fields() == [("csrf_token", "hidden", "t")]
    assert page.one("button").text == "Sign out"


def test_after_signing_out_there_is_a_link_only_where_one_was_given() -> None:
    assert Document(signed_out("/in")).one("a").attributes["href"] == "/in"
    assert Document(PAGES.signed_out()).all("a") == []


def test_an_error_speaks_to_the_user_and_gives_the_detail_to_the_developer() -> None:
    page = Document(PAGES.error(title="No such application", message="Go back.", detail="id: x"))
    assert page.one("h1").text == page.one("title").text == "No such application"
    assert "Go back." in [e.text for e in page.all("p")]
    (detail,) = [e for e in page.elements if e.text == "id: x"]
    assert detail.inside("code")


def test_an_error_without_detail_says_nothing_to_developers() -> None:
    assert Document(PAGES.error(title="Sorry", message="Later.")).all("code") == []


# Everybody can use it.


@every_page
def test_a_page_has_a_language_a_title_and_one_heading(render: Render) -> None:
    page = Document(render())
    assert page.one("html").attributes == {"lang": "en"}
    assert page.one("title").text
    assert page.one("h1").inside("main")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [
        meta.attributes for meta in page.all("meta")
    ]


@every_page
def test_every_visible_input_has_a_label_and_every_button_a_text(render: Render) -> None:
    page = Document(render())
    labels = [(label.attributes["for"], bool(label.text)) for label in page.all("label")]
    visible = [e for e in page.all("input") if e.attributes["type"] != "hidden"]
    assert labels == [(e.attributes["id"], True) for e in visible]
    assert all(b.text for b in page.all("button"))


@every_page
def test_ids_are_unique_and_every_reference_has_its_target(render: Render) -> None:
    elements = Document(render()).elements
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for reference in ("for", "aria-describedby"):
        assert {e.attributes[reference] for e in elements if reference in e.attributes} <= set(ids)


def colours(scheme: str) -> dict[str, str]:
    """Return the custom properties of the stylesheet, as they hold in one colour scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLESHEET, re.DOTALL)
    sheet = light if scheme == "light" else light + dark
    return dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", sheet))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2 §1.4.3."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT_ON = [
    ("--text", "--card"),
    ("--text", "--plate"),
    ("--text", "--paper"),
    ("--quiet", "--card"),
    ("--quiet", "--plate"),
    ("--accent", "--card"),
    ("--accent-deep", "--card"),
    ("--on-accent", "--accent"),
    ("--on-accent", "--accent-deep"),
    ("--alert", "--alert-plate"),
]
# Borders of fields, rings of focus, the ornament.
EDGE_ON = [("--edge", "--card"), ("--accent", "--card"), ("--alert", "--card")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("pairs", "least"), [pytest.param(TEXT_ON, 4.5, id="text"), pytest.param(EDGE_ON, 3, id="edge")]
)
def test_contrast_is_enough_in_both_schemes(
    scheme: str, pairs: list[tuple[str, str]], least: float
) -> None:
    values = colours(scheme)
    low = {pair: contrast(*(values[name] for name in pair)) for pair in pairs}
    assert {pair: ratio for pair, ratio in low.items() if ratio < least} == {}


def test_contrast_is_computed_as_wcag_does() -> None:
    assert round(contrast("#ffffff", "#000000"), 6) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


def test_the_dark_scheme_redefines_every_colour() -> None:
    light, dark = colours("light"), colours("dark")
    assert light.keys() == dark.keys() != set()
    assert [name for name in light if light[name] == dark[name]] == []


def test_every_colour_of_the_stylesheet_is_one_whose_contrast_was_computed() -> None:
    rules = re.sub(r"/\*.*?\*/|:root \{.*?\}", "", STYLESHEET, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl|oklch|lab\(|lch\(", rules)
    texts = set(re.findall(r"(?<![a-z-])color: ([^;]+);", rules))
    assert texts == {f"var({text})" for text, _ in TEXT_ON}
    backgrounds = set(re.findall(r"background: (var\([a-z-]+\))", rules))
    assert backgrounds == {f"var({background})" for _, background in TEXT_ON}


def test_nothing_moves_and_no_focus_ring_is_switched_off() -> None:
    assert not re.search(r"transition|animation|@keyframes|outline: (0|none)", STYLESHEET)
    assert ":focus-visible {\n  outline: 3px solid var(--accent);" in STYLESHEET


def test_the_stylesheet_is_the_text_that_a_browser_hashes() -> None:
    """Parsers turn CR into LF and end the element at its end tag: neither may be in it."""
    assert "\r" not in STYLESHEET
    assert "</" not in STYLESHEET
