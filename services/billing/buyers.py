"""What billing knows of companies: a projection of what identity tells."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.billing.models import Buyer
from shared.events.identity import CompanyCreated, CompanyUpdated


def remember(session: Session, event: CompanyCreated | CompanyUpdated, sequence: int) -> None:
    """Keeps the company's details, unless something newer is known: the bus promises no order."""
    details = event if isinstance(event, CompanyUpdated) else None
    values = {
        "company_id": event.company_id,
        "sequence": sequence,
        "name": event.name,
        "country": event.country,
        "language": event.language,
        "timezone": event.timezone,
        "address": details.address if details else "",
        "tax_id": details.tax_id if details else "",
        "tax_office": details.tax_office if details else "",
    }
    row = insert(Buyer).values(values)
    newer = row.on_conflict_do_update(
        index_elements=["company_id"], set_=values, where=Buyer.sequence < row.excluded.sequence
    )
    session.execute(newer)


def known(session: Session, company_id: UUID) -> Buyer:
    """The company's details. They are there since its trial began: both come of the same event."""
    buyer = session.get(Buyer, company_id)
    if buyer is None:
        raise LookupError(f"nothing is known of company {company_id}")
    return buyer
