"""Attacks on the notification, and everything that must not move money twice or on somebody's word."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient

from services.billing import invoicing, settlement, subscriptions
from services.billing.models import Invoice, Notification
from services.billing.settings import Settings
from shared.events.billing import (
    EntitlementsChanged,
    InvoiceIssued,
    PaymentFailed,
    PaymentNeedsReview,
    PaymentSucceeded,
    SubscriptionActivated,
)
from shared.ids import new_id
from shared.service import Service
from tests.billing.house import FORM, House, notice


def test_a_genuine_success_is_booked_and_answered_with_exactly_ok(house: House) -> None:
    company = house.company()
    oid = house.attempt(company)
    answer = house.notify(notice(oid, currency="TL", payment_amount="87000", test_mode="1", merchant_id="100001"))
    assert (answer.status_code, answer.content) == (200, b"OK")
    assert answer.headers["content-type"].startswith("text/plain")
    assert house.order(oid).state == "paid"
    assert house.subscription(company).status == "active"
    facts = house.told_types()[2:]
    assert sorted(facts) == [
        "entitlements.changed", "invoice.issued", "payment.succeeded", "subscription.activated",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"total_amount": "1"},
        {"status": "failed"},
        {"status": "SUCCESS"},
        {"status": ""},
        {"total_amount": "-87000"},
        {"total_amount": "870.00"},
        {"total_amount": "٨٧٠٠٠"},
        {"total_amount": "9" * 400},
        {"total_amount": ""},
        {"merchant_oid": "' or 1=1 --"},
        {"merchant_oid": "a" * 65},
        {"merchant_oid": "a\x00b"},
        {"hash": ""},
        {"hash": "şifre✓"},
        {"hash": "A" * 44},
        {"hash": "A" * 10_000},
    ],
)
def test_what_is_altered_or_malformed_is_refused_without_a_word(house: House, change: dict[str, str]) -> None:
    company = house.company()
    oid = house.attempt(company)
    answer = house.notify(notice(oid) | change)
    assert answer.status_code == 400
    assert b"OK" not in answer.content
    assert set(answer.json()) == {"type", "title", "status", "correlation_id"}
    assert house.order(oid).state == "token_issued"
    assert house.count(Notification) == 0


@pytest.mark.parametrize("field", ["merchant_oid", "status", "total_amount", "hash"])
def test_a_signed_field_that_is_missing_or_stands_twice_is_refused(house: House, field: str) -> None:
    oid = house.attempt(house.company())
    fields = notice(oid)
    twice = urlencode(fields) + "&" + urlencode({field: fields[field]})
    without = {name: value for name, value in fields.items() if name != field}
    assert house.notify(twice).status_code == 400
    assert house.notify(without).status_code == 400
    assert house.order(oid).state == "token_issued"


@pytest.mark.parametrize(
    "kind",
    ["application/json", "multipart/form-data; boundary=x", "text/plain", "", "application/x-www-form-urlencodedx"],
)
def test_only_a_form_is_read(house: House, kind: str) -> None:
    oid = house.attempt(house.company())
    assert house.notify(notice(oid), headers={"content-type": kind}).status_code == 400
    assert house.order(oid).state == "token_issued"


def test_a_form_with_its_charset_named_is_read(house: House) -> None:
    oid = house.attempt(house.company())
    kind = {"content-type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}
    assert house.notify(notice(oid), headers=kind).content == b"OK"


def test_a_body_without_end_is_not_read(house: House) -> None:
    oid = house.attempt(house.company())
    assert house.notify(notice(oid, junk="x" * 20_000)).status_code == 413
    assert house.notify(notice(oid, junk="x" * 200_000)).status_code == 413
    many = urlencode(notice(oid)) + "".join(f"&x{i}=1" for i in range(100))
    assert house.notify(many).status_code == 400
    assert house.notify(b"\xff\xfe%%%&&&===").status_code == 400
    assert house.notify(b"").status_code == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused_and_nothing_redirects(house: House, method: str) -> None:
    with TestClient(house.service.app, raise_server_exceptions=False, follow_redirects=False) as client:
        assert client.request(method, "/billing/callback").status_code == 405
        for path in ("/billing/callback/", "//billing/callback", "/billing/Callback"):
            answer = client.post(path, content=urlencode(notice("x")), headers=FORM)
            assert answer.status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"currency": "USD"},
        {"payment_amount": "1"},
        {"test_mode": "0"},
        {"merchant_id": "999999"},
        {"currency": "???"},
        {"payment_amount": "870,00"},
    ],
)
def test_a_genuine_success_that_contradicts_our_record_grants_nothing(house: House, wrong: dict[str, str]) -> None:
    company = house.company()
    oid = house.attempt(company)
    assert house.notify(notice(oid, **wrong)).content == b"OK"
    assert house.order(oid).state == "needs_review"
    assert house.subscription(company).status == "trialing"
    assert [fact.payment_id for fact in house.told(PaymentNeedsReview)] == [house.order(oid).id]
    assert not house.told(PaymentSucceeded)
    assert house.notify(notice(oid, **wrong)).content == b"OK"
    assert len(house.told(PaymentNeedsReview)) == 1


@pytest.mark.parametrize("total", [0, 1, 86_999, 87_001, 174_000])
def test_another_total_than_asked_goes_to_a_person(house: House, total: int) -> None:
    company = house.company()
    oid = house.attempt(company)
    assert house.notify(notice(oid, total=total)).content == b"OK"
    assert house.order(oid).state == "needs_review"
    assert house.invoices(company) == []


def test_an_unsigned_field_that_says_two_things_goes_to_a_person(house: House) -> None:
    oid = house.attempt(house.company())
    body = urlencode(notice(oid, currency="TL")) + "&currency=USD"
    assert house.notify(body).content == b"OK"
    assert house.order(oid).state == "needs_review"


def test_a_bare_success_is_enough(house: House) -> None:
    oid = house.attempt(house.company())
    assert house.notify(notice(oid)).content == b"OK"
    assert house.order(oid).state == "paid"


def test_repeats_change_nothing(house: House) -> None:
    company = house.company()
    oid = house.pays(company)
    before = house.told_types(), house.subscription(company).period_end
    for extra in ({}, {"currency": "TL"}, {"currency": "USD"}):
        assert house.notify(notice(oid, **extra)).content == b"OK"
    assert (house.told_types(), house.subscription(company).period_end) == before
    assert len(house.invoices(company)) == 1


def test_equal_bodies_share_one_row(house: House) -> None:
    oid = house.attempt(house.company())
    for _ in range(5):
        house.notify(notice(oid))
    (row,) = house.notifications()
    assert (row.times, row.outcome) == (5, "handled")


def test_a_failure_is_told_once_and_grants_nothing_whatever_its_total(house: House) -> None:
    company = house.company()
    oid = house.attempt(company)
    message = "Kartın limiti/bakiyesi yetersiz."
    for total in (0, 87_000):
        failed = notice(oid, "failed", total, failed_reason_code="0", failed_reason_msg=message)
        assert house.notify(failed).content == b"OK"
    assert house.order(oid).state == "failed"
    (fact,) = house.told(PaymentFailed)
    assert (fact.reason, fact.reason_code) == ("declined", "0")
    assert house.subscription(company).status == "trialing"


@pytest.mark.parametrize(("code", "reason"), [("6", "abandoned"), ("1", "authentication"), ("11", "fraud"),
    ("99", "technical"), ("1234", "unknown"), ("<script>", "unknown"), (None, "unknown")])  # fmt: skip
def test_reasons_are_told_in_our_words(house: House, code: str | None, reason: str) -> None:
    oid = house.attempt(house.company())
    assert house.notify(notice(oid, "failed", 0, **({"failed_reason_code": code} if code else {}))).content == b"OK"
    assert [fact.reason for fact in house.told(PaymentFailed)] == [reason]


def test_success_after_failure_is_booked_and_failure_after_success_is_not(house: House) -> None:
    company = house.company()
    oid = house.attempt(company)
    house.notify(notice(oid, "failed", 0, failed_reason_code="6"))
    assert house.notify(notice(oid)).content == b"OK"
    assert house.order(oid).state == "paid"
    assert house.notify(notice(oid, "failed", 0, failed_reason_code="0")).content == b"OK"
    assert house.order(oid).state == "paid"
    assert house.order(oid).reason is None
    assert house.subscription(company).status == "active"
    assert len(house.told(PaymentFailed)) == 1


def test_a_failure_of_an_older_attempt_does_not_touch_a_newer_one(house: House) -> None:
    company = house.company()
    old, new = house.attempt(company), house.attempt(company)
    house.notify(notice(new))
    house.notify(notice(old, "failed", 0, failed_reason_code="6"))
    assert house.order(new).state == "paid"
    assert house.subscription(company).status == "active"


def test_an_unknown_order_with_a_genuine_hash_is_kept_for_review(house: House) -> None:
    oid = "p" + new_id().hex
    assert house.notify(notice(oid)).content == b"OK"
    (row,) = house.notifications()
    assert (row.merchant_oid, row.outcome) == (oid, "unknown_order")
    assert not house.told_types()


def test_a_genuine_hash_cannot_be_moved_to_another_order(house: House) -> None:
    """Nothing separates the signed parts, so the boundary between number and salt must not move."""
    oid = house.attempt(house.company())
    fields = notice(oid)
    for cut in (1, 5):
        moved = fields | {"callback_id": oid[:cut], "merchant_oid": oid[cut:]}
        assert house.notify(moved).status_code == 400


def test_a_test_payment_buys_nothing_in_production(
    house: House, production: Callable[..., Settings], new_billing: Callable[..., Service]
) -> None:
    company = house.company()
    oid = house.attempt(company, test_mode=True)
    known = production()
    given = {name: getattr(known, name) for name in ("environment", "public_url", "workspaces_domain", "paytr_url",
        "paytr_test_mode", "seller_address", "seller_tax_id")}  # fmt: skip
    live = House(new_billing(**given), house.clock)
    assert live.notify(notice(oid, test_mode="1")).content == b"OK"
    assert live.order(oid).state == "needs_review"
    assert live.subscription(company).status == "trialing"


class Crash(Exception):
    """The process dies here."""


STEPS = [
    (settlement, "locked"),
    (settlement, "contradiction"),
    (subscriptions, "pay"),
    (subscriptions, "_tell_activated"),
    (invoicing, "issue"),
    (invoicing, "_next_number"),
    (invoicing, "document_path"),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("module", "name"), STEPS)
def test_a_crash_at_any_step_books_nothing_and_the_repeat_books_once(
    house: House, monkeypatch: pytest.MonkeyPatch, module: object, name: str, when: str
) -> None:
    company = house.company()
    oid = house.attempt(company)
    house.forget_told()
    real = getattr(module, name)

    def crashing(*given: object, **named: object) -> None:
        if when == "after":
            real(*given, **named)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(module, name, crashing)
        answer = house.notify(notice(oid))
    assert answer.status_code == 503
    assert b"OK" not in answer.content
    assert house.order(oid).state == "token_issued"
    assert house.told_types() == []
    assert house.count(Invoice) == 0
    assert [row.outcome for row in house.notifications()] == ["received"], "what came is kept"
    assert house.notify(notice(oid)).content == b"OK"
    assert house.order(oid).state == "paid"
    for kind in (PaymentSucceeded, InvoiceIssued, SubscriptionActivated, EntitlementsChanged):
        assert len(house.told(kind)) == 1
    assert [invoice.number for invoice in house.invoices(company)] == ["YAC2026000000001"]


def test_without_its_database_it_never_says_ok(house: House, billing_database: object) -> None:
    from sqlalchemy import text

    oid = house.attempt(house.company())
    with house.database.unit_of_work() as session:
        session.execute(text("alter table notifications rename to notifications_gone"))
    answer = house.notify(notice(oid))
    assert answer.status_code == 503
    assert b"OK" not in answer.content
    assert house.order(oid).state == "token_issued"
