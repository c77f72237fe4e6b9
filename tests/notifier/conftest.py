"""The notifier alone: its own database, a clock that moves when told, a real mail server, billing's documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Protocol
from uuid import UUID

import pytest
from sqlalchemy import select, text

from services.notifier.app import build
from services.notifier.models import Base, Mail
from services.notifier.sending import Sender
from services.notifier.settings import Settings
from shared.clock import ManualClock
from shared.events import Event
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Envelope
from shared.messaging.tables import kernel, outbox
from shared.migrate import migrate
from shared.service import Service
from shared.upstream import Upstream
from tests.callers import PUBLIC_KEY, START
from tests.infrastructure import Databases, TestDatabase
from tests.notifier.stand_ins import Documents, Mailbox, mailbox_server
from tests.notifier.stories import STAFF, Story


def _settings(database: TestDatabase, port: int, clock: ManualClock) -> Settings:
    settings = Settings(
        database_url=database("notifier"),
        token_public_key=PUBLIC_KEY,
        smtp_url=f"smtp://127.0.0.1:{port}",
        mail_from="YouAreCoder <no-reply@mail.example.com>",
        staff_email=STAFF,
        public_url="https://app.example.com",
    )
    settings.__dict__["clock"] = clock
    return settings


@pytest.fixture(scope="session")
def mail_server() -> Iterator[Mailbox]:
    with mailbox_server() as mailbox:
        yield mailbox


@pytest.fixture
def mailbox(mail_server: Mailbox) -> Mailbox:
    mail_server.clear()
    return mail_server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture(scope="session")
def notifier_database(databases: Databases) -> Iterator[TestDatabase]:
    """Migrated once; a test empties it, which is faster than a copy."""
    made = databases.new()
    service = build(_settings(made, 25, ManualClock(START)))
    migrate(service.database, service.package)
    service.database.close()
    yield made
    databases.drop(made)


@pytest.fixture
def notifier(notifier_database: TestDatabase, mailbox: Mailbox, clock: ManualClock) -> Iterator[Service]:
    service = build(_settings(notifier_database, mailbox.port, clock))
    with service.database.unit_of_work() as session:
        for table in (*kernel.tables, *Base.metadata.tables):
            session.execute(text(f"delete from {table}"))  # noqa: S608  (our own tables' names)
    yield service
    service.database.close()


@pytest.fixture
def consumer(notifier: Service, clock: ManualClock) -> Consumer:
    return Consumer(notifier.database, notifier.handlers, clock, notifier.settings)


class Hear(Protocol):
    """Delivers events as the bus would: each with the next sequence and a new id, unless told otherwise."""

    def __call__(self, *events: Event, sequence: int | None = None, id_: UUID | None = None) -> None: ...


@pytest.fixture
def hear(consumer: Consumer, clock: ManualClock) -> Hear:
    sequences = count(100)

    def deliver(*events: Event, sequence: int | None = None, id_: UUID | None = None) -> None:
        for event in events:
            envelope = Envelope(
                id=id_ or new_id(),
                type=event.type,
                source=event.publisher(),
                subject=event.subject,
                time=clock.now(),
                sequence=sequence if sequence is not None else next(sequences),
                data=event.model_dump(mode="json"),
            )
            consumer.receive([envelope.to_bytes()])

    return deliver


@pytest.fixture
def sender(notifier: Service, clock: ManualClock, documents: Documents) -> Sender:
    billing = Upstream("billing", app=documents.app())
    return Sender(notifier.database, clock, _own(notifier), billing)


def _own(service: Service) -> Settings:
    assert isinstance(service.settings, Settings)
    return service.settings


@pytest.fixture
def send(sender: Sender) -> Callable[[], int]:
    """Sends all that is due; returns how many mails were tried."""

    def all_due() -> int:
        tried = 0
        while found := asyncio.run(sender.send_due()):
            tried += found
        return tried

    return all_due


@pytest.fixture
def rows(notifier: Service) -> Callable[[], list[Mail]]:
    """The notifier's mails, oldest first."""

    def read() -> list[Mail]:
        with notifier.database.unit_of_work() as session:
            return list(session.scalars(select(Mail).order_by(Mail.id)))

    return read


@pytest.fixture
def told(notifier: Service) -> Callable[[], list[dict[str, Any]]]:
    """What the notifier has told so far: type and data."""

    def read() -> list[dict[str, Any]]:
        with notifier.database.unit_of_work() as session:
            found = session.connection().execute(select(outbox).order_by(outbox.c.position)).all()
        return [{"type": row.type, **row.data} for row in found]

    return read


@pytest.fixture
def story(hear: Hear) -> Story:
    """A Turkish company whose beginning the notifier has heard."""
    made = Story()
    hear(*made.beginning())
    return made
