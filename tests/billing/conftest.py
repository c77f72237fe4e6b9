"""Billing alone, on a real PostgreSQL: its own database, a clock that moves when told, its store's credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.billing.app import build
from services.billing.settings import Settings
from shared.clock import ManualClock
from shared.migrate import migrate
from shared.service import Service
from tests.billing.house import House, settings_for
from tests.callers import START
from tests.infrastructure import Databases, TestDatabase


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def billing_database(databases: Databases) -> Iterator[TestDatabase]:
    def prepare(made: TestDatabase) -> None:
        service = build(settings_for(made, ManualClock(START)))
        migrate(service.database, service.package)
        service.database.close()

    made = databases.new("billing", prepare)
    yield made
    databases.drop(made)


@pytest.fixture
def new_billing(billing_database: TestDatabase, clock: ManualClock) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def new(**given: Any) -> Service:
        made.append(build(settings_for(billing_database, clock, **given)))
        return made[-1]

    yield new
    for service in made:
        service.database.close()


@pytest.fixture
def house(new_billing: Callable[..., Service], clock: ManualClock) -> House:
    """A running story of billing."""
    return House(new_billing(), clock)


@pytest.fixture
def production(billing_database: TestDatabase) -> Callable[..., Settings]:
    """Settings as production would be given them; raises where they are refused."""
    return lambda **given: settings_for(
        billing_database,
        ManualClock(START),
        **{
            "environment": "production",
            "public_url": "https://youarecoder.example",
            "workspaces_domain": "workspaces.example",
            "paytr_url": "https://www.paytr.com",
            "paytr_test_mode": False,
            "seller_address": "Örnek Mah. 1, İstanbul",
            "seller_tax_id": "1234567890",
            **given,
        },
    )
