"""Nobody is redirected to a URI that the client has not registered (RFC 6749 §3.1.2)."""

from __future__ import annotations

import pytest

from gateway.config.file import client_faults
from gateway.config.settings import Client as ClientSettings
from gateway.config.settings import Settings
from tests.endpoints.authorize.authorization import assert_page
from tests.support.oauth_client import AUTHORIZE, REDIRECT_URI, Browser


@pytest.mark.parametrize(
    "query",
    [
        "client_id=unknown&response_type=code&redirect_uri=https://two.example/cb?kept=yes",
        "client_id=unknown&response_type=code",
        "response_type=code&redirect_uri=https://two.example/cb?kept=yes",
        "client_id=&response_type=code",
        "client_id=two-uris&response_type=code",
        "client_id=two-uris&response_type=code&redirect_uri=",
        "client_id=two-uris&client_id=two-uris&response_type=code&redirect_uri=com.example.two:/cb",
        "client_id=two-uris&client_id=my-app&response_type=code",
        "client_id=my-app&client_id=&response_type=code",
        "client_id=my-app%00&response_type=code",
        "client_id=%20my-app&response_type=code",
        "client_id=My-App&response_type=code",
        "client_id=my-app%C3%A9&response_type=code",
        "client_id=my-app%FF&response_type=code",
        "client_id=service&response_type=code",
        f"client_id=my-app&redirect_uri={REDIRECT_URI}&redirect_uri=https://evil.example/",
        f"client_id=my-app&redirect_uri=https://evil.example/&redirect_uri={REDIRECT_URI}",
        "client_id=my-app&redirect_uri=https://evil.example/&error=access_denied",
        "",
        "&".join(f"a{number}=1" for number in range(100)),
    ],
)
def test_without_a_known_client_and_its_redirect_uri_nobody_is_redirected(
    demo: Browser, nobody: Browser, query: str
) -> None:
    """RFC 6749 §3.1.2.4 and §4.1.2.1: signed in or not."""
    assert_page(demo.get(f"{AUTHORIZE}?{query}"))
    assert_page(nobody.get(f"{AUTHORIZE}?{query}"))


def test_the_only_redirect_uri_is_the_default(demo: Browser) -> None:
    """RFC 6749 §3.1.2.3."""
    denied = demo.get(f"{AUTHORIZE}?client_id=my-app&response_type=token")
    assert denied.headers["Location"].startswith("http://localhost:3000/oauth_code?error=")


NOT_REGISTERED = [
    "https://app.example/cb/",
    "https://app.example/CB",
    "https://app.example/c%62",
    "https://app.example/cb?",
    "https://app.example/cb?x=1",
    "https://app.example/cb#",
    "https://app.example/cb#x",
    "https://app.example/cb%00",
    "https://app.example/cb%0d%0aX: y",
    "https://app.example/cb\r\nX: y",
    "https://app.example/cb\t",
    "https://app.example/cb ",
    " https://app.example/cb",
    "\x00https://app.example/cb",
    "https://app.example/cb;x",
    "https://app.example//cb",
    "https://app.example/./cb",
    "https://app.example/x/../cb",
    "https://app.example/cb/../cb",
    "https://app.example/cb/..%2f..",
    "https://app.example\\cb",
    "https://app.example/cb\\",
    "https://app.example:443/cb",
    "https://app.example:/cb",
    "https://app.example./cb",
    "https://APP.example/cb",
    "HTTPS://app.example/cb",
    "http://app.example/cb",
    "https:/app.example/cb",
    "https:app.example/cb",
    "https:///app.example/cb",
    "//app.example/cb",
    "/cb",
    "app.example/cb",
    "https://user@app.example/cb",
    "https://user:password@app.example/cb",
    "https://app.example@evil.example/cb",
    "https://app.example%40evil.example/cb",
    "https://app.example:x@evil.example/cb",
    "https://app.example.evil.example/cb",
    "https://app.example%2eevil.example/cb",
    "https://app.example%00.evil.example/cb",
    "https://app.example\\@evil.example/cb",
    "https://evil.example/https://app.example/cb",
    "https://evil.example/cb?https://app.example/cb",
    "https://evil.example#https://app.example/cb",
    "https://sub.app.example/cb",
    "https://app.examplé/cb",
    "https://\uff41pp.example/cb",
    "https://app.example/cb https://evil.example/",
    "https://app.example/cb,https://evil.example/",
    "https://app.example/" + "c" * 2100,
    "javascript:alert(1)//https://app.example/cb",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    "\tjavascript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "\ufeffjavascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "DATA:text/html;base64,PHNjcmlwdD4=",
    "file:///etc/passwd",
    "vbscript:x",
    "view-source:https://app.example/cb",
    "blob:https://app.example/cb",
    "about:blank",
    "intent://x#Intent;scheme=https;end",
    "urn:ietf:wg:oauth:2.0:oob",
    "*",
    "null",
]


