"""Builds the little service."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from sqlalchemy import create_engine

from shared import ops
from shared.clock import Clock
from shared.db import Database
from shared.http import build_app
from shared.migrate import migrate
from shared.service import Service
from shared.settings import ServiceSettings
from tests.callers import PUBLIC_KEY
from tests.infrastructure import TestDatabase
from tests.shared.little.routes import doors

PACKAGE = "tests.shared.little"
PREFIX = "LITTLE_"


class Settings(ServiceSettings):
    """The kernel's own and nothing more."""

    prefix: ClassVar[str] = PREFIX


def build(url: str, clock: Clock, **given: Any) -> Service:
    """The service, wired and not running; `given` goes to `Service`."""
    settings = Settings(database_url=url, token_public_key=PUBLIC_KEY)
    settings.__dict__["clock"] = clock
    database = Database(url, "billing")
    app = build_app("little", clock=clock, verifier=settings.verifier, database=database, max_body=1_000)
    app.include_router(doors())
    app.include_router(ops.router("little"))
    return Service(PACKAGE, settings, app, database, **given)


def prepare(made: TestDatabase) -> None:
    """The service's schema, newest version."""
    with contextlib.closing(Database(made("billing"), "billing")) as database:
        migrate(database, PACKAGE)


def look(made: TestDatabase, statement: str) -> list[Any]:
    """The first column of what the superuser sees, from outside of every pool."""
    engine = create_engine(made.admin_url.replace("postgresql://", "postgresql+psycopg2://"))
    try:
        with engine.begin() as connection:
            return list(connection.exec_driver_sql(statement).scalars())
    finally:
        engine.dispose()
