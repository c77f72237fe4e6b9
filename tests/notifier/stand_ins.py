"""The world around the notifier in its tests: a real SMTP server that keeps mails, and billing's documents."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.mailbox import app as mailbox_app
from sandbox.mailbox.settings import MailboxSettings

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40


class Mailbox:
    """What arrived over SMTP, and how the server behaves."""

    def __init__(self, client: httpx.Client, port: int) -> None:
        self._client = client
        self.port = port

    @property
    def mails(self) -> list[dict[str, Any]]:
        """All mails, oldest first."""
        answer = self._client.get("/api/mails", params={"limit": 100})
        return list(reversed(answer.raise_for_status().json()))

    def the_one(self) -> dict[str, Any]:
        """The only mail."""
        (mail,) = self.mails
        return mail

    def attachment(self, mail: dict[str, Any]) -> bytes:
        """The content of the mail's one attachment."""
        (attachment,) = mail["attachments"]
        return self._client.get(attachment["url"]).raise_for_status().content

    def raw(self, mail: dict[str, Any]) -> bytes:
        """The mail as it came over the wire."""
        return self._client.get(f"/mails/{mail['id']}/raw").raise_for_status().content

    def misbehave(self, mode: str, towards: str = "*", seconds: float = 5) -> None:
        """See sandbox/README.md."""
        said = {"refuse": towards, "mode": mode, "seconds": seconds}
        self._client.post("/api/misbehave", json=said).raise_for_status()

    def behave(self) -> None:
        """Behaves again towards everybody."""
        self._client.delete("/api/misbehave").raise_for_status()

    def clear(self) -> None:
        """Behaves, and throws all mails away."""
        self.behave()
        self._client.delete("/api/mails").raise_for_status()


@contextmanager
def mailbox_server() -> Iterator[Mailbox]:
    """The sandbox's mailbox on free ports of this machine."""
    app = mailbox_app.build(MailboxSettings(smtp_port=0))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the mailbox does not start"
        time.sleep(0.01)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=10) as client:
            yield Mailbox(client, app.state.receiver.port)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@dataclass
class Documents:
    """Billing's door for documents: answers what it is told to, and keeps what it was asked for."""

    status: int = 200
    content: bytes = PDF
    asked: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        async def document(request: Request) -> Response:
            self.asked.append(f"{request.url.path}?{request.url.query}")
            return Response(self.content, self.status, media_type="application/pdf")

        return Starlette(routes=[Route("/documents/{path:path}", document)])
