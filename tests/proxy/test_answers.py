"""The client gets the backend's answer: its status, fields and body, framed afresh."""

from __future__ import annotations

import pytest

from gateway.http.header_policy import HOP_BY_HOP

from .conftest import Gateway
from .wire import OK, Backend, Peer


class TestFields:
    def test_they_keep_their_order_spelling_and_repetitions(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.answers(
            b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nX-UPPER: 1\r\nSet-Cookie: b=2; Path=/\r\n"
            b"WWW-Authenticate: Basic\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nok"
        )

        names = {"set-cookie", "x-upper", "www-authenticate"}
        fields = [field for field in gateway.get().fields if field[0].lower() in names]

        assert fields == [
            ("set-cookie", "a=1"),
            ("X-UPPER", "1"),
            ("Set-Cookie", "b=2; Path=/"),
            ("WWW-Authenticate", "Basic"),
            ("WWW-Authenticate", "Bearer"),
        ]

    def test_fields_of_the_connection_and_those_it_names_end_here(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.answers(
            b"HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n"
            b"Proxy-Authenticate: Basic\r\nProxy-Connection: close\r\nTrailer: X-Sum\r\n"
            b"Upgrade: h2c\r\nContent-Length: 2\r\n\r\nok"
        )

        answer = gateway.get()

        names = {name for name, _ in answer.fields}
        assert names == {"Server", "Date", "Connection", "Content-Length", "Via"}
        assert answer.values("Connection") == ["keep-alive"]

    @pytest.mark.parametrize("separator", ["-", ".", "_"])
    @pytest.mark.parametrize("name", sorted(HOP_BY_HOP - {"TRANSFER_ENCODING"}))
    def test_no_hop_by_hop_field_reaches_the_client(
        self, gateway: Gateway, backend: Backend, name: str, separator: str
    ) -> None:
        """RFC 9110 §7.6.1; a coding that nobody asked for is refused (TestRubbish)."""
        field = name.replace("_", separator).title() + ": of-the-backend\r\n"
        backend.answers(b"HTTP/1.1 200 OK\r\n" + field.encode() + b"Content-Length: 2\r\n\r\nok")

        answer = gateway.get()

        assert answer.body == b"ok"
        assert b"of-the-backend" not in answer.head

    def test_connection_cannot_take_the_framing_away(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.answers(
            b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok"
        )

        assert gateway.get().values("Content-Length") == ["2"]

    def test_bytes_beyond_ascii_survive(self, gateway: Gateway, backend: Backend) -> None:
        backend.answers(
            b"HTTP/1.1 200 D'accord \xe9\r\nX-Latin: caf\xe9\r\nX-Utf8: \xe2\x82\xac\r\n"
            b"Content-Length: 4\r\n\r\n\x00\xff\r\n"
        )

        answer = gateway.get()

        assert answer.reason == b"D'accord \xe9"
        assert answer.values("X-Latin") == ["caf\xe9"]
        assert answer.values("X-Utf8") == ["\xe2\x82\xac"]
        assert answer.body == b"\x00\xff\r\n"

    def test_via_names_the_gateway_after_those_before_it(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.answers(b"HTTP/1.1 200 OK\r\nVia: 1.1 cache\r\nContent-Length: 2\r\n\r\nok")

        assert gateway.get().values("Via") == ["1.1 cache", "1.1 gateway.example"]

    @pytest.mark.parametrize("reason", [b"", b" ", b" Not In Any List"])
    def test_a_reason_is_passed_on_or_left_out(
        self, gateway: Gateway, backend: Backend, reason: bytes
    ) -> None:
        backend.answers(b"HTTP/1.1 299" + reason + b"\r\nContent-Length: 2\r\n\r\nok")

        answer = gateway.get()

        assert answer.status == 299
        assert answer.reason == reason.strip()
        assert answer.body == b"ok"


class TestFraming:
    def test_a_length_stays_a_length(self, gateway: Gateway, backend: Backend) -> None:
        answer = gateway.get()

        assert answer.values("Content-Length") == ["2"]
        assert answer.values("Transfer-Encoding") == []

    def test_chunks_are_made_afresh_without_extensions_and_trailers(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.answers(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;a=b\r\nhel\r\n0002\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n"
        )
        client = gateway.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

        answer = client.read_answer()

        assert answer.body == b"hello"
        assert answer.values("Transfer-Encoding") == ["chunked"]
        assert b";a=b" not in client.received
        assert b"X-Trailer" not in client.received

    @pytest.mark.parametrize("version", [b"1.0", b"1.1"])
    def test_a_body_until_the_end_of_the_connection_arrives_whole(
        self, gateway: Gateway, backend: Backend, version: bytes
    ) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(b"HTTP/" + version + b" 200 OK\r\n\r\nhel")
            peer.send(b"lo")

        backend.script = script
        client = gateway.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

        answer = client.read_answer()

        assert answer.body == b"hello"
        assert answer.values("Via") == [version.decode() + " gateway.example"]
        assert answer.values("Transfer-Encoding") == ["chunked"], "its end must be told"

    def test_a_client_of_http_1_0_gets_no_chunks(self, gateway: Gateway, backend: Backend) -> None:
        backend.answers(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )

        answer = gateway.exchange(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")

        assert answer.body == b"hello"
        assert answer.values("Transfer-Encoding") == []

    @pytest.mark.parametrize(
        ("method", "answer"),
        [
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
            (b"DELETE", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 1000\r\n\r\n"),
        ],
    )
    def test_an_answer_without_a_body_ends_with_its_head(
        self, gateway: Gateway, backend: Backend, method: bytes, answer: bytes
    ) -> None:
        backend.answers(answer, OK)
        client = gateway.connect()
        client.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
        first = client.read_answer(head_only=True)
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

        assert first.head.split(b"\r\n")[0] == answer.split(b"\r\n")[0]
        assert client.read_answer().body == b"ok"

    def test_head_tells_the_length_that_get_would_have(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")

        answer = gateway.exchange(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")

        assert answer.values("Content-Length") == ["1000"]

    @pytest.mark.parametrize("method", [b"HEAD", b"GET"])
    def test_bytes_after_the_end_reach_nobody(
        self, gateway: Gateway, backend: Backend, method: bytes
    ) -> None:
        """An answer that nobody asked for would else be taken for that of the next request."""
        forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
        backend.answers(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n" + forged, OK)
        client = gateway.connect()
        client.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.read_answer(head_only=True).status == 304
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

        assert client.read_answer().body == b"ok"
        assert len(backend.peers) == 2


class TestRubbish:
    @pytest.mark.parametrize(
        "rubbish",
        [
            pytest.param(b"<html>no head</html>", id="no head"),
            pytest.param(b"\x16\x03\x01\x02\x00", id="TLS"),
            pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/2.0"),
            pytest.param(b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/0.9"),
            pytest.param(b"HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nok", id="status 099"),
            pytest.param(b"HTTP/1.1 20 X\r\nContent-Length: 2\r\n\r\nok", id="two digits"),
            pytest.param(b"HTTP/1.1 2000 X\r\nContent-Length: 2\r\n\r\nok", id="four digits"),
            pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="101"),
            pytest.param(
                b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                id="101 with an upgrade",
            ),
            pytest.param(b"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok", id="reason"),
            *[
                pytest.param(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nok", id=name)
                for name, head in {
                    "CL.TE": b"Content-Length: 2\r\nTransfer-Encoding: chunked",
                    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 2",
                    "two lengths": b"Content-Length: 2\r\nContent-Length: 3",
                    "the same length twice": b"Content-Length: 2\r\nContent-Length: 2",
                    "a list of lengths": b"Content-Length: 2, 2",
                    "signed length": b"Content-Length: +2",
                    "negative length": b"Content-Length: -2",
                    "length beyond 64 bits": b"Content-Length: 99999999999999999999",
                    "unknown coding": b"Transfer-Encoding: xchunked",
                    "another coding inside": b"Transfer-Encoding: gzip, chunked",
                    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                    "bare LF": b"X-A: b\nContent-Length: 2",
                    "bare CR": b"X-A: b\rc\r\nContent-Length: 2",
                    "NUL": b"X-A: b\x00c\r\nContent-Length: 2",
                    "folded line": b"X-A: b\r\n c\r\nContent-Length: 2",
                    "space before the colon": b"X-A : b\r\nContent-Length: 2",
                    "no colon": b"X-A\r\nContent-Length: 2",
                    "no name": b": b\r\nContent-Length: 2",
                    "one field too large": b"X-A: " + b"b" * 70_000 + b"\r\nContent-Length: 2",
                    "too many fields": b"X-A: b\r\n" * 10_000 + b"Content-Length: 2",
                }.items()
            ],
            pytest.param(
                b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                id="chunked in HTTP/1.0",
            ),
        ],
    )
    def test_it_is_a_502_and_the_next_request_works(
        self, gateway: Gateway, backend: Backend, rubbish: bytes
    ) -> None:
        backend.answers(rubbish, OK)
        client = gateway.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        first = client.read_answer()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

        assert first.status == 502
        assert b'"error": "bad_gateway"' in first.body
        assert client.read_answer().body == b"ok"
        assert len(backend.requests) == 2

    def test_a_head_as_large_as_allowed_is_passed_on(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        fields = b"X-A: " + b"b" * 60_000 + b"\r\n"
        body = b"c" * 200_000
        backend.answers(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 200000\r\n\r\n" + body)

        answer = gateway.get()

        assert answer.values("X-A") == ["b" * 60_000]
        assert answer.body == body


class TestErrorsOfTheGateway:
    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            (b"*/*", "application/json"),
            (b"application/json", "application/json"),
            (b"text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
            (b"text/html;q=0.1, application/json", "application/json"),
            (b"image/png", "application/json"),
            (b"rubbish;;q=x,", "application/json"),
        ],
    )
    def test_they_are_json_or_a_page_as_the_client_prefers(
        self, gateway: Gateway, backend: Backend, accept: bytes, kind: str
    ) -> None:
        answer = gateway.get(b"Accept: " + accept, proxy="refused")

        assert answer.status == 502
        assert answer.values("Content-Type") == [kind]
        assert (b"<h1>Bad Gateway</h1>" in answer.body) is kind.startswith("text/html")

    def test_they_have_no_body_for_head(self, gateway: Gateway, backend: Backend) -> None:
        client = gateway.connect("refused")
        client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.read_answer(head_only=True).status == 502
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

        assert client.read_answer().status == 502
