"""The store's panel: orders, what the merchant answered to each notification, and the misbehaviour switches."""

import json
import secrets
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sandbox.look import PAGE_HEADERS, templates
from sandbox.paytr import misbehaviour_book
from sandbox.paytr.amounts import for_people
from sandbox.paytr.forms import Refused, read_form
from sandbox.paytr.journal import Journal
from sandbox.paytr.misbehaviour import MisbehaveRequest
from sandbox.paytr.settings import PaytrSandboxSettings

_PAGES = templates(Path(__file__).parent / "templates")
_SHOWN = 50
# What the real panel calls it, in English, and the colour.
_STATES = {
    "waiting": ("Ödeme bekliyor", "waiting for the buyer", "soft"),
    "in_progress": ("Devam Ediyor", "in progress: no OK from the merchant yet", "warn"),
    "paid": ("Başarılı", "paid, acknowledged", "good"),
    "failed": ("Başarısız", "failed, acknowledged", "bad"),
}
_SWITCHES = ("bare", "concurrent", "bad_hash", "no_callback")
_VALUES = ("surcharge", "duplicates", "callback_delay_seconds", "then", "get_token", "status_query", "refund",
           "failed_total", "message", "times")  # fmt: skip
_ALTERED = ("currency", "payment_amount", "test_mode")


class Panel:
    """`GET /` and its one form."""

    def __init__(self, journal: Journal, settings: PaytrSandboxSettings) -> None:
        """Show this journal. The form carries a key of this run, so another site cannot post it."""
        self._journal = journal
        self._settings = settings
        self._form_key = secrets.token_urlsafe(24)

    async def overview(self, request: Request) -> Response:
        """The newest orders with their deliveries."""
        orders = [self._order(row) for row in self._journal.rows(
            "SELECT * FROM orders ORDER BY created_at DESC, rowid DESC LIMIT ?", _SHOWN)]  # fmt: skip
        said = misbehaviour_book.everything(self._journal)
        html = _PAGES.get_template("panel.html").render(
            root=request.scope.get("root_path", ""), orders=orders, form_key=self._form_key,
            settings=self._settings, refused=request.query_params.get("refused", "")[:200],
            said={scope: json.dumps(what, ensure_ascii=False) for scope, what in said.items()},
        )  # fmt: skip
        return Response(html, headers=PAGE_HEADERS, media_type="text/html")

    def _order(self, row: sqlite3.Row) -> dict[str, object]:
        order: dict[str, Any] = dict(row)
        oid = order["oid"]
        notes = self._journal.rows("SELECT * FROM notifications WHERE oid = ? ORDER BY id LIMIT 60", oid)
        sent = self._journal.rows("SELECT * FROM deliveries WHERE oid = ? ORDER BY id DESC LIMIT 20", oid)
        refunds = self._journal.rows("SELECT amount, reference_no FROM refunds WHERE oid = ? LIMIT 50", oid)
        unanswered = order["state"] != "waiting" and (not notes or any(n["state"] != "accepted" for n in notes))
        currency = order["currency"]
        return order | {
            "label": _STATES["in_progress" if unanswered else order["state"]],
            "amount_text": for_people(order["amount"], currency, "tr"),
            "total_text": for_people(order["total"], currency, "tr") if order["total"] else "",
            "when": _clock(order["created_at"]), "buyer": json.loads(order["form"])["email"],
            "notes": [dict(note) | {"due": _clock(note["due_at"])} for note in notes],
            "sent": [dict(one) | {"when": _clock(one["at"])} for one in sent],
            "refunds": [(for_people(one["amount"], currency, "tr"), one["reference_no"]) for one in refunds],
        }  # fmt: skip

    async def misbehave(self, request: Request) -> Response:
        """`POST /panel/misbehave`: the form's version of the control API."""
        try:
            form = await read_form(request)
        except Refused as refused:
            return Response(refused.reason, refused.status, media_type="text/plain")
        if not secrets.compare_digest(form.get("form_key", "").encode("utf-8", "replace"), self._form_key.encode()):
            return Response("this form is from another run; reload the panel", 403, media_type="text/plain")
        home = request.scope.get("root_path", "") + "/"
        if form.get("do") == "behave":
            misbehaviour_book.forget(self._journal, form.get("oid") or None)
            return RedirectResponse(home, 303)
        said: dict[str, object] = {name: True for name in _SWITCHES if form.get(name)}
        said |= {name: form[name] for name in ("oid", *_VALUES) if form.get(name)}
        altered = {name: form[f"alter_{name}"] for name in _ALTERED if form.get(f"alter_{name}")}
        if altered:
            said["alter"] = altered
        try:
            wanted = MisbehaveRequest.model_validate(said)
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            return RedirectResponse(f"{home}?refused={field}", 303)
        misbehaviour_book.write(self._journal, wanted.oid, wanted)
        return RedirectResponse(home, 303)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
