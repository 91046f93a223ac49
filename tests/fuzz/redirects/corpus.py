"""Redirection URIs to ask for: registered ones, and what attackers make of them.

The file ``bypasses.txt`` holds the ways that are only text. Here are those that need code, and
mixtures of all of them. URIs are bytes, since a query can carry any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

#: What the client of the fuzzer has registered.
REGISTERED: tuple[bytes, ...] = (
    b"https://app.example/cb",
    b"https://app.example/cb/deep?kept=yes",
    b"https://xn--bcher-kva.example:8443/cb",
    b"http://localhost:3000/oauth_code",
    b"http://127.0.0.1/cb",
    b"http://127.0.0.1:4711/with/port?q=1",
    b"http://[::1]/cb",
    b"com.example.app:/oauth2redirect",
    b"com.example.app://host/path",
)

_BYPASSES: tuple[str, ...] = tuple(
    line.encode().decode("unicode_escape")
    for line in (Path(__file__).parent / "bypasses.txt").read_text().splitlines()
    if line and not line.startswith("# ")
)
_PARTS = re.compile(
    r"(?P<scheme>[^:]*):?(?P<slashes>(?://)?)(?P<host>[^/?]*)(?P<path>[^?]*)(?P<query>.*)",
    re.DOTALL,
)
_ODD_BYTES = b"/\\@:#?%;.[] \t\x00\xffaZ09&+="


def bypasses(uri: bytes) -> Iterator[bytes]:
    """Make what each line of the file makes of ``uri``."""
    text = uri.decode("latin-1")
    parts = _PARTS.fullmatch(text)
    assert parts is not None
    folder, _, name = parts["path"].rpartition("/")
    more = {"uri": text, "folder": folder, "name": name, "mark": "&" if "?" in text else "?"}
    bare = re.sub(r":[0-9]+$", "", parts["host"])
    for bypass in _BYPASSES:
        yield bypass.format(**parts.groupdict(), **more, bare=bare).encode("latin-1")


def spellings(uri: bytes) -> Iterator[bytes]:
    """Write the same URI otherwise: case, escapes, letters that look alike, and lengths."""
    yield from (uri.upper(), uri.title(), uri.swapcase(), uri.replace(b"/", b"\\"), uri[::-1])
    yield b"".join(b"%%%02x" % byte for byte in uri)
    yield from (uri.replace(each, b"%%%02x" % each[0]) for each in (b"/", b":", b".", b"a", b"e"))
    yield from (uri.replace(each, b"%%25%02x" % each[0]) for each in (b"/", b":", b"."))
    # Full-width forms, an ideographic full stop, Cyrillic, accents, escapes of other languages.
    yield uri.decode("latin-1").translate({code: code + 0xFEE0 for code in range(33, 127)}).encode()
    yield uri.replace(b".", b"\xe3\x80\x82")
    yield from (uri.replace(b"a", a, 1) for a in (b"\xd0\xb0", b"\xc3\xa0", b"a\xcc\x80", b"&#97;"))
    yield from (uri.replace(b"e", e) for e in (b"\xd0\xb5", b"\xe2\x84\xaf", b"\\u0065", b"\\x65"))
    yield from (uri[1:], uri[:-1], uri[: len(uri) // 2], uri.decode("latin-1").encode("utf-16"))
    yield from (uri + b"/" * 2000, uri + b"a" * 2100)


def _corpus() -> tuple[bytes, ...]:
    made = [each for uri in REGISTERED for way in (bypasses, spellings) for each in way(uri)]
    others = list(dict.fromkeys(each for each in made if each not in REGISTERED))
    # In an order in which the first hundred are of every kind.
    Random(0).shuffle(others)
    return (*REGISTERED, *others)


#: The registered URIs, and all that is made of them.
CORPUS: tuple[bytes, ...] = _corpus()


def made_at_random(random: Random) -> bytes:
    """Return a URI of the corpus that one more bypass has been at, or a small change of bytes."""
    uri = random.choice(CORPUS)
    if random.random() < 0.5:
        return random.choice(list(bypasses(uri)))
    place = random.randint(0, len(uri))
    odd = bytes([random.choice(_ODD_BYTES)])
    return uri[:place] + odd + uri[place + random.randint(0, 1) :]
