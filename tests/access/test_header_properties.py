"""Whatever the header, it is read whole, and nothing of the gateway's own is left in it."""

from __future__ import annotations

import re
from ipaddress import ip_network

from hypothesis import assume, given
from hypothesis import strategies as st
from werkzeug.http import parse_cookie

from gateway.access.identity import IdentityHeaders
from gateway.config.settings import Identity
from gateway.http.bearer import MalformedBearer, bearer_token
from gateway.http.peers import TrustedProxies
from tests.support.properties import pure

headers = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40)


@pure
@given(st.one_of(headers, headers.map(lambda rest: f"Bearer {rest}")))
def test_a_bearer_token_is_the_whole_of_its_header(header: str) -> None:
    try:
        token = bearer_token(header)
    except MalformedBearer:
        assert header.lower().startswith("bearer")
        return
    if token is not None:
        assert re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token)
        assert header[6:].strip(" ") == token
        assert header[:6].lower() == "bearer"


cookies = st.lists(
    st.one_of(
        st.sampled_from(["gateway_session=s", ' "gateway_session"=s', "gateway_session =s", "a=1"]),
        st.text("ab=\"' \tgateway_session", max_size=12),
    ),
    max_size=5,
)


@pure
@given(cookies, st.sampled_from([";", "; ", ",", " ;\t"]))
def test_no_reading_of_a_cookie_header_has_the_gateways_own(
    pairs: list[str], separator: str
) -> None:
    identity = IdentityHeaders(Identity(), "", ["gateway_session"])
    left = identity.without_own_cookies(separator.join(pairs))
    assert "gateway_session" not in parse_cookie(left)
    names = [pair.partition("=")[0].strip(" \t\"'") for pair in re.split("[;,]", left)]
    assert "gateway_session" not in names
    kept = [pair.strip(" \t") for pair in pairs if "gateway_session" not in pair]
    assert all(pair in left for pair in kept)


@pure
@given(
    st.lists(st.sampled_from(["X", "FORWARDED", "USER", "x", "user"]), min_size=1, max_size=4),
    st.text("-_.~!#$%&'*+^`|", min_size=1, max_size=1),
    st.booleans(),
)
def test_no_spelling_of_an_identity_header_stays(
    words: list[str], separator: str, trusted: bool
) -> None:
    name = separator.join(words)
    environ = {f"HTTP_{name.upper().replace('-', '_')}": "admin", "HTTP_ACCEPT": "*/*"}
    identity = IdentityHeaders(Identity(user="X-User"), "", [])
    identity.remove(environ, from_trusted_proxy=trusted)
    folded = re.sub(r"[^A-Z0-9]", "_", name.upper())
    assert ("admin" in environ.values()) == (folded not in {"X_USER", "X_FORWARDED_USER"})
    assert environ["HTTP_ACCEPT"] == "*/*"


@pure
@given(st.text(max_size=30), st.ip_addresses(), st.ip_addresses(network="10.0.0.0/8"))
def test_what_a_client_writes_does_not_change_its_address(
    written: str, client: object, proxy: object
) -> None:
    trusted = [ip_network("10.0.0.0/8")]
    proxies = TrustedProxies(trusted)
    chain = f"{written}, {client}"
    address = getattr(client, "ipv4_mapped", None) or client
    assume(address not in trusted[0])
    assert proxies.client_address(str(proxy), chain) == str(address)
    assert proxies.client_address("192.0.2.1", chain) == "192.0.2.1"
