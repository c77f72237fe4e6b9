"""Parked events are staff's: seen, replayed, dropped, and never their contents."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.events import UnreadableEvent
from shared.ids import new_id
from shared.messaging import deadletters
from shared.service import Service
from shared.tokens import Principal
from tests.callers import a_member, an_admin, calling, staff, the_gateway
from tests.infrastructure import TestDatabase
from tests.shared.little.app import look

LETTERS = "/api/v1/ops/little/dead-letters"


@pytest.fixture
def parked(little: Service) -> list[UUID]:
    """Three parked deliveries, in order."""
    with little.database.unit_of_work() as session:
        for number in range(3):
            deadletters.park_unreadable(session, b"hidden %d" % number, UnreadableEvent("odd"))
        return [letter.id for letter in deadletters.parked(session, after=None, limit=10)]


@pytest.mark.parametrize("caller", [None, a_member(), an_admin(), the_gateway()], ids=["no", "member", "admin", "gate"])
def test_nobody_else(little: Service, little_database: TestDatabase, parked: list[UUID], caller: Principal) -> None:
    refused = 403 if caller else 401
    with calling(little, caller) as client:
        assert client.get(LETTERS).status_code == refused
        assert client.post(f"{LETTERS}/{parked[0]}/replay").status_code == refused
        assert client.delete(f"{LETTERS}/{parked[0]}").status_code == refused
    assert look(little_database, "select count(*) from billing.failed_deliveries where due_at is null") == [3]


def test_staff_page_through_them(little: Service, parked: list[UUID]) -> None:
    with calling(little, staff()) as client:
        first = client.get(LETTERS, params={"limit": 2})
        rest = client.get(LETTERS, params={"limit": 2, "cursor": first.json()["next"]})
        assert client.get(LETTERS, params={"cursor": "nonsense"}).status_code == 422
        assert client.get(LETTERS, params={"limit": 101}).status_code == 422
    seen = first.json()["items"] + rest.json()["items"]
    assert [UUID(letter["id"]) for letter in seen] == parked
    assert rest.json()["next"] is None
    assert "hidden" not in first.text + rest.text


def test_staff_replay_and_drop(little: Service, little_database: TestDatabase, parked: list[UUID]) -> None:
    with calling(little, staff()) as client:
        assert client.post(f"{LETTERS}/{parked[0]}/replay").status_code == 204
        assert client.delete(f"{LETTERS}/{parked[1]}").status_code == 204
        for gone in (parked[0], parked[1], new_id()):
            assert client.delete(f"{LETTERS}/{gone}").status_code == 404
            assert client.post(f"{LETTERS}/{gone}/replay").status_code == 404
        assert client.delete(f"{LETTERS}/none").status_code == 422
    assert look(little_database, "select id from billing.failed_deliveries where due_at is not null") == [parked[0]]
    assert look(little_database, "select id from billing.failed_deliveries where due_at is null") == [parked[2]]
