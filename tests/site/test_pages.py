"""What each page says and asks for."""

from __future__ import annotations

import pytest

from gateway.site.pages import Application
from tests.site.rendered_pages import (
    PAGES,
    Document,
    applications,
    consent,
    sign_in,
    sign_out_confirm,
    signed_out,
)


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


def test_each_application_has_a_form_of_its_own_that_takes_back_its_access() -> None:
    grants = [
        Application(
            "g1",
            "One",
            "2025-01-02 10:11 UTC",
            "2025-03-04 05:06 UTC",
            "in 2 days",
            ["See projects"],
        ),
        Application("g2", "Two", "2025-01-03 10:11 UTC", "", "in a minute", []),
    ]
    page = Document(applications(action="/apps", csrf_token="t", applications=grants))
    form = {"method": "post", "action": "/apps"}
    assert [element.attributes for element in page.all("form")] == [form, form]
    assert page.fields() == [
        ("csrf_token", "hidden", "t"),
        ("client_id", "hidden", "g1"),
        ("csrf_token", "hidden", "t"),
        ("client_id", "hidden", "g2"),
    ]
    buttons = page.all("button")
    assert [b.text for b in buttons] == ["Take back access"] * 2
    headings = [page.by_id(b.attributes["aria-describedby"]) for b in buttons]
    assert [e.text for e in page.all("bdi") if e.ancestors[-1] in headings] == ["One", "Two"]
    assert [e.text for e in page.all("dd") if e.text.strip()] == [
        "2025-01-02 10:11 UTC",
        "2025-03-04 05:06 UTC",
        "in 2 days",
        "2025-01-03 10:11 UTC",
        "Not yet",
        "in a minute",
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
