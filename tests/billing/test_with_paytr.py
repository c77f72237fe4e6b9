"""Billing and PayTR's sandbox over real HTTP: the whole way of a payment, and every way in which PayTR misbehaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from sandbox.paytr.app import build as build_sandbox
from sandbox.paytr.settings import PaytrSandboxSettings
from services.billing.checkout import ASK_AFTER
from services.billing.models import AttemptState
from services.billing.payments.paytr import PayTR
from services.billing.payments.port import OutcomeUnknown, Refused
from services.billing.reconciliation import WAITS
from shared.clock import ManualClock
from shared.events.billing import InvoiceIssued, PaymentFailed, PaymentNeedsReview, PaymentStarted, PaymentSucceeded
from shared.service import Service
from shared.tokens import Principal
from tests.billing.house import MERCHANT
from tests.billing.street import HONEST_ENOUGH, Street, bound, serving
from tests.callers import an_admin


@pytest.fixture
def street(new_billing: Callable[..., Service], clock: ManualClock) -> Iterator[Street]:
    (ours, url), (theirs, paytr) = bound(), bound()
    service = new_billing(paytr_url=paytr)
    settings = PaytrSandboxSettings(
        merchant_id=MERCHANT.merchant_id, merchant_key=MERCHANT.key, merchant_salt=MERCHANT.salt,
        notification_url=f"{url}/billing/callback", retry_seconds=(0.2, 0.2, 0.2), refuse_local_user_ip=True,
    )  # fmt: skip
    with (
        serving(build_sandbox(settings), theirs, lifespan="on"),
        serving(service.app, ours, lifespan="off", close=service.close),
    ):
        made = Street(service, clock, url, paytr)
        with made.web:
            yield made


@pytest.fixture
def admin(street: Street) -> Principal:
    return an_admin(street.company("team"), email="ayse@example.com", ip="127.0.0.1")


def test_the_whole_way_of_a_payment(street: Street, admin: Principal) -> None:
    form = street.opens(admin, "team").json()
    assert form["iframe_url"].startswith(f"{street.paytr}/odeme/guvenli/")
    assert form["resizer_url"] == f"{street.paytr}/js/iframeResizer.min.js?v2"
    assert (form["amount"]["minor"], form["net"]["minor"] + form["tax"]["minor"]) == (297_000, 297_000)
    assert (form["tax_rate"], form["test_mode"]) == ("20", True)
    (attempt,) = street.attempts()
    assert (attempt.state, attempt.merchant_oid[0], len(attempt.merchant_oid)) == ("token_issued", "d", 33)
    assert street.web.get(form["iframe_url"]).status_code == 200
    assert [fact.payment_id for fact in street.told(PaymentStarted)] == [attempt.id]
    sent = street.web.get(f"{street.paytr}/sandbox/orders/{attempt.merchant_oid}").json()["form"]
    assert sent["merchant_ok_url"].endswith(f"/billing/payment/success?payment={attempt.id}")
    assert street.payment(admin, form["id"])["status"] == "pending"
    street.clicks(form)
    paid = street.payment(admin, form["id"])
    assert (paid["status"], paid["reason"]) == ("paid", None)
    (invoice,) = street.told(InvoiceIssued)
    assert UUID(paid["invoice_id"]) == invoice.invoice_id
    document = street.web.get(street.url + invoice.document_path)
    assert document.content.startswith(b"%PDF")
    (delivery,) = street.deliveries(attempt.merchant_oid)
    assert (delivery["http_status"], delivery["body"], delivery["accepted"]) == (200, "OK", True)


def test_the_token_is_kept_nowhere(street: Street, admin: Principal, capfd: pytest.CaptureFixture[str]) -> None:
    token = street.opens(admin, key="a-key-of-mine").json()["iframe_url"].rsplit("/", 1)[1]
    from sqlalchemy import text

    with street.database.unit_of_work() as session:
        tables = session.execute(
            text("select table_name from information_schema.tables where table_schema = 'billing'")
        )
        for table in tables.scalars().all():
            rows = session.execute(text(f'select t::text from "{table}" t')).scalars()  # noqa: S608  (our own names)
            assert not [row for row in rows if token in row], table
    assert token not in "".join(capfd.readouterr())


def test_the_same_key_opens_one_form_and_says_so(street: Street, admin: Principal) -> None:
    first = street.opens(admin, key="the-same-key")
    again = street.opens(admin, key="the-same-key")
    assert first.status_code == 201
    assert (again.status_code, again.json()["type"]) == (409, "/problems/payment-already-started")
    assert again.json()["payment_id"] == first.json()["id"]
    other = street.opens(admin, "enterprise", key="the-same-key")
    assert other.json()["type"] == "/problems/idempotency-key-reused"
    assert len(street.attempts()) == 1


def test_the_same_key_at_once_opens_one_form(street: Street, admin: Principal) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: street.opens(admin, key="a-double-click").status_code, range(8)))
    assert sorted(statuses) == [201] + [409] * 7
    assert len(street.attempts()) == 1


@pytest.mark.parametrize(("outcome", "reason"), [("decline", "declined"), ("give_up", "abandoned")])
def test_a_payment_that_fails_may_be_tried_again(street: Street, admin: Principal, outcome: str, reason: str) -> None:
    form = street.opens(admin).json()
    street.clicks(form, outcome)
    assert street.payment(admin, form["id"])["reason"] == reason
    form = street.opens(admin).json()
    street.clicks(form)
    assert street.payment(admin, form["id"])["status"] == "paid"
    assert len(street.told(PaymentFailed)) == 1


@pytest.mark.parametrize("how", HONEST_ENOUGH, ids=str)
def test_a_success_is_booked_once_however_it_is_told(street: Street, admin: Principal, how: dict[str, Any]) -> None:
    street.misbehave(**how)
    form = street.opens(admin).json()
    street.clicks(form)
    street.eventually(lambda: street.payment(admin, form["id"])["status"] == "paid")
    oid = street.attempts()[0].merchant_oid
    expected = 1 + int(how.get("duplicates", 0)) + ("then" in how)
    street.eventually(lambda: sum(one["accepted"] for one in street.deliveries(oid)) == expected, 30)
    assert street.payment(admin, form["id"])["status"] == "paid"
    assert len(street.told(PaymentSucceeded)) == len(street.told(InvoiceIssued)) == 1
    refused = [one for one in street.deliveries(oid) if not one["accepted"]]
    assert [one["http_status"] for one in refused] == [400] * int(how.get("bad_hash", 0))


CONTRADICTIONS = [
    {"surcharge": 100},
    {"alter": {"currency": "USD"}},
    {"alter": {"payment_amount": "1"}},
    {"alter": {"test_mode": "0"}},
    {"alter": {"merchant_id": "999"}},
]


@pytest.mark.parametrize("how", CONTRADICTIONS, ids=str)
def test_a_contradiction_is_taken_and_grants_nothing(street: Street, admin: Principal, how: dict[str, Any]) -> None:
    street.misbehave(**how)
    form = street.opens(admin).json()
    street.clicks(form)
    street.eventually(lambda: street.payment(admin, form["id"])["status"] == "review")
    assert all(one["accepted"] for one in street.deliveries(street.attempts()[0].merchant_oid))
    assert len(street.told(PaymentNeedsReview)) == 1
    assert not street.told(PaymentSucceeded)
    assert street.subscription(admin.company_id or UUID(int=0)).status == "trialing"


@pytest.mark.parametrize(
    "how",
    [{"failed_total": "amount"}, {"reason_code": "99"}, {"message": "Şüpheli <b>işlem</b> 😀" * 10}, {"bare": True}],
)
def test_a_failure_is_a_failure_however_it_is_told(street: Street, admin: Principal, how: dict[str, Any]) -> None:
    street.misbehave(**how)
    form = street.opens(admin).json()
    street.clicks(form, "decline")
    assert street.payment(admin, form["id"])["status"] == "failed"
    assert street.subscription(admin.company_id or UUID(int=0)).status == "trialing"


def test_a_success_after_a_failure_is_booked(street: Street, admin: Principal) -> None:
    street.misbehave(then="success", then_after_seconds=0.3)
    form = street.opens(admin).json()
    street.clicks(form, "decline")
    street.eventually(lambda: street.payment(admin, form["id"])["status"] == "paid")


@pytest.mark.parametrize(
    ("how", "status", "state"),
    [("error_500", 503, "created"), ("html", 503, "created"), ("refuse", 502, "failed")],
)
def test_when_paytr_opens_no_form_the_next_try_has_a_new_number(
    street: Street, admin: Principal, how: str, status: int, state: str
) -> None:
    street.misbehave(get_token=how, times=1)
    answer = street.opens(admin, key="one-and-the-same")
    assert (answer.status_code, answer.json()["type"]) == (status, "/problems/payment-provider-unavailable")
    assert "Magaza" not in answer.text
    assert street.attempts()[0].state == state
    assert street.opens(admin, key="one-and-the-same").status_code == 201
    first, second = street.attempts()
    assert first.merchant_oid != second.merchant_oid
    assert len(street.told(PaymentStarted)) == 1
    assert not street.told(PaymentFailed)


def test_an_answer_that_never_comes_is_unknown_not_failed(street: Street, admin: Principal) -> None:
    street.misbehave(get_token="timeout_after_effect", hang_seconds=5)

    async def ask() -> None:
        provider = PayTR(MERCHANT, street.paytr, street.paytr, total=0.3)
        from services.billing.checkout import Desk, open_form
        from services.billing.errors import ProviderUnavailable
        from shared.money import Currency

        settings: Any = street.service.settings
        desk = Desk(street.database, provider, settings, street.clock)
        with pytest.raises(ProviderUnavailable):
            await open_form(desk, admin, "team", Currency.TRY, lambda _, operation: operation(), lambda _: None)
        await provider.close()

    asyncio.run(ask())
    (attempt,) = street.attempts()
    assert attempt.state == AttemptState.CREATED
    order = street.web.get(f"{street.paytr}/sandbox/orders/{attempt.merchant_oid}").json()
    street.clicks({"iframe_url": f"/{order['token']}"})
    assert street.attempts()[0].state == AttemptState.PAID, "the buyer's payment finds its attempt all the same"


def test_a_payment_whose_notification_never_comes_is_found_by_asking(street: Street, admin: Principal) -> None:
    street.misbehave(no_callback=True, status_notation="comma")
    form = street.opens(admin, "team").json()
    street.clicks(form)
    assert street.asks() == 0, "its time is not over"
    street.passes(minutes=41)
    assert street.asks() == 1
    assert street.payment(admin, form["id"])["status"] == "paid"
    assert street.attempts()[0].settled_by == "status_query"
    assert len(street.told(InvoiceIssued)) == 1
    assert street.asks() == 0


def test_a_difference_found_by_asking_goes_to_a_person(street: Street, admin: Principal) -> None:
    street.misbehave(no_callback=True, surcharge=500)
    form = street.opens(admin).json()
    street.clicks(form)
    street.passes(minutes=41)
    street.asks()
    assert street.payment(admin, form["id"])["status"] == "review"
    assert len(street.told(PaymentNeedsReview)) == 1


def test_nothing_is_guessed_of_what_is_not_paid_and_asking_ends_after_a_day(street: Street, admin: Principal) -> None:
    street.opens(admin)
    street.clock.advance(ASK_AFTER)
    rounds = 0
    while street.asks():
        rounds += 1
        (attempt,) = street.attempts()
        assert attempt.state == AttemptState.PENDING
        street.clock.advance(WAITS[min(attempt.queries, len(WAITS)) - 1])
    assert rounds == len(WAITS) + 1
    assert sum(WAITS, timedelta()) > timedelta(hours=23)
    assert not street.told(PaymentFailed)


@pytest.mark.parametrize("how", ["error_500", "html", "down"])
def test_a_status_query_in_trouble_is_asked_again_later(street: Street, admin: Principal, how: str) -> None:
    street.misbehave(no_callback=True, status_query=how, hang_seconds=3)
    form = street.opens(admin).json()
    street.clicks(form)
    street.passes(minutes=41)
    assert street.asks() == 1
    assert street.payment(admin, form["id"])["status"] == "pending"
    street.web.delete(f"{street.paytr}/sandbox/misbehave")
    street.passes(minutes=6)
    street.asks()
    assert street.payment(admin, form["id"])["status"] == "paid"


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ((200, b'{"status":"failed","reason":"x"}', "text/html"), True),
        ((200, b"[]", "application/json"), False),
        ((200, b'{"status":"success"}', "application/json"), False),
        ((200, b'{"status":"success","token":""}', "application/json"), False),
        ((200, b'{"status":"success","token":{"a":1}}', "application/json"), False),
        ((302, b"", "text/html"), False),
        ((200, b"[" * 5000, "application/json"), False),
        ((200, b"x" * 200_000, "application/json"), False),
        ((200, b"\xff\xfe", "application/json"), False),
    ],
)
def test_strange_answers_of_get_token(answer: tuple[int, bytes, str], refused: bool) -> None:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    from services.billing.payments.port import Order
    from shared.money import Currency, Money

    status, body, kind = answer
    extra = {"location": "/elsewhere"} if status == 302 else None
    reply = Response(body, status, extra, media_type=kind)

    async def say(_: object) -> Response:
        return reply

    listening, url = bound()
    order = Order(
        "d1", Money(minor=1, currency=Currency.TRY), "x", "a@b.c", "1.2.3.4", "n", "a", "1", "tr", "u", "u", 30, True
    )

    async def ask() -> None:
        provider = PayTR(MERCHANT, url, url)
        try:
            with pytest.raises(Refused if refused else OutcomeUnknown):
                await provider.open_form(order)
        finally:
            await provider.close()

    app = Starlette(routes=[Route("/odeme/api/get-token", say, methods=["POST"])])
    with serving(app, listening, lifespan="off"):
        asyncio.run(ask())


def test_an_answer_that_drips_is_given_up_in_time() -> None:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await asyncio.sleep(0.1)

    async def say(_: object) -> StreamingResponse:
        return StreamingResponse(drip(), media_type="application/json")

    listening, url = bound()

    async def ask() -> None:
        provider = PayTR(MERCHANT, url, url, total=0.5)
        try:
            with pytest.raises(OutcomeUnknown, match="TimeoutError"):
                await provider.look_up("d1")
        finally:
            await provider.close()

    with serving(Starlette(routes=[Route("/odeme/durum-sorgu", say, methods=["POST"])]), listening, lifespan="off"):
        began = time.monotonic()
        asyncio.run(ask())
        assert time.monotonic() - began < 3
