"""The forms that the tests post to the token, revocation and introspection endpoints."""

from __future__ import annotations

from tests.support.oauth_client import FRAPPE, INTROSPECT, REVOKE, TOKEN
from tests.support.raw import RawResponse, request
from tests.support.running_gateway import RunningGateway

FORM = "Content-Type: application/x-www-form-urlencoded"
ENDPOINTS = [TOKEN, REVOKE, INTROSPECT]
ALL_ENDPOINTS = [*ENDPOINTS, FRAPPE + "get_token", FRAPPE + "revoke_token"]
GOOD = {
    "grant_type": "authorization_code",
    "code": "gwc_" + "A" * 64,
    "redirect_uri": "http://localhost:3000/oauth_code",
    "client_id": "my-app",
}


def post(gateway: RunningGateway, body: str | bytes, *headers: str) -> RawResponse:
    data = body.encode("latin-1") if isinstance(body, str) else body
    return request(gateway.port, TOKEN, *(headers or (FORM,)), method="POST", body=data)
