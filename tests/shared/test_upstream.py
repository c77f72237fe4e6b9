"""A call to another service carries the correlation id, over a socket or in one process."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from shared.http import CORRELATION
from shared.logging import bound
from shared.service import HttpServer, Service
from shared.upstream import Upstream


@pytest.mark.parametrize("over", ["socket", "asgi"])
def test_correlation_id_travels(little: Service, over: str) -> None:
    async def story() -> None:
        server = HttpServer(little.app, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{await server.begin()}"
        upstream = Upstream("little", url=url) if over == "socket" else Upstream("little", app=little.app)
        with bound(correlation_id="from-the-front-door"):
            answer = await upstream.request("GET", "/said", headers={"X-More": "1"})
        assert answer.headers[CORRELATION] == "from-the-front-door"
        assert answer.request.headers["x-more"] == "1"
        # Outside of any request the service makes one.
        assert (await upstream.request("GET", "/said")).headers[CORRELATION] != "from-the-front-door"
        await upstream.close()
        await server.end()

    asyncio.run(story())


def test_who_does_not_answer_is_a_transport_error() -> None:
    async def story() -> None:
        upstream = Upstream("gone", url="http://127.0.0.1:1")
        with pytest.raises(httpx.TransportError):
            await upstream.request("GET", "/")
        await upstream.close()

    asyncio.run(story())
