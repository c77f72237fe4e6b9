"""Becoming somebody: sign-up, confirmation, log-in, log-out, a forgotten password, an invitation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from gateway import devices, limits, sessions
from gateway.access import Anybody, Form, FormFields, Guest
from gateway.client import network
from gateway.headers import Policy
from gateway.pages.forms import on_to, returned, typed
from gateway.rendering import language_of, render
from gateway.services import Refused, ServiceUnavailable, ask_as_platform
from gateway.targets import HOME, safe_path
from shared.errors import Problem

routes = APIRouter(include_in_schema=False)
FAILURES = (Refused, ServiceUnavailable)
MAIL_COOKIE = "mail"


@routes.get("/sign-up")
async def sign_up_page(request: Request, visitor: Guest) -> Response:
    """The form; `?plan=` remembers which button led here."""
    if visitor:
        return on_to(HOME)
    return _sign_up(request, {"wanted_plan": request.query_params.get("plan", "")[:50]})


@routes.post("/sign-up")
async def sign_up(request: Request, visitor: Guest, form: FormFields) -> Response:
    """Makes a company and its first admin; tells nobody whether the mail address was known."""
    limits.take(request, limits.SIGN_UP, network(request.state.ip))
    email = form.get("email", "").strip()
    limits.take(request, limits.MAIL_ACCOUNT, email.lower())
    body = {
        "company_name": form.get("company_name", "").strip(),
        "name": form.get("name", "").strip(),
        "email": email,
        "password": form.get("password", ""),
        "country": form.get("country", "TR"),
        "language": language_of(request),
        "timezone": form.get("timezone") or "Europe/Istanbul",
        "wanted_plan": form.get("wanted_plan", ""),
    }
    try:
        await ask_as_platform(request, "identity", "/internal/sign-up", body)
    except FAILURES as problem:
        return _sign_up(request, form, problem)
    return _remember_mail(request, on_to("/verify", "written"), email)


def _sign_up(request: Request, form: Form, problem: Problem | None = None) -> Response:
    names = ("company_name", "name", "email", "wanted_plan", "timezone")
    fields = typed(form, *names, country="TR") | {"country": form.get("country", "TR")}
    return render(
        request, "sign_up.html", status=problem.status if problem else 200, fields=fields, **returned(problem, form)
    )


@routes.get("/verify")
async def verify_page(request: Request, visitor: Guest) -> Response:
    """With a token: one button, since mail scanners open links. Without: "we have written to you"."""
    if visitor and visitor.verified:
        return on_to(HOME)
    return _verify(request, _link_token(request))


@routes.post("/verify")
async def verify(request: Request, visitor: Guest, form: FormFields) -> Response:
    """Confirms the mail address and logs in."""
    limits.take(request, limits.LINKS, network(request.state.ip))
    try:
        body = {"token": form.get("token", "")}
        made = await ask_as_platform(request, "identity", "/internal/verification/confirm", body)
    except FAILURES as problem:
        if problem.status not in (400, 410, 422):
            raise
        return _verify(request, "", expired=True, status=410)
    return await _logged_in(request, made, f"{HOME}?done=verified")


@routes.post("/verify/resend")
async def resend_verification(request: Request, visitor: Guest, form: FormFields) -> Response:
    """Another mail, at most a few an hour; the answer is the same for unknown addresses."""
    email = (visitor.email if visitor else form.get("email", "")).strip()
    limits.take(request, limits.MAIL_ACCOUNT, email.lower())
    try:
        await ask_as_platform(request, "identity", "/internal/verification/resend", {"email": email})
    except Refused as problem:
        return _verify(request, "", problem=problem, status=problem.status)
    return _remember_mail(request, on_to("/verify", "written-again"), email)


def _verify(
    request: Request, token: str, *, expired: bool = False, status: int = 200, problem: Problem | None = None
) -> Response:
    session: sessions.Session | None = request.state.session
    email = session.email if session else request.cookies.get(MAIL_COOKIE, "")[:254]
    facts = returned(problem, {})
    return render(request, "verify.html", status=status, token=token, expired=expired, email=email, **facts)


@routes.get("/log-in")
async def log_in_page(request: Request, visitor: Guest) -> Response:
    """The form; `?next=` is where the person wanted to go."""
    target = safe_path(request.query_params.get("next"))
    if visitor:
        return on_to(target)
    return _log_in(request, {}, target)


@routes.post("/log-in")
async def log_in(request: Request, visitor: Guest, form: FormFields) -> Response:
    """A new session, never one the browser came with."""
    email = form.get("email", "").strip()
    target = safe_path(form.get("next"))
    limits.take(request, limits.LOG_IN, network(request.state.ip))
    device = devices.known(request)
    # Strangers share the account's bucket; a known device has its own, so that they cannot empty it for the owner.
    limits.take(request, limits.LOG_IN_ACCOUNT, f"{device.nonce if device else ''} {email.lower()}")
    body = {
        "email": email,
        "password": form.get("password", ""),
        "user_agent": request.headers.get("user-agent", "")[:300],
        "device": device.told() if device else None,
    }
    try:
        made = await ask_as_platform(request, "identity", "/internal/sessions", body)
    except FAILURES as problem:
        return _log_in(request, form, target, problem)
    return await _logged_in(request, made, target)


def _log_in(request: Request, form: Form, target: str, problem: Problem | None = None) -> Response:
    return render(
        request,
        "log_in.html",
        status=problem.status if problem else 200,
        policy=Policy.LOG_IN,
        fields=typed(form, "email"),
        next=target,
        expired=request.query_params.get("expired") == "1",
        **returned(problem, form),
    )


@routes.post("/log-out")
async def log_out(request: Request, visitor: Anybody, form: FormFields) -> Response:
    """Ends the session everywhere: here, in the other tabs, in workspaces."""
    await _end_session(request)
    response = on_to("/", "logged-out")
    sessions.clear_cookie(response, request.app.state.settings)
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


@routes.get("/forgot")
async def forgot_page(request: Request, visitor: Guest) -> Response:
    """Asks for the mail address."""
    return render(request, "forgot.html", fields=typed({}, "email"), sent=False, **returned(None, {}))


@routes.post("/forgot")
async def forgot(request: Request, visitor: Guest, form: FormFields) -> Response:
    """Sends a link where there is an account, and says the same where there is none."""
    email = form.get("email", "").strip()
    limits.take(request, limits.MAIL_ACCOUNT, email.lower())
    fields = typed(form, "email")
    try:
        await ask_as_platform(request, "identity", "/internal/password/forgot", {"email": email})
    except FAILURES as problem:
        facts = returned(problem, form)
        return render(request, "forgot.html", status=problem.status, fields=fields, sent=False, **facts)
    return render(request, "forgot.html", fields=fields, sent=True, **returned(None, {}))


@routes.get("/reset")
async def reset_page(request: Request, visitor: Guest) -> Response:
    """The form for a new password."""
    return render(request, "reset.html", token=_link_token(request), expired=False, **returned(None, {}))


@routes.post("/reset")
async def reset(request: Request, visitor: Guest, form: FormFields) -> Response:
    """Sets the password; every session of the person has ended, so the next step is to log in."""
    limits.take(request, limits.LINKS, network(request.state.ip))
    token = form.get("token", "")
    try:
        body = {"token": token, "password": form.get("password", "")}
        whose = await ask_as_platform(request, "identity", "/internal/password/reset", body)
    except FAILURES as problem:
        if problem.status == 410:
            return render(request, "reset.html", status=410, token="", expired=True, **returned(None, {}))
        facts = returned(problem, form)
        return render(request, "reset.html", status=problem.status, token=token, expired=False, **facts)
    response = on_to("/log-in", "password-set")
    sessions.clear_cookie(response, request.app.state.settings)
    # Whoever keeps the account locked by guessing cannot lock this browser out again before it has logged in.
    devices.remember(request, response, UUID(whose["user_id"]))
    return response


@routes.get("/invitation")
async def invitation_page(request: Request, visitor: Guest) -> Response:
    """Who invites into what."""
    limits.take(request, limits.LINKS, network(request.state.ip))
    return await _invitation(request, _link_token(request), {})


@routes.post("/invitation")
async def accept_invitation(request: Request, visitor: Guest, form: FormFields) -> Response:
    """Makes the account and logs in."""
    limits.take(request, limits.LINKS, network(request.state.ip))
    token = form.get("token", "")
    body = {
        "token": token,
        "name": form.get("name", "").strip(),
        "password": form.get("password", ""),
        "language": language_of(request),
    }
    try:
        made = await ask_as_platform(request, "identity", "/internal/invitations/accept", body)
    except FAILURES as problem:
        return await _invitation(request, token, form, problem)
    return await _logged_in(request, made, f"{HOME}?done=joined")


async def _invitation(request: Request, token: str, form: Form, problem: Problem | None = None) -> Response:
    invitation, status = None, problem.status if problem else 200
    try:
        invitation = await ask_as_platform(request, "identity", "/internal/invitations/look", {"token": token})
    except Refused as refusal:
        if refusal.status not in (400, 410, 422):
            raise
        problem, status = None, 410
    facts = {"token": token, "invitation": invitation, "fields": typed(form, "name"), **returned(problem, form)}
    return render(request, "invitation.html", status=status, **facts)


async def _logged_in(request: Request, made: dict[str, Any], target: str) -> Response:
    """Gives the browser the new session and ends the one it may have come with (no fixation, no leftovers)."""
    await _end_session(request)
    response = on_to(target)
    expires_at = datetime.fromisoformat(made["expires_at"])
    sessions.set_cookie(response, request.app.state.settings, made["secret"], expires_at)
    devices.remember(request, response, UUID(made["user"]["user_id"]))
    response.delete_cookie(MAIL_COOKIE, path="/verify")
    return response


async def _end_session(request: Request) -> None:
    secret = sessions.secret_of(request, request.app.state.settings)
    if request.state.session is None or not secret:
        return
    request.app.state.knowledge.session_ended(request.state.session.session_id)
    request.app.state.sessions.forget(secret)
    await ask_as_platform(request, "identity", "/internal/sessions/end", {"secret": secret})


def _link_token(request: Request) -> str:
    """The one-time token of a link in a mail."""
    return request.query_params.get("token", "")[:300]


def _remember_mail(request: Request, response: Response, email: str) -> Response:
    """So that "we have written to …" survives a reload; read by `/verify` alone."""
    if email.isascii() and email.isprintable() and len(email) <= 254 and ";" not in email:
        secure = request.app.state.settings.secure
        response.set_cookie(
            MAIL_COOKIE, email, max_age=3600, path="/verify", secure=secure, httponly=True, samesite="lax"
        )
    return response
