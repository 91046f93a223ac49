"""The authorization endpoint of a running gateway, asked for one redirection URI after another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import parse_qsl, quote_from_bytes

from tests.fuzz.redirects.corpus import REGISTERED
from tests.support.oauth_client import AUTHORIZE, Browser
from tests.support.running_gateway import running_gateway

_PATIENCE_SECONDS = 20.0
#: What nobody has to escape in a query, however odd it is: all but the characters that end a
#: parameter or the target, and what is no printable ASCII.
_LEFT_AS_THEY_ARE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "%&+#;")


@dataclass(frozen=True)
class Answer:
    """What the gateway answered."""

    status: int
    locations: list[str]
    kind: str
    text: str

    def is_error_page(self) -> bool:
        """Tell whether it is a page for the user that leads nowhere."""
        return (
            self.status == 400
            and not self.locations
            and self.kind.startswith("text/html")
            and not re.search(
                r"http-equiv=.?refresh|<script|<a [^>]*javascript:", self.text, re.IGNORECASE
            )
        )

    def answers_at(self, uri: str, names: set[str]) -> bool:
        """Tell whether it is a redirect to exactly ``uri``, with these parameters and no others."""
        if self.status not in {302, 303} or len(self.locations) != 1:
            return False
        joint = "" if uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
        beginning = uri + joint
        parameters = parse_qsl(self.locations[0].removeprefix(beginning), strict_parsing=True)
        return self.locations[0].startswith(beginning) and {name for name, _ in parameters} == names


@dataclass
class Endpoint:
    """The endpoint, as a browser sees it in which somebody is signed in, and in which nobody is."""

    gateway: str
    connection: HTTPConnection
    cookie: str

    def ask(self, uri: bytes, *, response_type: str, signed_in: bool, plain: bool) -> Answer:
        """Send an authorization request; ``plain`` escapes no more of the URI than it must."""
        escaped = quote_from_bytes(uri, safe=_LEFT_AS_THEY_ARE if plain else "")
        target = (
            f"{AUTHORIZE}?client_id=fuzz&response_type={response_type}&scope=project&state=s"
            f"&redirect_uri={escaped}"
        )
        headers = {"Cookie": self.cookie} if signed_in else {}
        try:
            return self._get(target, headers)
        except (HTTPException, ConnectionError):
            # The server may end a connection that it has kept.
            self.connection.close()
            return self._get(target, headers)

    def _get(self, target: str, headers: dict[str, str]) -> Answer:
        self.connection.request("GET", target, headers=headers)
        response = self.connection.getresponse()
        text = response.read().decode(errors="replace")
        locations = response.headers.get_all("Location", []) + response.headers.get_all(
            "Refresh", []
        )
        return Answer(response.status, locations, response.headers.get("Content-Type", ""), text)


@contextmanager
def endpoint(folder: Path, registered: Iterable[bytes] = REGISTERED) -> Iterator[Endpoint]:
    """Run a gateway with a client that has these redirection URIs."""
    with running_gateway("standalone", folder, extra=_client(registered)) as gateway:
        browser = Browser(gateway.url)
        with browser.session:
            assert browser.sign_in().status_code == 303
            cookie = "; ".join(f"{each.name}={each.value}" for each in browser.session.cookies)
        connection = HTTPConnection("127.0.0.1", gateway.port, timeout=_PATIENCE_SECONDS)
        yield Endpoint(gateway.url, connection, cookie)
        connection.close()


def _client(registered: Iterable[bytes]) -> str:
    return f"""
[[clients]]
client_id = "fuzz"
name = "Fuzz"
redirect_uris = {[uri.decode() for uri in registered]!r}
scopes = ["project"]
pkce = "optional"
skip_consent = true
"""
