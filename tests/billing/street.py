"""Billing in its house, PayTR's sandbox beside it, both over real HTTP, and a buyer between them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from services.billing.models import Attempt
from services.billing.payments.paytr import PayTR
from services.billing.reconciliation import Reconciler
from shared.clock import ManualClock
from shared.service import Service
from shared.tokens import Principal
from tests.billing.house import MERCHANT, House
from tests.callers import headers

HONEST_ENOUGH: list[dict[str, Any]] = [
    {"duplicates": 20},
    {"duplicates": 40, "concurrent": True},
    {"bare": True},
    {"bad_hash": 2},
    {"then": "failed", "then_after_seconds": 0.1},
    {"callback_delay_seconds": 0.5},
    {"alter": {"installment_count": "12", "payment_type": "eft"}},
    {"alter": {"currency": "", "payment_amount": "", "test_mode": "", "merchant_id": ""}},
    {"alter": {"currency": "TRY"}},
]
"""Ways in which PayTR tells of a payment that is to be booked."""


@contextmanager
def serving(
    app: ASGIApp, listening: socket.socket, *, lifespan: str, close: Callable[[], Awaitable[None]] | None = None
) -> Iterator[None]:
    """The app on a socket, in a thread with a loop of its own, in which `close` is called at the end."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan=lifespan,
        timeout_graceful_shutdown=1,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)

    async def main() -> None:
        await server.serve(sockets=[listening])
        if close:
            await close()
        await asyncio.sleep(0.05)  # transports close a turn later

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def bound() -> tuple[socket.socket, str]:
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


class Street(House):
    """Billing in its house, PayTR in the sandbox, a buyer between them."""

    def __init__(self, service: Service, clock: ManualClock, url: str, paytr: str) -> None:
        super().__init__(service, clock)
        self.url = url
        self.paytr = paytr
        self.web = httpx.Client(timeout=30, trust_env=False)

    def misbehave(self, **how: Any) -> None:
        answer = self.web.post(f"{self.paytr}/sandbox/misbehave", json=how)
        assert answer.status_code == 200, answer.text

    def opens(self, admin: Principal, plan: str = "starter", key: str | None = None) -> httpx.Response:
        """An admin presses the plan's button."""
        extra = {"Idempotency-Key": key} if key else {}
        return self.web.post(
            f"{self.url}/api/v1/payments", json={"plan": plan}, headers={**headers(admin, self.now), **extra}
        )

    def clicks(self, form: dict[str, Any], outcome: str = "success", **more: Any) -> None:
        """The buyer ends the card form."""
        token = form["iframe_url"].rsplit("/", 1)[1]
        answer = self.web.post(f"{self.paytr}/sandbox/pay/{token}", json={"outcome": outcome, **more})
        assert answer.status_code == 200, answer.text

    def payment(self, admin: Principal, id_: str) -> dict[str, Any]:
        answer = self.web.get(f"{self.url}/api/v1/payments/{id_}", headers=headers(admin, self.now))
        assert answer.status_code == 200
        return dict(answer.json())

    def attempts(self) -> list[Attempt]:
        from sqlalchemy import select

        with self.database.unit_of_work() as session:
            return list(session.scalars(select(Attempt).order_by(Attempt.id)))

    def deliveries(self, oid: str) -> list[dict[str, Any]]:
        return list(self.web.get(f"{self.paytr}/sandbox/orders/{oid}").json()["deliveries"])

    def eventually(self, what: Callable[[], Any], seconds: float = 10) -> Any:
        end = time.monotonic() + seconds
        while not (found := what()) and time.monotonic() < end:
            time.sleep(0.05)
        assert found
        return found

    def asks(self) -> int:
        """One round of reconciliation, with a client of its own loop."""

        async def ask() -> int:
            provider = PayTR(MERCHANT, self.paytr, self.paytr, total=1)
            try:
                settings: Any = self.service.settings
                return await Reconciler(self.database, provider, self.clock, settings).ask_all_due()
            finally:
                await provider.close()

        return asyncio.run(ask())
