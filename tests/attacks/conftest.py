"""What the attack tests share: a town, whose people are made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from tests.attacks.town import Town, Visitor
from tests.attacks.town import town as running_town
from tests.infrastructure import Databases


@pytest.fixture(scope="session")
def town(databases: Databases) -> Iterator[Town]:
    """The platform in this process. Tests that use it stay on one worker (`pytest.mark.xdist_group("town")`)."""
    made = databases.new()
    with running_town(made) as running:
        yield running
    databases.drop(made)


@dataclass(frozen=True)
class People:
    """One of each kind, for tests that leave them as they are."""

    admin: Visitor
    member: Visitor
    unconfirmed: Visitor
    staff: Visitor
    stranger: Visitor
    """An admin of another company."""

    things: dict[str, UUID]
    """What the admin's company has, by the name addresses have for its id."""


@pytest.fixture(scope="session")
def people(town: Town) -> People:
    """A company with everything that has an id, and those around it."""
    admin = town.founder("Bizim AŞ")
    member = town.joins(admin)
    invited = admin.api("POST", "/api/v1/invitations", json={"email": "asked@example.com", "role": "member"})
    made = admin.api("POST", "/api/v1/workspaces", json={"name": "ours"})
    assert (invited.status_code, made.status_code) == (201, 202), (invited.text, made.text)
    payment, invoice = town.pays(admin)
    things = {
        "user_id": member.session.user_id,
        "session_id": admin.session.session_id,
        "invitation_id": UUID(invited.json()["id"]),
        "workspace_id": UUID(made.json()["id"]),
        "payment_id": payment,
        "invoice_id": invoice,
    }
    unconfirmed = town.newcomer("Yarım AŞ")
    assert unconfirmed.log_in().status_code == 303
    return People(admin, member, unconfirmed, town.staff(), town.founder("Başkası AŞ"), things)
