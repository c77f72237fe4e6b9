"""The shop window, and the switch of languages."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from gateway.access import Anybody, FormFields
from gateway.pages.forms import on_to
from gateway.rendering import render
from gateway.services import Refused, ServiceUnavailable, ask, ask_all
from gateway.targets import safe_path
from shared.i18n import LANGUAGES

routes = APIRouter(include_in_schema=False)
A_YEAR = 31_536_000


@routes.get("/")
async def landing(request: Request, visitor: Anybody) -> Response:
    """What it is and what it costs."""
    (plans,) = await ask_all(request, ("billing", "/api/v1/plans"))
    return render(request, "landing.html", plans=plans["items"] if plans else [])


@routes.post("/language")
async def choose_language(request: Request, visitor: Anybody, form: FormFields) -> Response:
    """The footer's switch: kept in the browser, and with the person where one is logged in."""
    language = form.get("language", "")
    target = safe_path(form.get("next"), "/")
    if language not in LANGUAGES:
        return on_to(target)
    if visitor is not None:
        try:
            await ask(request, "identity", "PATCH", "/api/v1/me", json={"language": language})
        except (Refused, ServiceUnavailable):
            return on_to(target, "language-not-saved")
        request.app.state.sessions.forget_user(visitor.user_id)
    response: RedirectResponse = on_to(target)
    secure = request.app.state.settings.secure
    response.set_cookie("language", language, max_age=A_YEAR, path="/", secure=secure, httponly=True, samesite="lax")
    return response
