"""Migrations: once, whoever comes first, and known when they are behind or ahead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from shared.db import Database
from shared.migrate import is_current, migrate
from tests.infrastructure import TestDatabase
from tests.shared.little.app import PACKAGE, look

VERSIONS = "select version_num from billing.alembic_version"


@pytest.fixture
def empty(database: TestDatabase) -> Iterator[Database]:
    with contextlib.closing(Database(database("billing"), "billing")) as made:
        yield made


def test_twice_is_once(empty: Database, database: TestDatabase) -> None:
    assert not is_current(empty, PACKAGE)
    for _ in range(2):
        migrate(empty, PACKAGE)
        assert is_current(empty, PACKAGE)
    assert look(database, VERSIONS) == ["0002"]


def test_two_at_once(empty: Database, database: TestDatabase) -> None:
    with (
        contextlib.closing(Database(database("billing"), "billing")) as second,
        ThreadPoolExecutor(2) as threads,
    ):
        for done in [threads.submit(migrate, one, PACKAGE) for one in (empty, second)]:
            done.result()
    assert look(database, VERSIONS) == ["0002"]
    assert look(database, "select count(*) from billing.bounds") == [1]


@pytest.mark.parametrize(("version", "current"), [("0001", False), ("0002", True), ("9999", True)])
def test_behind_and_ahead(empty: Database, database: TestDatabase, version: str, current: bool) -> None:
    migrate(empty, PACKAGE)
    with empty.unit_of_work() as session:
        session.execute(text("update alembic_version set version_num = :version"), {"version": version})
    assert is_current(empty, PACKAGE) is current


def test_version_table_without_a_version_is_behind(empty: Database, database: TestDatabase) -> None:
    migrate(empty, PACKAGE)
    look(database, "delete from billing.alembic_version returning 1")
    assert not is_current(empty, PACKAGE)


def test_migration_may_take_its_time_but_no_lock_for_long(empty: Database, database: TestDatabase) -> None:
    migrate(empty, PACKAGE)
    assert look(database, "select statement || ' ' || wait from billing.bounds") == ["0 10s"]
