"""Every page, rendered with a text, and its elements."""

from __future__ import annotations

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
    grants = [Application(text, text, text, text, text, [text, text])] * 2
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
