"""Paying: PayTR's word passes unread, its frame is framed in one place, and the browser's word counts for nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.ids import new_id
from tests.gateway.conftest import PLATFORM, House, token_in

BODY = b"merchant_oid=a1&status=success&total_amount=297000&hash=a+b%2Bc/d==&status=failed&x=%FF&\xff"
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    "path", ["/billing/callback", "/billing/callback/", "/billing/callback?x=1", "/billing/callback//"]
)
def test_the_callback_passes_byte_for_byte(house: House, path: str) -> None:
    """No redirect (PayTR follows none), no session, no form token; `+` stays `+`, a doubled field stays doubled."""
    foreign = {"origin": "https://www.paytr.com", "sec-fetch-site": "cross-site", "authorization": "Bearer x"}
    answer = house.new_browser().post(path, content=BODY, headers={**FORM, **foreign})
    assert (answer.status_code, answer.text) == (200, "OK")
    assert answer.headers["content-type"].startswith("text/plain")
    assert house.world.callbacks == [(BODY, FORM["content-type"])]
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("base", ["http://127.0.0.1:8080", "http://localhost", "http://203.0.113.1"])
def test_the_callback_passes_under_any_name_of_ours(house: House, base: str) -> None:
    assert house.new_browser(base).post("/billing/callback", content=BODY, headers=FORM).text == "OK"


def test_the_callback_is_no_page(house: House) -> None:
    assert house.browser.get("/billing/callback").status_code == 404
    assert house.world.callbacks == []


def test_callbacks_that_billing_refused_slow_their_sender_down_and_nobody_else(
    open_house: Callable[..., House],
) -> None:
    house = open_house(rate_scale=1.0)
    forger, paytr = house.new_browser(client=("198.51.100.1", 1)), house.new_browser(client=("198.51.100.2", 1))
    statuses = [forger.post("/billing/callback", content=b"bad").status_code for _ in range(40)]
    assert statuses[:30] == [400] * 30
    assert statuses[-1] == 429
    assert paytr.post("/billing/callback", content=BODY).text == "OK"
    assert all(paytr.post("/billing/callback", content=BODY).status_code == 200 for _ in range(100))


def test_a_long_callback_is_refused(house: House) -> None:
    assert house.browser.post("/billing/callback", content=b"x" * 70_000).status_code == 413


def test_paying_opens_paytrs_frame_on_that_page_alone(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    page = browser.get("/billing/")
    token = token_in(page.text)
    payment = browser.post(
        "/billing/subscribe/team", data={"csrf_token": token, "currency": "TRY", "key": str(new_id())}
    )
    assert payment.status_code == 200
    assert "http://paytr.localhost:9/x" in payment.text
    for answer in (page, payment):
        assert "frame-src https: 'self' http://paytr.localhost:8090" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    for path in ("/", "/dashboard", "/account", "/log-in"):
        assert "frame-src" not in browser.get(path).headers["content-security-policy"]


def test_one_form_sent_twice_is_one_payment(house: House) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    form = {"csrf_token": token_in(browser.get("/account").text), "currency": "TRY", "key": str(new_id())}
    json = {"accept": "application/json"}
    first = browser.post("/billing/subscribe/team", data=form, headers=json)
    assert first.status_code == 201
    assert first.json() == browser.post("/billing/subscribe/team", data=form, headers=json).json()
    other = browser.post("/billing/subscribe/team", data={**form, "key": "tampered"}, headers=json)
    assert other.json()["id"] != first.json()["id"]
    another_plan = browser.post("/billing/subscribe/starter", data=form, headers=json)
    assert another_plan.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("outcome", ["success", "fail"])
def test_the_result_page_breaks_out_of_paytrs_frame_and_of_no_other(house: House, outcome: str) -> None:
    path = f"/billing/payment/{outcome}?payment={new_id()}"
    framed = house.new_browser().get(path, headers={"sec-fetch-dest": "iframe", "sec-fetch-site": "cross-site"})
    assert framed.status_code == 200
    assert f'href="{path}"' in framed.text
    policy = framed.headers["content-security-policy"]
    assert "frame-ancestors 'self' http://paytr.localhost:8090" in policy
    assert "x-frame-options" not in framed.headers
    assert "'unsafe" not in policy


def test_the_result_page_believes_billing_and_not_the_browser(house: House) -> None:
    who = house.world.somebody("a@example.com")
    path = f"/billing/payment/success?payment={new_id()}"
    answer = house.logged_in(who).get(path)
    assert answer.status_code == 200
    assert any(call[1].startswith("/api/v1/payments/") for call in house.world.calls)
    stranger = house.new_browser().get(path)
    assert stranger.headers["location"].startswith("/log-in?next=%2Fbilling%2Fpayment%2Fsuccess%3Fpayment%3D")
    member = house.logged_in(house.world.somebody("m@example.com", role="member"))
    assert member.get(path).status_code == 404


@pytest.mark.parametrize("payment", ["", "x", "../../me", "%2e%2e", "' or 1=1"])
def test_the_result_page_takes_ids_only(house: House, payment: str) -> None:
    browser = house.logged_in(house.world.somebody("a@example.com"))
    assert browser.get("/billing/payment/success", params={"payment": payment}).status_code == 404


def test_an_invoice_comes_as_pdf(house: House) -> None:
    answer = house.logged_in(house.world.somebody("a@example.com")).get(f"/billing/invoices/{new_id()}.pdf")
    assert answer.content.startswith(b"%PDF")
    assert answer.headers["content-type"] == "application/pdf"
    assert "no-store" in answer.headers["cache-control"]


def test_billing_without_its_slash(house: House) -> None:
    answer = house.browser.get("/billing")
    assert (answer.status_code, answer.headers["location"]) == (303, "/billing/")
    assert PLATFORM not in answer.headers["location"]


@pytest.mark.parametrize("kind", [b"\xff\xfe", b"application/x-www-form-urlencoded; x=\xe7", b""])
def test_a_callback_of_whatever_kind_is_billings_to_judge(house: House, kind: bytes) -> None:
    """A header is bytes: one that is no ASCII broke the way to billing, a 500 for anybody to ask for."""
    answer = house.new_browser().post("/billing/callback", content=BODY, headers={b"content-type": kind})
    assert answer.text == "OK"
    assert [body for body, _ in house.world.callbacks] == [BODY]
