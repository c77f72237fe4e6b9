"""Migrations: Alembic, one history a service in its own schema, forward only, safe with several replicas at once."""

from __future__ import annotations

import importlib
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from shared.db import Database

LOCK = 7_238_114
"""Advisory lock that lets one replica migrate while the others wait."""


def migrate(database: Database, package: str) -> None:
    """Brings the schema of `package` (such as `services.billing`) to its newest version."""
    config = _config(package)
    with database.engine.begin() as connection:
        # A request's bounds on time are not a migration's: the other replica may take long, and so may an index.
        connection.execute(text("set local lock_timeout = 0"))
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # But a change of a table waits for its readers no longer than a request would: all others queue behind it.
        connection.execute(text("set local lock_timeout = '10s'"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(database: Database, package: str) -> bool:
    """Whether the schema is at this code's version, or a newer one that still serves it."""
    head = ScriptDirectory.from_config(_config(package)).get_current_head()
    known = {script.revision for script in ScriptDirectory.from_config(_config(package)).walk_revisions()}
    with database.engine.connect() as connection:
        if connection.execute(text("select to_regclass('alembic_version')")).scalar() is None:
            return False
        at = connection.execute(text("select version_num from alembic_version")).scalar()
    return at is not None and (at == head or at not in known)


def run_env() -> None:
    """The body of each service's `migrations/env.py`."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, transaction_per_migration=False)
    context.run_migrations()


def _config(package: str) -> Config:
    directory = Path(str(importlib.import_module(package).__file__)).parent
    config = Config()
    config.set_main_option("script_location", str(directory / "migrations"))
    return config
