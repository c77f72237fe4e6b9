"""From the buyer's click to the merchant's OK, over real HTTP."""

import json
import time

import pytest

from sandbox.paytr import app as paytr_app
from tests.sandbox.conftest import serving, until
from tests.sandbox.paytr_forms import SALT, get_token_form, refund_form, signature, status_form


def start(paytr, oid="SUB1", **changes):
    return json.loads(paytr.post("/odeme/api/get-token", data=get_token_form(oid, **changes)).text)["token"]


def pay(paytr, token, outcome="success", **more):
    answer = paytr.post(f"/sandbox/pay/{token}", json={"outcome": outcome} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def order(paytr, oid="SUB1"):
    return paytr.get(f"/sandbox/orders/{oid}").json()


def genuine(form):
    return form["hash"] == signature(form["merchant_oid"] + SALT + form["status"] + form["total_amount"])


def misbehave(paytr, **what):
    assert paytr.post("/sandbox/misbehave", json=what).status_code == 200


def test_success_reaches_the_merchant_before_the_buyer_returns(paytr, merchant):
    done = pay(paytr, start(paytr))
    assert done["redirect"] == "https://app.example.com/billing/return?result=ok"
    assert [form | {"hash": ""} for form in merchant.forms] == [{
        "merchant_oid": "SUB1", "status": "success", "total_amount": "49990", "hash": "", "test_mode": "1",
        "payment_type": "card", "currency": "TL", "payment_amount": "49990", "installment_count": "1",
        "merchant_id": "100001"}]  # fmt: skip
    assert genuine(merchant.forms[0])
    assert merchant.hosts == ["app.example.com"]
    assert order(paytr)["acknowledged"]


def test_the_buyers_own_pages_lead_there_too(paytr, merchant):
    token = start(paytr, lang="en", no_installment="0", max_installment="3")
    page = paytr.get(f"/odeme/guvenli/{token}")
    assert "4355 0843 5508 4358" in page.text
    assert "no money moves" in page.text
    assert "₺499.90" in page.text
    assert "x-frame-options" not in page.headers
    assert "frame-ancestors" not in page.headers["content-security-policy"]
    step = paytr.get(f"/odeme/guvenli/{token}/3d", params={"installments": "3"})
    assert "₺519.90" in step.text
    back = paytr.post(f"/odeme/guvenli/{token}/result", data={"outcome": "success", "installments": "3"})
    assert (back.status_code, back.headers["location"]) == (
        303,
        "https://app.example.com/billing/return?result=ok",
    )
    assert (merchant.forms[0]["total_amount"], merchant.forms[0]["installment_count"]) == ("51990", "3")
    again = paytr.post(f"/odeme/guvenli/{token}/result", data={"outcome": "decline"})
    assert again.headers["location"].endswith("=ok")
    assert paytr.get(f"/odeme/guvenli/{token}").status_code == 410
    assert paytr.post(f"/sandbox/pay/{token}", json={}).status_code == 409
    assert len(merchant.bodies) == 1


def test_no_card_field_can_be_sent(paytr):
    page = paytr.get(f"/odeme/guvenli/{start(paytr)}").text
    assert page.count("<input autocomplete") == 4
    assert not [line for line in page.splitlines() if "<input autocomplete" in line and " name=" in line]


def test_what_a_merchant_wrote_is_never_markup(paytr):
    import base64

    basket = base64.b64encode(json.dumps([["<script>alert(1)</script>", "499.90", 1]]).encode()).decode()
    token = start(paytr, user_basket=basket)
    assert "<script>alert" not in paytr.get(f"/odeme/guvenli/{token}").text
    misbehave(paytr, oid="SUB1", message="<b>x</b>")
    pay(paytr, token, "decline")
    assert "<b>x</b>" not in paytr.get("/").text


@pytest.mark.parametrize(("outcome", "code"), [("decline", "0"), ("give_up", "6")])
def test_failures_say_why_in_turkish(paytr, merchant, outcome, code):
    done = pay(paytr, start(paytr), outcome)
    assert done["redirect"].endswith("result=fail")
    form = merchant.forms[0]
    assert (form["status"], form["total_amount"], form["failed_reason_code"]) == ("failed", "0", code)
    assert not form["failed_reason_msg"].isascii()
    assert {"currency", "payment_amount"}.isdisjoint(form)
    assert genuine(form)


def test_a_plus_in_the_hash_is_percent_encoded(paytr, merchant):
    for number in range(12):
        pay(paytr, start(paytr, f"PLUS{number}"))
    with_plus = [body for body in merchant.bodies if b"%2B" in body]
    assert with_plus
    assert all(b"+" not in body and genuine(form) for body, form in zip(merchant.bodies, merchant.forms, strict=True))


def test_it_sends_until_the_body_is_exactly_ok(paytr, merchant):
    elsewhere = {"location": f"{merchant.url}/elsewhere"}
    wrong = [(200, b'"OK"', {}), (200, b"OK\n", {}), (200, b"ok", {}), (200, b'{"status":"OK"}', {}), (200, b"", {}),
             (200, b"\xef\xbb\xbfOK", {}), (301, b"", elsewhere), (307, b"OK", elsewhere), (303, b"OK", elsewhere),
             (500, b"OK", {}), (503, b"", {}), (200, b"OK" * 5000, {})]  # fmt: skip
    merchant.answers = [*wrong, (200, b"OK", {})]
    pay(paytr, start(paytr))
    assert "Devam Ediyor" in paytr.get("/").text
    until(lambda: order(paytr)["acknowledged"])
    assert len(merchant.bodies) == len(wrong) + 1
    assert len(set(merchant.bodies)) == 1
    assert not merchant.redirected
    deliveries = order(paytr)["deliveries"]
    assert [one["accepted"] for one in deliveries] == [False] * len(wrong) + [True]
    panel = paytr.get("/").text
    assert "Başarılı" in panel
    assert "{&#34;status&#34;:&#34;OK&#34;}" in panel
    time.sleep(0.3)
    assert len(merchant.bodies) == len(wrong) + 1


def test_it_gives_up_after_the_last_try(merchant, paytr_settings):
    import httpx

    merchant.answers = [(500, b"", {})]
    settings = paytr_settings.model_copy(update={"max_tries": 3})
    with serving(paytr_app.build(settings)) as url, httpx.Client(base_url=url) as paytr:
        pay(paytr, start(paytr))
        until(lambda: order(paytr)["notifications"][0]["state"] == "given_up")
        assert len(merchant.bodies) == 3


def test_a_restart_forgets_nothing(merchant, paytr_settings, tmp_path):
    import httpx

    merchant.answers = [(503, b"", {})]
    settings = paytr_settings.model_copy(update={"data_dir": tmp_path})
    with serving(paytr_app.build(settings)) as url, httpx.Client(base_url=url) as paytr:
        open_token = start(paytr, "STILLOPEN")
        pay(paytr, start(paytr))
        misbehave(paytr, oid="STILLOPEN", surcharge=10)
        assert not order(paytr)["acknowledged"]
    before = len(merchant.bodies)
    assert before >= 1
    merchant.answers = [(200, b"OK", {})]
    with serving(paytr_app.build(settings)) as url, httpx.Client(base_url=url) as paytr:
        until(lambda: order(paytr)["acknowledged"])
        assert len(merchant.bodies) == before + 1
        assert json.loads(paytr.post("/odeme/api/get-token", data=get_token_form("SUB1")).text)["status"] == "failed"
        pay(paytr, open_token)
        assert merchant.forms[-1]["total_amount"] == "50000"
    assert b"4355084355084358" not in (tmp_path / "paytr-sandbox.sqlite3").read_bytes()


def test_a_session_that_runs_out_fails_with_code_6(merchant, paytr_settings):
    import httpx

    settings = paytr_settings.model_copy(update={"minute_seconds": 0.2})
    with serving(paytr_app.build(settings)) as url, httpx.Client(base_url=url) as paytr:
        token = start(paytr, timeout_limit="1")
        until(lambda: merchant.bodies)
        assert merchant.forms[0]["failed_reason_code"] == "6"
        assert paytr.get(f"/odeme/guvenli/{token}").status_code == 410


def test_status_query(paytr):
    token = start(paytr)
    ask = lambda form: paytr.post("/odeme/durum-sorgu", data=form).json()  # noqa: E731
    assert ask(status_form("SUB1"))["err_no"] == "004"
    assert ask(status_form("UNKNOWN"))["err_no"] == "004"
    assert ask(status_form("SUB1") | {"merchant_id": "7"})["err_no"] == "001"
    assert ask(status_form("SUB-1"))["err_no"] == "002"
    assert ask(status_form("SUB1") | {"paytr_token": "x"})["err_no"] == "003"
    pay(paytr, token)
    paid = ask(status_form("SUB1"))
    assert (paid["status"], paid["payment_amount"], paid["payment_total"]) == ("success", "499.90", "499.90")
    assert (paid["currency"], paid["test_mode"], paid["returns"], paid["odeme_tipi"]) == (
        "TL",
        "1",
        [],
        "KART",
    )
    misbehave(paytr, status_notation="comma")
    assert ask(status_form("SUB1"))["payment_amount"] == "499,9"


def test_refunds(paytr, merchant):
    give = lambda form: paytr.post("/odeme/iade", data=form).json()  # noqa: E731
    token = start(paytr)
    assert give(refund_form("SUB1", "1.00"))["err_no"] == "005"
    merchant.answers = [(503, b"", {})]
    pay(paytr, token)
    assert give(refund_form("SUB1", "1.00"))["err_no"] == "007"
    merchant.answers = [(200, b"OK", {})]
    until(lambda: order(paytr)["acknowledged"])
    assert give(refund_form("UNKNOWN", "1.00"))["status"] == "failed"
    assert give(refund_form("SUB1", "1.00") | {"merchant_id": "7"})["err_no"] == "001"
    assert give(refund_form("SUB1", "1.00", "with-hyphen"))["err_no"] == "001"
    assert give(refund_form("SUB-1", "1.00"))["err_no"] == "002"
    for amount in ("1,00", "1.001", "0", "0.00", "-1.00", "1e2", "", "NaN"):
        assert give(refund_form("SUB1", amount))["err_no"] == "003"
    assert give(refund_form("SUB1", "1.00") | {"return_amount": "2.00"})["err_no"] == "004"
    assert give(refund_form("SUB1", "500.00"))["err_no"] == "009"
    assert give(refund_form("SUB1", "100.5", "RA")) == {
        "status": "success",
        "is_test": 1,
        "merchant_oid": "SUB1",
        "return_amount": "100.5",
        "reference_no": "RA",
    }
    assert give(refund_form("SUB1", "399.40", "RB"))["status"] == "success"
    assert give(refund_form("SUB1", "0.01", "RC"))["err_no"] == "009"
    returns = paytr.post("/odeme/durum-sorgu", data=status_form("SUB1")).json()["returns"]
    assert [(one["return_amount"], one["reference_no"]) for one in returns] == [
        ("100.50", "RA"),
        ("399.40", "RB"),
    ]
