"""The dashboard and one's workspaces; opening one is `gateway.entry`."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from fastapi import APIRouter, Request, Response

from gateway.access import Form, FormFields, Member
from gateway.pages.forms import on_to, returned, typed
from gateway.rendering import render
from gateway.services import Refused, ServiceUnavailable, ask, ask_all
from shared.errors import Problem
from shared.ids import new_id

routes = APIRouter(include_in_schema=False)
FAILURES = (Refused, ServiceUnavailable)
TEMPLATES = ("plain",)


@routes.get("/dashboard")
async def dashboard(request: Request, visitor: Member) -> Response:
    """Everything at a glance; a part whose service is silent is shown as such."""
    workspaces, quota, subscription, members = await ask_all(
        request,
        ("provisioner", "/api/v1/workspaces"),
        ("provisioner", "/api/v1/workspaces/quota"),
        ("billing", "/api/v1/subscription"),
        ("identity", "/api/v1/members"),
    )
    facts = {"workspaces": workspaces, "quota": quota, "subscription": subscription, "members": members}
    return render(request, "dashboard.html", **facts)


@routes.get("/workspaces/new")
async def new_workspace_page(request: Request, visitor: Member) -> Response:
    """The form, with what the plan still allows."""
    return await _new(request, {})


@routes.post("/workspaces/new")
async def new_workspace(request: Request, visitor: Member, form: FormFields) -> Response:
    """Asks for a workspace; the form's key makes a double click one workspace."""
    body = {"name": form.get("name", "").strip(), "template": form.get("template") or "plain"}
    try:
        made = await ask(
            request, "provisioner", "POST", "/api/v1/workspaces", json=body, headers=idempotency(form.get("key", ""))
        )
    except FAILURES as problem:
        return await _new(request, form, problem)
    return on_to(f"/workspaces/{UUID(made['id'])}", "workspace-requested")


async def _new(request: Request, form: Form, problem: Problem | None = None) -> Response:
    (quota,) = await ask_all(request, ("provisioner", "/api/v1/workspaces/quota"))
    return render(
        request,
        "workspace_new.html",
        status=problem.status if problem else 200,
        quota=quota,
        templates=TEMPLATES,
        fields=typed(form, "name") | {"template": form.get("template", "plain")},
        key=str(new_id()),
        **returned(problem, form),
    )


@routes.get("/workspaces/{workspace_id}")
async def workspace_page(request: Request, visitor: Member, workspace_id: UUID) -> Response:
    """One workspace, its state and its stages."""
    return await _page(request, workspace_id)


@routes.post("/workspaces/{workspace_id}/start")
async def start_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Starts it."""
    return await _change(request, "POST", workspace_id, "/start", "workspace-starting")


@routes.post("/workspaces/{workspace_id}/stop")
async def stop_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Stops it; files are kept."""
    return await _change(request, "POST", workspace_id, "/stop", "workspace-stopping")


@routes.post("/workspaces/{workspace_id}/delete")
async def delete_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Deletes it with its files, once its name was typed."""
    workspace = await ask(request, "provisioner", "GET", f"/api/v1/workspaces/{workspace_id}")
    if form.get("confirm", "").strip() != workspace["name"]:
        return await _page(request, workspace_id, wrong_name=True)
    await ask(request, "provisioner", "DELETE", f"/api/v1/workspaces/{workspace_id}")
    return on_to("/dashboard", "workspace-deleting")


async def _change(request: Request, method: str, workspace_id: UUID, action: str, done: str) -> Response:
    try:
        await ask(request, "provisioner", method, f"/api/v1/workspaces/{workspace_id}{action}")
    except FAILURES as problem:
        if problem.status == 404:
            raise
        return await _page(request, workspace_id, problem=problem)
    return on_to(f"/workspaces/{workspace_id}", done)


async def _page(
    request: Request, workspace_id: UUID, *, problem: Problem | None = None, wrong_name: bool = False
) -> Response:
    workspace: dict[str, Any] = await ask(request, "provisioner", "GET", f"/api/v1/workspaces/{workspace_id}")
    status = problem.status if problem else 422 if wrong_name else 200
    facts = returned(problem, {})
    return render(request, "workspace.html", status=status, workspace=workspace, wrong_name=wrong_name, **facts)


def idempotency(key: str, part: str = "") -> dict[str, str]:
    """The header for a form's own key; a fresh one where the form was tampered with.

    `part` tells forms of one page apart that share its key.
    """
    try:
        return {"idempotency-key": str(uuid5(UUID(key), part) if part else UUID(key))}
    except ValueError:
        return {"idempotency-key": str(new_id())}
