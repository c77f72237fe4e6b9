"""The scheduler alone: its own database, a clock that moves when told, its doors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from services.scheduler.app import build
from services.scheduler.loops import Ticker
from services.scheduler.settings import Settings
from shared.clock import ManualClock
from shared.events import Event
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Envelope
from shared.messaging.tables import outbox
from shared.migrate import migrate
from shared.service import Service
from tests.callers import PUBLIC_KEY, START
from tests.infrastructure import Databases, TestDatabase


def _settings(database: TestDatabase, clock: ManualClock, **given: Any) -> Settings:
    settings = Settings(database_url=database("scheduler"), token_public_key=PUBLIC_KEY, **given)
    settings.__dict__["clock"] = clock
    return settings


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def scheduler_database(databases: Databases) -> Iterator[TestDatabase]:
    def prepare(made: TestDatabase) -> None:
        service = build(_settings(made, ManualClock(START)))
        migrate(service.database, service.package)
        service.database.close()

    made = databases.new("scheduler", prepare)
    yield made
    databases.drop(made)


@pytest.fixture
def new_scheduler(scheduler_database: TestDatabase, clock: ManualClock) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def new(**given: Any) -> Service:
        made.append(build(_settings(scheduler_database, clock, **given)))
        return made[-1]

    yield new
    for service in made:
        service.database.close()


@pytest.fixture
def scheduler(new_scheduler: Callable[..., Service]) -> Service:
    return new_scheduler()


@pytest.fixture
def ticker(scheduler: Service, clock: ManualClock) -> Ticker:
    return Ticker(scheduler.database, clock, scheduler.settings)


@pytest.fixture
def hear(scheduler: Service, clock: ManualClock) -> Callable[[Event], None]:
    """Delivers an event as the bus would."""
    consumer = Consumer(scheduler.database, scheduler.handlers, clock, scheduler.settings)

    def deliver(event: Event) -> None:
        envelope = Envelope(
            id=new_id(),
            type=event.type,
            source=event.publisher(),
            subject=event.subject,
            time=clock.now(),
            sequence=1,
            data=event.model_dump(mode="json"),
        )
        consumer.receive([envelope.to_bytes()])

    return deliver


@pytest.fixture
def told(scheduler: Service) -> Callable[[], list[Event]]:
    """What the scheduler has announced so far, in order."""

    def read() -> list[Event]:
        with scheduler.database.unit_of_work() as session:
            rows = session.connection().execute(select(outbox).order_by(outbox.c.position)).all()
        envelopes = [Envelope(r.id, r.type, "scheduler", r.subject, r.time, r.position, r.data) for r in rows]
        return [envelope.event() for envelope in envelopes]

    return read
