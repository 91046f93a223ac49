"""An operator signs a user out in every browser: ``gateway grant revoke --user … --sessions``."""

from __future__ import annotations

from tests.cli.command_line import run
from tests.support.oauth_client import Browser
from tests.support.running_gateway import RunningGateway
from tests.users.signing_in import is_signed_in


def test_every_session_of_the_user_ends_and_nobody_elses(gateway: RunningGateway) -> None:
    one, two, other = (Browser(gateway.url) for _ in range(3))
    for browser, name in ((one, "zoë"), (two, "zoë"), (other, "demo")):
        assert browser.sign_in(name).status_code == 303
    config = ("--config", gateway.config)
    assert run("grant", "revoke", "--user", "zoë", *config).returncode == 0
    assert is_signed_in(one)
    said = run("grant", "revoke", "--user", "zoë", "--sessions", *config).stdout
    assert said.endswith("and every sign-in session\n")
    assert (is_signed_in(one), is_signed_in(two), is_signed_in(other)) == (False, False, True)
    assert one.sign_in("zoë").status_code == 303
    assert is_signed_in(one)
