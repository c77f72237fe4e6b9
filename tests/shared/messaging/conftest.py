"""Databases with the kernel's tables, and one bus after the other: in-process and RabbitMQ."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import text

from shared.db import Database
from shared.messaging.inprocess import InProcess
from shared.messaging.migration import create_kernel_tables
from shared.messaging.rabbitmq import RabbitMQ
from shared.messaging.transport import Transport
from tests.infrastructure import Databases, TestDatabase


def prepare(made: TestDatabase) -> None:
    """The kernel's tables and a table for effects, in two services' schemas."""
    for service in ("billing", "notifier"):
        with contextlib.closing(Database(made(service), service)) as database, database.engine.begin() as connection:
            create_kernel_tables(connection)
            connection.execute(text("create table effects (position serial, event_id uuid, word text)"))


@pytest.fixture
def pair(databases: Databases) -> Iterator[tuple[Database, Database]]:
    """A publisher's database (billing) and a hearer's (notifier)."""
    made = databases.new("kernel", prepare)
    both = Database(made("billing"), "billing"), Database(made("notifier"), "notifier")
    yield both
    for database in both:
        database.close()
    databases.drop(made)


@pytest.fixture
def billing(pair: tuple[Database, Database]) -> Database:
    return pair[0]


@pytest.fixture
def notifier(pair: tuple[Database, Database]) -> Database:
    return pair[1]


@pytest.fixture
def anyio_backend() -> str:
    """The loop the platform runs on."""
    return "asyncio"


@pytest.fixture(params=["in-process", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def make_transport(request: pytest.FixtureRequest) -> Callable[[], Transport]:
    """A new transport at each call; on RabbitMQ all of one test meet at the same broker."""
    if request.param == "in-process":
        return InProcess
    url = request.getfixturevalue("rabbitmq_server")
    return lambda: RabbitMQ(url)


@pytest.fixture
def queue() -> str:
    """A queue name no other test has."""
    return f"q-{uuid4().hex[:12]}"
