"""The control API of tests: click without a browser, look at orders and deliveries, order misbehaviour."""

import json
import sqlite3
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.paytr import misbehaviour_book
from sandbox.paytr.buyer_pages import BuyerPages, chosen_instalment, way_back
from sandbox.paytr.forms import Refused, read_body
from sandbox.paytr.journal import Journal
from sandbox.paytr.misbehaviour import MisbehaveRequest

_LISTED = 200


class PayRequest(BaseModel):
    """The body of `POST /sandbox/pay/<token>`."""

    model_config = ConfigDict(extra="forbid")

    outcome: Literal["success", "decline", "give_up"] = "success"
    installments: int = Field(1, ge=1, le=12)


class ControlApi:
    """JSON in, JSON out; refusals are problem+json."""

    def __init__(self, journal: Journal, pages: BuyerPages) -> None:
        """Control this journal; clicks go the way of the buyer's pages."""
        self._journal = journal
        self._pages = pages

    async def pay(self, request: Request) -> Response:
        """`POST /sandbox/pay/<token>`: what the buyer's click does; answers where the browser would go."""
        order = self._journal.row("SELECT * FROM orders WHERE token = ?", request.path_params["token"])
        if order is None:
            return problem(404, "no such token")
        try:
            said = PayRequest.model_validate(await _json(request))
        except (Refused, ValidationError) as error:
            return _refusal(error)
        installments = chosen_instalment(order, str(said.installments))
        done = await self._pages.click(order["oid"], said.outcome, installments)
        if done is None:
            return problem(409, "this payment session has already ended")
        ended = self._journal.row("SELECT * FROM orders WHERE oid = ?", order["oid"])
        ended = ended or order
        return JSONResponse({"oid": order["oid"], "state": ended["state"], "redirect": way_back(ended)})

    async def misbehave(self, request: Request) -> Response:
        """`POST /sandbox/misbehave`: replace what is said for one order or for all; answers all that is said."""
        try:
            said = MisbehaveRequest.model_validate(await _json(request))
        except (Refused, ValidationError) as error:
            return _refusal(error)
        misbehaviour_book.write(self._journal, said.oid, said)
        return JSONResponse(misbehaviour_book.everything(self._journal))

    async def misbehaviour(self, request: Request) -> Response:
        """`GET /sandbox/misbehave`: all that is said, `*` being every order."""
        return JSONResponse(misbehaviour_book.everything(self._journal))

    async def behave(self, request: Request) -> Response:
        """`DELETE /sandbox/misbehave[?oid=]`: behave again."""
        misbehaviour_book.forget(self._journal, request.query_params.get("oid"))
        return Response(status_code=204)

    async def orders(self, request: Request) -> Response:
        """`GET /sandbox/orders`: the newest 200."""
        rows = self._journal.rows("SELECT * FROM orders ORDER BY created_at DESC, rowid DESC LIMIT ?", _LISTED)
        return JSONResponse([order_as_json(row) for row in rows])

    async def order(self, request: Request) -> Response:
        """`GET /sandbox/orders/<oid>`: one order with notifications, deliveries and refunds."""
        oid = request.path_params["oid"]
        row = self._journal.row("SELECT * FROM orders WHERE oid = ?", oid)
        if row is None:
            return problem(404, "no such order")
        notes = self._journal.rows("SELECT * FROM notifications WHERE oid = ? ORDER BY id LIMIT ?", oid, _LISTED)
        sent = self._journal.rows("SELECT * FROM deliveries WHERE oid = ? ORDER BY id LIMIT 1000", oid)
        refunds = self._journal.rows("SELECT * FROM refunds WHERE oid = ? ORDER BY id LIMIT 1000", oid)
        return JSONResponse(order_as_json(row) | {
            "notifications": [
                {"id": note["id"], "status": note["status"], "state": note["state"], "tries": note["tries"],
                 "due_at": note["due_at"], "form": json.loads(note["form"])} for note in notes],
            "deliveries": [
                {"notification_id": one["notification_id"], "at": one["at"], "http_status": one["http_status"],
                 "body": one["body"], "error": one["error"], "milliseconds": one["milliseconds"],
                 "accepted": bool(one["accepted"])} for one in sent],
            "refunds": [{"amount": one["amount"], "reference_no": one["reference_no"], "at": one["at"]}
                        for one in refunds],
        })  # fmt: skip


def order_as_json(row: sqlite3.Row) -> dict[str, object]:
    """Return an order for the control API; amounts in kuruş, times in seconds since 1970."""
    return {
        "oid": row["oid"], "token": row["token"], "state": row["state"], "outcome": row["outcome"],
        "amount": row["amount"], "total": row["total"], "currency": row["currency"],
        "installments": row["installments"], "test_mode": bool(row["is_test"]),
        "acknowledged": bool(row["acknowledged"]), "reason_code": row["reason_code"],
        "reason_msg": row["reason_msg"], "created_at": row["created_at"], "expires_at": row["expires_at"],
        "form": json.loads(row["form"]),
    }  # fmt: skip


async def _json(request: Request) -> object:
    # The label is demanded so that no page of another origin can send it without being asked about first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "application/json expected")
    try:
        return json.loads(await read_body(request))
    except (ValueError, RecursionError) as error:
        raise Refused(400, "unreadable JSON") from error


def _refusal(error: Refused | ValidationError) -> Response:
    if isinstance(error, Refused):
        return problem(error.status, error.reason)
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return problem(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def problem(status: int, detail: str) -> Response:
    """Return a problem+json answer (RFC 9457)."""
    body = {"type": "about:blank", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
