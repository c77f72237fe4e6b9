"""What the merchant's server calls: get-token, status query, refund. Failures are HTTP 200 with a JSON body."""

import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from sandbox.paytr import misbehaviour_book, orders, signatures, token_request
from sandbox.paytr.amounts import from_decimal_text, to_comma_text, to_decimal_text
from sandbox.paytr.forms import Refused, read_form
from sandbox.paytr.journal import Journal
from sandbox.paytr.settings import PaytrSandboxSettings

_TURKEY = timezone(timedelta(hours=3))
_YEAR_SECONDS = 365 * 86_400
_REFERENCE = re.compile(r"[A-Za-z0-9]{1,64}")
_REFUND_ERRORS = {
    "000": "Iade servisi gecici olarak kilitli, daha sonra tekrar deneyin",
    "001": "Gecersiz istek veya magaza aktif degil",
    "002": "merchant_oid degeri gecersiz veya bulunamadi",
    "003": "return_amount gonderilmedi veya gecersiz",
    "004": "paytr_token gonderilmedi veya gecersiz",
    "005": "Bu siparis icin basarili odeme bulunamadi",
    "007": "Odeme bulundu ancak siteniz bildirimi henuz onaylamadi",
    "008": "Bu odeme tipi icin iade yapilamaz",
    "009": "Toplam iade tutari odeme tutarini asiyor",
    "010": "PayTR bakiyeniz iade icin yetersiz",
    "011": "Bir yildan eski islemler iade edilemez",
}