@pytest.mark.parametrize("uri", NOT_REGISTERED)
def test_a_redirect_uri_is_compared_character_for_character(demo: Browser, uri: str) -> None:
    """RFC 9700 §2.1; what is not registered stands on the page at most as text."""
    answer = demo.authorize(client_id="pkce-app", response_type="code", redirect_uri=uri, state="s")
    assert_page(answer)
    assert "javascript:" not in str(answer.headers)
    assert "<script" not in answer.text


@pytest.mark.parametrize("uri", [*NOT_REGISTERED[:5], "https://evil.example/", "javascript:x"])
def test_a_posted_redirect_uri_is_compared_no_less(demo: Browser, uri: str) -> None:
    fields = {"client_id": "pkce-app", "response_type": "code", "redirect_uri": uri}
    assert_page(demo.post(AUTHORIZE, {**fields, "decision": "deny"}))


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/cb",
        "http://127.0.0.1:80/cb",
        "http://127.0.0.1:1/cb",
        "http://127.0.0.1:51004/cb",
        "http://127.0.0.1:65535/cb",
        "http://[::1]/cb",
        "http://[::1]:51004/cb",
    ],
)
def test_a_loopback_redirect_may_have_any_port(demo: Browser, uri: str) -> None:
    """RFC 8252 §7.3."""
    page = demo.authorize(
        client_id="native", response_type="code", redirect_uri=uri, scope="project"
    )
    assert page.status_code == 200
    assert demo.decide(page, "deny").headers["Location"].startswith(f"{uri}?error=access_denied")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1/cb/",
        "http://127.0.0.1/other",
        "http://127.0.0.1:51004/other",
        "http://127.0.0.1:51004/cb?x=1",
        "http://127.0.0.1:51004/cb?",
        "http://127.0.0.1:51004/cb#x",
        "http://127.0.0.1:51004/x/../cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:000001/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:80:90/cb",
        "http://127.0.0.1:8\u0660/cb",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.0.0.1@evil.example/cb",
        "http://evil@127.0.0.1/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1.evil.example:80/cb",
        "http://127.0.0.1\\.evil.example/cb",
        "http://127.0.0.2/cb",
        "http://127.1/cb",
        "http://0x7f.0.0.1/cb",
        "http://2130706433/cb",
        "http://0.0.0.0/cb",
        "http://localhost/cb",
        "http://localhost:51004/cb",
        "http://localhost@evil.example/cb",
        "http://[::1]:80@evil.example/cb",
        "http://[::1].evil.example/cb",
        "http://[0:0:0:0:0:0:0:1]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "https://127.0.0.1/cb",
        "https://127.0.0.1:51004/cb",
        "HTTP://127.0.0.1/cb",
    ],
)
def test_a_loopback_redirect_differs_in_nothing_but_its_port(demo: Browser, uri: str) -> None:
    assert_page(demo.authorize(client_id="native", response_type="code", redirect_uri=uri))


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost/cb",
        "http://localhost:7001/cb",
        "http://localhost:7000@evil.example/cb",
        "http://localhost:70000/cb",
        "http://localhost.evil.example:7000/cb",
        "http://localhost.:7000/cb",
        "http://127.0.0.1:7000/cb",
    ],
)
def test_the_name_localhost_is_registered_with_its_port(demo: Browser, uri: str) -> None:
    """RFC 8252 §8.3: the name is no address, so nothing of it may differ."""
    assert_page(demo.authorize(client_id="local", response_type="code", redirect_uri=uri))


@pytest.mark.parametrize(
    "uri",
    [
        *(uri for uri in NOT_REGISTERED if not uri.startswith("https://") and "urn:" not in uri),
        "https://app.example/cb#x",
        "https://app.example/x/../cb",
        "https://app.example/x/%2e%2e/cb",
        "https://user@app.example/cb",
        "https://app.example\\@evil.example/cb",
        "https://app.example/cb\x7f",
        "https://app.exa%6dple/cb",
        "https://app.example:/cb",
        "https://app.example:0000443/cb",
        "https://app!.example/cb",
        "https://[::1]evil.example/cb",
        "https://[::1%25eth0]/cb",
        "https://app..example/cb",
        "http://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.1/cb",
        "ws://app.example/cb",
        "",
        ":",
        "myapp:",
        "myapp://",
    ],
)
def test_what_no_answer_may_be_sent_to_cannot_be_registered(uri: str) -> None:
    settings = Settings(
        issuer="https://gateway.test", secret_keys=(b"k" * 32,), scopes={"project": "Words"}
    )
    client = ClientSettings.model_construct(
        client_id="app", name="App", redirect_uris=(uri,), scopes=("project",)
    )
    [fault] = client_faults(client, settings)
    assert "redirect_uris" in fault
