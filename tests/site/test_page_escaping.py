"""No text of a stranger changes the structure of a page."""

from __future__ import annotations

import pytest

from gateway.site.pages import Application
from tests.site.rendered_pages import Document, Render, applications, consent, every_page, sign_in


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
        applications(applications=[Application("g", name, "", "", "", [name] * 9)]),
    ):
        shown = [element for element in Document(page).elements if name in element.text]
        assert shown
        assert all(e.tag == "bdi" and e.attributes["translate"] == "no" for e in shown)
