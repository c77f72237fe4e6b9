"""How one comes in: sign-up, log-in, links from mails. Only the gateway calls these, for its browser pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from services.identity import invitations, login_sessions, passwords, verification
from services.identity import log_in as logging_in
from services.identity import password_changes as changes
from services.identity import sign_up as signing_up
from services.identity.errors import WrongCredentials
from services.identity.schemas import (
    Acceptance,
    JustEmail,
    Link,
    LogIn,
    Look,
    NewPassword,
    Nothing,
    PasswordSet,
    PrincipalView,
    Secret,
    SessionOpened,
    SignedUp,
    SignUp,
)
from services.identity.settings import Settings
from shared.access import Platform
from shared.db import Database, Work

router = APIRouter(prefix="/internal", tags=["doors"])


async def _no_sooner(settings: Settings, began: float) -> None:
    """Waits until an answer may be given: what hashing or the database did beneath it is not to be measured."""
    await asyncio.sleep(max(0.0, settings.refusal_time.total_seconds() - (time.monotonic() - began)))


@router.post("/sign-up", status_code=202)
async def sign_up(body: SignUp, caller: Platform, request: Request) -> SignedUp:
    """Opens a company, or tells the owner of a known address; the answer is the same, and takes the same time."""
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    application = signing_up.Application(**body.model_dump(exclude={"password"}))
    began = time.monotonic()

    def attempt() -> None:
        now = settings.clock.now()
        # A turn first, then a connection: waiting for the one must not use up the others.
        with passwords.turn(), database.unit_of_work() as session:
            signing_up.sign_up(session, application, body.password, settings.public_url, caller.ip, now)

    await run_in_threadpool(attempt)
    await _no_sooner(settings, began)
    return SignedUp(email=body.email)


@router.post("/verification/resend", status_code=202)
async def resend_verification(body: JustEmail, caller: Platform, request: Request) -> Nothing:
    """Another link, where one is wanted; the answer is the same, and takes the same time."""
    return await _without_a_word(request, verification.resend, body.email)


async def _without_a_word(
    request: Request, operation: Callable[[Session, str, str, datetime], None], email: str
) -> Nothing:
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    began = time.monotonic()

    def attempt() -> None:
        with database.unit_of_work() as session:
            operation(session, email, settings.public_url, settings.clock.now())

    await run_in_threadpool(attempt)
    await _no_sooner(settings, began)
    return Nothing()


@router.post("/verification/confirm")
def confirm_verification(body: Link, caller: Platform, session: Work, request: Request) -> SessionOpened:
    """Confirms the address and logs in."""
    now = request.app.state.clock.now()
    return SessionOpened.of(verification.confirm(session, body.token, caller.ip, body.user_agent, now))


@router.post("/sessions", status_code=201)
async def log_in(body: LogIn, caller: Platform, request: Request) -> SessionOpened:
    """Logs in. A refusal takes its time."""
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    device = logging_in.Device(body.device.user_id, body.device.nonce) if body.device else None
    began = time.monotonic()

    def attempt() -> SessionOpened | None:
        with passwords.turn(), database.unit_of_work() as session:
            now = settings.clock.now()
            opened = logging_in.log_in(session, body.email, body.password, caller.ip, body.user_agent, now, device)
            return SessionOpened.of(opened) if opened else None

    answer = await run_in_threadpool(attempt)
    if answer is None:
        await _no_sooner(settings, began)
        raise WrongCredentials
    return answer


@router.post("/sessions/resolve")
def resolve_session(body: Secret, caller: Platform, session: Work, request: Request) -> PrincipalView:
    """Whose session this is, as they are now."""
    return PrincipalView.of(*login_sessions.resolve(session, body.secret, request.app.state.clock.now()))


@router.post("/sessions/end", status_code=204)
def end_session(body: Secret, caller: Platform, session: Work, request: Request) -> None:
    """Logs out."""
    login_sessions.end_by_secret(session, body.secret, request.app.state.clock.now())


@router.post("/password/forgot", status_code=202)
async def forgot_password(body: JustEmail, caller: Platform, request: Request) -> Nothing:
    """A link for a new password, where the address is known; the answer is the same, and takes the same time."""
    return await _without_a_word(request, changes.forgot, body.email)


@router.post("/password/reset")
def reset_password(body: NewPassword, caller: Platform, session: Work, request: Request) -> PasswordSet:
    """Sets a new password by a link and ends all sessions."""
    now = request.app.state.clock.now()
    with passwords.turn():
        return PasswordSet(user_id=changes.reset(session, body.token, body.password, caller.ip, now))


@router.post("/invitations/look")
def look_at_invitation(body: Link, caller: Platform, session: Work, request: Request) -> Look:
    """What a link invites to."""
    return Look.of(invitations.look(session, body.token, request.app.state.clock.now()))


@router.post("/invitations/accept", status_code=201)
def accept_invitation(body: Acceptance, caller: Platform, session: Work, request: Request) -> SessionOpened:
    """Makes the invited account and logs in."""
    now = request.app.state.clock.now()
    with passwords.turn():
        opened = invitations.accept(
            session, body.token, body.name, body.password, body.language, caller.ip, body.user_agent, now
        )
    return SessionOpened.of(opened)
