"""The stand-ins of the outside world, run beside the platform where no real one is configured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from starlette.applications import Starlette

from deploy.local.configuration import SANDBOX_MERCHANT, Addresses, Given, host_of
from deploy.local.keys import Keys
from sandbox.mailbox.app import build as build_mailbox
from sandbox.mailbox.settings import MailboxSettings
from sandbox.paytr.app import build as build_paytr
from sandbox.paytr.settings import PaytrSandboxSettings
from shared.service import HttpServer


class Sandboxes:
    """The mailbox and PayTR's sandbox; each runs only when its real counterpart is not configured."""

    def __init__(self, data: Path, keys: Keys, addresses: Addresses, given: Given, public_url: str) -> None:
        self._apps: list[tuple[Callable[[], Starlette], int]] = []
        if not given.smtp:
            mailbox = MailboxSettings(smtp_port=addresses.smtp, data_dir=data / "mailbox")
            self._apps.append((lambda: build_mailbox(mailbox), addresses.mailbox))
        if not given.paytr:
            paytr = PaytrSandboxSettings(
                merchant_id=SANDBOX_MERCHANT,
                merchant_key=keys.paytr_merchant_key,
                merchant_salt=keys.paytr_merchant_salt,
                notification_url=f"http://127.0.0.1:{addresses.gateway}/billing/callback",
                notification_host=host_of(public_url),
                data_dir=data / "paytr",
            )
            self._apps.append((lambda: build_paytr(paytr), addresses.paytr))
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """Serves each on its loopback port."""
        for build, port in self._apps:
            app = build()
            await self._running.enter_async_context(app.router.lifespan_context(app))
            server = HttpServer(app, "127.0.0.1", port)
            await server.begin()
            self._running.push_async_callback(server.end)

    async def stop(self) -> None:
        """Ends both; what they hold is in the data folder."""
        await self._running.aclose()
