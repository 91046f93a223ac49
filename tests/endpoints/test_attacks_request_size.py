"""A request that is longer than its limit, or that lies of its length, is refused."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode

import pytest
import requests

from tests.endpoints.token_forms import ALL_ENDPOINTS, FORM, GOOD, post
from tests.support.assertions import assert_not_cached
from tests.support.oauth_client import TOKEN
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway


@pytest.mark.parametrize("path", ALL_ENDPOINTS)
def test_a_body_over_the_limit_is_413(gateway: RunningGateway, path: str) -> None:
    answer = requests.post(gateway.url + path, {"token": "x" * 70_000}, timeout=20)
    assert answer.status_code == 413
    assert_not_cached(answer)


def test_a_chunked_body_over_the_limit_is_413(gateway: RunningGateway) -> None:
    chunks = (b"x=" + b"y" * 1000 for _ in range(70))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(gateway.url + TOKEN, chunks, headers=headers, timeout=20)
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["9" * 5000, "1e3", "-1", "0x10", "\xb2", "1,1", ""])
def test_a_content_length_that_is_no_number_is_refused(
    gateway: RunningGateway, length: str
) -> None:
    answer = request(
        gateway.port, TOKEN, FORM, f"Content-Length: {length}", method="POST", body=b"x=1"
    )
    assert answer.status in {400, 413, 431}


def test_an_announced_body_that_is_too_large_is_not_waited_for(gateway: RunningGateway) -> None:
    answer = request(
        gateway.port, TOKEN, FORM, "Content-Length: 999999999", method="POST", body=b"x=1"
    )
    assert answer.status == 413


def test_a_query_over_the_limit_is_414(gateway: RunningGateway) -> None:
    answer = request(gateway.port, f"{TOKEN}?{'x' * 9000}", FORM, method="POST", body=b"x=1")
    assert answer.status == 414


def test_a_header_over_the_limit_is_431(gateway: RunningGateway) -> None:
    secret = b64encode(b"my-app:" + b"x" * 40_000).decode()
    answer = post(gateway, urlencode(GOOD), FORM, f"Authorization: Basic {secret}")
    assert answer.status == 431
