"""HTTP as every service speaks it: problem+json errors, correlation, bounded bodies, metrics, health.

`build_app` is called in each service's `app.py`; nothing here knows a route of a service.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import metrics
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.errors import BadRequest, FieldError, Invalid, NotFound, Problem, TooLarge, TooMany
from shared.ids import new_id
from shared.logging import correlation_id, get_logger, own_context
from shared.tokens import Verifier

log = get_logger(__name__)

MAX_BODY = 64 * 1024
PROBLEM = "application/problem+json"
CORRELATION = "x-correlation-id"
_REFUSAL = {
    "description": "What went wrong (RFC 9457)",
    "content": {
        PROBLEM: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "correlation_id"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "correlation_id": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
                        },
                    },
                },
            }
        }
    },
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {"4XX": _REFUSAL, "5XX": _REFUSAL}
"""What OpenAPI says of every route's refusals; FastAPI then leaves out its own 422, which nobody answers here."""
_GOOD_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def build_app(
    service: str, *, clock: Clock, verifier: Verifier, database: Database | None = None, max_body: int = MAX_BODY
) -> FastAPI:
    """A FastAPI application with everything around routes; the service includes its routers."""
    app = FastAPI(
        title=f"YouAreCoder {service}",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=DOCUMENTED,
    )
    app.state.service = service
    app.state.clock = clock
    app.state.verifier = verifier
    app.state.database = database
    answer_problems(app)
    app.add_middleware(Edge, service=service, max_body=max_body)
    return app


def answer_problems(app: FastAPI) -> None:
    """Maps every error to problem+json, once."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    for lost in (*LOST,):
        app.add_exception_handler(lost, _answer_lost)


def problem_response(problem: Problem) -> Response:
    """RFC 9457, section 3: the problem as its media type."""
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "correlation_id": correlation_id(),
        **problem.extra,
    }
    if problem.detail:
        body["detail"] = problem.detail
    if problem.errors:
        body["errors"] = [vars(error) for error in problem.errors]
    headers = {"Cache-Control": "no-store"}
    if isinstance(problem, TooMany):
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, problem.status, headers, media_type=PROBLEM)


async def _answer_problem(_: Request, error: Exception) -> Response:
    return problem_response(cast("Problem", error))


async def _answer_lost(_: Request, error: Exception) -> Response:
    log.error("database lost", error=type(error).__name__)
    return problem_response(DatabaseUnavailable())


async def _answer_invalid(_: Request, error: Exception) -> Response:
    faults = cast("RequestValidationError", error).errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return problem_response(BadRequest("The body is not valid JSON"))
    errors = [FieldError(_path(fault["loc"]), fault["type"], fault["msg"]) for fault in faults[:20]]
    return problem_response(Invalid(errors=errors))


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part != "body")[:200]


async def _answer_http(_: Request, error: Exception) -> Response:
    error = cast("HTTPException", error)
    if isinstance(error, _BodyTooLarge):
        return problem_response(TooLarge(error.detail))
    problem = NotFound() if error.status_code == 404 else BadRequest(str(error.detail))
    problem.status = error.status_code  # type: ignore[misc]  # this one answer's, not the class's
    response = problem_response(problem)
    response.headers.update(error.headers or {})
    return response


class Edge:
    """Around every request: a correlation id, a bound on the body, the time it took, and no bare 500."""

    def __init__(self, app: ASGIApp, service: str, max_body: int) -> None:
        self._app = app
        self._service = service
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        given = headers.get(CORRELATION.encode(), b"").decode("latin-1")
        id_ = given if _GOOD_ID.fullmatch(given) else str(new_id())
        started = time.perf_counter()
        state: dict[str, int] = {}

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                message["headers"] = [*message.get("headers", []), (CORRELATION.encode(), id_.encode())]
                self._count(scope, message["status"], time.perf_counter() - started)
            await send(message)

        with own_context(correlation_id=id_):
            try:
                await self._app(scope, _bounded(receive, headers, self._max_body), tell)
            except _BodyTooLarge as error:
                if "status" in state:
                    raise
                await problem_response(TooLarge(error.detail))(scope, receive, tell)
            except ClientDisconnect:
                # Half a body, or one that cannot be read as HTTP: not our fault, and nobody is left to be told.
                log.debug("client left while sending")
            except Exception:
                log.exception("unhandled error", path=scope["path"][:200])
                if "status" in state:
                    raise
                await problem_response(Problem())(scope, receive, tell)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"  # each new value would be kept for ever
        metrics.http_seconds.labels(self._service, method, route, status).observe(seconds)


class _BodyTooLarge(HTTPException):
    """An HTTPException because FastAPI, while it reads a body, turns every other one into a 400."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"At most {limit} bytes are read")


def _bounded(receive: Receive, headers: dict[bytes, bytes], limit: int) -> Callable[[], Awaitable[Message]]:
    """Reads at most `limit` bytes, whatever Content-Length says or leaves out."""
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _BodyTooLarge(limit)
        return message

    declared = headers.get(b"content-length", b"0")
    # By its length first: Python refuses to count thousands of digits.
    if declared.isdigit() and (len(declared) > 20 or int(declared) > limit):

        async def refuse() -> Message:
            raise _BodyTooLarge(limit)

        return refuse
    return read
