"""Small changes to the bytes of a request, of the kinds that have confused parsers before.

An operator takes a random source and the bytes, and returns other bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

Operator = Callable[[Random, bytes], bytes]

_ODD_BYTES = tuple(b"\r\n\x00\t \x0b\x0c\x7f\x80\x85\xa0\xff,;:\"\\#?%/_'()@[]{}0-+xX")
_LINE_ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\r\n ", b"\r\n\t", b"\x00\r\n", b"")
_SPACES = (b"", b"  ", b"\t", b" \t", b"\x0b", b"\x0c", b"\r", b"\xa0", b"\x85", b"\x00", b"\r\n ")

METHODS = (
    *(b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"),
    *(b"PROPFIND", b"get", b"Get", b"G", b"GE(T", b"GET\x00", b"M-SEARCH", b"PRI", b"#GET", b""),
)
TARGETS = (
    *(b"/", b"//", b"///a", b"//evil.example/a", b"*", b"/*", b"h:80", b"http://h/a", b"http://h"),
    *(b"http://h:80/a?b", b"HTTP://H/a", b"https://h/a", b"http://u@h/a", b"ftp://h/a", b"://h"),
    *(b"/a?b", b"/a??b", b"/?", b"/a#b", b"/a;b", b"/a%2fb", b"/a%00", b"/%", b"/a\\b", b"/a b"),
    *(b"/\xe9", b"/a\x7f", b"/a\x00b", b"/a\tb", b"/a\x0bb", b"/../a", b"/a|b", b"/[a", b"//[a/"),
    *(b"", b"a", b"?a", b"/\xe2\x80\xa8", b'/a"<>^`{}', b"/" + b"a" * 300, b"http://[::1/a"),
)
VERSIONS = (
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/2"),
    *(
        b"http/1.1",
        b"HTTP/1.10",
        b"HTTP/01.1",
        b"HTTP/1,1",
        b"HTTP/1.1 ",
        b"HTTP/1.1\t",
        b"HTTP/\xb2.1",
    ),
    *(b"HTTP /1.1", b"HTTP/1.1 HTTP/1.1", b"", b"HTTP/1.", b"HTTP/+1.1", b"HTTPS/1.1", b"ICY/1.1"),
)
_LENGTHS = (
    *(b"0", b"1", b"5", b"05", b"00000000000000000000000005", b"+5", b"-5", b"-0", b"0x5", b"5.0"),
    *(b"5 ", b" 5", b"5 5", b"5,5", b"5, 6", b"5;5", b"5e0", b"1_0", b"\xb2", b"\xbc", b"'5'", b""),
    *(b"\xd9\xa5", b"18446744073709551616", b"9" * 19, b"9" * 25, b"9" * 4400, b"5\x00", b"5\x0b"),
)
_CODINGS = (
    *(b"chunked", b"Chunked", b"CHUNKED", b"xchunked", b"chunked ", b" chunked", b"\tchunked"),
    *(b"\x0bchunked", b"chunked\x0b", b"\x00chunked", b"chunked\x00", b"chunked;q=1", b"chunked;"),
    *(b"chunked, chunked", b"identity, chunked", b"chunked, identity", b"gzip, chunked"),
    *(
        b"chunked, gzip",
        b"identity",
        b"gzip",
        b"",
        b",chunked",
        b"chunked,",
        b"chunked,,",
        b"chun ked",
    ),
    *(
        b'"chunked"',
        b"chunked\xa0",
        b"\xefchunked",
        b"chunk\xe9d",
        b"cow, chunked",
        b"chunked\r\n ",
    ),
)
_FRAMING_NAMES = (
    *(
        b"Content-Length",
        b"content-length",
        b"CONTENT-LENGTH",
        b"Content_Length",
        b"Content-Length ",
    ),
    *(b" Content-Length", b"Content-Length\t", b"\x00Content-Length", b"Content-Length\x00"),
    *(b"Transfer-Encoding", b"transfer-encoding", b"Transfer_Encoding", b"Transfer-Encoding "),
    *(
        b" Transfer-Encoding",
        b"\tTransfer-Encoding",
        b"Transfer\xadEncoding",
        b"Transfer-Encoding\x0b",
    ),
)
_HOSTS = (
    *(
        b"h",
        b"H",
        b"h:80",
        b"h:",
        b"h:99999",
        b":80",
        b"",
        b"a,b",
        b"a b",
        b"a/b",
        b"u@h",
        b"[::1]",
    ),
    *(
        b"[::1]:80",
        b"[",
        b"h\x00",
        b"h\xe9",
        b"h#",
        b"h?",
        b"127.1",
        b"h%00",
        b"h\\x",
        b"h;a",
        b"." * 300,
    ),
)
_LINES = (
    *(b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: x", b"Connection: close"),
    *(b"Connection: keep-alive", b"Connection: close, x", b"Connection: Content-Length"),
    *(b"Connection: Transfer-Encoding, Host", b"Connection: upgrade", b"Upgrade: h2c"),
    *(b"Upgrade: websocket", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"TE: trailers", b"TE: chunked"),
    *(b"Trailer: Content-Length", b"Keep-Alive: timeout=9", b"Proxy-Connection: keep-alive"),
    *(
        b"X-A: b",
        b"X_A: b",
        b"X.A: b",
        b"x-a:b",
        b"X-A:",
        b"X-A:\tb\t",
        b"X-A: \x85b\xa0",
        b"X-A : b",
    ),
    *(
        b"X-A",
        b": b",
        b" X-A: b",
        b"X A: b",
        b"\xe9: b",
        b"X-A: b\x00c",
        b"X-A: \x1b",
        b"X-A: \xff",
    ),
    *(
        b"Content-Type: a/b",
        b"content-type: c/d",
        b"Cookie: a=b",
        b"Cookie: c=d",
        b"Script-Name: /a",
    ),
    *(
        b"Transfer-Encoding: chunked\nX-A: b",
        b"X-A: b\rTransfer-Encoding: chunked",
        b"GET / HTTP/1.1",
    ),
    *(b"X-Forwarded-User: admin", b"X-HTTP-Method-Override: DELETE", b"Content-Encoding: gzip"),
)
_CHUNK_SIZES = (
    *(b"0", b"00", b"1", b"5", b"05", b"000000000000000000000005", b"A", b"a", b"g", b"+5", b"-5"),
    *(
        b"0x5",
        b"5 ",
        b" 5",
        b"5\t",
        b"5;",
        b"5;a",
        b"5;a=b",
        b'5;a="b"',
        b'5;a="\r\n"',
        b"5;a=\x00",
    ),
    *(b"5;\n", b"5;a\n", b"5; a", b"5 ;a", b"5;a b", b"", b"\xb2", b"5_0", b"5.0", b"ffffffff"),
    *(b"10000000000000005", b"fffffffffffffffff0", b"5\r", b"5\n", b'5;a="b', b"5,5", b"5;a=b;c=d"),
)
_NUMBER = re.compile(rb"[0-9]+")
_SIZE_LINE = re.compile(rb"(?<=\r\n)[0-9A-Fa-f]+(?=\r\n)")
_REQUEST_LINE = re.compile(rb"([^ \r\n]*) ([^ \r\n]*) ([^\r\n]*)\r\n")


def _place(random: Random, data: bytes) -> int:
    return random.randint(0, len(data))


def _span(random: Random, data: bytes, longest: int = 24) -> tuple[int, int]:
    start = _place(random, data)
    return start, min(len(data), start + random.randint(1, longest))


def insert_odd_byte(random: Random, data: bytes) -> bytes:
    place = _place(random, data)
    return data[:place] + bytes([random.choice(_ODD_BYTES)]) + data[place:]


def replace_byte(random: Random, data: bytes) -> bytes:
    place = _place(random, data)
    byte = random.choice(_ODD_BYTES) if random.random() < 0.7 else random.randrange(256)
    return data[:place] + bytes([byte]) + data[place + 1 :]


def drop_span(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[end:]


def repeat_span(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data, 60)
    return data[:end] + data[start:end] + data[end:]


def cut_off(random: Random, data: bytes) -> bytes:
    return data[: _place(random, data)]


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def drop_line(random: Random, data: bytes) -> bytes:
    lines = _lines(data)
    if lines:
        del lines[random.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(random: Random, data: bytes) -> bytes:
    lines = _lines(data)
    if lines:
        lines.insert(random.randint(0, len(lines)), random.choice(lines))
    return b"".join(lines)


def swap_lines(random: Random, data: bytes) -> bytes:
    lines = _lines(data)
    if len(lines) > 1:
        first, second = random.sample(range(len(lines)), 2)
        lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def _replace_one(random: Random, data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace one occurrence of ``old``, if there is any."""
    found = [match.start() for match in re.finditer(re.escape(old), data)]
    if not found:
        return data
    start = random.choice(found)
    return data[:start] + new + data[start + len(old) :]


