"""Who this platform is in an engine that others may use, too; made once and the same for every replica."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.provisioner.models import Installation
from services.provisioner.settings import Settings


def who_we_are(session: Session, settings: Settings) -> tuple[str, str]:
    """Our name in the engine and the readiness route's secret: from the settings, else as first made here."""
    made = {"one": True, "name": secrets.token_hex(4), "probe_secret": secrets.token_urlsafe(32)}
    session.execute(insert(Installation).values(**made).on_conflict_do_nothing())
    kept = session.scalars(select(Installation)).one()
    return settings.installation or kept.name, settings.probe_secret.get_secret_value() or kept.probe_secret
