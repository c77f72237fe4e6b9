"""Every fault the sandbox can show, each seen from the merchant's side."""

import json
import time

import httpx
import pytest

from tests.sandbox.conftest import until
from tests.sandbox.paytr_forms import get_token_form, refund_form, status_form
from tests.sandbox.test_paytr_payment import genuine, misbehave, order, pay, start


def test_surcharge(paytr, merchant):
    misbehave(paytr, oid="SUB1", surcharge=1234)
    pay(paytr, start(paytr))
    form = merchant.forms[0]
    assert (form["total_amount"], form["payment_amount"]) == ("51224", "49990")
    assert genuine(form)


@pytest.mark.parametrize(("told", "total"), [(0, "0"), ("amount", "49990"), (7, "7")])
def test_total_of_a_failure(paytr, merchant, told, total):
    misbehave(paytr, failed_total=told)
    pay(paytr, start(paytr), "decline")
    assert merchant.forms[0]["total_amount"] == total
    assert genuine(merchant.forms[0])


def test_signed_fields_only(paytr, merchant):
    misbehave(paytr, bare=True)
    pay(paytr, start(paytr))
    pay(paytr, start(paytr, "SUB2"), "decline")
    assert [set(form) for form in merchant.forms] == [{"merchant_oid", "status", "total_amount", "hash"}] * 2


def test_copies_one_after_another(paytr, merchant):
    misbehave(paytr, duplicates=2)
    pay(paytr, start(paytr))
    until(lambda: len(merchant.bodies) == 3)
    assert len(set(merchant.bodies)) == 1
    assert merchant.most_at_once == 1


def test_copies_at_the_same_moment(paytr, merchant):
    merchant.takes_seconds = 0.3
    misbehave(paytr, duplicates=4, concurrent=True)
    pay(paytr, start(paytr))
    until(lambda: len(merchant.bodies) == 5)
    assert merchant.most_at_once == 5


@pytest.mark.parametrize(("outcome", "then", "ends"), [("decline", "success", "paid"), ("success", "failed", "paid")])
def test_a_second_notification_that_says_otherwise(paytr, merchant, outcome, then, ends):
    misbehave(paytr, then=then, then_after_seconds=0.1)
    done = pay(paytr, start(paytr), outcome)
    until(lambda: len(merchant.bodies) == 2)
    assert merchant.forms[0]["status"] != merchant.forms[1]["status"] == then
    assert all(genuine(form) for form in merchant.forms)
    assert order(paytr)["state"] == ends
    assert done["redirect"].endswith("ok" if outcome == "success" else "fail")


def test_wrong_hash_for_so_many_tries(paytr, merchant):
    misbehave(paytr, bad_hash=2)
    merchant.answers = [(400, b"", {}), (400, b"", {}), (200, b"OK", {})]
    pay(paytr, start(paytr))
    until(lambda: len(merchant.bodies) == 3)
    assert [genuine(form) for form in merchant.forms] == [False, False, True]
    assert all(len(form["hash"]) == 44 for form in merchant.forms)


def test_wrong_hash_always(paytr, merchant):
    misbehave(paytr, bad_hash=True)
    merchant.answers = [(400, b"", {})]
    pay(paytr, start(paytr))
    until(lambda: len(merchant.bodies) == 3)
    assert not any(genuine(form) for form in merchant.forms)


def test_altered_unsigned_fields(paytr, merchant):
    misbehave(paytr, alter={"currency": "USD", "payment_amount": "1", "test_mode": "", "installment_count": "12"})
    pay(paytr, start(paytr))
    form = merchant.forms[0]
    assert (form["currency"], form["payment_amount"], form["installment_count"]) == ("USD", "1", "12")
    assert "test_mode" not in form
    assert genuine(form)


def test_a_message_of_any_letters(paytr, merchant):
    misbehave(paytr, message="Şğıİ ✓ 漢字 &=+%", reason_code="99")
    pay(paytr, start(paytr), "decline")
    assert merchant.forms[0]["failed_reason_msg"] == "Şğıİ ✓ 漢字 &=+%"
    assert merchant.forms[0]["failed_reason_code"] == "99"


def test_the_buyer_is_back_before_the_notification(paytr, merchant):
    misbehave(paytr, callback_delay_seconds=0.5)
    began = time.monotonic()
    assert pay(paytr, start(paytr))["redirect"].endswith("ok")
    assert time.monotonic() - began < 0.5
    assert not merchant.bodies
    until(lambda: merchant.bodies)


def test_no_notification_at_all(paytr, merchant):
    misbehave(paytr, no_callback=True)
    pay(paytr, start(paytr))
    time.sleep(0.4)
    assert not merchant.bodies
    assert paytr.post("/odeme/durum-sorgu", data=status_form("SUB1")).json()["status"] == "success"


