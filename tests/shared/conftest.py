"""A service of nothing but the kernel, on a real database, for the tests of the kernel itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.service import Service
from tests.callers import PUBLIC_KEY, START
from tests.infrastructure import Databases, TestDatabase
from tests.shared.little.app import PREFIX, build, prepare


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def little_database(databases: Databases) -> Iterator[TestDatabase]:
    """Migrated; the little service lives in billing's schema."""
    made = databases.new("little", prepare)
    yield made
    databases.drop(made)


@pytest.fixture
def new_little(little_database: TestDatabase, clock: ManualClock) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def new(**given: Any) -> Service:
        made.append(build(little_database("billing"), clock, **given))
        return made[-1]

    yield new
    for service in made:
        service.database.close()


@pytest.fixture
def little(new_little: Callable[..., Service]) -> Service:
    return new_little()


@pytest.fixture(scope="module")
def doors_database(databases: Databases) -> Iterator[TestDatabase]:
    made = databases.new("little", prepare)
    yield made
    databases.drop(made)


@pytest.fixture
def doors(doors_database: TestDatabase, clock: ManualClock) -> Iterator[Service]:
    """The little service for tests that leave no row: all of a file on one database."""
    service = build(doors_database("billing"), clock)
    yield service
    service.database.close()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what a service with the prefix LITTLE_ needs to start, and more."""

    def put(**more: str) -> None:
        needed = {f"{PREFIX}DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "TOKEN_PUBLIC_KEY": PUBLIC_KEY}
        for name, value in {**needed, **more}.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.fixture
def anyio_backend() -> str:
    """The loop the platform runs on."""
    return "asyncio"
