"""What the buyer sees inside the merchant's frame: card form, 3-D Secure step, and the way back.

Card fields have no `name`, so a browser never sends them; there is nothing to store or to log.
"""

import json
import sqlite3
import time
from pathlib import Path
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sandbox.look import PAGE_HEADERS, templates
from sandbox.paytr import misbehaviour_book, orders
from sandbox.paytr.amounts import for_people
from sandbox.paytr.forms import Refused, read_form
from sandbox.paytr.journal import Journal
from sandbox.paytr.sender import Sender
from sandbox.paytr.settings import PaytrSandboxSettings
from sandbox.paytr.token_request import read_basket
from sandbox.paytr.words import WORDS

_PAGES = templates(Path(__file__).parent / "templates")


class BuyerPages:
    """The pages under `/odeme/guvenli/<token>`."""

    def __init__(self, journal: Journal, settings: PaytrSandboxSettings, sender: Sender) -> None:
        """Serve from this journal; `sender` is woken when an order ends."""
        self._journal = journal
        self._settings = settings
        self._sender = sender

    def _find(self, request: Request) -> sqlite3.Row | None:
        token = request.path_params["token"]
        return self._journal.row("SELECT * FROM orders WHERE token = ?", token)

    def _page(self, request: Request, name: str, language: str, status: int = 200, **values: object) -> Response:
        root = request.scope.get("root_path", "")
        html = _PAGES.get_template(name).render(
            w=WORDS[language], lang=language, root=root, merchant_id=self._settings.merchant_id,
            here=f"{root}/odeme/guvenli/{request.path_params['token']}", **values,
        )  # fmt: skip
        return Response(html, status, headers=PAGE_HEADERS, media_type="text/html")

    def _unknown(self, request: Request) -> Response:
        language = "tr" if request.headers.get("accept-language", "tr").lower().startswith("tr") else "en"
        words = WORDS[language]
        return self._page(request, "ended.html", language, 404,
                          title=words["unknown_title"], text=words["unknown_text"], back=None)  # fmt: skip

    def _ended(self, request: Request, order: sqlite3.Row) -> Response:
        words = WORDS[_language(order)]
        return self._page(request, "ended.html", _language(order), 410,
                          title=words["ended_title"], text=words["ended_text"], back=way_back(order))  # fmt: skip

    async def card(self, request: Request) -> Response:
        """`GET /odeme/guvenli/<token>`: basket, amount and card form."""
        order = self._find(request)
        if order is None:
            return self._unknown(request)
        if order["state"] != "waiting":
            return self._ended(request, order)
        form, language, currency = json.loads(order["form"]), _language(order), order["currency"]
        basket = [(name, for_people(price * quantity, currency, language), quantity)
                  for name, price, quantity in read_basket(form["user_basket"]) or []]  # fmt: skip
        offers = [(count, for_people(orders.instalment_total(order["amount"], count), currency, language))
                  for count in range(2, highest_instalment(form) + 1)]  # fmt: skip
        return self._page(
            request, "card.html", language, oid=order["oid"], basket=basket, offers=offers, installments=1,
            amount=for_people(order["amount"], currency, language), is_test=bool(order["is_test"]),
        )  # fmt: skip

    async def three_d(self, request: Request) -> Response:
        """`GET /odeme/guvenli/<token>/3d`: the bank's page, with one button as in PayTR's test mode."""
        order = self._find(request)
        if order is None:
            return self._unknown(request)
        if order["state"] != "waiting":
            return self._ended(request, order)
        installments = chosen_instalment(order, request.query_params.get("installments", "1"))
        total = orders.instalment_total(order["amount"], installments)
        return self._page(
            request, "three_d.html", _language(order), oid=order["oid"], installments=installments,
            amount=for_people(total, order["currency"], _language(order)),
        )  # fmt: skip

    async def result(self, request: Request) -> Response:
        """`POST /odeme/guvenli/<token>/result`: the buyer's click; leads back to the merchant, inside the frame."""
        order = self._find(request)
        if order is None:
            return self._unknown(request)
        try:
            form = await read_form(request)
        except Refused as refused:
            return Response(refused.reason, refused.status, media_type="text/plain")
        outcome = form.get("outcome", "")
        if outcome not in get_args(orders.Outcome) or outcome == "expired":
            return Response("unknown outcome", 400, media_type="text/plain")
        installments = chosen_instalment(order, form.get("installments", "1"))
        await self.click(order["oid"], cast("orders.Outcome", outcome), installments)
        ended = self._find(request)
        # A second click finds the order ended and goes the same way.
        return RedirectResponse(way_back(ended or order), 303, headers={"cache-control": "no-store"})

    async def click(self, oid: str, outcome: orders.Outcome, installments: int) -> orders.Settlement | None:
        """End an order and, where its notification is due now, give that a moment to be answered first."""
        said = misbehaviour_book.read(self._journal, oid)
        now = time.time()
        done = orders.settle(self._journal, self._settings, said, oid, outcome, now, installments)
        self._sender.wake()
        if done and done.notification_id and done.due_at is not None and done.due_at <= now:
            await self._sender.wait_for_try(done.notification_id, self._settings.return_wait_seconds)
        return done


def highest_instalment(form: dict[str, str]) -> int:
    """Return the highest instalment count a get-token form allows; 1 where instalments are hidden."""
    return 1 if form["no_installment"] == "1" else int(form["max_installment"]) or 12


def chosen_instalment(order: sqlite3.Row, text: str) -> int:
    """Return the posted instalment count, or 1 where the order does not allow it."""
    allowed = highest_instalment(json.loads(order["form"]))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 3 and 1 <= int(text) <= allowed else 1


def way_back(order: sqlite3.Row) -> str:
    """Return where the buyer's browser goes: the merchant's ok page only where the buyer's own try succeeded."""
    return str(json.loads(order["form"])["merchant_ok_url" if order["outcome"] == "success" else "merchant_fail_url"])


def _language(order: sqlite3.Row) -> str:
    return json.loads(order["form"]).get("lang") or "tr"
