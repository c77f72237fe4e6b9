"""Sign-up: a company and its first admin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.identity import alerts, mail_addresses, mail_limits, password_rules, passwords, people, verification
from services.identity.models import Company, Role, User
from shared.events.identity import CompanyCreated, UserRegistered
from shared.ids import new_id
from shared.messaging import outbox


@dataclass(frozen=True)
class Application:
    """Who wants to come in; every part has been checked."""

    company_name: str
    country: str
    name: str
    email: str
    language: str
    timezone: str
    wanted_plan: str = ""


def sign_up(session: Session, application: Application, password: str, public_url: str, ip: str, now: datetime) -> None:
    """Opens a company and asks for the address to be confirmed; where the address is known, its owner is told.

    The caller sees no difference, and the password is checked and hashed in both cases. The caller holds a
    `passwords.turn`. Raises Invalid.
    """
    password_rules.check(password, application.email, application.name, application.company_name)
    admin = open_company(session, application, passwords.hash_password(password), now)
    if admin is not None:
        verification.request(session, admin, public_url, now, welcome=True)
        return
    owner = people.by_email(session, application.email)
    if owner is not None and mail_limits.may_send(session, owner.id, mail_limits.ACCOUNT_EXISTS, now):
        alerts.tell(session, owner, "account_exists", ip, now)


def open_company(session: Session, application: Application, password_hash: str, now: datetime) -> User | None:
    """The company with its admin, or None where the address is taken: also by a sign-up at the same moment."""
    company = Company(
        id=new_id(),
        name=application.company_name,
        country=application.country,
        language=application.language,
        timezone=application.timezone,
        address="",
        tax_id="",
        tax_office="",
        created_at=now,
    )
    admin = User(
        company=company,
        id=new_id(),
        company_id=company.id,
        email=application.email,
        email_key=mail_addresses.key(application.email),
        name=application.name,
        language=application.language,
        role=Role.ADMIN,
        password_hash=password_hash,
        created_at=now,
    )
    if not add_person(session, admin):
        return None
    created = CompanyCreated(
        company_id=company.id,
        name=company.name,
        country=company.country,
        language=company.language,
        timezone=company.timezone,
        created_at=now,
        wanted_plan=application.wanted_plan,
    )
    outbox.add(session, created, now)
    tell_registered(session, admin, now)
    return admin


def add_person(session: Session, user: User) -> bool:
    """Adds the account and whatever hangs on it; False where the address is taken. The unique index decides."""
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:
        if "uq_users_email_key" not in str(error.orig):
            raise
        return False
    return True


def tell_registered(session: Session, user: User, now: datetime) -> None:
    """Tells that the person has an account."""
    fact = UserRegistered(
        company_id=user.company_id,
        user_id=user.id,
        email=user.email,
        name=user.name,
        language=user.language,
        role=Role(user.role).value,
    )
    outbox.add(session, fact, now)
