"""Who belongs to the company: members, invitations, roles."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from gateway import limits
from gateway.access import Admin, Form, FormFields, Member
from gateway.pages.forms import on_to, page_query, returned, typed
from gateway.rendering import render
from gateway.services import Refused, ServiceUnavailable, ask, ask_all
from shared.errors import Problem

routes = APIRouter(include_in_schema=False, prefix="/team")
FAILURES = (Refused, ServiceUnavailable)


@routes.get("")
async def team_page(request: Request, visitor: Member) -> Response:
    """Everybody, and for admins who is still invited."""
    return await _team(request, {})


@routes.post("/invite")
async def invite(request: Request, visitor: Admin, form: FormFields) -> Response:
    """Invites by mail."""
    limits.take(request, limits.SIGN_UP, str(visitor.company_id))
    body = {"email": form.get("email", "").strip(), "role": form.get("role", "member")}
    try:
        await ask(request, "identity", "POST", "/api/v1/invitations", json=body)
    except FAILURES as problem:
        return await _team(request, form, problem)
    return on_to("/team", "invited")


@routes.post("/invitations/{invitation_id}/revoke")
async def revoke_invitation(request: Request, visitor: Admin, invitation_id: UUID, form: FormFields) -> Response:
    """Takes an invitation back."""
    await ask(request, "identity", "DELETE", f"/api/v1/invitations/{invitation_id}")
    return on_to("/team", "invitation-revoked")


@routes.post("/invitations/{invitation_id}/resend")
async def resend_invitation(request: Request, visitor: Admin, invitation_id: UUID, form: FormFields) -> Response:
    """Writes to the invited person again."""
    limits.take(request, limits.MAIL_ACCOUNT, str(invitation_id))
    await ask(request, "identity", "POST", f"/api/v1/invitations/{invitation_id}/resend")
    return on_to("/team", "invited-again")


@routes.post("/members/{user_id}/role")
async def change_role(request: Request, visitor: Admin, user_id: UUID, form: FormFields) -> Response:
    """Makes a member an admin, or an admin a member."""
    try:
        await ask(request, "identity", "PATCH", f"/api/v1/members/{user_id}", json={"role": form.get("role", "")})
    except FAILURES as problem:
        return await _team(request, {}, problem)
    request.app.state.sessions.forget_user(user_id)
    return on_to("/team", "role-changed")


@routes.post("/members/{user_id}/remove")
async def remove_member(request: Request, visitor: Member, user_id: UUID, form: FormFields) -> Response:
    """Removes somebody, or oneself."""
    try:
        await ask(request, "identity", "DELETE", f"/api/v1/members/{user_id}")
    except FAILURES as problem:
        return await _team(request, {}, problem)
    request.app.state.sessions.forget_user(user_id)
    return on_to("/" if user_id == visitor.user_id else "/team", "member-removed")


async def _team(request: Request, form: Form, problem: Problem | None = None) -> Response:
    questions = [("identity", f"/api/v1/members{page_query(request)}")]
    if request.state.session.is_admin:
        questions.append(("identity", "/api/v1/invitations"))
    members, *invitations = await ask_all(request, *questions)
    return render(
        request,
        "team.html",
        status=problem.status if problem else 200,
        members=members,
        invitations=invitations[0] if invitations else None,
        fields=typed(form, "email") | {"role": form.get("role", "member")},
        **returned(problem, form),
    )
