"""Billing's doors: who may, whose data, what a form costs, and what a wrong caller learns (nothing)."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from pypdf import PdfReader

from services.billing.documents.invoice import printable, render
from services.billing.invoicing import document_path
from services.billing.settings import Settings
from shared.events.billing import InvoiceIssued, PaymentStarted
from shared.ids import new_id
from shared.money import Currency, Money
from shared.tokens import Principal
from tests.billing.house import House
from tests.callers import a_member, an_admin, calling, staff, the_gateway


def call(house: House, caller: Principal | None, method: str, path: str, **given: Any) -> Any:
    with calling(house.service, caller) as client:
        return client.request(method, path, **given)


def words_of(document: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(document)).pages)


def test_plans_are_open_to_all_and_say_what_they_cost(house: House) -> None:
    answer = call(house, the_gateway(), "GET", "/api/v1/plans")
    plans = {plan["code"]: plan for plan in answer.json()["items"]}
    assert list(plans) == ["starter", "team", "enterprise"]
    assert [p["prices"]["TRY"]["minor"] for p in plans.values()] == [87_000, 297_000, 897_000]
    assert [p["prices"]["USD"]["minor"] for p in plans.values()] == [2_900, 9_900, 29_900]
    assert [p["workspaces"] for p in plans.values()] == [5, 20, None]
    assert plans["team"]["memory_bytes"] == 3 * 1024**3


def test_the_subscription_as_its_company_sees_it(house: House) -> None:
    company = house.company("team")
    seen = call(house, a_member(company), "GET", "/api/v1/subscription").json()
    assert (seen["status"], seen["plan_name"], seen["next_charge"]) == ("trialing", "Team", None)
    assert seen["entitlements"]["active"]
    house.pays(company, "team")
    seen = call(house, a_member(company), "GET", "/api/v1/subscription").json()
    assert seen["next_charge"] == {"amount": {"minor": 297_000, "currency": "TRY"}, "at": seen["period_end"]}
    unknown = call(house, a_member(), "GET", "/api/v1/subscription")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/no-subscription")


NOBODYS = "01a20576-d061-7257-9927-92632f8f95db"
DOORS = [
    ("GET", "/api/v1/plans", "anyone"),
    ("GET", "/api/v1/subscription", "member"),
    ("POST", "/api/v1/subscription/cancel", "admin"),
    ("POST", "/api/v1/subscription/resume", "admin"),
    ("POST", "/api/v1/payments", "admin"),
    ("GET", "/api/v1/payments", "admin"),
    ("GET", f"/api/v1/payments/{NOBODYS}", "admin"),
    ("GET", "/api/v1/invoices", "admin"),
    ("GET", f"/api/v1/invoices/{NOBODYS}/pdf", "admin"),
    ("GET", "/api/v1/admin/subscriptions", "staff"),
    ("GET", "/api/v1/admin/payments", "staff"),
]


@pytest.mark.parametrize(("method", "path", "who"), DOORS)
def test_each_door_lets_in_whom_it_names(house: House, method: str, path: str, who: str) -> None:
    callers = {
        "nobody": None, "gateway": the_gateway(), "member": a_member(), "admin": an_admin(), "staff": staff(),
        "unverified": an_admin(verified=False),
    }  # fmt: skip
    may = {
        "anyone": {"gateway", "member", "admin", "staff", "unverified"},
        "member": {"member", "admin", "staff"},
        "admin": {"admin"},
        "staff": {"staff"},
    }[who]
    for name, caller in callers.items():
        body = {"json": {}} if method == "POST" else {}
        status = call(house, caller, method, path, **body).status_code
        assert (status not in (401, 403)) == (name in may), (name, status)
        assert status < 500


def test_every_route_of_people_is_in_the_table_above(house: House) -> None:
    paths = house.service.app.openapi()["paths"]
    mine = {(m, p) for p in paths for m in paths[p] if p.startswith("/api/v1") and "/ops/" not in p}
    assert len(mine) == len(DOORS)


def test_another_companys_payments_and_invoices_are_not_there(house: House) -> None:
    mine, other = house.company(), house.company()
    payment = house.order(house.pays(mine)).id
    invoice = house.invoices(mine)[0].id
    for path in (f"/api/v1/payments/{payment}", f"/api/v1/invoices/{invoice}/pdf"):
        assert call(house, an_admin(mine), "GET", path).status_code == 200
        theirs = call(house, an_admin(other), "GET", path)
        none = call(house, an_admin(other), "GET", path.replace(str(payment), str(new_id())))
        assert theirs.status_code == 404
        assert theirs.json()["title"] == none.json()["title"]
    for path in ("/api/v1/payments", "/api/v1/invoices"):
        assert call(house, an_admin(other), "GET", path).json()["items"] == []
    house.pays(other)
    for act in ("cancel", "resume"):
        call(house, an_admin(other), "POST", f"/api/v1/subscription/{act}", json={"at": "now"})
        assert house.subscription(mine).status == "active"


def test_lists_turn_their_pages_newest_first(house: House) -> None:
    company = house.company()
    for _ in range(5):
        house.pays(company)
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        answer = call(house, an_admin(company), "GET", "/api/v1/invoices", params=query).json()
        seen += [item["number"] for item in answer["items"]]
        if not (cursor := answer["next"]):
            break
    assert seen == [f"YAC2026{n:09d}" for n in (5, 4, 3, 2, 1)]
    assert call(house, an_admin(company), "GET", "/api/v1/invoices?year=2025").json()["items"] == []
    for bad in ("year=-1", "limit=0", "limit=9999", "cursor=%00", "year=abc"):
        assert call(house, an_admin(company), "GET", f"/api/v1/invoices?{bad}").status_code == 422
    everybody = call(house, staff(), "GET", "/api/v1/admin/payments").json()["items"]
    assert len(everybody) == 5
    assert call(house, staff(), "GET", "/api/v1/admin/subscriptions").json()["items"][0]["status"] == "active"


@pytest.mark.parametrize(
    "body",
    [{}, {"plan": "gold"}, {"plan": 7}, {"plan": "starter", "currency": "EUR"}, {"plan": "starter", "amount": 1},
     {"plan": "starter", "currency": "USD"}, {"plan": ""}, {"plan": "x" * 99}, []],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_refused(house: House, body: Any) -> None:
    company = house.company()
    assert call(house, an_admin(company), "POST", "/api/v1/payments", json=body).status_code == 422


def test_a_wish_is_refused_where_paytr_would_refuse_it(house: House) -> None:
    company = house.company()
    for mail in ("şule@example.com", "", "a" * 101):
        answer = call(house, an_admin(company, email=mail), "POST", "/api/v1/payments", json={"plan": "starter"})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "email-not-accepted")
    no_trial = call(house, an_admin(), "POST", "/api/v1/payments", json={"plan": "starter"})
    assert no_trial.json()["type"] == "/problems/no-subscription"


def test_a_downgrade_is_not_sold_while_the_bigger_plan_is_paid(house: House) -> None:
    company = house.company()
    house.pays(company, "team")
    answer = call(house, an_admin(company), "POST", "/api/v1/payments", json={"plan": "starter"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/downgrade-not-now")


def test_paytr_out_of_reach_is_said_without_its_words_and_the_key_is_free_again(house: House) -> None:
    company = house.company()
    admin = an_admin(company)
    key = {"Idempotency-Key": "abcdefgh-1"}
    for attempts in (1, 2):
        answer = call(house, admin, "POST", "/api/v1/payments", json={"plan": "starter"}, headers=key)
        assert answer.status_code == 503
        assert answer.json()["type"] == "/problems/payment-provider-unavailable"
        listed = call(house, admin, "GET", "/api/v1/payments").json()["items"]
        assert [item["status"] for item in listed] == ["pending"] * attempts
    assert not house.told(PaymentStarted)


def test_nobody_opens_forms_without_end(house: House) -> None:
    company = house.company()
    for _ in range(20):
        house.attempt(company)
    answer = call(house, an_admin(company), "POST", "/api/v1/payments", json={"plan": "starter"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_the_signed_address_of_an_invoice_opens_that_one_only(house: House) -> None:
    house.pays(house.company())
    house.pays(house.company())
    first, second = house.told(InvoiceIssued)
    answer = call(house, None, "GET", first.document_path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert first.number in words_of(answer.content)
    other = f"/documents/invoices/{second.invoice_id}.pdf?signature="
    for signature in ("", "x", first.document_path.split("=")[1], "ş", "A" * 43):
        assert call(house, None, "GET", other + signature).status_code == 404
    absent = new_id()
    key = house.service.app.state.settings.document_key.get_secret_value()
    assert call(house, None, "GET", document_path(absent, key)).status_code == 404
    assert call(house, None, "GET", other + "A" * 200).status_code == 422


@pytest.mark.parametrize("language", ["tr", "en"])
def test_the_document_says_all_of_the_invoice(house: House, language: str) -> None:
    company = house.company(name="İıŞşĞğÜüÖöÇç Yazılım A.Ş.", language=language)
    house.pays(company, "team")
    (invoice,) = house.invoices(company)
    document = render(invoice)
    assert document == render(invoice), "the same row gives the same bytes"
    words = words_of(document)
    expected = {
        "tr": ["Fatura", "22 Kasım 2026", "22 Aralık 2026", "₺2.475,00", "KDV %20", "₺495,00", "₺2.970,00", "Türkiye"],
        "en": [
            "Invoice",
            "November 22, 2026",
            "December 22, 2026",
            "2,475.00",
            "VAT 20%",
            "495.00",
            "2,970.00",
            "Türkiye",
        ],
    }[language]
    for text in [*expected, "İıŞşĞğÜüÖöÇç Yazılım A.Ş.", "YAC2026000000001", invoice.order_number, "Team"]:
        assert text in words


def test_a_hostile_name_and_address_stay_on_their_pages(house: House) -> None:
    name = "<b>**x**</b> \u202e\u200b日本語 😀 {nb} " + "W" * 800
    company = house.company(name=name, language="en")
    house.pays(company)
    (invoice,) = house.invoices(company)
    invoice.buyer_address = "\n".join(["line " * 30] * 200)
    reader = PdfReader(io.BytesIO(render(invoice)))
    assert len(reader.pages) <= 3
    assert "2" in words_of(render(invoice))
    assert printable("a\x00b\tc😀") == "a?b c?"


def test_every_sentence_of_the_document_has_its_turkish() -> None:
    import re
    from pathlib import Path

    from services.billing.documents import invoice as module
    from shared.i18n import translations

    source = Path(module.__file__ or "").read_text()
    words = translations(Path(module.__file__ or "").parent / "locales", "tr")
    sentences = set(re.findall(r'self\._\(["\']([^"\']+)["\']\)', source)) | {"Number", "Date", "From", "To"}
    assert len(sentences) > 8
    for sentence in sentences:
        assert words.gettext(sentence) != sentence


@pytest.mark.parametrize(
    "wrong",
    [{"paytr_test_mode": True}, {"paytr_url": "http://www.paytr.com"}, {"document_key": "short"},
     {"paytr_merchant_key": ""}, {"paytr_merchant_id": "abc"}, {"paytr_browser_url": "http://paytr.example"},
     {"seller_tax_id": ""}],
)  # fmt: skip
def test_production_does_not_start_wrong(production: Callable[..., Settings], wrong: dict[str, Any]) -> None:
    assert production().order_number_prefix == "p"
    with pytest.raises(ValidationError) as refusal:
        production(**wrong)
    assert "sandboxKEY000001" not in str(refusal.value)


@pytest.mark.parametrize(
    ("ip", "shown"),
    [("185.15.40.1", "185.15.40.1"), ("::ffff:185.15.40.1", "185.15.40.1"), ("127.0.0.1", None), ("10.1.2.3", None),
     ("2001:db8::1", None), ("2a00:1450::1", None), ("1.2.3.4, 5.6.7.8", None), ("", None), ("x" * 500, None)],
)  # fmt: skip
def test_paytr_is_shown_one_public_ipv4(
    production: Callable[..., Settings], house: House, ip: str, shown: str | None
) -> None:
    from services.billing.checkout import buyer_ip
    from services.billing.errors import BuyerAddressRefused

    local = house.service.app.state.settings
    assert buyer_ip(ip, local) == (shown or local.local_buyer_ip)
    if shown:
        assert buyer_ip(ip, production()) == shown
    else:
        with pytest.raises(BuyerAddressRefused):
            buyer_ip(ip, production())


@pytest.mark.parametrize("minor", [1, 2, 3, 87_000, 297_000, 897_000, 99_999])
@pytest.mark.parametrize("percent", ["0", "1", "8.5", "10", "20"])
def test_net_and_tax_add_up(minor: int, percent: str) -> None:
    from decimal import Decimal

    from services.billing.plans import split_tax

    total = Money(minor=minor, currency=Currency.TRY)
    net, tax = split_tax(total, Decimal(percent))
    assert net + tax == total
    assert abs(Decimal(tax.minor) - Decimal(net.minor) * Decimal(percent) / 100) <= Decimal("0.6")
