"""One's own account, and the company's details."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from gateway.access import Admin, Form, FormFields, Member, Person
from gateway.pages.forms import on_to, page_query, returned, typed
from gateway.rendering import render
from gateway.services import Refused, ServiceUnavailable, ask, ask_all
from shared.errors import Invalid, Problem

routes = APIRouter(include_in_schema=False)
FAILURES = (Refused, ServiceUnavailable)
COMPANY_FIELDS = ("name", "country", "language", "timezone", "address", "tax_id", "tax_office")


@routes.get("/account")
async def account_page(request: Request, visitor: Person) -> Response:
    """Name, language, password, sessions."""
    return await _account(request, "", {})


@routes.post("/account/profile")
async def change_profile(request: Request, visitor: Person, form: FormFields) -> Response:
    """Name and language."""
    body = {name: form[name].strip() for name in ("name", "language") if name in form}
    try:
        await ask(request, "identity", "PATCH", "/api/v1/me", json=body)
    except FAILURES as problem:
        return await _account(request, "profile", form, problem)
    request.app.state.sessions.forget_user(visitor.user_id)
    return on_to("/account", "profile-saved")


@routes.post("/account/password")
async def change_password(request: Request, visitor: Person, form: FormFields) -> Response:
    """A new password; the other sessions end."""
    body = {"current": form.get("current", ""), "new": form.get("new", "")}
    try:
        await ask(request, "identity", "POST", "/api/v1/me/password", json=body)
    except FAILURES as problem:
        return await _account(request, "password", {}, problem)
    request.app.state.sessions.forget_user(visitor.user_id)
    return on_to("/account", "password-changed")


@routes.post("/account/sessions/{session_id}/end")
async def end_session(request: Request, visitor: Person, session_id: UUID, form: FormFields) -> Response:
    """Logs out elsewhere."""
    await ask(request, "identity", "DELETE", f"/api/v1/sessions/{session_id}")
    request.app.state.knowledge.session_ended(session_id)
    request.app.state.sessions.forget_user(visitor.user_id)
    return on_to("/account", "session-ended")


async def _account(request: Request, part: str, form: Form, problem: Problem | None = None) -> Response:
    me, sessions = await ask_all(
        request, ("identity", "/api/v1/me"), ("identity", f"/api/v1/sessions{page_query(request)}")
    )
    session = request.state.session
    return render(
        request,
        "account.html",
        status=problem.status if problem else 200,
        me=me,
        sessions=sessions,
        part=part,
        fields=typed(form, "name", "language", name=session.name, language=session.language),
        **returned(problem, form),
    )


@routes.get("/settings")
async def settings_page(request: Request, visitor: Member) -> Response:
    """The company's details; members read, admins change."""
    return await _settings(request, None)


@routes.post("/settings")
async def change_settings(request: Request, visitor: Admin, form: FormFields) -> Response:
    """What stands on invoices, and the language and time zone of the company."""
    body = {name: form[name].strip() for name in COMPANY_FIELDS if name in form}
    if not body:
        return await _settings(request, form, Invalid())
    try:
        await ask(request, "identity", "PATCH", "/api/v1/company", json=body)
    except FAILURES as problem:
        return await _settings(request, form, problem)
    request.app.state.sessions.forget_user(visitor.user_id)
    return on_to("/settings", "settings-saved")


async def _settings(request: Request, form: Form | None, problem: Problem | None = None) -> Response:
    company = await ask(request, "identity", "GET", "/api/v1/company")
    kept = {name: str(company.get(name) or "") for name in COMPANY_FIELDS}
    return render(
        request,
        "settings.html",
        status=problem.status if problem else 200,
        company=company,
        fields=typed(form or {}, *COMPANY_FIELDS, **kept) if form else kept,
        **returned(problem, form or {}),
    )