def change_line_end(random: Random, data: bytes) -> bytes:
    return _replace_one(random, data, b"\r\n", random.choice(_LINE_ENDS))


def change_every_line_end(random: Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", random.choice((b"\n", b"\r", b"\r\r\n")))


def change_space(random: Random, data: bytes) -> bytes:
    return _replace_one(random, data, b" ", random.choice(_SPACES))


def space_around_colon(random: Random, data: bytes) -> bytes:
    before, after = random.choice(_SPACES), random.choice(_SPACES)
    return _replace_one(random, data, b":", before + b":" + after)


def change_case(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[start:end].swapcase() + data[end:]


def _change_request_line(random: Random, data: bytes, part: int, values: Sequence[bytes]) -> bytes:
    line = _REQUEST_LINE.match(data)
    if line is None:
        return data
    start, end = line.span(part)
    return data[:start] + random.choice(values) + data[end:]


def change_method(random: Random, data: bytes) -> bytes:
    return _change_request_line(random, data, 1, METHODS)


def change_target(random: Random, data: bytes) -> bytes:
    return _change_request_line(random, data, 2, TARGETS)


def change_version(random: Random, data: bytes) -> bytes:
    return _change_request_line(random, data, 3, VERSIONS)


def _insert_line(random: Random, data: bytes, line: bytes) -> bytes:
    """Put a line into the head, seldom anywhere else."""
    lines = _lines(data)
    head = next((number for number, each in enumerate(lines) if each == b"\r\n"), len(lines))
    place = random.randint(min(1, head), head)
    if random.random() < 0.05:
        place = random.randint(0, len(lines))
    return b"".join([*lines[:place], line + b"\r\n", *lines[place:]])


def add_line(random: Random, data: bytes) -> bytes:
    return _insert_line(random, data, random.choice(_LINES))


def add_framing(random: Random, data: bytes) -> bytes:
    name = random.choice(_FRAMING_NAMES)
    values = _LENGTHS if b"ength" in name.lower() else _CODINGS
    space = random.choice((b" ", b" ", b"", b"\t", b"\x0b"))
    return _insert_line(random, data, name + b":" + space + random.choice(values))


def add_host(random: Random, data: bytes) -> bytes:
    name = random.choice((b"Host", b"host", b"HOST", b"Host ", b" Host", b"X-Forwarded-Host"))
    return _insert_line(random, data, name + b": " + random.choice(_HOSTS))


def change_value(random: Random, data: bytes) -> bytes:
    """Give the framing or the Host another value."""
    name, values = random.choice(
        ((b"Content-Length", _LENGTHS), (b"Transfer-Encoding", _CODINGS), (b"Host", _HOSTS))
    )
    field = re.compile(rb"(?<=\r\n" + name + rb": )[^\r\n]*", re.IGNORECASE)
    return field.sub(lambda _: random.choice(values), data, count=1)


def change_number(random: Random, data: bytes) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    number = random.choice(found)
    value = int(number[0][:18])
    near = (b"%d" % (value + 1), b"%d" % max(0, value - 1), b"0%d" % value, b"%d0" % value)
    return data[: number.start()] + random.choice((*near, *_LENGTHS)) + data[number.end() :]


def change_chunk_size(random: Random, data: bytes) -> bytes:
    found = list(_SIZE_LINE.finditer(data))
    if not found:
        return data
    size = random.choice(found)
    return data[: size.start()] + random.choice(_CHUNK_SIZES) + data[size.end() :]


def lengthen(random: Random, data: bytes) -> bytes:
    """Make a field, the target or the number of fields as long as a limit, or longer."""
    size = random.choice((300, 4000, 8150, 8190, 8200, 16_380, 16_400))
    kind = random.randrange(3)
    if kind == 0:
        return _insert_line(random, data, b"X-Long: " + b"b" * size)
    if kind == 1:
        return _replace_one(random, data, b"/", b"/" + b"a" * size)
    count = random.choice((90, 97, 98, 99, 100, 101, 200))
    return _insert_line(random, data, b"\r\n".join([b"X-A: b"] * count))


#: Those that come often, and those that rarely leave anything to read.
OPERATORS: tuple[Operator, ...] = (
    *(insert_odd_byte, replace_byte, drop_span, repeat_span, drop_line, repeat_line, swap_lines),
    *(change_line_end, change_space, space_around_colon, change_case, change_method),
    *(change_target, change_version, add_line, add_framing, add_host, change_value),
    *(change_number, change_chunk_size),
) * 3 + (change_every_line_end, cut_off, lengthen)


def mutated(random: Random, data: bytes, others: Sequence[bytes] = (), most: int = 3) -> bytes:
    """Apply up to ``most`` operators, sometimes none; ``others`` may be spliced in."""
    for _ in range(random.choice((0, *range(1, most + 1), 1))):
        if others and random.random() < 0.08:
            data = _spliced(random, data, random.choice(others))
        else:
            data = random.choice(OPERATORS)(random, data)
    return data


def _spliced(random: Random, data: bytes, other: bytes) -> bytes:
    """Join the beginning of one request and the end of another."""
    return data[: _place(random, data)] + other[_place(random, other) :]
