"""What the platform's staff see of companies and people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from services.identity import companies, people
from services.identity.schemas import CompanyRow, PersonRow
from shared.access import Staff
from shared.db import Work
from shared.pagination import Cursor, Limit, Page, after, page

router = APIRouter(prefix="/api/v1/admin", tags=["staff"])

Beginning = Annotated[
    str, Query(alias="q", max_length=100, pattern=r"^[^\x00-\x1f]*$", description="how the mail address begins")
]


@router.get("/companies")
def list_companies(caller: Staff, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[CompanyRow]:
    """All companies, newest first."""
    people.acting_staff(session, caller)
    rows = companies.all_companies(session, before=after(cursor), limit=limit + 1)
    return page(
        rows,
        limit,
        lambda row: row[0].id,
        lambda row: CompanyRow(
            id=row[0].id, name=row[0].name, country=row[0].country, created_at=row[0].created_at, members=row[1]
        ),
    )


@router.get("/users")
def list_users(
    caller: Staff, session: Work, q: Beginning = "", cursor: Cursor = None, limit: Limit = 50
) -> Page[PersonRow]:
    """Everybody whose mail address begins with `q`, newest first."""
    people.acting_staff(session, caller)
    rows = companies.all_people(session, q, before=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row.id, PersonRow.of)
