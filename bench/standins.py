"""What `bench.edge` holds the edge against, each a process: `python -m bench.standins backend|httpx PORT MORE`.

backend PORT FILE    512 bytes from memory; asked who a session is, it answers FILE and counts how often
httpx PORT BACKEND   the proxy most people would write: FastAPI with a streaming httpx client, before port BACKEND
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import uvicorn
import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

BODY = b"x" * 512
ASKED = b"/internal/sessions/resolve"
COUNT = b"/asked"


class Backend(asyncio.Protocol):
    """HTTP/1.1 with as little of our own cost as possible; requests come one after the other on a connection."""

    somebody = b"{}"
    asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        """A request, or a part of one."""
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._read = b""
        path = head.split(b" ", 2)[1]
        if path == ASKED:
            Backend.asked += 1
            self._answer(Backend.somebody)
        elif path == COUNT:
            self._answer(str(Backend.asked).encode())
        else:
            self._answer(BODY)

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)  # type: ignore[attr-defined]


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def backend(port: int) -> None:
    """Serves until the process ends."""
    listening = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", port)
    await listening.serve_forever()


def httpx_proxy(target: int) -> FastAPI:
    """FastAPI and httpx as their documentation has them."""
    app = FastAPI()
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{target}")

    @app.get("/{path:path}")
    async def forward(request: Request, path: str) -> StreamingResponse:
        answer = await client.send(client.build_request("GET", f"/{path}"), stream=True)

        async def body() -> AsyncIterator[bytes]:
            async for piece in answer.aiter_raw():
                yield piece
            await answer.aclose()

        return StreamingResponse(body(), answer.status_code)

    return app


def main() -> None:
    """The command line."""
    kind, port, more = sys.argv[1:]
    if kind == "backend":
        Backend.somebody = Path(more).read_bytes()
        uvloop.run(backend(int(port)))
    else:
        uvicorn.run(httpx_proxy(int(more)), host="127.0.0.1", port=int(port), log_level="error")


if __name__ == "__main__":
    main()
