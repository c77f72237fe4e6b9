"""What routes with forms share: back to the page with what was typed, on to the next one after a change."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse

from shared.errors import Problem

Fields = dict[str, str]
Faults = dict[str, list[dict[str, str]]]


def faults_of(problem: Problem) -> Faults:
    """`{field: [{code, message}]}`; what concerns no field stays with the problem itself."""
    found: Faults = {}
    for error in problem.errors:
        found.setdefault(error.field, []).append({"code": error.code, "message": error.message})
    return found


def typed(form: Fields, *names: str, **defaults: str) -> Fields:
    """What a form is filled with: the names of it that may be shown again (never a password)."""
    return {**dict.fromkeys(names, ""), **defaults, **{name: form[name] for name in names if name in form}}


def returned(problem: Problem | None, form: Fields) -> dict[str, Any]:
    """The facts `problem` and `errors` of every page with a form. Raises the problem where no form can mend it."""
    if problem is None:
        return {"problem": None, "errors": {}}
    if problem.status not in MENDABLE:
        raise problem
    return {"problem": problem, "errors": faults_of(problem)}


MENDABLE = frozenset({400, 401, 403, 409, 422, 502, 503})
"""Statuses that bring the form back with what was typed."""


def on_to(path: str, done: str = "") -> RedirectResponse:
    """303 to a path of ours (a literal in the code, or one `safe_path` let through); `done` is told on that page."""
    mark = "&" if "?" in path else "?"
    return RedirectResponse(f"{path}{mark}done={done}" if done else path, 303)


def wants_json(request: Request) -> bool:
    """Whether a script asks, and not a navigation."""
    return "application/json" in request.headers.get("accept", "")


def page_query(request: Request) -> str:
    """The `?cursor=` of a list, as it is handed on to the service."""
    cursor = request.query_params.get("cursor", "")
    return f"?cursor={cursor}" if cursor.replace("-", "").replace("_", "").isalnum() and len(cursor) <= 64 else ""
