"""The company and its people."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request

from services.identity import companies, invitations, members, people
from services.identity.schemas import (
    CompanyChange,
    CompanyView,
    InvitationView,
    MemberView,
    NewInvitation,
    RoleChange,
)
from services.identity.settings import Settings
from shared.access import Admin, Member
from shared.db import Work
from shared.idempotency import Key, once
from shared.pagination import Cursor, Limit, Page, after, page

router = APIRouter(prefix="/api/v1", tags=["team"])


@router.get("/company")
def show_company(caller: Member, session: Work) -> CompanyView:
    """My company's details."""
    return CompanyView.of(people.acting(session, caller).company)


@router.patch("/company")
def change_company(body: CompanyChange, caller: Admin, session: Work, request: Request) -> CompanyView:
    """Changes my company's details."""
    company = people.acting_admin(session, caller).company
    companies.update_company(session, company, body.model_dump(exclude_none=True), request.app.state.clock.now())
    return CompanyView.of(company)


@router.get("/members")
def list_members(caller: Member, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[MemberView]:
    """The people of my company, in the order they came."""
    company_id = people.acting(session, caller).company_id
    rows = members.listed(session, company_id, after=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row.id, MemberView.of)


@router.patch("/members/{user_id}")
def change_role(user_id: UUID, body: RoleChange, caller: Admin, session: Work, request: Request) -> MemberView:
    """Gives a member another role."""
    return MemberView.of(members.change_role(session, caller, user_id, body.role, request.app.state.clock.now()))


@router.delete("/members/{user_id}", status_code=204)
def remove_member(user_id: UUID, caller: Member, session: Work, request: Request) -> None:
    """Removes a member, or leaves."""
    members.remove(session, caller, user_id, request.app.state.clock.now())


@router.get("/invitations")
def list_invitations(caller: Admin, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[InvitationView]:
    """Invitations nobody has accepted."""
    company_id = people.acting_admin(session, caller).company_id
    rows = invitations.listed(session, company_id, after=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row.id, InvitationView.of)


@router.post("/invitations", status_code=201)
def invite(body: NewInvitation, caller: Admin, session: Work, request: Request, key: Key = None) -> InvitationView:
    """Invites a mail address into my company."""
    settings: Settings = request.app.state.settings

    def make() -> InvitationView:
        now = settings.clock.now()
        made = invitations.invite(session, caller, body.email, body.role, settings.public_url, now)
        return InvitationView.of(made)

    return once(session, key, caller, request, body, InvitationView, make)


@router.delete("/invitations/{invitation_id}", status_code=204)
def withdraw_invitation(invitation_id: UUID, caller: Admin, session: Work) -> None:
    """Takes an invitation back."""
    invitations.withdraw(session, caller, invitation_id)


@router.post("/invitations/{invitation_id}/resend", status_code=202)
def resend_invitation(invitation_id: UUID, caller: Admin, session: Work, request: Request) -> InvitationView:
    """Sends an invitation again, with a new link."""
    settings: Settings = request.app.state.settings
    now = settings.clock.now()
    return InvitationView.of(invitations.resend(session, caller, invitation_id, settings.public_url, now))
