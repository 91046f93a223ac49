"""Requests to begin with, most of them right, and vectors of request smuggling.

The words PATH, LENGTH and TOKEN and the path HIDDEN stand for what a fuzzer fills in: the target of
the request, the length of its body, a line with a bearer token or nothing, and the target of a
request that is only ever in a body.
"""

from __future__ import annotations

#: What takes its place has the same length, so that the sizes of chunks stay right.
HIDDEN = b"/hidden-path-of-24-bytes"

_HEAD = b"Host: h\r\nTOKEN"
#: What a smuggler hides in a body.
_HIDDEN = b"GET " + HIDDEN + b" HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\n"
_HIDDEN_START = b"GET " + HIDDEN + b" HTTP/1.1\r\nX-Ignore: X"


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return (
        b"POST PATH HTTP/1.1\r\n"
        + _HEAD
        + b"".join(each + b"\r\n" for each in lines)
        + b"\r\n"
        + body
    )


def _sized(body: bytes) -> bytes:
    return _post(b"Content-Length: LENGTH", body=body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_CHUNKED = b"Transfer-Encoding: chunked"
_LAST = b"0\r\n\r\n"
_BROWSER = (
    b"GET PATH HTTP/1.1\r\nHost: localhost:8000\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="131", "Not_A Brand";v="24"\r\nsec-ch-ua-mobile: ?0\r\n'
    b"Upgrade-Insecure-Requests: 1\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Cookie: a=b; c=d\r\nCookie: e=f\r\nTOKEN\r\n"
)

#: Requests as clients send them.
ORDINARY: tuple[bytes, ...] = (
    b"GET PATH HTTP/1.1\r\n" + _HEAD + b"User-Agent: curl\r\nAccept: */*\r\n\r\n",
    b"GET PATH?a=b&c=%20d HTTP/1.1\r\nhost:h\r\nTOKENx-latin: \xe9\r\nX-Tab:\tb \r\n\r\n",
    _BROWSER,
    b"HEAD PATH HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"DELETE PATH HTTP/1.1\r\n" + _HEAD + b'If-Match: "a"\r\n\r\n',
    b"OPTIONS PATH HTTP/1.1\r\n" + _HEAD + b"Origin: https://a.example\r\n\r\n",
    b"GET PATH HTTP/1.0\r\nTOKEN\r\n",
    b"GET PATH HTTP/1.0\r\n" + _HEAD + b"Connection: keep-alive\r\n\r\n",
    b"GET http://hPATH HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"PROPFIND PATH HTTP/1.1\r\n" + _HEAD + b"Depth: 1\r\n\r\n",
    _post(b"Content-Length: 5", b"Content-Type: text/plain", body=b"hello"),
    _post(b"Content-Length: 5", b"Expect: 100-continue", body=b"hello"),
    _post(b"Content-Length: 0"),
    _post(),
    b"PUT PATH HTTP/1.1\r\n" + _HEAD + b"Content-Length: 12\r\n\r\n\r\n\r\n\x00\xff\r\nab\r\n",
    _post(_CHUNKED, body=b"5\r\nhello\r\n" + _LAST),
    _post(_CHUNKED, body=b'5;a=b\r\nhello\r\n6;c="d e";f\r\n world\r\n' + _LAST),
    _post(_CHUNKED, b"Trailer: X-Sum", body=b"A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-B: c\r\n\r\n"),
    b"GET PATH HTTP/1.1\r\n" + _HEAD + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    b"\r\nGET PATH HTTP/1.1\r\n" + _HEAD + b"\r\n",
)

#: Requests whose body looks like a request, in all framings that somebody reads differently.
SMUGGLING: tuple[bytes, ...] = (
    _sized(_HIDDEN),
    _sized(_LAST + _HIDDEN),
    _post(_CHUNKED, body=_chunk(_HIDDEN) + _LAST),
    _post(_CHUNKED, body=_chunk(b"a") + _chunk(_HIDDEN_START) + _LAST),
    # CL.TE, TE.CL and their kin: RFC 9112 §6.3 wants an error or one reading.
    _post(b"Content-Length: LENGTH", _CHUNKED, body=_LAST + _HIDDEN),
    _post(_CHUNKED, b"Content-Length: LENGTH", body=_LAST + _HIDDEN_START),
    _post(b"Content-Length: 4", _CHUNKED, body=_chunk(_HIDDEN) + _LAST),
    _post(b"Content-Length: LENGTH", b"Content-Length: 0", body=_HIDDEN),
    _post(b"Content-Length: 0", b"Content-Length: LENGTH", body=_HIDDEN),
    _post(b"Content-Length: 0, LENGTH", body=_HIDDEN),
    _post(b"Content-Length : LENGTH", body=_HIDDEN),
    _post(b"Content-Length: LENGTH", b"Transfer-Encoding: identity", body=_HIDDEN),
    _post(b"Content-Length: LENGTH", b"Transfer-Encoding: xchunked", body=_LAST + _HIDDEN),
    _post(b"Content-Length: LENGTH", b"Transfer-Encoding : chunked", body=_LAST + _HIDDEN),
    _post(b"Content-Length: LENGTH", b"Transfer-Encoding:\x0bchunked", body=_LAST + _HIDDEN),
    _post(b"Content-Length: LENGTH", b"Transfer_Encoding: chunked", body=_LAST + _HIDDEN),
    _post(
        b"Content-Length: LENGTH", b"X-A: b\r\n Transfer-Encoding: chunked", body=_LAST + _HIDDEN
    ),
    _post(b"Content-Length: LENGTH", b"X-A: b\nTransfer-Encoding: chunked", body=_LAST + _HIDDEN),
    _post(b"Content-Length: LENGTH", b"X-A: b\rTransfer-Encoding: chunked", body=_LAST + _HIDDEN),
    _post(_CHUNKED, b"Transfer-Encoding: cow", body=_chunk(_HIDDEN) + _LAST),
    _post(b"Transfer-Encoding: cow", _CHUNKED, body=_chunk(_HIDDEN) + _LAST),
    _post(b"Transfer-Encoding: chunked, identity", body=_chunk(_HIDDEN) + _LAST),
    _post(b"Transfer-Encoding: gzip, chunked", body=_chunk(_HIDDEN) + _LAST),
    _post(b"Content-Length: LENGTH", b"Connection: Content-Length", body=_HIDDEN),
    _post(_CHUNKED, b"Connection: Transfer-Encoding", body=_chunk(_HIDDEN) + _LAST),
    _post(b"Content-Length: LENGTH", b"Expect: 100-continue", body=_HIDDEN),
    _post(b"Content-Length: LENGTH", b"Upgrade: h2c", b"Connection: upgrade", body=_HIDDEN),
    # Chunk sizes, extensions and trailers.
    _post(_CHUNKED, body=b"5;\nx\r\nhello\r\n" + _chunk(_HIDDEN) + _LAST),
    _post(_CHUNKED, body=b"5\nhello\r\n" + _chunk(_HIDDEN) + _LAST),
    _post(_CHUNKED, body=b'5 ;a="\r\nhello\r\n' + _chunk(_HIDDEN) + _LAST),
    _post(_CHUNKED, body=b"5\r\nhelloXX" + _chunk(_HIDDEN) + _LAST),
    _post(_CHUNKED, body=b"10000000000000000\r\n" + _HIDDEN + _LAST),
    _post(_CHUNKED, body=b"0x0\r\n\r\n" + _HIDDEN + _LAST),
    _post(_CHUNKED, body=_chunk(_HIDDEN) + b"0\r\nContent-Length: 5\r\nX-B: c\r\n\r\n"),
    _post(_CHUNKED, body=_chunk(_HIDDEN) + b"0\r\nX-B: c\r\n\x00: d\r\n\r\n"),
    # A body where many servers expect none, and the oldest of protocols.
    b"GET PATH HTTP/1.1\r\n" + _HEAD + b"Content-Length: LENGTH\r\n\r\n" + _HIDDEN,
    b"HEAD PATH HTTP/1.1\r\n" + _HEAD + b"Content-Length: LENGTH\r\n\r\n" + _HIDDEN,
    b"OPTIONS PATH HTTP/1.1\r\n" + _HEAD + _CHUNKED + b"\r\n\r\n" + _chunk(_HIDDEN) + _LAST,
    b"POST PATH HTTP/1.0\r\n" + _HEAD + _CHUNKED + b"\r\n\r\n" + _chunk(_HIDDEN) + _LAST,
    b"POST PATH HTTP/1.0\r\n" + _HEAD + b"Content-Length: LENGTH\r\n\r\n" + _HIDDEN,
    b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nContent-Length: LENGTH\r\n\r\n" + _HIDDEN,
)

#: A body that is larger than what a server reads of one that nobody wants.
LARGE = _sized(_HIDDEN * 1500)


def filled_in(request: bytes, path: bytes, hidden: bytes = HIDDEN, token: bytes = b"") -> bytes:
    """Put a path, a hidden path and a token's line into a request, and then its length."""
    assert len(hidden) == len(HIDDEN)
    whole = request.replace(b"PATH", path).replace(HIDDEN, hidden).replace(b"TOKEN", token)
    body = whole.partition(b"\r\n\r\n")[2]
    return whole.replace(b"LENGTH", b"%d" % len(body))
