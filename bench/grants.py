"""Measures what live grants cost in the store, and whether many of them slow validation down.

    python bench/grants.py [GRANTS]     100,000 by default; 1,000,000 takes about a minute

One grant is made by the gateway's own code, and refreshed once, as nearly all are. It has the
access token of the refresh, and the one before, which has not expired yet. The other grants are
copies of it under other ids and users, so that their sizes are the real ones. Each grant has a
user of its own, whose index then has no other entry to share the room with.
"""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.config.settings import Store, Tokens
from gateway.store.embedded import EmbeddedStore
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant, RefreshCandidate
from gateway.tokens.token import Kind, Token, TokenKeys, new_grant_id

KEYS = TokenKeys((b"k" * 32,))
BATCH = 2_000
VALIDATIONS = 2_000
ROUNDS = 7


def main() -> None:
    """Measure, and print a table as Markdown."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        store = Store(data_dir=Path(name), timeout=5.0)
        embedded = EmbeddedStore(store.data_dir)
        socket = embedded.ensure_running()
        link = RedisClient(store)
        tokens = TokenStore(link, store.key_prefix, Tokens())
        raw = redis.Redis(unix_socket_path=str(socket))
        try:
            sample = _sample_grant(tokens)
            shape = _shape(raw, sample)
            used = raw.info("memory")["used_memory"]
            print("| live grants | bytes a grant | validation, µs | of the first |")
            print("| ---: | ---: | ---: | ---: |")
            first = 0.0
            made = 1
            for count in sorted({1_000, most // 10, most}):
                for batch in _copies(shape, count - made):
                    pipeline = raw.pipeline(transaction=False)
                    for words in batch:
                        pipeline.execute_command(*words)
                    pipeline.execute()
                made = count
                grown = raw.info("memory")["used_memory"] - used
                _settle(raw)
                microseconds = _validation(tokens, sample)
                first = first or microseconds
                print(
                    f"| {count:,} | {grown / (count - 1):,.0f} | {microseconds:.0f}"
                    f" | {microseconds / first:.2f} |"
                )
            print(f"\nA grant's value has {len(shape):,} bytes.")
        finally:
            link.close()
            embedded.release()


def _sample_grant(store: TokenStore) -> Token:
    grant = Grant(new_grant_id(), "my-app", "user-0000000", "project", "file")
    code = KEYS.newest.random(Kind.CODE, grant.grant_id)
    challenge = "c" * 43
    binding = CodeBinding("http://localhost:3000/oauth_code", True, challenge)
    store.open_grant(grant, code, binding)
    access = KEYS.newest.derived(Kind.ACCESS, code)
    refresh = KEYS.newest.derived(Kind.REFRESH, code)
    store.redeem_code(
        code,
        client_id="my-app",
        redirect_uri=binding.redirect_uri,
        code_challenge=challenge,
        request_id=secrets.token_urlsafe(12),
        access=access,
        refresh=refresh,
        next_refresh=KEYS.newest.derived(Kind.REFRESH, refresh),
    )
    renewed = KEYS.newest.derived(Kind.REFRESH, refresh)
    access = KEYS.newest.derived(Kind.ACCESS, refresh)
    next_refresh = KEYS.newest.derived(Kind.REFRESH, renewed)
    candidates = [RefreshCandidate(access, renewed, next_refresh)]
    store.rotate_refresh(refresh, client_id="my-app", scope="", candidates=candidates)
    assert store.access_token(access) is not None
    return access


def _shape(raw: redis.Redis, access: Token) -> bytes:
    key = f"gateway:{{{access.grant_id}}}"
    shape = raw.get(key)
    while isinstance(shape, bytes) and b'"undelivered"' in shape:
        # Nobody waits for the note that the answer has arrived.
        time.sleep(0.01)
        shape = raw.get(key)
    assert isinstance(shape, bytes)
    assert len(json.loads(shape)["access"]) == 2
    return shape


def _copies(shape: bytes, count: int) -> Iterator[list[tuple[str | bytes | int, ...]]]:
    made = 0
    while made < count:
        batch: list[tuple[str | bytes | int, ...]] = []
        for _ in range(min(BATCH, count - made)):
            made += 1
            grant_id = new_grant_id()
            user = f"user-{made:07}"
            # As many different bytes as real grants have: nothing may be shared.
            own = shape.replace(b'"user-0000000"', f'"{user}"'.encode())
            batch += [
                ("SET", f"gateway:{{{grant_id}}}", own, "PX", 2_592_000_000),
                ("ZADD", f"gateway:grants-of-client:{grant_id[0]}:my-app", 1_827_000_000, grant_id),
                ("ZADD", f"gateway:grants-of-user:{user}", 1_827_000_000, grant_id),
                ("EXPIRE", f"gateway:grants-of-user:{user}", 31_536_000),
            ]
        yield batch


def _validation(store: TokenStore, access: Token) -> float:
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(VALIDATIONS):
            assert store.access_token(access) is not None
        rounds.append((time.perf_counter() - started) / VALIDATIONS * 1e6)
    return statistics.median(rounds)


def _settle(raw: redis.Redis) -> None:
    # Millions of changes make the store rewrite its file, on the second core.
    while raw.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
