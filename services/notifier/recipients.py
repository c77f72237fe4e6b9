"""Who can be told: projections of companies and people, safe against events that come late or twice."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.notifier.models import Company, Recipient
from shared.i18n import DEFAULT_TIMEZONE


class NotYetKnown(Exception):
    """An event speaks of somebody whose own event has not come yet; the order of events is not promised."""


def put_company(session: Session, company_id: UUID, sequence: int, *, name: str, language: str, timezone: str) -> None:
    """A company's details, unless we have newer ones."""
    values = {"name": name, "language": language, "timezone": timezone, "details_sequence": sequence}
    statement = insert(Company).values(id=company_id, **values)
    session.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_=values, where=Company.details_sequence < sequence)
    )


def put_person(
    session: Session, user_id: UUID, company_id: UUID, sequence: int, *, email: str, name: str, language: str
) -> None:
    """A person's details, unless we have newer ones. The role is kept, or becomes member."""
    values = {"company_id": company_id, "email": email, "name": name[:200], "language": language, "sequence": sequence}
    statement = insert(Recipient).values(user_id=user_id, role="member", active=True, **values)
    session.execute(
        statement.on_conflict_do_update(index_elements=["user_id"], set_=values, where=Recipient.sequence < sequence)
    )


def known(session: Session, user_id: UUID) -> Recipient:
    """The person. Raises NotYetKnown: the bus tries the event again when the one before it has come."""
    person = session.get(Recipient, user_id)
    if person is None:
        raise NotYetKnown(f"nobody has told us of {user_id} yet")
    return person


def set_role(session: Session, user_id: UUID, company_id: UUID, role: str, sequence: int) -> None:
    """What the person is in the company, unless we know newer; who has a role belongs to it. Raises NotYetKnown."""
    person = known(session, user_id)
    if person.role_sequence < sequence:
        person.company_id, person.role, person.active, person.role_sequence = company_id, role, True, sequence


def remove(session: Session, user_id: UUID, sequence: int) -> None:
    """The person belongs to the company no more, unless we know newer. Raises NotYetKnown."""
    person = known(session, user_id)
    if person.role_sequence < sequence:
        person.active, person.role_sequence = False, sequence


def set_trial(session: Session, company_id: UUID, ends_at: datetime | None, sequence: int) -> None:
    """When the trial ends (None: it was paid for), unless we know newer. Billing may tell before identity does."""
    values = {"trial_ends_at": ends_at, "trial_sequence": sequence}
    unknown = {"name": "", "language": "tr", "timezone": DEFAULT_TIMEZONE, "details_sequence": 0}
    statement = insert(Company).values(id=company_id, **values, **unknown)
    session.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_=values, where=Company.trial_sequence < sequence)
    )


def admins(session: Session, company_id: UUID) -> list[Recipient]:
    """Who is told about the company's money. Raises NotYetKnown: a company has an admin from its first moment on."""
    statement = select(Recipient).where(
        Recipient.company_id == company_id, Recipient.role == "admin", Recipient.active.is_(True)
    )
    found = list(session.scalars(statement.order_by(Recipient.user_id).limit(100)))
    if not found:
        raise NotYetKnown(f"nobody has told us of an admin of {company_id} yet")
    return found


def company(session: Session, company_id: UUID) -> tuple[str, str]:
    """The company's name and time zone; "" and the default one where identity has not told us yet."""
    found = session.get(Company, company_id)
    return (found.name, found.timezone) if found else ("", DEFAULT_TIMEZONE)
