"""What the tests of the bus share: waiting for conditions, running transports and loops, events to send."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.clock import ManualClock
from shared.db import Database
from shared.events import Event
from shared.events.billing import TrialStarted
from shared.events.identity import VerificationRequested
from shared.ids import new_id
from shared.messaging import outbox
from shared.messaging.consumer import Consumer, Context
from shared.messaging.envelope import Envelope
from shared.messaging.transport import Message, Transport

PATIENCE = 30.0
"""Seconds a condition may take on a busy machine. Nothing waits this long when all is well."""
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Waits for a condition, which may block; fails when it does not come true."""
    deadline = asyncio.get_running_loop().time() + patience
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(*transports: Transport) -> AsyncIterator[None]:
    """Starts transports and stops them, whatever happens in between."""
    try:
        for transport in transports:
            await asyncio.wait_for(transport.start(), PATIENCE)
        yield
    finally:
        for transport in transports:
            await asyncio.wait_for(transport.stop(), PATIENCE)


@contextlib.asynccontextmanager
async def looping(*loops: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """Runs loops such as a relay's, and stops them in order."""
    stop = asyncio.Event()
    tasks = [asyncio.ensure_future(loop(stop)) for loop in loops]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)


def trial(plan: str = "starter", company: UUID | None = None) -> TrialStarted:
    """An event that notifier hears here; `plan` is the word it leaves in the effects."""
    return TrialStarted(company_id=company or new_id(), plan=plan, started_at=NOW, ends_at=NOW)


def verification(link: str) -> VerificationRequested:
    """An event with a secret."""
    return VerificationRequested(
        company_id=new_id(), user_id=new_id(), email="a@example.com", name="A", language="tr", link=link,
        expires_at=NOW, welcome=True,
    )  # fmt: skip


def message(word: str, *, mandatory: bool = True, type_: str = "trial.started") -> Message:
    """A message for a transport, which does not look inside."""
    return Message(str(new_id()), type_, word.encode(), mandatory)


def wire(event: Event, **changes: Any) -> bytes:
    """An event as it comes over the wire."""
    fields: dict[str, Any] = {
        "id": new_id(), "type": event.type, "source": event.publisher(), "subject": event.subject, "time": NOW,
        "sequence": 1, "data": event.model_dump(mode="json"),
    }  # fmt: skip
    return Envelope(**{**fields, **changes}).to_bytes()


def tell(database: Database, *events: Event) -> None:
    """Writes events to the outbox and commits."""
    with database.unit_of_work() as session:
        for event in events:
            outbox.add(session, event, NOW)


def leave_effect(session: Session, event: TrialStarted, context: Context) -> None:
    """A handler: its effect is a row. The plan `poison` makes it fail after it has left one."""
    statement = text("insert into effects (event_id, word) values (:id, :word)")
    session.execute(statement, {"id": context.envelope.id, "word": event.plan})
    if event.plan.startswith("poison"):
        raise ValueError("this one cannot be handled")


def hearer(database: Database, handler: Callable[..., None] = leave_effect) -> Consumer:
    """A consumer of trials."""
    return Consumer(database, {TrialStarted: handler}, ManualClock(NOW))


def effects(database: Database) -> list[str]:
    """The words of the effects, in the order they were left."""
    return rows(database, "select word from effects order by position")


def rows(database: Database, statement: str) -> list[Any]:
    """The first column of what a statement returns."""
    with database.unit_of_work() as session:
        return list(session.execute(text(statement)).scalars())


def execute(database: Database, statement: str) -> None:
    """Runs a statement and commits."""
    with database.unit_of_work() as session:
        session.execute(text(statement))


class Collector:
    """A subscription's `deliver` that keeps what it got."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.batches: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self.failures: list[Exception] = []
        """Raised by the next calls, one each, before anything is kept."""
        self.gate: asyncio.Event | None = None

    async def __call__(self, bodies: Sequence[bytes]) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
            self.words += [body.decode() for body in bodies]
            self.batches.append(len(bodies))
        finally:
            self.at_once -= 1
