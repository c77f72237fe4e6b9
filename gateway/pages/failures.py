"""What a person sees when something cannot be done: the reason and an id to quote; programs get problems."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from gateway import sessions
from gateway.access import NeedsLogIn, NeedsVerification
from gateway.limits import TooManyRequests
from gateway.pages.forms import wants_json
from gateway.rendering import render
from shared.db import LOST, DatabaseUnavailable
from shared.errors import BadRequest, NotFound, Problem, TooLarge, Unauthenticated
from shared.http import problem_response


def answer_failures(app: FastAPI) -> None:
    """Maps every failure of a page, once; in place of the kernel's problem+json."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(NeedsLogIn, _log_in)
    app.add_exception_handler(NeedsVerification, _verify)
    for lost in LOST:
        app.add_exception_handler(lost, _lost)


def show(request: Request, problem: Problem) -> Response:
    """The page of a problem, or the problem itself where a script asked."""
    retry_after = problem.retry_after if isinstance(problem, TooManyRequests) else None
    if isinstance(problem, TooManyRequests):
        request.state.rate = problem.state
    if wants_json(request):
        return problem_response(problem)
    response = render(request, "error.html", status=problem.status, problem=problem, retry_after=retry_after)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


async def _problem(request: Request, error: Exception) -> Response:
    problem = cast("Problem", error)
    if problem.status == 401:
        # A service no longer knows the session that memory still knew.
        session: sessions.Session | None = getattr(request.state, "session", None)
        if session is not None:
            request.app.state.sessions.forget_user(session.user_id)
            return await _log_in(request, NeedsLogIn("/dashboard", had_session=True))
    return show(request, problem)


async def _invalid(request: Request, _: Exception) -> Response:
    return show(request, NotFound())


async def _http(request: Request, error: Exception) -> Response:
    status = cast("HTTPException", error).status_code
    problem = NotFound() if status == 404 else TooLarge() if status == 413 else BadRequest()
    problem.status = status  # type: ignore[misc]  # this one answer's, not the class's
    return show(request, problem)


async def _lost(request: Request, _: Exception) -> Response:
    return show(request, DatabaseUnavailable())


async def _log_in(request: Request, error: Exception) -> Response:
    needs = cast("NeedsLogIn", error)
    if wants_json(request):
        return problem_response(Unauthenticated())
    query = urlencode({"next": needs.target, **({"expired": "1"} if needs.had_session else {})})
    response = RedirectResponse(f"/log-in?{query}", 303)
    if needs.had_session:
        sessions.clear_cookie(response, request.app.state.settings)
    return response


async def _verify(request: Request, _: Exception) -> Response:
    return RedirectResponse("/verify", 303)
