"""Puts the sandbox together: `build(settings)` returns an ASGI app whose lifespan runs the sender."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox.look import STYLESHEET
from sandbox.paytr.buyer_pages import BuyerPages
from sandbox.paytr.control import ControlApi
from sandbox.paytr.journal import Journal
from sandbox.paytr.merchant_api import MerchantApi
from sandbox.paytr.panel import Panel
from sandbox.paytr.sender import Sender
from sandbox.paytr.settings import PaytrSandboxSettings

_ASSETS = Path(__file__).parent / "assets"


def build(settings: PaytrSandboxSettings | None = None) -> Starlette:
    """Return the sandbox as an ASGI app. Its lifespan must run: it sends the notifications and closes the journal."""
    settings = settings or PaytrSandboxSettings()
    journal = Journal(settings.data_dir)
    sender = Sender(journal, settings)
    merchant = MerchantApi(journal, settings)
    pages = BuyerPages(journal, settings, sender)
    control = ControlApi(journal, pages)
    panel = Panel(journal, settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await sender.start()
        try:
            yield
        finally:
            await sender.stop()
            journal.close()

    pay = "/odeme/guvenli/{token:str}"
    app = Starlette(lifespan=lifespan, routes=[
        Route("/odeme/api/get-token", merchant.get_token, methods=["POST"]),
        Route("/odeme/durum-sorgu", merchant.status_query, methods=["POST"]),
        Route("/odeme/iade", merchant.refund, methods=["POST"]),
        Route(pay, pages.card),
        Route(f"{pay}/3d", pages.three_d),
        Route(f"{pay}/result", pages.result, methods=["POST"]),
        Route("/js/iframeResizer.min.js", _text((_ASSETS / "frame-parent.js").read_text(), "text/javascript")),
        Route("/assets/frame-child.js", _text((_ASSETS / "frame-child.js").read_text(), "text/javascript")),
        Route("/assets/sandbox.css", _text(STYLESHEET, "text/css")),
        Route("/sandbox/pay/{token:str}", control.pay, methods=["POST"]),
        Route("/sandbox/misbehave", control.misbehave, methods=["POST"]),
        Route("/sandbox/misbehave", control.misbehaviour, methods=["GET"]),
        Route("/sandbox/misbehave", control.behave, methods=["DELETE"]),
        Route("/sandbox/orders", control.orders),
        Route("/sandbox/orders/{oid:str}", control.order),
        Route("/healthz", _text("ok", "text/plain")),
        Route("/panel/misbehave", panel.misbehave, methods=["POST"]),
        Route("/", panel.overview),
    ])  # fmt: skip
    app.state.sender = sender
    return app


def _text(content: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return PlainTextResponse(content, media_type=kind, headers={"cache-control": "max-age=300"})

    return answer
