"""Header names reach the other side as they were written."""

from __future__ import annotations

from .conftest import RunningGateway
from .wire import Backend

LINES = (b"x-lower: 1", b"X-UPPER: 2", b"SOAPAction: 3", b"DNT: 4", b"If-None-Match: 5")
WRITTEN = ["x-lower", "X-UPPER", "SOAPAction", "DNT", "If-None-Match"]
USUAL = ["X-Lower", "X-Upper", "Soapaction", "Dnt", "If-None-Match"]


def names_at_the_backend(backend: Backend) -> list[str]:
    usual = {name.lower() for name in WRITTEN}
    return [name for name, _ in backend.requests[-1].fields if name.lower() in usual]


def test_a_clients_spelling_reaches_the_backend_where_the_server_tells_it(
    gateway: RunningGateway, backend: Backend
) -> None:
    gateway.get(*LINES)

    assert names_at_the_backend(backend) == (WRITTEN if gateway.own_server else USUAL)


def test_so_it_does_with_a_head_that_the_fast_parser_does_not_read(
    gateway: RunningGateway, backend: Backend
) -> None:
    lines = b"".join(line + b"\r\n" for line in LINES)
    client = gateway.connect()
    client.send(b"PROPFIND / HTTP/1.1\r\nHost: h\r\nX_Dropped: a\r\n", lines, b"\r\n")
    client.read_answer()

    assert names_at_the_backend(backend) == (WRITTEN if gateway.own_server else USUAL)


def test_names_that_differ_in_case_alone_are_one_field(
    gateway: RunningGateway, backend: Backend
) -> None:
    gateway.get(b"x-lower: 1", b"X-LOWER: 2")

    assert backend.requests[-1].values("X-Lower") == ["1,2"]


def test_a_name_with_an_underscore_is_dropped(gateway: RunningGateway, backend: Backend) -> None:
    """WSGI and many backends take ``X_Name`` for ``X-Name``, which a proxy may have vouched for."""
    gateway.get(b"X_Name: 1", b"X-Other: 2")

    assert not backend.requests[-1].values("X_Name")
    assert not backend.requests[-1].values("X-Name")
    assert backend.requests[-1].values("X-Other") == ["2"]


def test_date_and_server_of_the_backend_reach_the_client(
    gateway: RunningGateway, backend: Backend
) -> None:
    """RFC 9110 §6.6.1: the time of the response is the backend's to say."""
    date = "Tue, 15 Nov 1994 08:12:31 GMT"
    backend.answers(
        b"HTTP/1.1 200 OK\r\nDate: " + date.encode() + b"\r\nserver: backend/1.0\r\n"
        b"Content-Length: 0\r\n\r\n"
    )

    answer = gateway.get()

    if gateway.own_server:
        assert answer.values("Date") == [date]
        assert answer.values("Server") == ["backend/1.0"]
    assert len(answer.values("Date")) == 1


def test_a_response_without_a_date_gets_one(gateway: RunningGateway, backend: Backend) -> None:
    assert len(gateway.get().values("Date")) == 1


def test_a_name_that_some_backend_takes_for_a_length_frames_nothing(
    gateway: RunningGateway, backend: Backend
) -> None:
    backend.answers(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent_Length: 2\r\n\r\nhello",
    )

    answer = gateway.get()

    assert (answer.status, answer.body) == (200, b"hello")
