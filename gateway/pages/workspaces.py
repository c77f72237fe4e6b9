"""The dashboard and one's workspaces; opening one is `gateway.entry`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid5

from fastapi import APIRouter, Request, Response

from gateway.access import Form, FormFields, Member
from gateway.pages.forms import on_to, page_query, returned, typed
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


@routes.get("/workspaces/deleted")
async def deleted_workspaces(request: Request, visitor: Member) -> Response:
    """What was deleted and can be brought back, the last one first."""
    deleted, quota = await ask_all(
        request,
        ("provisioner", f"/api/v1/workspaces/deleted{page_query(request)}"),
        ("provisioner", "/api/v1/workspaces/quota"),
    )
    if deleted:
        deleted["items"].sort(key=lambda one: one["deleted_at"], reverse=True)
    return render(request, "workspaces_deleted.html", deleted=deleted, quota=quota)


@routes.get("/workspaces/{workspace_id}")
async def workspace_page(request: Request, visitor: Member, workspace_id: UUID) -> Response:
    """One workspace, its state and its stages; `?ask=rename` and `?ask=delete` open the question."""
    return await _page(request, workspace_id, asked=request.query_params.get("ask", ""))


@routes.post("/workspaces/{workspace_id}/start")
async def start_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Starts it."""
    return await _change(request, "POST", workspace_id, "/start", "workspace-starting")


@routes.post("/workspaces/{workspace_id}/stop")
async def stop_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Stops it, or takes its start back; files are kept."""
    return await _change(request, "POST", workspace_id, "/stop", "workspace-stopping")


@routes.post("/workspaces/{workspace_id}/restart")
async def restart_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Ends what runs in it and starts it anew; files are kept."""
    return await _change(request, "POST", workspace_id, "/restart", "workspace-restarting")


@routes.post("/workspaces/{workspace_id}/rename")
async def rename_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Gives it another name."""
    body = {"name": form.get("name", "").strip()}
    return await _change(request, "PATCH", workspace_id, "", "workspace-renamed", body, asked="rename")


@routes.post("/workspaces/{workspace_id}/delete")
async def delete_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Deletes it; its page then says until when it can be brought back."""
    return await _change(request, "DELETE", workspace_id, "", "workspace-deleted")


@routes.post("/workspaces/{workspace_id}/restore")
async def restore_workspace(request: Request, visitor: Member, workspace_id: UUID, form: FormFields) -> Response:
    """Brings a deleted one back; under a new name where one was typed."""
    body = {"name": form["name"].strip()} if "name" in form else {}
    return await _change(request, "POST", workspace_id, "/restore", "workspace-restored", body)


async def _change(
    request: Request,
    method: str,
    workspace_id: UUID,
    action: str,
    done: str,
    body: dict[str, str] | None = None,
    *,
    asked: str = "",
) -> Response:
    try:
        await ask(request, "provisioner", method, f"/api/v1/workspaces/{workspace_id}{action}", json=body)
    except FAILURES as problem:
        if problem.status == 404:
            raise
        return await _page(request, workspace_id, problem=problem, name=(body or {}).get("name"), asked=asked)
    return on_to(f"/workspaces/{workspace_id}", done)


async def _page(
    request: Request,
    workspace_id: UUID,
    *,
    problem: Problem | None = None,
    name: str | None = None,
    asked: str = "",
) -> Response:
    """`name` is what was typed as the new one, `asked` the question that stands open."""
    workspace, (quota,) = await asyncio.gather(
        ask(request, "provisioner", "GET", f"/api/v1/workspaces/{workspace_id}"),
        ask_all(request, ("provisioner", "/api/v1/workspaces/quota")),
    )
    days: int | None = quota["restore_days"] if quota else None
    return render(
        request,
        "workspace.html",
        status=problem.status if problem else 200,
        workspace=workspace,
        name=workspace["name"] if name is None else name,
        asked=asked,
        quota=quota,
        undo_days=days,
        undo_until=request.app.state.clock.now() + timedelta(days=days) if days else None,
        **returned(problem, {}),
    )


def idempotency(key: str, part: str = "") -> dict[str, str]:
    """The header for a form's own key; a fresh one where the form was tampered with.

    `part` tells forms of one page apart that share its key.
    """
    try:
        return {"idempotency-key": str(uuid5(UUID(key), part) if part else UUID(key))}
    except ValueError:
        return {"idempotency-key": str(new_id())}
