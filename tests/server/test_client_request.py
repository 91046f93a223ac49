"""Ordinary requests are read in one step, and exactly as gunicorn's parser reads them."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.file import load_config
from gateway.server.environ import environ_of, environ_of_server
from gateway.server.parse_errors import require_host
from gateway.server.request import ClientRequest
from gateway.server.standalone import StandaloneGateway
from tests.support.running_gateway import write_settings

PEER = ("127.0.0.1", 4000)
LISTENER = ("127.0.0.1", 80)


@pytest.fixture(scope="module")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return gunicorn's settings as the standalone gateway has them."""
    file = write_settings(
        tmp_path_factory.mktemp("settings"), port=1, upstream="http://127.0.0.1:1"
    )
    settings = load_config(file)
    return StandaloneGateway(lambda: settings).cfg


#: What the gateway's environ has more, gunicorn's more, or each its own object of.
_OWN = {
    *("wsgi.errors", "wsgi.input", "wsgi.multithread", "wsgi.early_hints"),
    *("gateway.within", "gateway.header_lines", "gateway.field_names"),
}


def environ_of_gunicorn(request: Request, cfg: Config) -> dict[str, Any]:
    """Return gunicorn's environ, with several cookies joined as RFC 9113 §8.2.3 wants it."""
    request.proxy_protocol_info = {}
    # It would send an interim answer.
    expected, request._expected_100_continue = request._expected_100_continue, False
    _, environ = wsgi.create(request, None, PEER, LISTENER, cfg)
    request._expected_100_continue = expected
    if cookies := [value for name, value in request.headers if name == "COOKIE"]:
        environ["HTTP_COOKIE"] = "; ".join(cookies)
    return dict(environ)


def read(reader: type[Request], cfg: Config, *pieces: bytes) -> Any:
    """Return all that is known of a request and of what follows it, or the error's class."""
    unreader = IterUnreader([*pieces])
    try:
        request = reader(cfg, unreader, PEER)
        # gunicorn has no such rule; ours is the same for both.
        require_host(request.version, request.headers)
        known = {
            name: getattr(request, name)
            for name in ("method", "uri", "path", "query", "version", "scheme", "headers")
        }
        # This rule is our own as well: gunicorn knows Connection with one option only.
        known["close"] = ClientRequest.should_close(request)
        known["expects"] = request._expected_100_continue
        environ = (
            environ_of(request, None, PEER, LISTENER, environ_of_server(cfg))  # type: ignore[arg-type]
            if isinstance(request, ClientRequest)
            else environ_of_gunicorn(request, cfg)
        )
        known["environ"] = {key: environ[key] for key in environ.keys() - _OWN}
        has_body = getattr(request, "raw_body", True) is not None
        known["body"] = request.body.read()
        assert has_body or not known["body"]
        known["trailers"] = getattr(request, "trailers", [])
    except Exception as error:  # noqa: BLE001 - which one it is, is compared
        # gunicorn ends a connection that sends nothing in another way.
        return NoMoreData if isinstance(error, StopIteration) else type(error)
    known["rest"] = b"".join(iter(unreader.read, b""))
    return known


def assert_read_alike(cfg: Config, *pieces: bytes) -> Any:
    ours = read(ClientRequest, cfg, *pieces)
    theirs = read(Request, cfg, *pieces)
    assert ours == theirs
    return ours


def is_ordinary(cfg: Config, data: bytes) -> bool:
    # gunicorn's own parser counts the requests of a connection.
    return not hasattr(ClientRequest(cfg, IterUnreader([data]), PEER), "req_number")


CURL = b"GET /a/b?c=d%20e HTTP/1.1\r\nHost: api.example\r\nUser-Agent: curl\r\nAccept: */*\r\n\r\n"
BROWSER = (
    b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="131", "Not_A Brand";v="24"\r\nsec-ch-ua-mobile: ?0\r\n'
    b"Upgrade-Insecure-Requests: 1\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Cookie: a=b; c=d\r\nCookie: e=f\r\n\r\n"
)
BEARER = b"HEAD /x HTTP/1.1\r\nhost:h\r\nauthorization: \tBearer gwa_x \r\nx-latin: \xe9\r\n\r\n"


@pytest.mark.parametrize("data", [CURL, BROWSER, BEARER])
def test_what_clients_send_is_ordinary(cfg: Config, data: bytes) -> None:
    assert is_ordinary(cfg, data)
    assert_read_alike(cfg, data)


