"""Puts the mailbox together: `build(settings)` returns an ASGI app whose lifespan runs the SMTP receiver."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.look import STYLESHEET
from sandbox.mailbox.api import MailApi
from sandbox.mailbox.pages import MailPages
from sandbox.mailbox.settings import MailboxSettings
from sandbox.mailbox.smtp import Receiver
from sandbox.mailbox.store import MailStore

_SCRIPT = (Path(__file__).parent / "assets" / "inbox.js").read_text("utf-8")


def build(settings: MailboxSettings | None = None) -> Starlette:
    """Return the mailbox as an ASGI app; `app.state.receiver.port` is the SMTP port once its lifespan has begun."""
    settings = settings or MailboxSettings()
    store = MailStore(settings.data_dir, keep=settings.keep, keep_bytes=settings.keep_bytes)
    receiver = Receiver(store, settings)
    api, pages = MailApi(store, receiver), MailPages(store, receiver)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await receiver.start()
        try:
            yield
        finally:
            await receiver.stop()
            store.close()

    async def newest(request: Request) -> Response:
        query = request.query_params
        found = store.newest(to=query.get("to", ""), subject=query.get("subject", ""), limit=1)
        return JSONResponse({"id": found[0]["id"] if found else 0})

    app = Starlette(lifespan=lifespan, routes=[
        Route("/", pages.inbox),
        Route("/mails/{mail_id:int}", pages.one),
        Route("/mails/{mail_id:int}/html", pages.html),
        Route("/mails/{mail_id:int}/raw", pages.raw),
        Route("/mails/{mail_id:int}/attachments/{number:int}", pages.attachment),
        Route("/api/mails", api.mails, methods=["GET"]),
        Route("/api/mails", api.clear, methods=["DELETE"]),
        Route("/api/mails/{mail_id:int}", api.mail),
        Route("/api/newest", newest),
        Route("/api/misbehave", api.misbehave, methods=["POST"]),
        Route("/api/misbehave", api.behave, methods=["DELETE"]),
        Route("/assets/sandbox.css", _text(STYLESHEET, "text/css")),
        Route("/assets/inbox.js", _text(_SCRIPT, "text/javascript")),
        Route("/healthz", _text("ok", "text/plain")),
    ])  # fmt: skip
    app.state.receiver = receiver
    app.state.store = store
    return app


def _text(content: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return PlainTextResponse(content, media_type=kind, headers={"cache-control": "max-age=300"})

    return answer
