"""Paying by card: PayTR's form in a frame of our page, PayTR's word to billing, and what the buyer sees meanwhile."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from gateway import client, limits
from gateway.access import Admin, Anybody, FormFields, NeedsLogIn
from gateway.headers import Policy
from gateway.pages import billing
from gateway.pages.forms import wants_json
from gateway.pages.workspaces import idempotency
from gateway.rendering import render
from gateway.services import Refused, Services, ServiceUnavailable, ask, id_in_path
from gateway.targets import safe_path
from shared.errors import NotFound
from shared.http import problem_response

routes = APIRouter(include_in_schema=False, prefix="/billing")


@routes.post("/subscribe/{plan}")
async def subscribe(request: Request, visitor: Admin, plan: str, form: FormFields) -> Response:
    """Begins a payment: JSON for the dialog of the billing page, else a page of its own.

    The form's key makes a double click and a reload one payment; the page's plans share it, so the plan is part of it.
    """
    body = {"plan": plan[:50], "currency": form.get("currency", "TRY")}
    key = idempotency(form.get("key", ""), plan)
    try:
        payment: dict[str, Any] = await ask(request, "billing", "POST", "/api/v1/payments", json=body, headers=key)
    except (Refused, ServiceUnavailable) as problem:
        return problem_response(problem) if wants_json(request) else await billing.page(request, problem)
    if wants_json(request):
        return JSONResponse(payment, 201, {"Cache-Control": "no-store"})
    return render(request, "payment.html", policy=Policy.PAYMENT, payment=payment)


@routes.get("/payment/success")
async def payment_success(request: Request, visitor: Anybody) -> Response:
    """Where PayTR sends the buyer. It proves nothing: the page shows what billing knows."""
    return await _result(request, "success")


@routes.get("/payment/fail")
async def payment_fail(request: Request, visitor: Anybody) -> Response:
    """The same, where PayTR saw it fail."""
    return await _result(request, "fail")


async def _result(request: Request, outcome: str) -> Response:
    """In a frame the browser sends no session (SameSite), so there the page only breaks out to the top window."""
    try:
        payment_id = str(UUID(request.query_params.get("payment", "")))
    except ValueError:
        raise NotFound from None
    framed = request.headers.get("sec-fetch-dest", "document") != "document"
    here = f"/billing/payment/{outcome}?payment={payment_id}"
    facts: dict[str, Any] = {"outcome": outcome, "payment_id": payment_id, "framed": framed, "here": here}
    session = request.state.session
    if framed:
        return render(request, "payment_result.html", policy=Policy.PAYMENT_RESULT, payment=None, **facts)
    if session is None or not session.is_admin:
        raise NeedsLogIn(safe_path(here), had_session=False) if session is None else NotFound
    payment = await ask(request, "billing", "GET", f"/api/v1/payments/{id_in_path(payment_id)}")
    return render(request, "payment_result.html", policy=Policy.PAYMENT_RESULT, payment=payment, **facts)


async def callback(request: Request) -> Response:
    """PayTR's word, handed to billing unread: the raw body, no session, no form token, no redirect.

    Only what billing refused counts against the sender, so PayTR itself never waits.
    """
    state: limits.Limits = request.app.state.limits
    sender = client.network(client.address(request.scope, request.app.state.settings.proxies))
    left = state.look(limits.BAD_CALLBACK, sender)
    if left.remaining < 1:
        return problem_response(limits.TooManyRequests(left))
    services: Services = request.app.state.services
    upstream = services.upstreams["billing"]
    # Bytes as they came: a header is not always ASCII, and this one is billing's to judge.
    kinds = [value for name, value in request.scope["headers"] if name == b"content-type"]
    headers = {b"content-type": kinds[0] if kinds else b"application/x-www-form-urlencoded"}
    try:
        answer = await upstream.request("POST", "/billing/callback", content=await request.body(), headers=headers)
    except httpx.TransportError:
        return problem_response(ServiceUnavailable())
    if 400 <= answer.status_code < 500:
        state.look(limits.BAD_CALLBACK, sender, 1)
    return Response(
        answer.content, answer.status_code, {"Content-Type": answer.headers.get("content-type", "text/plain")}
    )
