"""What one pays: plan, subscription, invoices. The card itself is `payments.py`."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from gateway.access import Admin, FormFields, Member
from gateway.headers import Policy
from gateway.pages.forms import on_to, returned
from gateway.rendering import render
from gateway.services import Refused, Services, ServiceUnavailable, ask, ask_all
from shared.errors import Problem
from shared.ids import new_id

routes = APIRouter(include_in_schema=False, prefix="/billing")
FAILURES = (Refused, ServiceUnavailable)


@routes.get("/")
async def billing_page(request: Request, visitor: Member) -> Response:
    """Plan, next charge, invoices; money is for admins, members see the plan."""
    return await page(request)


@routes.get("/invoices/{invoice_id}.pdf")
async def invoice_pdf(request: Request, visitor: Admin, invoice_id: UUID) -> Response:
    """The invoice, to keep."""
    services: Services = request.app.state.services
    path = f"/api/v1/invoices/{invoice_id}/pdf"
    answer = await services.call("billing", "GET", path, visitor, request.state.ip)
    name = f"invoice-{invoice_id}.pdf"
    return Response(
        answer.content,
        media_type="application/pdf",
        headers={
            "Content-Disposition": answer.headers.get("content-disposition", f'attachment; filename="{name}"'),
            "Cache-Control": "private, no-store",
        },
    )


@routes.post("/cancel")
async def cancel(request: Request, visitor: Admin, form: FormFields) -> Response:
    """Ends the subscription now or with its period."""
    at = "now" if form.get("at") == "now" else "period_end"
    return await _change(request, "cancel", {"at": at}, "cancelled")


@routes.post("/resume")
async def resume(request: Request, visitor: Admin, form: FormFields) -> Response:
    """Takes the cancellation back."""
    return await _change(request, "resume", {}, "resumed")


async def _change(request: Request, action: str, body: dict[str, str], done: str) -> Response:
    try:
        await ask(request, "billing", "POST", f"/api/v1/subscription/{action}", json=body)
    except FAILURES as problem:
        return await page(request, problem)
    return on_to("/billing/", done)


async def page(request: Request, problem: Problem | None = None) -> Response:
    """The billing page, also after a payment could not be begun."""
    year = request.query_params.get("year", "")
    query = f"?year={int(year)}" if year.isascii() and year.isdigit() and len(year) == 4 else ""
    questions = [
        ("billing", "/api/v1/plans"),
        ("billing", "/api/v1/subscription"),
        ("provisioner", "/api/v1/workspaces/quota"),
    ]
    if request.state.session.is_admin:
        questions += [("billing", f"/api/v1/invoices{query}"), ("billing", "/api/v1/payments")]
    plans, subscription, quota, *money = await ask_all(request, *questions)
    return render(
        request,
        "billing.html",
        status=problem.status if problem else 200,
        policy=Policy.PAYMENT,
        plans=plans["items"] if plans else [],
        subscription=subscription,
        quota=quota,
        invoices=money[0] if money else None,
        payments=money[1] if money else None,
        year=year if query else "",
        key=str(new_id()),
        **returned(problem, {}),
    )