def test_get_token_in_trouble(paytr):
    def ask(oid):
        return paytr.post("/odeme/api/get-token", data=get_token_form(oid), timeout=0.4)

    misbehave(paytr, get_token="error_500", times=1)
    assert ask("A1").status_code == 500
    assert json.loads(ask("A1").text)["status"] == "success"
    misbehave(paytr, get_token="html")
    assert ask("A2").text.startswith("<html>")
    misbehave(paytr, get_token="refuse")
    assert json.loads(ask("A2").text)["status"] == "failed"
    misbehave(paytr, get_token="timeout_after_effect", hang_seconds=3, times=1)
    with pytest.raises(httpx.ReadTimeout):
        ask("A3")
    assert order(paytr, "A3")["state"] == "waiting"
    assert json.loads(ask("A3").text)["status"] == "failed"
    assert {one["oid"] for one in paytr.get("/sandbox/orders").json()} == {"A1", "A3"}


def test_status_query_in_trouble(paytr):
    def ask():
        return paytr.post("/odeme/durum-sorgu", data=status_form("SUB1"), timeout=0.4)

    pay(paytr, start(paytr))
    misbehave(paytr, oid="SUB1", status_query="down", hang_seconds=2)
    with pytest.raises(httpx.ReadTimeout):
        ask()
    misbehave(paytr, oid="SUB1", status_query="error_500")
    assert ask().status_code == 500
    misbehave(paytr, oid="SUB1", status_query="html")
    assert ask().text.startswith("<html>")
    assert paytr.delete("/sandbox/misbehave?oid=SUB1").status_code == 204
    assert ask().json()["status"] == "success"


def test_refund_in_trouble(paytr):
    def give(reference):
        return paytr.post("/odeme/iade", data=refund_form("SUB1", "1.00", reference), timeout=0.4)

    pay(paytr, start(paytr))
    for number in ("000", "008", "010", "011"):
        misbehave(paytr, refund=number)
        assert give("R0").json()["err_no"] == number
    misbehave(paytr, refund="error_500")
    assert give("R0").status_code == 500
    assert order(paytr)["refunds"] == []
    misbehave(paytr, refund="timeout_after_effect", hang_seconds=2)
    with pytest.raises(httpx.ReadTimeout):
        give("R1")
    assert [one["reference_no"] for one in order(paytr)["refunds"]] == ["R1"]


def test_an_orders_own_word_goes_before_the_word_for_all(paytr, merchant):
    misbehave(paytr, surcharge=100, bare=True)
    misbehave(paytr, oid="SUB1", surcharge=5)
    pay(paytr, start(paytr))
    pay(paytr, start(paytr, "SUB2"))
    assert [form["total_amount"] for form in merchant.forms] == ["49995", "50090"]
    assert paytr.get("/sandbox/misbehave").json() == {
        "*": {"surcharge": 100, "bare": True},
        "SUB1": {"surcharge": 5},
    }
    paytr.delete("/sandbox/misbehave")
    assert paytr.get("/sandbox/misbehave").json() == {}


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"unknown": 1}', b'{"surcharge": -1}', b'{"oid": "a-b"}',
                                  b'{"get_token": "explode"}', b'{"duplicates": 1000000}', b"[" * 50_000])  # fmt: skip
def test_the_control_api_refuses_nonsense(paytr, body):
    answer = paytr.post("/sandbox/misbehave", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    plain = paytr.post("/sandbox/misbehave", content=b"{}", headers={"content-type": "text/plain"})
    assert plain.status_code == 415


def test_the_panels_form_does_the_same_and_only_the_panels_form(paytr):
    page = paytr.get("/").text
    key = page.split('name="form_key" value="')[1].split('"')[0]
    told = {
        "form_key": key,
        "surcharge": "12",
        "alter_currency": "USD",
        "bad_hash": "1",
        "then": "",
        "times": "",
    }
    assert paytr.post("/panel/misbehave", data=told | {"form_key": "ş"}).status_code == 403
    assert paytr.post("/panel/misbehave", data=told).status_code == 303
    assert paytr.get("/sandbox/misbehave").json() == {
        "*": {"surcharge": 12, "bad_hash": True, "alter": {"currency": "USD"}}
    }
    refused = paytr.post("/panel/misbehave", data=told | {"surcharge": "lots"})
    assert refused.headers["location"] == "/?refused=surcharge"
    assert paytr.post("/panel/misbehave", data={"form_key": key, "do": "behave"}).status_code == 303
    assert paytr.get("/sandbox/misbehave").json() == {}
