"""Both sandboxes and a merchant, each a real server on a free port of this machine."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.mailbox import app as mailbox_app
from sandbox.mailbox.settings import MailboxSettings
from sandbox.paytr import app as paytr_app
from sandbox.paytr.settings import PaytrSandboxSettings


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI app in a thread and give its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def until(is_so: Callable[[], Any], seconds: float = 8) -> Any:
    """Wait until something is so and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not become so in time")


@dataclass
class Merchant:
    """The store's server: keeps what is posted and answers what it is told to (the last answer repeats)."""

    url: str = ""
    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=lambda: [(200, b"OK", {})])
    bodies: list[bytes] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    redirected: list[str] = field(default_factory=list)
    most_at_once: int = 0
    takes_seconds: float = 0
    _now: int = 0

    @property
    def forms(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")) for body in self.bodies]

    def app(self) -> Starlette:
        async def callback(request: Request) -> Response:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            assert request.headers["content-type"] == "application/x-www-form-urlencoded"
            self.bodies.append(await request.body())
            self.hosts.append(request.headers["host"])
            await asyncio.sleep(self.takes_seconds)
            self._now -= 1
            status, body, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return Response(body, status, headers)

        async def elsewhere(request: Request) -> Response:
            self.redirected.append(request.method)
            return Response(b"OK")

        return Starlette(routes=[
            Route("/billing/callback", callback, methods=["POST"]),
            Route("/elsewhere", elsewhere, methods=["GET", "POST"]),
        ])  # fmt: skip


@pytest.fixture
def merchant() -> Iterator[Merchant]:
    store = Merchant()
    with serving(store.app()) as url:
        store.url = url
        yield store


@pytest.fixture
def paytr_settings(merchant: Merchant) -> PaytrSandboxSettings:
    return PaytrSandboxSettings(
        merchant_id="100001", merchant_key="exampleKEY000001", merchant_salt="exampleSALT00001",
        notification_url=f"{merchant.url}/billing/callback", notification_host="app.example.com",
        retry_seconds=(0.05, 0.1),
    )  # fmt: skip


@pytest.fixture
def paytr(paytr_settings: PaytrSandboxSettings) -> Iterator[httpx.Client]:
    with serving(paytr_app.build(paytr_settings)) as url, httpx.Client(base_url=url, timeout=10) as client:
        yield client


@pytest.fixture
def mailbox() -> Iterator[httpx.Client]:
    app = mailbox_app.build(MailboxSettings(smtp_port=0, keep=5, largest_mail=200_000))
    with serving(app) as url, httpx.Client(base_url=url, timeout=10) as client:
        client.headers["x-smtp-port"] = str(app.state.receiver.port)
        yield client
