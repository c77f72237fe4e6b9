"""PayTR over HTTP: get-token and the status query. Failures are HTTP 200 with JSON; anything else is unknown."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from services.billing.payments import notices, signatures
from services.billing.payments.amounts import decimal_text, minor_of
from services.billing.payments.port import CardForm, Collected, Notice, Order, OutcomeUnknown, Refused
from services.billing.payments.signatures import Credentials
from shared.logging import get_logger
from shared.money import Currency

log = get_logger(__name__)

# Total and connect time of PayTR's own code (paytr/paytr-whmcs 9.0.3), in seconds.
TOTAL = 20.0
CONNECT = 10.0
MAX_ANSWER = 64 * 1024
MAX_TOKEN = 500
CURRENCIES = {Currency.TRY: "TL", Currency.USD: "USD"}


class PayTR:
    """A store at PayTR. One client for the process; every call is a POST of a form."""

    def __init__(self, credentials: Credentials, url: str, browser_url: str, *, total: float = TOTAL) -> None:
        """`url` is where we reach PayTR, `browser_url` where the buyer's browser does."""
        self.merchant_id = credentials.merchant_id
        self._credentials = credentials
        self._url = url
        self._browser_url = browser_url
        self._total = total
        # No redirects: a redirected POST loses its body. No proxy from the environment: certificates are checked here.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(total, connect=min(CONNECT, total)), follow_redirects=False, trust_env=False
        )

    async def open_form(self, order: Order) -> CardForm:
        """https://dev.paytr.com/iframe-api/iframe-api-1-adim. Raises Refused or OutcomeUnknown."""
        answer = await self._post("/odeme/api/get-token", form_of(self._credentials, order))
        if answer.get("status") == "failed":
            raise Refused(str(answer.get("reason", ""))[:300])
        token = answer.get("token")
        if answer.get("status") != "success" or not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN:
            raise OutcomeUnknown("an answer without token and without refusal")
        return CardForm(
            url=f"{self._browser_url}/odeme/guvenli/{quote(token, safe='')}",
            resizer_url=f"{self._browser_url}/js/iframeResizer.min.js?v2",
        )

    async def look_up(self, order_number: str) -> Collected | None:
        """https://dev.paytr.com/durum-sorgu. Error 004 is "not paid so far". Raises OutcomeUnknown."""
        form = {
            "merchant_id": self.merchant_id,
            "merchant_oid": order_number,
            "paytr_token": signatures.status_query(self._credentials, order_number),
        }
        answer = await self._post("/odeme/durum-sorgu", form)
        if answer.get("status") == "success":
            return _collected(answer)
        if str(answer.get("err_no")) == "004":
            return None
        raise OutcomeUnknown(f"error {str(answer.get('err_no'))[:10]}: {str(answer.get('err_msg'))[:200]}")

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """See `notices.read`."""
        return notices.read(self._credentials, headers, body)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _post(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        """The answer's JSON object, whatever content type it claims to be. Raises OutcomeUnknown."""
        try:
            # httpx bounds each wait; an answer that drips is bounded here.
            async with (
                asyncio.timeout(self._total),
                self._client.stream("POST", self._url + path, data=form) as response,
            ):
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER:
                        raise OutcomeUnknown("an endless answer")
        except (httpx.HTTPError, TimeoutError) as error:
            raise OutcomeUnknown(type(error).__name__) from error
        if response.status_code != 200:
            raise OutcomeUnknown(f"HTTP {response.status_code}")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise OutcomeUnknown("not JSON") from None
        if not isinstance(answer, dict):
            raise OutcomeUnknown("not a JSON object")
        return answer


def form_of(credentials: Credentials, order: Order) -> dict[str, str]:
    """get-token's form: each value built once as text, signed and sent as that text."""
    form = {
        "merchant_id": credentials.merchant_id,
        "user_ip": order.buyer_ip,
        "merchant_oid": order.number,
        "email": order.email,
        "payment_amount": str(order.amount.minor),
        "user_basket": basket([(order.title, order.amount.minor, 1)]),
        # Monthly plans are not sold by instalments, so what is collected equals what was asked.
        "no_installment": "1",
        "max_installment": "0",
        "currency": CURRENCIES[order.amount.currency],
        "test_mode": "1" if order.test_mode else "0",
    }
    return {
        **form,
        "paytr_token": signatures.form_token(credentials, form),
        "user_name": order.buyer_name[:60],
        "user_address": order.buyer_address[:400],
        "user_phone": order.buyer_phone[:20],
        "merchant_ok_url": order.ok_url,
        "merchant_fail_url": order.fail_url,
        "timeout_limit": str(order.minutes),
        # With 0, integration errors would reach the buyer as a declined card (code 99).
        "debug_on": "1" if order.test_mode else "0",
        "lang": order.language,
        "iframe_v2": "1",
    }


def basket(lines: list[tuple[str, int, int]]) -> str:
    """`user_basket`: base64 of JSON of name, unit price as decimal text, quantity. Prices come in minor units."""
    rows = [[name, decimal_text(price), quantity] for name, price, quantity in lines]
    return base64.b64encode(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()).decode("ascii")


def _collected(answer: dict[str, Any]) -> Collected:
    """The status query's answer; there is no `payment_status` in it."""
    try:
        test = str(answer.get("test_mode", ""))
        return Collected(
            total_minor=minor_of(str(answer["payment_total"])),
            payment_minor=minor_of(str(answer["payment_amount"])),
            currency=notices.iso_currency(str(answer["currency"])),
            test_mode=test == "1" if test in ("0", "1") else None,
        )
    except (KeyError, ValueError) as error:
        raise OutcomeUnknown(f"an answer that cannot be read: {type(error).__name__}") from None
