"""The scripts about grants (``lua/``), by name, and their replies."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from gateway.store.redis_client import script

_script = partial(script, "gateway.tokens")

OPEN_GRANT = _script("open_grant")
ISSUE_ACCESS = _script("issue_access")
REDEEM_CODE = _script("redeem_code")
ROTATE_REFRESH = _script("rotate_refresh")
REVOKE_TOKEN = _script("revoke_token")
NOTE_DELIVERY = _script("note_delivery")
TOUCH_GRANT = _script("touch_grant")
LIST_IN_INDEX = _script("list_in_index")
DROP_FROM_INDEX = _script("drop_from_index")
SCAN_INDEX = _script("scan_index")


class Exchanged(NamedTuple):
    """The reply of redeem_code and rotate_refresh.

    ``status`` is ``ok``, ``pending``, or why the code or token was refused; ``stored`` is the
    grant as JSON. Only with ``ok`` there are: when the reply was made (the store's clock), how
    long the access token lives, for how long the indexes have to list the grant (0 if they
    do), the scope, and the number of the key that was used, from 1; of rotate_refresh also 1 for a
    token that was exchanged before from another network.
    """

    status: str
    stored: str
    made_at_ms: int = 0
    access_ms: int = 0
    listing_ms: int = 0
    scope: str = ""
    candidate: int = 1
    is_elsewhere: int = 0


class Revoked(NamedTuple):
    """The reply of revoke_token: ``revoked`` or why not, and the grant as JSON.

    With ``unknown``, ``stored`` is the record of an end, if the grant has ended just now.
    """

    status: str
    stored: str


class Scanned(NamedTuple):
    """The reply of scan_index: the cursor of the next step, ``0`` after the last; grant ids."""

    cursor: str
    grant_ids: list[str]