class MerchantApi:
    """The three calls, on one journal and one store."""

    def __init__(self, journal: Journal, settings: PaytrSandboxSettings) -> None:
        """Serve this store from this journal."""
        self._journal = journal
        self._settings = settings

    def _signed(self, form: dict[str, str], fields: tuple[str, ...]) -> bool:
        key, salt = self._settings.merchant_key, self._settings.merchant_salt
        return signatures.request_is_signed(form, fields, key=key, salt=salt)

    async def _broken_answer(self, fault: str | None, oid: str) -> Response | None:
        """Return the answer of a service in trouble, where it was told to be."""
        if fault in ("timeout_after_effect", "down"):
            await asyncio.sleep(misbehaviour_book.read(self._journal, oid).hang_seconds)
            return Response("", status_code=504)
        if fault == "error_500":
            return Response("Internal Server Error", status_code=500, media_type="text/plain")
        if fault == "html":
            return HTMLResponse("<html><body><h1>Bakım çalışması</h1></body></html>")
        return None

    async def get_token(self, request: Request) -> Response:
        """`POST /odeme/api/get-token` (dev.paytr.com, iframe-api-1-adim)."""
        try:
            form = await read_form(request)
        except Refused as refused:
            return _failed(refused.reason if refused.status != 415 else token_request.TOKEN_MISSING)
        oid = form.get("merchant_oid", "")
        fault = misbehaviour_book.take(self._journal, oid, "get_token")
        if fault == "refuse":
            return _failed("Magaza aktif degil")
        if fault in ("error_500", "html"):
            return await self._broken_answer(fault, oid) or _failed(fault)
        settings = self._settings
        reason = token_request.refusal(
            form, merchant_id=settings.merchant_id, refuse_local_ip=settings.refuse_local_user_ip
        )
        if reason:
            return _failed(reason)
        if not self._signed(form, signatures.GET_TOKEN):
            return _failed(token_request.TOKEN_WRONG)
        token = orders.issue(self._journal, settings, form, time.time())
        if token is None:
            return _failed(token_request.OID_USED)
        request.app.state.sender.wake()  # its expiry may be the next thing due
        return await self._broken_answer(fault, oid) or JSONResponse({"status": "success", "token": token})

    async def status_query(self, request: Request) -> Response:
        """`POST /odeme/durum-sorgu` (dev.paytr.com, durum-sorgu)."""
        try:
            form = await read_form(request)
        except Refused:
            return _error("001", "Gecersiz istek veya magaza aktif degil")
        oid = form.get("merchant_oid", "")
        broken = await self._broken_answer(misbehaviour_book.take(self._journal, oid, "status_query"), oid)
        if broken:
            return broken
        if form.get("merchant_id") != self._settings.merchant_id:
            return _error("001", "Gecersiz istek veya magaza aktif degil")
        if not token_request.oid_is_allowed(oid):
            return _error("002", "merchant_oid gonderilmedi veya gecersiz")
        if not self._signed(form, signatures.STATUS_QUERY):
            return _error("003", token_request.TOKEN_MISSING)
        order = self._journal.row("SELECT * FROM orders WHERE oid = ? AND state = 'paid'", oid)
        if order is None:
            return _error("004", "Bu merchant_oid icin basarili odeme bulunamadi")
        comma = misbehaviour_book.read(self._journal, oid).status_notation == "comma"
        write = to_comma_text if comma else to_decimal_text
        fee = -(-order["total"] * 299 // 10_000)
        returns = [
            {"return_amount": write(row["amount"]), "reference_no": row["reference_no"],
             "return_date": _local(row["at"]), "return_type": "manual"}
            for row in self._journal.rows("SELECT * FROM refunds WHERE oid = ? ORDER BY id", oid)
        ]  # fmt: skip
        return JSONResponse({
            "status": "success", "payment_amount": write(order["amount"]), "payment_total": write(order["total"]),
            "payment_date": _local(order["paid_at"]), "currency": order["currency"],
            "taksit": str(order["installments"] if order["installments"] > 1 else 0), "kart_marka": "world",
            "masked_pan": "435508******4358", "odeme_tipi": "KART", "test_mode": str(order["is_test"]),
            "net_tutar": write(order["total"] - fee), "kesinti_tutari": write(fee), "returns": returns,
        })  # fmt: skip

    async def refund(self, request: Request) -> Response:
        """`POST /odeme/iade` (dev.paytr.com, iade-api). Not idempotent, as the real one: each call refunds anew."""
        try:
            form = await read_form(request)
        except Refused:
            return _refund_error("001")
        oid = form.get("merchant_oid", "")
        fault = misbehaviour_book.take(self._journal, oid, "refund")
        if fault == "error_500":
            return await self._broken_answer(fault, oid) or _refund_error("001")
        if fault in _REFUND_ERRORS:
            return _refund_error(fault)
        error, status, amount = self._judge_refund(form)
        if error:
            return _refund_error(error, status)
        text, reference = form["return_amount"], form.get("reference_no", "")
        with self._journal.change() as db:
            order = db.execute("SELECT total, is_test FROM orders WHERE oid = ?", (oid,)).fetchone()
            if orders.refunded(self._journal, oid) + amount > order["total"]:
                return _refund_error("009")
            db.execute(
                "INSERT INTO refunds (oid, amount, reference_no, at) VALUES (?, ?, ?, ?)",
                (oid, amount, reference, time.time()),
            )
        return await self._broken_answer(fault, oid) or JSONResponse({
            "status": "success", "is_test": order["is_test"], "merchant_oid": oid, "return_amount": text,
            "reference_no": reference,
        })  # fmt: skip

    def _judge_refund(self, form: dict[str, str]) -> tuple[str | None, str, int]:
        """Return (err_no or None, status word of the error, kuruş)."""
        oid, reference = form.get("merchant_oid", ""), form.get("reference_no", "")
        amount = from_decimal_text(form.get("return_amount", ""))
        if form.get("merchant_id") != self._settings.merchant_id:
            return "001", "error", 0
        if not token_request.oid_is_allowed(oid):
            return "002", "error", 0
        if not amount:
            return "003", "error", 0
        if not self._signed(form, signatures.REFUND):
            return "004", "error", 0
        if reference and not _REFERENCE.fullmatch(reference):
            return "001", "error", 0
        order = self._journal.row("SELECT * FROM orders WHERE oid = ?", oid)
        if order is None:
            return "002", "failed", 0
        if order["state"] != "paid":
            return "005", "error", 0
        if not order["acknowledged"]:
            return "007", "error", 0
        if time.time() - order["paid_at"] > _YEAR_SECONDS:
            return "011", "error", 0
        return None, "error", amount


def _local(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone(_TURKEY).strftime("%Y-%m-%d %H:%M:%S")


def _failed(reason: str) -> Response:
    # PayTR labels some of its JSON as HTML; a client must look at the text, not at the label.
    return Response(json.dumps({"status": "failed", "reason": reason}), media_type="text/html")


def _error(number: str, message: str) -> Response:
    return JSONResponse({"status": "error", "err_no": number, "err_msg": message})


def _refund_error(number: str, status: str = "error") -> Response:
    return JSONResponse({"status": status, "err_no": number, "err_msg": _REFUND_ERRORS[number]})
