"""One name and one password, however a keyboard spells it (RFC 8265 §3.4, §4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest
from werkzeug.security import generate_password_hash

from tests.support.oauth_client import Browser
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway
from tests.users.signing_in import is_signed_in

_Form = Literal["NFC", "NFD"]
_FORMS: tuple[tuple[_Form, str], ...] = (("NFC", "éa"), ("NFD", "éb"))
_SPELLED = "Pässwörd ½"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with a user of each kind of hash, of each spelling."""
    users = "".join(
        f"""
[[sign_in.users]]
name = "{normalize(form, name)}"
password_hash = "{generate_password_hash(normalize(form, _SPELLED), "scrypt:1024:8:1")}"
"""
        for form, name in _FORMS
    )
    clients = """
[[clients]]
client_id = "persian"
name = "\u0645\u06cc\\u200c\u062e\u0648 \U0001f469\\u200d\U0001f4bb"
redirect_uris = ["https://persian.example/cb"]
scopes = ["project"]
pkce = "optional"
"""
    folder: Path = tmp_path_factory.mktemp("unicode")
    with running_gateway("standalone", folder, extra=users + clients) as running:
        yield running


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["éa", "éb"])
def test_every_spelling_of_a_name_and_its_password_signs_in(
    gateway: RunningGateway, name: str, form: _Form
) -> None:
    browser = Browser(gateway.url)
    spelled = (normalize(form, text) for text in (name, _SPELLED))
    assert browser.sign_in(*spelled).status_code == 303
    assert is_signed_in(browser)


@pytest.mark.parametrize("name", ["zoe\u0308", "zo\u00eb"])
def test_a_name_of_the_common_file_signs_in_too(gateway: RunningGateway, name: str) -> None:
    assert Browser(gateway.url).sign_in(name, PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("éa", "Password ½"),
        ("éa", "Pässwörd 1\u20442"),
        ("ea", _SPELLED),
        ("ÉA", _SPELLED),
        ("éa\u200d", _SPELLED),
    ],
)
def test_what_only_looks_alike_is_another_one(
    gateway: RunningGateway, name: str, password: str
) -> None:
    assert Browser(gateway.url).sign_in(name, password).status_code == 401


def test_a_name_with_joiners_is_shown_as_it_is(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    page = browser.authorize(client_id="persian", response_type="code")
    assert "\u0645\u06cc\u200c\u062e\u0648 \U0001f469\u200d\U0001f4bb" in page.text
