"""The database: one schema and one login role a service, explicit sessions, one commit at the edge."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg2
from fastapi import Depends, Request
from sqlalchemy import DateTime, MetaData, Uuid, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from shared.errors import Unavailable

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

LOST = (OperationalError, InterfaceError, NoFreeConnection)
"""What SQLAlchemy raises when the database, or a free connection to it, cannot be had: nothing is known to be wrong
with the statement."""


class DatabaseUnavailable(Unavailable):
    title = "We cannot reach our database at the moment"


IDLE = 1.0
"""Seconds after which a pooled connection is asked whether it is alive before it is used."""

COLUMN_TYPES = {datetime: DateTime(timezone=True), UUID: Uuid()}
"""For a service's `class Base(DeclarativeBase)`: `type_annotation_map = COLUMN_TYPES`, `metadata = new_metadata()`."""


def new_metadata() -> MetaData:
    """A service's own metadata, with constraint names that migrations can rely on."""
    return MetaData(naming_convention=NAMES)


class Database:
    """An engine and its sessions for one service."""

    def __init__(self, url: str, service: str, pool: int = 5) -> None:
        """`url` may be any PostgreSQL URL; the schema is the one named like the service."""
        self.service = service
        self.url = make_url(url).set(drivername="postgresql+psycopg2")
        self.engine = create_engine(
            self.url,
            pool_size=pool,
            max_overflow=pool,
            pool_timeout=5,
            hide_parameters=True,  # an error's words go to the log; what a person typed does not
            connect_args={
                "connect_timeout": 5,
                "application_name": service,
                "options": f"-csearch_path={service} -ctimezone=UTC -cstatement_timeout=15000 -clock_timeout=10000",
            },
        )
        event.listen(self.engine, "checkin", _note_return)
        event.listen(self.engine, "checkout", _check_if_idle)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """A session that commits when the block ends and rolls back when it raises.

        Raises DatabaseUnavailable where the database cannot be reached.
        """
        try:
            with self._sessions.begin() as session:
                yield session
        except LOST as error:
            raise DatabaseUnavailable from error

    def ping(self) -> None:
        """Raises where the database does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("select 1"))

    def close(self) -> None:
        """Closes every pooled connection."""
        self.engine.dispose()


def _note_return(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _check_if_idle(connection: DBAPIConnection, record: ConnectionPoolEntry, _: Any) -> None:
    """A connection that lay idle may be dead (a restart, a firewall); one in use would have said so.

    Asking before every use, as the pool's own option does, would cost each transaction a round trip.
    """
    if time.monotonic() - record.info.get("returned", time.monotonic()) < IDLE:
        return
    try:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("select 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise DisconnectionError from error


def _unit_of_work(request: Request) -> Iterator[Session]:
    database: Database = request.app.state.database
    with database.unit_of_work() as session:
        yield session


Work = Annotated[Session, Depends(_unit_of_work, scope="function")]
"""A route's session: committed before the client has its answer, rolled back when the route raises.

The scope matters: FastAPI otherwise runs what follows `yield` after the answer has gone out.
"""
