"""A company to look around in, on a machine of one's own. Never in production: its password is printed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from services.identity import passwords, people, sign_up, verification
from services.identity.settings import Settings
from services.identity.sign_up import Application
from shared.settings import Environment

EMAIL = "demo@youarecoder.test"
COMPANY = Application(
    company_name="Demo",
    country="TR",
    name="Demo Admin",
    email=EMAIL,
    language="tr",
    timezone="Europe/Istanbul",
)


def ensure_demo(session: Session, settings: Settings, now: datetime) -> None:
    """Makes the demo company and its admin, who is staff, too; a changed password takes effect at the next start.

    By the operations a sign-up uses, so that all services hear of it. Two at once make one: the unique index decides.
    """
    if settings.demo_password is None or settings.environment is not Environment.LOCAL:
        return
    password = settings.demo_password.get_secret_value()
    with passwords.turn():
        user = people.by_email(session, EMAIL, lock=True)
        if user is not None:
            if not passwords.verify(user.password_hash, password):
                user.password_hash = passwords.hash_password(password)
            return
        admin = sign_up.open_company(session, COMPANY, passwords.hash_password(password), now)
    if admin is not None:
        verification.mark_verified(session, admin, now)
        admin.staff = True
