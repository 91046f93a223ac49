"""A user takes back the access of an application, and nobody else does."""

from __future__ import annotations

from tests.support.oauth_client import Browser, Client, form_of
from tests.support.running_gateway import RunningGateway
from tests.users.signing_in import APPLICATIONS


def test_access_is_taken_back_by_its_user_and_by_nobody_else(gateway: RunningGateway) -> None:
    owner, other = Browser(gateway.url), Browser(gateway.url)
    owner.sign_in()
    other.sign_in("zoë")
    client = Client(gateway.url)
    token = client.redeem(owner.code()).json()["access_token"]
    others_token = client.redeem(other.code()).json()["access_token"]
    proof = form_of(owner.get(APPLICATIONS)).fields["csrf_token"]
    others_proof = form_of(other.get(APPLICATIONS)).fields["csrf_token"]

    # Another user's proof; none.
    for bad in (others_proof, "", "x"):
        refused = owner.post(APPLICATIONS, {"csrf_token": bad, "client_id": "my-app"})
        assert refused.status_code == 403
    nobody = Browser(gateway.url).post(APPLICATIONS, {"csrf_token": proof, "client_id": "my-app"})
    assert nobody.status_code == 303
    assert owner.get(f"{APPLICATIONS}?csrf_token={proof}&client_id=my-app").status_code == 200
    assert client.get("/private", token).status_code == 200

    taken = owner.post(APPLICATIONS, {"csrf_token": proof, "client_id": "my-app"})
    assert (taken.status_code, taken.headers["Location"]) == (303, APPLICATIONS)
    assert client.get("/private", token).status_code == 401
    assert client.get("/private", others_token).status_code == 200
    assert "My App" not in owner.get(APPLICATIONS).text
    assert "My App" in other.get(APPLICATIONS).text
