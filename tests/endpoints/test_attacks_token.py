"""What is tried with the form of a token, revocation or introspection request."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.endpoints.token_forms import ALL_ENDPOINTS, ENDPOINTS, GOOD, post
from tests.support.assertions import assert_not_cached, assert_refused
from tests.support.oauth_client import FRAPPE, INTROSPECT, REVOKE, TOKEN
from tests.support.parties import Parties
from tests.support.raw import request
from tests.support.running_gateway import SERVICE_SECRET, RunningGateway


@pytest.mark.parametrize("path", ALL_ENDPOINTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_another_method_than_post_is_not_allowed(
    standalone: RunningGateway, method: str, path: str
) -> None:
    answer = requests.request(method, standalone.url + path, params=GOOD, timeout=20)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert_not_cached(answer)


@pytest.mark.parametrize(
    ("path", "status"), [(TOKEN, 204), (REVOKE, 204), (INTROSPECT, 405)], ids=ENDPOINTS
)
def test_scripts_of_other_origins_may_exchange_and_revoke_but_not_introspect(
    standalone: RunningGateway, path: str, status: int
) -> None:
    answer = requests.options(standalone.url + path, timeout=20)
    assert answer.status_code == status
    assert ("Access-Control-Allow-Origin" in answer.headers) == (status == 204)
    assert "Access-Control-Allow-Credentials" not in answer.headers


METADATA = "/.well-known/oauth-authorization-server"


@pytest.mark.parametrize("path", [TOKEN, REVOKE, FRAPPE + "revoke_token", METADATA])
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "GET"])
def test_every_answer_to_scripts_of_other_origins_says_once_that_they_may_read_it(
    gateway: RunningGateway, method: str, path: str
) -> None:
    """Fetch, CORS protocol: a browser takes two values for none. Errors are for reading too."""
    answer = requests.request(
        method,
        gateway.url + path,
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
        data=GOOD if method == "POST" else None,
        timeout=20,
    )
    fields = answer.raw.headers
    assert fields.getlist("Access-Control-Allow-Origin") == ["*"]
    assert fields.getlist("Access-Control-Allow-Credentials") == []
    (exposed,) = fields.getlist("Access-Control-Expose-Headers")
    assert {"WWW-Authenticate", "Retry-After"} <= set(exposed.split(", "))
    if method == "OPTIONS":
        assert answer.status_code == 204
        (allowed,) = fields.getlist("Access-Control-Allow-Headers")
        assert {"Authorization", "Content-Type"} <= set(allowed.split(", "))
        (methods,) = fields.getlist("Access-Control-Allow-Methods")
        assert "POST" in methods.split(", ")


@pytest.mark.parametrize("name", [*GOOD, "client_secret", "refresh_token", "scope"])
def test_a_parameter_in_the_query_is_refused(gateway: RunningGateway, name: str) -> None:
    """RFC 6749 §2.3.1, §3.2: there it would be in every log on the way."""
    form = {key: value for key, value in GOOD.items() if key != name}
    answer = requests.post(
        f"{gateway.url}{TOKEN}?{name}={GOOD.get(name, 'x')}", data=form, timeout=20
    )
    assert_refused(answer, "invalid_request")


@pytest.mark.parametrize(
    ("path", "name"),
    [(INTROSPECT, "token"), (INTROSPECT, "client_secret"), (REVOKE, "client_secret")],
)
def test_a_token_or_secret_in_the_query_of_the_other_endpoints_is_refused(
    standalone: RunningGateway, path: str, name: str
) -> None:
    answer = requests.post(
        f"{standalone.url}{path}?{name}=x",
        data={"token": "x"},
        auth=("service", SERVICE_SECRET),
        timeout=20,
    )
    assert_refused(answer, "invalid_request")


def test_a_query_of_other_names_does_no_harm(parties: Parties) -> None:
    code = parties.code(parties.public)
    answer = parties.public.post(f"{TOKEN}?lang=en&x|y", GOOD | {"code": code})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "content_types",
    [
        ["application/json"],
        ["text/plain"],
        ["multipart/form-data; boundary=x"],
        [""],
        [],
        ["application/x-www-form-urlencoded, application/x-www-form-urlencoded"],
        ["application/x-www-form-urlencoded", "application/json"],
        ["application/json", "application/x-www-form-urlencoded"],
        ["application/x-www-form-urlencodedx"],
    ],
    ids=["json", "text", "multipart", "empty", "none", "listed", "two", "two turned", "longer"],
)
def test_another_content_type_than_a_form_is_refused(
    gateway: RunningGateway, path: str, content_types: list[str]
) -> None:
    answer = request(
        gateway.port,
        path,
        *(f"Content-Type: {each}" for each in content_types),
        "Accept: */*",
        method="POST",
        body=urlencode(GOOD | {"token": "x"}).encode(),
    )
    assert answer.status == 400


def test_the_content_type_may_have_parameters_and_any_case(parties: Parties) -> None:
    answer = parties.public.post(
        TOKEN,
        urlencode(GOOD | {"code": parties.code(parties.public)}),
        headers={"Content-Type": "Application/X-WWW-Form-UrlEncoded; charset=UTF-8"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["grant_type", "code", "redirect_uri", "client_id"])
@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
def test_a_repeated_parameter_is_refused_and_the_code_is_still_good(
    parties: Parties, name: str, *, same: bool
) -> None:
    """RFC 6749 §3.2."""
    form = GOOD | {"code": parties.code(parties.public)}
    body = urlencode([*form.items(), (name, form[name] if same else "x")])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_refused(parties.public.post(TOKEN, body, headers=headers), "invalid_request")
    assert parties.public.post(TOKEN, form).status_code == 200


@pytest.mark.parametrize("name", ["code", "grant_type", "client_id"])
def test_an_empty_repetition_is_a_repetition(standalone: RunningGateway, name: str) -> None:
    """Or the first of two readers would take the one, and the second the other."""
    for body in (f"{name}=&{urlencode(GOOD)}", f"{urlencode(GOOD)}&{name}"):
        answer = post(standalone, body)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("missing", ["grant_type", "code"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_parameter_is_named(
    standalone: RunningGateway, missing: str, *, empty: bool
) -> None:
    form = {**GOOD, missing: ""} if empty else {k: v for k, v in GOOD.items() if k != missing}
    answer = requests.post(standalone.url + TOKEN, form, timeout=20)
    assert_refused(answer, "invalid_request")
    assert missing in answer.json()["error_description"]


@pytest.mark.parametrize(
    "grant_type", ["password", "implicit", "authorization_code ", "*", "A" * 99]
)
def test_any_other_grant_type_is_unsupported(standalone: RunningGateway, grant_type: str) -> None:
    form = GOOD | {"grant_type": grant_type, "username": "demo", "password": "correct horse"}
    answer = requests.post(standalone.url + TOKEN, form, timeout=20)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"unsupported_grant_type", "invalid_request"}


def test_a_client_may_use_only_the_grant_types_it_is_registered_for(parties: Parties) -> None:
    for client, form in (
        (parties.service, GOOD | {"client_id": "service"}),
        (parties.service, {"grant_type": "refresh_token", "refresh_token": "x"}),
        (parties.confidential, {"grant_type": "client_credentials"}),
        (parties.public, {"grant_type": "client_credentials", "client_id": "my-app"}),
    ):
        assert_refused(client.post(TOKEN, form), "unauthorized_client")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("grant_type=%zz&%", id="bad percent"),
        pytest.param("grant_type=authorization_code&code=%ff%fe", id="not utf-8, escaped"),
        pytest.param("grant_type=authorization_code&code=\xff\xfe", id="not utf-8, raw"),
        pytest.param("grant_type=authorization_code&code=a%00b&client_id=my-app", id="NUL"),
        pytest.param("grant_type=authorization_code&client_id=my%0d%0aapp", id="CRLF"),
        pytest.param("grant_type=authorization_code;client_id=my-app;code=x", id="semicolons"),
        pytest.param("&".join(["a=1"] * 65) + "&" + urlencode(GOOD), id="65 fields"),
        pytest.param("&" * 5000, id="nothing, often"),
        pytest.param(urlencode(GOOD | {"code": "x" * 5000}), id="a long code"),
        pytest.param(urlencode(GOOD | {"client_id": "x" * 300}), id="a long client_id"),
        pytest.param(urlencode(GOOD | {"client_id": "gateway:{x}*\\"}), id="a pattern"),
        pytest.param(urlencode(GOOD | {"code": "gwc_" + "*" * 64}), id="a code of stars"),
        pytest.param(urlencode(GOOD | {"code": "gwc_é" + "A" * 63}), id="a code in Latin-1"),
        pytest.param("grant_type[]=authorization_code&code[$ne]=1", id="brackets"),
        pytest.param("", id="nothing"),
        pytest.param("=&=&=", id="no names"),
        pytest.param('{"grant_type": "authorization_code"}', id="json"),
    ],
)
def test_a_malformed_form_is_answered_cleanly(gateway: RunningGateway, body: str) -> None:
    answer = post(gateway, body)
    assert answer.status in {400, 401}
    assert answer.json()["error"] in {"invalid_request", "invalid_client", "invalid_grant"}
    assert answer.values("Cache-Control") == ["no-store"]


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    pairs=st.lists(
        st.tuples(
            st.one_of(st.sampled_from([*GOOD, "refresh_token", "scope", "user"]), st.text()),
            st.one_of(st.sampled_from([*GOOD.values(), "refresh_token"]), st.text()),
        ),
        max_size=8,
    ),
    noise=st.binary(max_size=20),
    authorization=st.one_of(st.none(), st.binary(max_size=40)),
)
def test_no_form_and_no_credentials_give_an_error_of_the_server(
    standalone: RunningGateway,
    pairs: list[tuple[str, str]],
    noise: bytes,
    authorization: bytes | None,
) -> None:
    with_surrogates = urlencode(pairs, errors="surrogatepass").encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if authorization is not None:
        headers["Authorization"] = f"Basic {b64encode(authorization).decode()}"
    for path in (TOKEN, REVOKE):
        answer = requests.post(
            standalone.url + path, with_surrogates + noise, headers=headers, timeout=20
        )
        assert answer.status_code < 500, answer.text


def test_a_chunked_form_is_read(parties: Parties) -> None:
    form = urlencode(GOOD | {"code": parties.code(parties.public)}).encode()
    chunks = iter([form[:7], form[7:]])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert requests.post(parties.url + TOKEN, chunks, headers=headers, timeout=20).ok


def test_every_answer_of_the_endpoints_says_not_to_keep_it(parties: Parties) -> None:
    tokens = parties.tokens(parties.confidential)
    service = parties.service
    for answer in (
        parties.public.redeem(parties.code(parties.public)),
        parties.confidential.refresh(tokens.refresh),
        parties.confidential.introspect(tokens.access),
        parties.confidential.revoke(tokens.access),
        service.post(TOKEN, {"grant_type": "client_credentials"}),
        service.post(TOKEN, {"grant_type": "client_credentials", "scope": "profile"}),
        service.post(FRAPPE + "revoke_token", {}),
        requests.get(parties.url + TOKEN, timeout=20),
    ):
        assert_not_cached(answer)
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("scope", ["profile", "project profile", "nonsense", "project admin x"])
def test_a_client_for_itself_gets_no_scope_that_it_is_not_registered_for(
    parties: Parties, scope: str
) -> None:
    answer = parties.service.post(TOKEN, {"grant_type": "client_credentials", "scope": scope})
    assert_refused(answer, "invalid_scope")
