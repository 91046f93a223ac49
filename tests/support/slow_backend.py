"""A backend that takes its time, and takes part in any number of requests at once.

The end of a path says what the answer is like, whatever stands before it:

- ``…/delay/200``     comes after 200 milliseconds
- ``…/bytes/1000``    has a body of 1000 bytes
- ``…/events/0``      is an event stream: one event, and then silence for ever
- ``…/events/50``     the same with a further event every 50 milliseconds
- ``…/trailer/1000`` has a small body in chunks, and 1000 bytes of trailer fields after it
- anything else       comes at once
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
from collections.abc import Coroutine
from typing import cast

_REQUEST = re.compile(rb"GET \S*?(?:/(delay|bytes|events|trailer)/([0-9]+))? HTTP/1\.1\r\n")
_PIECE = b"x" * 65_536


class SlowBackend(asyncio.Protocol):
    """One connection: only GET, no pipelining, and no mercy for what is not HTTP."""

    def __init__(self) -> None:
        self._received = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        request = _REQUEST.match(self._received)
        assert request is not None
        self._received = b""
        kind, number = request.group(1), int(request.group(2) or 0)
        if kind == b"delay":
            asyncio.get_running_loop().call_later(number / 1000, self._answer, b"done")
        elif kind == b"bytes":
            self._start(self._send(number))
        elif kind == b"trailer":
            self._start(self._send_trailer(number))
        elif kind == b"events":
            self._start(self._tell(number / 1000))
        else:
            self._answer(b"done")

    def _answer(self, body: bytes) -> None:
        self._transport.write(_head(len(body)) + body)

    async def _send(self, length: int) -> None:
        self._transport.write(_head(length))
        while length:
            await self._writable.wait()
            piece = _PIECE[:length]
            self._transport.write(piece)
            length -= len(piece)

    async def _send_trailer(self, length: int) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
        )
        while length > 0:
            await self._writable.wait()
            self._transport.write(b"X-Trailer: " + _PIECE[:1000] + b"\r\n")
            length -= 1000
        self._transport.write(b"\r\n")

    async def _tell(self, every: float) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            self._transport.write(b"D\r\ndata: event\n\n\r\n")
            if not every:
                return
            await asyncio.sleep(every)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % length


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        SlowBackend, "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(int(sys.argv[1])))
