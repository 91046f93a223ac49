"""A connection that the gateway gives up is reset: nothing that was sent on it arrives later."""

from __future__ import annotations

import socket
from time import monotonic

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.store.node import RedisNode
from tests.support.serving import until


def test_a_connection_without_a_reply_in_time_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        node = RedisNode({"host": "127.0.0.1", "port": port}, {}, connections=1, timeout=0.2)
        with pytest.raises(RedisTimeoutError):
            node.send([("PING",)], monotonic() + 0.2)
        silent, _ = listener.accept()
        with silent:
            # A connection that is merely closed has no error.
            until(lambda: silent.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
