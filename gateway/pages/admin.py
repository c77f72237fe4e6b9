"""For the platform's staff: lists of everything, mails to send again, jobs to run, parked events."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response

from gateway.access import FormFields, Staff
from gateway.pages.forms import on_to, page_query
from gateway.rendering import render
from gateway.services import ask, ask_all, id_in_path
from shared.errors import NotFound

routes = APIRouter(include_in_schema=False, prefix="/admin")

LISTS = {
    "companies": ("identity", "/api/v1/admin/companies"),
    "users": ("identity", "/api/v1/admin/users"),
    "subscriptions": ("billing", "/api/v1/admin/subscriptions"),
    "payments": ("billing", "/api/v1/admin/payments"),
    "workspaces": ("provisioner", "/api/v1/admin/workspaces"),
    "mails": ("notifier", "/api/v1/admin/mails"),
    "timers": ("scheduler", "/api/v1/admin/timers"),
}
SERVICES = ("identity", "billing", "provisioner", "notifier", "scheduler", "gateway")


@routes.get("")
async def overview(request: Request, visitor: Staff) -> Response:
    """Where to look first."""
    dead = await ask_all(request, *((name, f"/api/v1/ops/{name}/dead-letters?limit=100") for name in SERVICES))
    return render(request, "admin.html", dead=dict(zip(SERVICES, dead, strict=True)), lists=tuple(LISTS))


@routes.get("/jobs")
async def jobs(request: Request, visitor: Staff) -> Response:
    """Cron jobs and their last runs."""
    found = await ask(request, "scheduler", "GET", "/api/v1/admin/jobs")
    return render(request, "admin_jobs.html", jobs=found["items"])


@routes.get("/jobs/{name}")
async def job_runs(request: Request, visitor: Staff, name: str) -> Response:
    """One job's history."""
    path = f"/api/v1/admin/jobs/{id_in_path(name)}/runs{page_query(request)}"
    runs = await ask(request, "scheduler", "GET", path)
    return render(request, "admin_job.html", name=name, runs=runs)


@routes.post("/jobs/{name}/run")
async def run_job(request: Request, visitor: Staff, name: str, form: FormFields) -> Response:
    """Runs a job now."""
    await ask(request, "scheduler", "POST", f"/api/v1/admin/jobs/{id_in_path(name)}/run")
    return on_to("/admin/jobs", "job-started")


@routes.post("/mails/{mail_id}/resend")
async def resend_mail(request: Request, visitor: Staff, mail_id: UUID, form: FormFields) -> Response:
    """Sends a mail again."""
    await ask(request, "notifier", "POST", f"/api/v1/admin/mails/{mail_id}/resend")
    return on_to("/admin/mails", "mail-resent")


@routes.get("/dead-letters")
async def dead_letters(request: Request, visitor: Staff) -> Response:
    """Parked events of every service."""
    found = await ask_all(request, *((name, f"/api/v1/ops/{name}/dead-letters") for name in SERVICES))
    return render(request, "admin_dead_letters.html", dead=dict(zip(SERVICES, found, strict=True)))


@routes.post("/dead-letters/{service}/{letter_id}/replay")
async def replay(request: Request, visitor: Staff, service: str, letter_id: UUID, form: FormFields) -> Response:
    """Handles a parked event again."""
    await ask(request, _known(service), "POST", f"/api/v1/ops/{service}/dead-letters/{letter_id}/replay")
    return on_to("/admin/dead-letters", "replayed")


@routes.post("/dead-letters/{service}/{letter_id}/drop")
async def drop(request: Request, visitor: Staff, service: str, letter_id: UUID, form: FormFields) -> Response:
    """Gives a parked event up."""
    await ask(request, _known(service), "DELETE", f"/api/v1/ops/{service}/dead-letters/{letter_id}")
    return on_to("/admin/dead-letters", "dropped")


@routes.get("/{listed}")
async def show_list(request: Request, visitor: Staff, listed: str) -> Response:
    """One of the plain lists, with `?q=` where the service searches."""
    if listed not in LISTS:
        raise NotFound
    service, path = LISTS[listed]
    query = page_query(request)
    if q := request.query_params.get("q", "")[:100]:
        query += f"{'&' if query else '?'}{urlencode({'q': q})}"
    found = await ask(request, service, "GET", path + query)
    disk = None
    if listed == "workspaces":
        (disk,) = await ask_all(request, ("provisioner", "/api/v1/admin/workspaces/disk"))
    return render(request, "admin_list.html", listed=listed, found=found, q=q, lists=tuple(LISTS), disk=disk)


def _known(service: str) -> str:
    if service not in SERVICES:
        raise NotFound
    return service