@pytest.mark.parametrize("after", [b"", b"G", CURL, b"\r\n", b"\x00"])
def test_what_follows_a_request_is_kept(cfg: Config, after: bytes) -> None:
    assert assert_read_alike(cfg, CURL + after)["rest"] == after


@pytest.mark.parametrize("data", [CURL, BROWSER, BEARER])
def test_a_head_that_comes_in_pieces_is_the_same(cfg: Config, data: bytes) -> None:
    whole = read(ClientRequest, cfg, data)
    for end in range(1, len(data)):
        assert read(ClientRequest, cfg, data[:end], data[end:]) == whole


def test_a_body_is_read_to_its_length_and_no_further(cfg: Config) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
    assert is_ordinary(cfg, head + b"hello")
    assert ClientRequest(cfg, IterUnreader([head]), PEER).raw_body is not None
    known = assert_read_alike(cfg, head + b"he", b"lloGET")
    assert (known["body"], known["rest"]) == (b"hello", b"GET")


def with_line(line: bytes) -> bytes:
    return CURL.replace(b"Accept: */*", line)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(CURL[:40], id="half of a head"),
        pytest.param(b"\r\n" + CURL, id="an empty line before it"),
        pytest.param(b"\r\n\r\n" + CURL, id="two empty lines before it"),
        pytest.param(b"\n" + CURL, id="a bare LF before it"),
        pytest.param(CURL.replace(b"GET", b"get"), id="a method in lower case"),
        pytest.param(CURL.replace(b"GET", b"PROPFIND"), id="another method"),
        pytest.param(CURL.replace(b"GET", b"CONNECT"), id="CONNECT"),
        pytest.param(CURL.replace(b"GET ", b"GET  "), id="two spaces"),
        pytest.param(CURL.replace(b"GET ", b"GET\t"), id="a tab"),
        pytest.param(CURL.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(CURL.replace(b"1.1", b"1.2"), id="HTTP/1.2"),
        pytest.param(CURL.replace(b"1.1", b"2.0"), id="HTTP/2.0"),
        pytest.param(CURL.replace(b" HTTP/1.1", b""), id="HTTP/0.9"),
        pytest.param(CURL.replace(b"/a/b", b"//a/b"), id="two slashes"),
        pytest.param(CURL.replace(b"/a/b", b"a/b"), id="no slash"),
        pytest.param(CURL.replace(b"/a/b", b"http://h/a/b"), id="absolute-form"),
        pytest.param(CURL.replace(b"/a/b?c=d%20e", b"*"), id="asterisk-form"),
        pytest.param(CURL.replace(b"/a/b", b"/a#b"), id="a fragment"),
        pytest.param(CURL.replace(b"/a/b", b"/a\xe9"), id="a target beyond ASCII"),
        pytest.param(CURL.replace(b"/a/b", b"/a\x7f"), id="DEL in the target"),
        pytest.param(CURL.replace(b"/a/b", b"/?a?b"), id="two question marks"),
        pytest.param(CURL.replace(b"/a/b", b"/a;b:c@[d]"), id="what delimits elsewhere"),
        pytest.param(CURL.replace(b"/a/b", b"/" + b"a" * 8170), id="a long target"),
        pytest.param(CURL.replace(b"/a/b", b"/" + b"a" * 8190), id="too long a target"),
        pytest.param(CURL.replace(b"\r\n", b"\n"), id="bare LFs"),
        pytest.param(CURL.replace(b"\r\n", b"\r"), id="bare CRs"),
        pytest.param(with_line(b"X_A: b"), id="an underscore"),
        pytest.param(with_line(b"X.A: b"), id="another token"),
        pytest.param(with_line(b"X-A : b"), id="a space before the colon"),
        pytest.param(with_line(b" X-A: b"), id="a folded line"),
        pytest.param(with_line(b"X-A: b\r\n\tc"), id="a line folded with a tab"),
        pytest.param(with_line(b"X-A: b\x00"), id="NUL"),
        pytest.param(with_line(b"X-A: b\x85"), id="a C1 control"),
        pytest.param(with_line(b"X-A: b\rc"), id="CR in a value"),
        pytest.param(with_line(b"X-A:"), id="an empty value"),
        pytest.param(with_line(b"X-A"), id="no colon"),
        pytest.param(with_line(b": b"), id="no name"),
        pytest.param(with_line(b"X-A: " + b"b" * 16_400), id="too long a field"),
        pytest.param(with_line(b"\r\n".join([b"X-A: b"] * 98)), id="a hundred fields"),
        pytest.param(with_line(b"\r\n".join([b"X-A: b"] * 99)), id="more than a hundred fields"),
        pytest.param(with_line(b"Host: h"), id="two hosts"),
        pytest.param(CURL.replace(b"Host", b"Hos"), id="no host"),
        pytest.param(with_line(b"Content-Type: a\r\ncontent-type: a"), id="two content types"),
        pytest.param(with_line(b"Content-Length: 0"), id="an empty body"),
        pytest.param(with_line(b"Content-Length: 1\r\nContent-Length: 1"), id="two lengths"),
        pytest.param(with_line(b"Content-Length: +1"), id="a signed length"),
        pytest.param(with_line(b"Content-Length: \xb2"), id="a digit that is none"),
        pytest.param(with_line(b"Transfer-Encoding: chunked"), id="a chunked body"),
        pytest.param(
            with_line(b"Transfer-Encoding: chunked\r\nContent-Length: 3"), id="two framings"
        ),
        pytest.param(with_line(b"Expect: 100-continue"), id="an expectation"),
        pytest.param(with_line(b"Expect: something"), id="an unknown expectation"),
        pytest.param(with_line(b"Connection: close"), id="a connection to close"),
        pytest.param(with_line(b"Connection: Keep-Alive"), id="a connection to keep"),
        pytest.param(with_line(b"X-Forwarded-Proto: https"), id="a scheme of the client's"),
        pytest.param(with_line(b"X-A: b\r\nx-a: c\r\nCookie: d\r\ncookie: e"), id="repeated"),
        pytest.param(CURL.replace(b"/a/b", b"/%c3%a9%00%2f%zz"), id="escapes"),
        pytest.param(with_line(b"Script-Name: /a"), id="a script name of the client's"),
    ],
)
@pytest.mark.parametrize("after", [b"", b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n"])
def test_what_is_rare_or_wrong_is_read_as_gunicorn_reads_it(
    cfg: Config, data: bytes, after: bytes
) -> None:
    assert_read_alike(cfg, data + after)


_LINES = st.sampled_from(
    [
        *(b"Host: h", b"host:h", b"Host:", b"Accept: */*", b"X-A: b", b"X_A: b", b"x-a:\tb "),
        *(b"Content-Length: 3", b"content-length: 03", b"Content-Length: 3, 3"),
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"TE: trailers"),
        *(b"Expect: 100-continue", b"Connection: close", b"Connection: x, close"),
        *(b"Content-Type: a/b", b"Cookie: a=b", b" folded", b"no colon", b"X : y", b"", b"\xe9: a"),
    ]
)
_TARGETS = st.one_of(
    st.sampled_from([b"/", b"/a", b"//a", b"*", b"http://h/a", b"h:80", b"/a?b", b"/a#b", b""]),
    st.text('/?#%;:@[]ab.\\"{é \t\x7f', max_size=8).map(lambda text: b"/" + text.encode("latin-1")),
)
_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Make requests of pieces that are mostly right."""
    methods = [b"GET", b"POST", b"PUT", b"HEAD", b"get", b"CONNECT", b"G ET", b"OPTIONS", b""]
    versions = [b"HTTP/1.1"] * 5 + [b"HTTP/1.0", b"HTTP/1.9", b"HTTP/2.0", b"http/1.1", b""]
    parts = (draw(st.sampled_from(methods)), draw(_TARGETS), draw(st.sampled_from(versions)))
    lines = [b" ".join(parts), *draw(st.lists(_LINES, max_size=5)), b""]
    body = draw(st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", CURL]))
    data = b"".join(line + draw(_ENDS) for line in lines) + body
    if draw(st.booleans()):
        return data
    place = draw(st.integers(0, len(data)))
    return data[:place] + draw(st.binary(max_size=2)) + data[place + draw(st.integers(0, 2)) :]


@given(data=heads(), cut=st.none() | st.integers(1, 200))
def test_no_request_is_read_in_two_ways(cfg: Config, data: bytes, cut: int | None) -> None:
    assert_read_alike(cfg, *([data] if cut is None else filter(None, (data[:cut], data[cut:]))))
