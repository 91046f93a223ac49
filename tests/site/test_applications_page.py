"""What the applications page says of each: since when it has access, and when it last used it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from time import sleep
from typing import NamedTuple

from redis import Redis
from requests import Response

from tests.support.oauth_client import Client, form_of
from tests.support.parties import Parties, Tokens, signed_in_browser
from tests.support.serving import serving, slow_backend
from tests.support.store import embedded, grant_id, grant_key, stored_grant

LONG_AGO = datetime(2024, 2, 29, 23, 58, tzinfo=UTC)
LATER = datetime(2025, 1, 1, 0, 1, tzinfo=UTC)
LATER_STILL = datetime(2025, 7, 8, 9, 10, tzinfo=UTC)
LATEST = datetime(2025, 12, 31, 13, 14, tzinfo=UTC)


class Entry(NamedTuple):
    """What the page says of one application."""

    name: str
    allowed: str
    last_used: str


def shown(parties: Parties) -> dict[str, Entry]:
    """Return the entries of the user's page in their order, by the client that each is about."""
    page = parties.browser.get("/oauth/applications")
    assert page.status_code == 200
    return dict(_entry(item) for item in page.text.split("<h2 ")[1:])


def _entry(item: str) -> tuple[str, Entry]:
    (name,) = re.findall(r"<bdi[^>]*>([^<]*)</bdi></h2>", item)
    rows = dict(re.findall(r"<dt>([^<]*)</dt>\s*<dd>([^<]*)</dd>", item))
    (client,) = re.findall(r'name="client_id" value="([^"]*)"', item)
    return client, Entry(unescape(name), rows["Allowed"], rows["Last used"])


def take_back(parties: Parties, client_id: str) -> Response:
    """Press the button of the application, if the page has one."""
    page = parties.browser.get("/oauth/applications")
    return parties.browser.post(
        "/oauth/applications", {**form_of(page).fields, "client_id": client_id}
    )


def alone(parties: Parties, client: Client) -> Tokens:
    """Give the client tokens of a grant that is its only one."""
    parties.tokens(client)
    take_back(parties, client.client_id)
    return parties.tokens(client)


def set_times(redis: Redis, grant: str, *, since: datetime, used: datetime) -> None:
    """Have the grant been allowed and used at these times."""
    times = {"since": int(since.timestamp()), "used": int(used.timestamp())}
    redis.set(grant_key(grant), json.dumps(stored_grant(redis, grant) | times), keepttl=True)


def as_shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def by_the_store(redis: Redis) -> str:
    """Return what the page would say of this moment."""
    (seconds, _) = redis.time()
    return as_shown(datetime.fromtimestamp(seconds, UTC))


def test_each_application_is_shown_with_its_own_dates_the_newest_first(
    parties: Parties, redis: Redis
) -> None:
    newer = grant_id(alone(parties, parties.confidential).access)
    older = grant_id(alone(parties, parties.public).access)
    set_times(redis, older, since=LONG_AGO, used=LATEST)
    set_times(redis, newer, since=LATER, used=LATER_STILL)
    entries = shown(parties)
    assert entries["my-app"] == Entry("My App", "2024-02-29 23:58 UTC", "2025-12-31 13:14 UTC")
    assert entries["confidential"] == Entry(
        "A Confidential App", "2025-01-01 00:01 UTC", "2025-07-08 09:10 UTC"
    )
    order = [each for each in entries if each in {"my-app", "confidential"}]
    assert order == ["confidential", "my-app"]


def test_looking_at_the_page_is_no_use(parties: Parties, redis: Redis) -> None:
    grant = grant_id(alone(parties, parties.public).access)
    set_times(redis, grant, since=LONG_AGO, used=LATER)
    first = shown(parties)["my-app"]
    assert shown(parties)["my-app"] == first == Entry("My App", as_shown(LONG_AGO), as_shown(LATER))


def test_a_use_of_the_access_token_moves_the_last_use_of_its_application_alone(
    parties: Parties, redis: Redis
) -> None:
    tokens, others = (alone(parties, each) for each in (parties.public, parties.confidential))
    grant, other = grant_id(tokens.access), grant_id(others.access)
    # Each application's uses are noted by themselves, however soon after the other's.
    assert parties.is_valid(others.access)
    for each in (grant, other):
        set_times(redis, each, since=LONG_AGO, used=LATER)
    before = by_the_store(redis)
    assert parties.is_valid(tokens.access)
    entries = shown(parties)
    assert entries["my-app"].allowed == as_shown(LONG_AGO)
    assert entries["my-app"].last_used in {before, by_the_store(redis)}
    assert entries["confidential"] == Entry(
        "A Confidential App", as_shown(LONG_AGO), as_shown(LATER)
    )


def test_a_refresh_moves_the_last_use_alone(parties: Parties, redis: Redis) -> None:
    tokens = alone(parties, parties.public)
    grant = grant_id(tokens.refresh)
    set_times(redis, grant, since=LONG_AGO, used=LATER)
    before = by_the_store(redis)
    assert parties.public.refresh(tokens.refresh).status_code == 200
    entry = shown(parties)["my-app"]
    assert entry.allowed == as_shown(LONG_AGO)
    assert entry.last_used in {before, by_the_store(redis)}


def test_a_use_right_after_one_that_was_noted_is_not(parties: Parties, redis: Redis) -> None:
    """The store is written to once a minute, not with every request."""
    tokens = alone(parties, parties.public)
    grant = grant_id(tokens.access)
    assert parties.is_valid(tokens.access)
    set_times(redis, grant, since=LONG_AGO, used=LATER)
    assert parties.is_valid(tokens.access)
    assert shown(parties)["my-app"].last_used == as_shown(LATER)


def test_a_use_a_while_after_one_that_was_noted_is_noted_again(tmp_path: Path) -> None:
    """A minute after it; here that is no time at all."""
    at_once = "import gateway.token_store as store\nstore._TOUCH_SECONDS = 0.05"
    with (
        slow_backend(tmp_path) as backend,
        serving(tmp_path, backend, at_once) as served,
        embedded(tmp_path / "data") as redis,
    ):
        parties = Parties(served.url, signed_in_browser(served.url))
        tokens = parties.tokens(parties.public)
        grant = grant_id(tokens.access)
        for _ in range(2):
            set_times(redis, grant, since=LONG_AGO, used=LATER)
            before = by_the_store(redis)
            assert parties.public.get("/x", tokens.access).status_code == 200
            entry = shown(parties)["my-app"]
            assert entry.allowed == as_shown(LONG_AGO)
            assert entry.last_used in {before, by_the_store(redis)}
            sleep(0.1)
