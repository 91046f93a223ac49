"""A gateway's store code that redeems a code and is killed as soon as it has the tokens.

    python -m tests.faults.short_life URL

Prints the access token.
"""

from __future__ import annotations

import os
import signal
import sys

from gateway.config.settings import Store, Tokens
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant, Issued
from gateway.tokens.token import Kind, TokenKeys, new_grant_id


def main() -> None:
    """Open a grant, redeem its code, and end."""
    store = TokenStore(RedisClient(Store(url=sys.argv[1], timeout=5.0)), "gateway", Tokens())
    key = TokenKeys((b"k" * 32,)).newest
    grant = Grant(new_grant_id(), "short", "demo", "project", "file")
    code = key.random(Kind.CODE, grant.grant_id)
    access, refresh = key.derived(Kind.ACCESS, code), key.derived(Kind.REFRESH, code)
    store.open_grant(grant, code, CodeBinding("https://app.example/cb", True, ""))
    sys.stdout.write(access.text)
    sys.stdout.flush()
    issued = store.redeem_code(
        code,
        client_id="short",
        redirect_uri="https://app.example/cb",
        code_challenge="",
        request_id="one",
        access=access,
        refresh=refresh,
        next_refresh=key.derived(Kind.REFRESH, refresh),
    )
    os.kill(os.getpid(), signal.SIGKILL if isinstance(issued, Issued) else signal.SIGTERM)


if __name__ == "__main__":
    main()
