"""A company's own details, and a person's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from services.identity.models import Company, User
from shared.events.identity import CompanyUpdated, UserUpdated
from shared.messaging import outbox


def update_company(session: Session, company: Company, changes: Mapping[str, str], now: datetime) -> None:
    """Writes what differs, and tells it once."""
    if not _apply(company, changes):
        return
    fact = CompanyUpdated(
        company_id=company.id,
        name=company.name,
        country=company.country,
        language=company.language,
        timezone=company.timezone,
        address=company.address,
        tax_id=company.tax_id,
        tax_office=company.tax_office,
    )
    outbox.add(session, fact, now)


def update_person(session: Session, user: User, changes: Mapping[str, str], now: datetime) -> None:
    """Writes what differs, and tells it once."""
    if not _apply(user, changes):
        return
    fact = UserUpdated(
        company_id=user.company_id, user_id=user.id, email=user.email, name=user.name, language=user.language
    )
    outbox.add(session, fact, now)


def all_companies(session: Session, *, before: UUID | None, limit: int) -> list[tuple[Company, int]]:
    """For staff: every company with the number of its members, newest first."""
    members = select(func.count()).where(User.company_id == Company.id, User.left_at.is_(None)).scalar_subquery()
    statement = select(Company, members)
    if before is not None:
        statement = statement.where(Company.id < before)
    rows = session.execute(statement.order_by(Company.id.desc()).limit(limit))
    return [(company, count) for company, count in rows]


def all_people(session: Session, beginning: str, *, before: UUID | None, limit: int) -> list[User]:
    """For staff: everybody whose mail address begins so, newest first."""
    statement = select(User).where(User.left_at.is_(None)).options(joinedload(User.company))
    if beginning:
        statement = statement.where(User.email_key.startswith(beginning.strip().casefold(), autoescape=True))
    if before is not None:
        statement = statement.where(User.id < before)
    return list(session.scalars(statement.order_by(User.id.desc()).limit(limit)))


def _apply(row: Company | User, changes: Mapping[str, str]) -> bool:
    differing = {name: value for name, value in changes.items() if getattr(row, name) != value}
    for name, value in differing.items():
        setattr(row, name, value)
    return bool(differing)
