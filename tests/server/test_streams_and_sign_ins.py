"""What is being streamed goes on while passwords are hashed, which takes a processor for long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.security import generate_password_hash

from tests.support.oauth_client import Browser, form_of
from tests.support.running_gateway import PASSWORD
from tests.support.serving import Served, event_stream, serving, slow_backend

_SIGN_INS = 10


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One process, so that nobody else goes on for it, and a password that is long to check."""
    folder = tmp_path_factory.mktemp("streams")
    hashed = generate_password_hash(PASSWORD, method="scrypt:32768:8:3")
    user = f'[[sign_in.users]]\nname = "long"\npassword_hash = "{hashed}"\n'
    with slow_backend(folder) as backend, serving(folder, backend, extra=user) as running:
        yield running


def test_events_keep_arriving_while_ten_people_sign_in(served: Served) -> None:
    browsers = [Browser(served.url) for _ in range(_SIGN_INS)]
    forms = [form_of(browser.get("/oauth/sign-in")) for browser in browsers]

    def sign_in(number: int) -> int:
        fields = {**forms[number].fields, "username": "long", "password": PASSWORD}
        return browsers[number].post(forms[number].action, fields).status_code

    with event_stream(served, 50) as stream, ThreadPoolExecutor(_SIGN_INS) as pool:
        began = last = time.monotonic()
        longest, events = 0.0, 0
        signing_in = [pool.submit(sign_in, number) for number in range(_SIGN_INS)]
        while not all(each.done() for each in signing_in):
            events += stream.recv(65_536).count(b"data: event")
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        seconds = last - began

    assert [each.result() for each in signing_in] == [303] * _SIGN_INS
    assert longest < 1
    # One in 50 ms is their pace; a quarter of it is much more than none until the end.
    assert events >= seconds / 0.05 / 4
    for browser in browsers:
        browser.session.close()
