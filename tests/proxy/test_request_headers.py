"""Which header fields reach the backend, which do not, and what is added to them."""

from __future__ import annotations

import io
from ipaddress import ip_network

import pytest

from gateway.config.settings import Server, Upstream
from gateway.http.proxy_errors import ProxyError
from gateway.proxy.forwarded_headers import new_forwarded_lines, went_through
from gateway.proxy.request_head import RequestHead
from gateway.proxy.reverse_proxy import max_forwards

from .conftest import Gateway
from .wire import Backend


def head_for(environ: dict[str, object], **upstream: object) -> bytes:
    """Write the head that the backend would get on a server with this environ."""
    settings = Upstream(**upstream)  # type: ignore[arg-type]  # whatever a test gives
    server = Server(trusted_proxies=(ip_network("10.0.0.0/8"),))
    basis: dict[str, object] = {
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/",
        "HTTP_HOST": "h",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
    }
    return RequestHead(settings, server, "gateway.example", "backend").write(basis | environ, "")


class TestHopByHop:
    @pytest.mark.parametrize(
        "line",
        [
            b"Connection: keep-alive",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: Basic YTpi",
            b"Proxy-Authenticate: Basic",
            b"TE: trailers",
            b"Trailer: X-Sum",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            b"Proxy: http://evil.example",
        ],
    )
    def test_fields_of_the_connection_end_here(
        self, gateway: Gateway, backend: Backend, line: bytes
    ) -> None:
        assert gateway.get(line).status == 200

        assert line.split(b":")[0].decode() not in backend.requests[0].names()

    def test_fields_that_connection_names_end_here(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        gateway.get(
            b"Connection: close, X-Hop,x-two ,content-type",
            b"X-Hop: 1",
            b"X-Two: 2",
            b"X-Three: 3",
            b"Content-Type: a/b",
        )

        names = backend.requests[0].names()
        assert "X-Three" in names
        assert names.isdisjoint({"X-Hop", "X-Two", "Connection", "Content-Type"})

    def test_connection_cannot_take_away_what_the_gateway_adds(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        gateway.get(
            b"Connection: close, Host, Via, Forwarded, X-Forwarded-For, X-Forwarded-User",
            b"Connection: X-Forwarded-Scope",
            proxy="signed in",
        )

        request = backend.requests[0]
        assert request.values("Host") == ["shop.example"]
        assert request.values("Via") == ["1.1 gateway.example"]
        assert request.values("X-Forwarded-For") == ["127.0.0.1"]
        assert request.values("X-Forwarded-User") == ["ann"]
        assert request.values("X-Forwarded-Scope") == ["project"]

    def test_an_expectation_is_answered_by_the_server_and_not_passed_on(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        client = gateway.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert client.read_answer().status == 100
        client.send(b"hi")
        assert client.read_answer().status == 200

        assert backend.requests[0].values("Expect") == []
        assert backend.requests[0].body == b"hi"


class TestIdentity:
    @pytest.mark.parametrize(
        "lines",
        [
            pytest.param([b"X-Forwarded-User: admin"], id="plain"),
            pytest.param([b"x-fORWARDED-uSER: admin"], id="mixed case"),
            pytest.param([b"X_Forwarded_User: admin"], id="underscores"),
            pytest.param([b"X-Forwarded_User: admin"], id="both"),
            pytest.param([b"X-Forwarded-User: admin", b"X-Forwarded-User: root"], id="twice"),
            pytest.param([b"X.Forwarded.User: admin"], id="dots"),
        ],
    )
    def test_the_gateways_word_replaces_the_clients_in_every_spelling(
        self, gateway: Gateway, backend: Backend, lines: list[bytes]
    ) -> None:
        gateway.get(*lines, proxy="signed in")

        assert backend.requests[0].values("X-Forwarded-User") == ["ann"]
        assert b"admin" not in backend.requests[0].head

    def test_identity_headers_with_other_names_replace_the_clients_too(self) -> None:
        head = head_for(
            {
                "HTTP_X_AUTH_USER": "admin",
                "HTTP_X.AUTH_USER": "admin",
                "gateway.identity_headers": (("X-Auth-User", "ann"),),
            }
        )

        assert b"X-Auth-User: ann\r\n" in head
        assert b"admin" not in head

    def test_even_a_trusted_proxy_does_not_say_who_the_user_is(self) -> None:
        head = head_for(
            {
                "REMOTE_ADDR": "10.0.0.1",
                "HTTP_X_FORWARDED_USER": "admin",
                "gateway.identity_headers": (("X-Forwarded-User", "ann"),),
            }
        )

        assert b"X-Forwarded-User: ann\r\n" in head
        assert b"admin" not in head


class TestHeadersOfTheOperator:
    def test_they_are_added_and_replace_all_others_of_their_name(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        gateway.get(b"X-Api-Key: of the client", proxy="operator")

        request = backend.requests[0]
        assert request.values("X-Api-Key") == ["of the operator"]
        assert request.values("Host") == ["internal.example"]
        assert request.values("X-Forwarded-Proto") == ["https"]
        assert request.values("X-Forwarded-Host") == ["shop.example"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "0"),
            ("content_length", "0"),
            ("X Y", "a"),
            ("", "a"),
            ("X-A", "a\r\nX-B: b"),
            ("X-A", "\u20ac"),
        ],
    )
    def test_what_would_change_the_framing_cannot_be_added(self, name: str, value: str) -> None:
        settings = Upstream.model_construct(headers={name: value})
        with pytest.raises(ValueError, match="cannot be added"):
            RequestHead(settings, Server(), "gateway", "backend")


class TestWhereARequestCameFrom:
    CLAIMS = (
        b"X-Forwarded-For: 203.0.113.7",
        b"X-Forwarded-Host: evil.example",
        b"X-Forwarded-Proto: https",
        b"Forwarded: for=203.0.113.7;proto=https",
        b"X-Forwarded-Prefix: /x",
        b"X-Forwarded-Uri: /public",
        b"X-Forwarded-Method: PUT",
        b"X-Forwarded-Port: 444",
        b"X-Forwarded-Ssl: on",
        b"X-Original-URL: /public",
        b"X-Original-URI: /public",
        b"X-Original-Method: PUT",
        b"X-Rewrite-URL: /public",
        b"X-Real-IP: 203.0.113.7",
    )

    def test_a_stranger_cannot_say_it(self, gateway: Gateway, backend: Backend) -> None:
        gateway.get(*self.CLAIMS)

        fields = dict(backend.requests[0].fields)
        assert len(backend.requests[0].fields) == len(fields)
        assert fields == {
            "Host": "shop.example",
            "Via": "1.1 gateway.example",
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Host": "shop.example",
            "X-Forwarded-Proto": "http",
            "Forwarded": 'for=127.0.0.1;host="shop.example";proto=http',
        }

    def test_a_trusted_proxy_is_believed_and_added_to(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        gateway.get(*self.CLAIMS, proxy="trusting")

        fields = dict(backend.requests[0].fields)
        assert len(backend.requests[0].fields) == len(fields)
        assert fields["X-Forwarded-For"] == "203.0.113.7, 127.0.0.1"
        assert fields["X-Forwarded-Host"] == "evil.example"
        assert fields["X-Forwarded-Proto"] == "https"
        assert fields["X-Forwarded-Prefix"] == "/x"
        assert backend.requests[0].values("X-Real-IP") == ["203.0.113.7"]
        assert fields["Forwarded"] == (
            'for=203.0.113.7;proto=https, for=127.0.0.1;host="shop.example";proto=http'
        )

    def test_forwarded_says_what_a_trusted_proxy_said_in_the_older_fields(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        gateway.get(
            b"X-Forwarded-For: 2001:db8::1, nonsense",
            b"X-Forwarded-Host: public.example",
            b"X-Forwarded-Proto: https",
            proxy="trusting",
        )

        told, *others = backend.requests[0].values("Forwarded")[0].split(", ")
        assert told == 'for="[2001:db8::1]";host="public.example";proto=https'
        assert others == ["for=unknown", 'for=127.0.0.1;host="shop.example";proto=http']

    def test_an_ipv6_client_is_written_as_the_standard_says(self) -> None:
        lines = new_forwarded_lines("2001:db8::1", "http", "h", frozenset())

        assert "X-Forwarded-For: 2001:db8::1\r\n" in lines
        assert 'Forwarded: for="[2001:db8::1]";host="h";proto=http\r\n' in lines

    def test_a_client_on_a_unix_socket_has_no_address(self) -> None:
        head = head_for({"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "203.0.113.7"})

        assert b"X-Forwarded-For" not in head
        assert b"Forwarded: for=unknown;" in head

    def test_host_is_passed_on_as_it_came(self, gateway: Gateway, backend: Backend) -> None:
        gateway.exchange(b"GET / HTTP/1.1\r\nHost: Shop.EXAMPLE:8443\r\n\r\n")

        assert backend.requests[0].values("Host") == ["Shop.EXAMPLE:8443"]
        assert backend.requests[0].values("X-Forwarded-Host") == ["Shop.EXAMPLE:8443"]

    def test_http_1_0_without_a_host_gets_that_of_the_backend(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        answer = gateway.exchange(b"GET / HTTP/1.0\r\n\r\n")

        assert answer.status == 200
        assert backend.requests[0].values("Host") == [f"localhost:{backend.port}"]
        assert backend.requests[0].values("X-Forwarded-Host") == []
        assert backend.requests[0].values("Via") == ["1.0 gateway.example"]


class TestVia:
    def test_the_gateway_comes_after_those_before_it(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        gateway.get(b"Via: 1.0 fred, 1.1 nowhere.example (Apache)")

        assert backend.requests[0].values("Via") == [
            "1.0 fred, 1.1 nowhere.example (Apache), 1.1 gateway.example"
        ]

    def test_a_request_that_comes_round_again_is_not_sent_round_again(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        assert gateway.get(b"Via: 1.1 other, 1.1 gateway.example").status == 508
        assert backend.requests == []

    def test_a_name_that_only_looks_alike_is_another(self) -> None:
        assert not went_through(
            "1.1 gateway.example.org, 1.1 a (gateway.example)", "gateway.example"
        )


class TestMaxForwards:
    def test_it_counts_down_for_options(self, gateway: Gateway, backend: Backend) -> None:
        gateway.exchange(b"OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 3\r\n\r\n")

        assert backend.requests[0].values("Max-Forwards") == ["2"]

    def test_at_zero_the_gateway_answers(self, gateway: Gateway, backend: Backend) -> None:
        answer = gateway.exchange(b"OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n")

        assert answer.status == 204
        assert backend.requests == []

    @pytest.mark.parametrize("value", ["", "-1", "1, 2", "0x1", "1" * 10])
    def test_another_value_than_a_number_is_refused(self, value: str) -> None:
        with pytest.raises(ProxyError):
            max_forwards({"REQUEST_METHOD": "OPTIONS", "HTTP_MAX_FORWARDS": value})

    def test_it_says_nothing_about_other_methods(self) -> None:
        assert max_forwards({"REQUEST_METHOD": "GET", "HTTP_MAX_FORWARDS": "0"}) is None


class TestValues:
    def test_bytes_beyond_ascii_arrive_as_they_were(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        gateway.get(b"X-Latin: caf\xe9", b"X-Utf8: \xe2\x82\xac", b"X-Empty:")

        head = backend.requests[0].head
        assert b"X-Latin: caf\xe9\r\n" in head
        assert b"X-Utf8: \xe2\x82\xac\r\n" in head
        assert b"X-Empty: \r\n" in head

    @pytest.mark.parametrize("value", ["a\r\nX-B: b", "a\nb", "a\rb", "a\x00b", "a\x7fb"])
    @pytest.mark.parametrize("key", ["HTTP_X_A", "HTTP_COOKIE", "CONTENT_TYPE", "HTTP_VIA"])
    def test_a_lax_server_is_no_way_to_inject_a_header(self, key: str, value: str) -> None:
        with pytest.raises(ProxyError) as refused:
            head_for({key: value})

        assert refused.value.status == 400

    @pytest.mark.parametrize("key", ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED"])
    def test_nor_is_a_trusted_proxy(self, key: str) -> None:
        with pytest.raises(ProxyError):
            head_for({"REMOTE_ADDR": "10.0.0.1", key: "a\r\nX-B: b"})

    def test_nor_is_an_identity(self) -> None:
        with pytest.raises(ProxyError):
            head_for({"gateway.identity_headers": (("X-User", "ann\r\nX-Admin: yes"),)})

    @pytest.mark.parametrize(
        "host", ["a b", "a,b", "a/b", "a@b", "a#b", "", "a\r\nX: y", '"', "[::1"]
    )
    def test_a_host_that_is_not_one_is_refused(self, host: str) -> None:
        with pytest.raises(ProxyError) as refused:
            head_for({"HTTP_HOST": host})

        assert refused.value.status == 400

    def test_names_without_end_do_not_fill_the_memory(self) -> None:
        head = RequestHead(Upstream(), Server(), "gateway", "backend")
        environ = {"REQUEST_METHOD": "GET", "RAW_URI": "/", "HTTP_HOST": "h", "REMOTE_ADDR": ""}
        for number in range(3000):
            head.write(environ | {"wsgi.url_scheme": "http", f"HTTP_X_{number}": "1"}, "")

        (plan,) = head._plans.values()
        assert len(plan.names) <= 1024

    def test_a_framing_header_that_a_server_lets_through_twice_is_not_forwarded(self) -> None:
        head = head_for({"HTTP_CONTENT_LENGTH": "5", "HTTP_CONTENT_TYPE": "a/b"})

        assert b"Content-Length" not in head
        assert b"Content-Type" not in head


@pytest.mark.parametrize("upgrade", [b"websocket", b"WebSocket", b"h2c, websocket"])
def test_a_websocket_is_refused_at_once_and_clearly(
    gateway: Gateway, backend: Backend, upgrade: bytes
) -> None:
    answer = gateway.get(
        b"Connection: Upgrade",
        b"Upgrade: " + upgrade,
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    )

    assert answer.status == 501
    assert b'"error": "not_implemented"' in answer.body
    assert backend.requests == []


def test_another_upgrade_is_left_out_and_the_request_forwarded(
    gateway: Gateway, backend: Backend
) -> None:
    assert gateway.get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c").status == 200

    assert b"h2c" not in backend.requests[0].head
