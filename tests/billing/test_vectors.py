"""PayTR's signatures and notations against known answers; those built here name the rule they come from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from services.billing.payments import notices, paytr, signatures
from services.billing.payments.amounts import decimal_text, minor_of
from services.billing.payments.port import BadNotification, Order
from services.billing.payments.signatures import Credentials
from shared.money import Currency, Money

DATA = json.loads((Path(__file__).parent.parent / "data" / "paytr_vectors.json").read_text())
VECTORS = DATA["vectors"]
FORM = {"content-type": "application/x-www-form-urlencoded"}


def credentials(name: str) -> Credentials:
    known = DATA["credentials"][name]
    return Credentials(known["merchant_id"], known["merchant_key"], known["merchant_salt"])


A, B, U = credentials("A"), credentials("B"), credentials("U")


def by_rule(key: str, message: str) -> str:
    """The reference's own words, without our code: base64 of HMAC-SHA256 of one message."""
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


def named(vector: dict[str, Any]) -> str:
    return str(vector.get("id"))


@pytest.mark.parametrize("vector", VECTORS["iframe_get_token"], ids=named)
def test_get_token(vector: dict[str, Any]) -> None:
    form = {name: value for name, value in vector["form"].items() if name != "paytr_token"}
    assert signatures.form_token(credentials(vector["credentials"]), form) == vector["paytr_token"]


def test_our_basket_is_the_raw_utf8_one() -> None:
    vector = next(v for v in VECTORS["iframe_get_token"] if v["id"].startswith("gt-2b"))
    lines = [(name, minor_of(price), quantity) for name, price, quantity in vector["basket"]]
    assert paytr.basket(lines) == vector["signed_fields"]["user_basket"]


def test_gt_2c_a_third_encoding_of_the_same_basket_is_signed_as_it_stands() -> None:
    vector = next(v for v in VECTORS["iframe_get_token"] if v["id"].startswith("gt-2a"))
    spaced = base64.b64encode(json.dumps(vector["basket"], ensure_ascii=False).encode()).decode()
    form = {**vector["signed_fields"], "user_basket": spaced}
    message = "".join(form[name] for name in vector["hash_field_order"][:-1]) + A.salt
    assert signatures.form_token(A, form) == by_rule(A.key, message)
    assert signatures.form_token(A, form) != vector["paytr_token"]


def test_gt_3_keys_with_special_letters_sign_like_any_others() -> None:
    form = {
        "merchant_id": B.merchant_id, "user_ip": "198.51.100.20", "merchant_oid": "SUB20260003A1",
        "email": "a+b@example.com", "payment_amount": "100", "user_basket": paytr.basket([("X", 100, 1)]),
        "no_installment": "0", "max_installment": "12", "currency": "USD", "test_mode": "0",
    }  # fmt: skip
    message = "654321198.51.100.20SUB20260003A1a+b@example.com100" + form["user_basket"] + "012USD0s@lt.with~symbols"
    assert signatures.form_token(B, form) == by_rule("k3y-with/plus+eq=", message)


def test_the_form_we_send_is_signed_over_what_we_send() -> None:
    order = Order(
        number="d" + "0" * 32, amount=Money(minor=297_000, currency=Currency.TRY), title="YouAreCoder Team (1 ay)",
        email="sule@example.com", buyer_ip="203.0.113.11", buyer_name="Ş" * 100, buyer_address="A" * 500,
        buyer_phone="0" * 30, language="tr", ok_url="https://a.example/ok", fail_url="https://a.example/fail",
        minutes=30, test_mode=False,
    )  # fmt: skip
    form = paytr.form_of(A, order)
    signed = [form[name] for name in VECTORS["iframe_get_token"][0]["hash_field_order"][:-1]]
    assert form["paytr_token"] == by_rule(A.key, "".join(signed) + A.salt)
    assert signed[4:] == ["297000", form["user_basket"], "1", "0", "TL", "0"]
    assert json.loads(base64.b64decode(form["user_basket"])) == [["YouAreCoder Team (1 ay)", "2970.00", 1]]
    assert [len(form[name]) for name in ("user_name", "user_address", "user_phone")] == [60, 400, 20]
    assert A.key not in str(form)
    assert A.salt not in str(form)


@pytest.mark.parametrize("vector", VECTORS["callback"], ids=named)
def test_callback(vector: dict[str, Any]) -> None:
    body = vector["form_urlencoded"].encode()
    known = credentials(vector["credentials"])
    if vector["expect"] in ("valid", "valid_hash_but_business_reject"):
        notice = notices.read(known, FORM, body)
        assert notice.order_number == vector["form"]["merchant_oid"]
        assert notice.status == vector["form"]["status"]
        assert notice.collected.total_minor == int(vector["form"]["total_amount"])
    else:
        with pytest.raises(BadNotification) as refusal:
            notices.read(known, FORM, body)
        assert ("hash" in refusal.value.why) == (vector["expect"] == "invalid_hash")


def signed(known: Credentials, oid: str, status: str, total: str, **unsigned: str) -> dict[str, str]:
    return {
        "merchant_oid": oid,
        "status": status,
        "total_amount": total,
        "hash": by_rule(known.key, oid + known.salt + status + total),
        **unsigned,
    }


def test_cb_8_altered_unsigned_fields_leave_the_hash_valid_and_are_reported_as_they_stand() -> None:
    form = signed(A, "SUB20260001A1", "success", "49990", currency="USD", payment_amount="1", test_mode="0")
    said = notices.read(A, FORM, urlencode(form).encode()).collected
    assert (said.currency, said.payment_minor, said.test_mode) == ("USD", 1, False)


@pytest.mark.parametrize("field", ["merchant_oid", "status", "total_amount"])
def test_cb_10_non_ascii_in_a_signed_field_is_refused_even_with_its_hash(field: str) -> None:
    parts = {"merchant_oid": "SUB20260001A1", "status": "success", "total_amount": "49990"}
    parts[field] = {"merchant_oid": "SİPARİŞ1", "status": "başarılı", "total_amount": "٤٩٩٩٠"}[field]
    form = signed(A, parts["merchant_oid"], parts["status"], parts["total_amount"])
    with pytest.raises(BadNotification):
        notices.read(A, FORM, urlencode(form).encode())


def test_cb_11_a_plus_in_the_hash_survives_and_a_plus_turned_into_a_space_does_not() -> None:
    form = next(
        form for number in range(1000) if "+" in (form := signed(A, f"SUB2026{number}", "success", "49990"))["hash"]
    )
    assert notices.read(A, FORM, urlencode(form).encode()).order_number == form["merchant_oid"]
    raw = urlencode(form).replace("%2B", "+").encode()
    with pytest.raises(BadNotification, match="hash"):
        notices.read(A, FORM, raw)


def test_cb_13_the_boundary_of_a_link_callback_cannot_be_shifted_onto_ours() -> None:
    form = signed(A, "SUB2026", "success", "49990")
    shifted = form | {"callback_id": "SUB", "merchant_oid": "2026"}
    with pytest.raises(BadNotification, match="hash"):
        notices.read(A, FORM, urlencode(shifted).encode())
    assert notices.read(A, FORM, urlencode(form | {"callback_id": "SUB"}).encode()).order_number == "SUB2026"


def test_cb_14_known_answers_of_the_reference() -> None:
    assert signatures.notification(A, "SUB20260001A1", "success", "49990") == (
        "ZHHajfiiM13II3e1auqUWcUo1mOBO5yZ+mw6tAvyjyY="
    )
    assert signatures.status_query(A, "SUB20260001A1") == "GYfaha9ZJiq58/mMcmSEOPoJrwTAo1Me0LPJQdJ2P8M="


def test_keys_beyond_ascii_are_utf8_in_notifications_too() -> None:
    form = signed(U, "UTF8KEY0001", "success", "1000")
    assert notices.read(U, FORM, urlencode(form).encode()).collected.total_minor == 1000


@pytest.mark.parametrize("vector", VECTORS["refund"], ids=named)
def test_refund(vector: dict[str, Any]) -> None:
    given = vector["signed_fields"]
    assert signatures.refund(A, given["merchant_oid"], given["return_amount"]) == vector["paytr_token"]


def test_refund_3_the_literal_amount_is_signed() -> None:
    one, two = (signatures.refund(A, "SUB20260001A1", amount) for amount in ("11.9", "11.90"))
    assert one == by_rule(A.key, "100001SUB20260001A111.9" + A.salt)
    assert one != two


@pytest.mark.parametrize("vector", VECTORS["status_query"], ids=named)
def test_status_query(vector: dict[str, Any]) -> None:
    assert signatures.status_query(A, vector["signed_fields"]["merchant_oid"]) == vector["paytr_token"]


@pytest.mark.parametrize("row", VECTORS["amount_conversion"], ids=lambda row: str(row["major"]))
def test_amounts(row: dict[str, Any]) -> None:
    if len(row["major"].partition(".")[2]) > 2:
        with pytest.raises(ValueError, match="not an amount"):
            minor_of(row["major"])
        return
    assert minor_of(row["major"]) == row["kurus_expected"]
    assert decimal_text(row["kurus_expected"]) == row["two_decimals"]


@pytest.mark.parametrize(
    ("text", "minor"), [("10,8", 1080), ("34,56", 3456), ("0", 0), ("1234567890.99", 123456789099)]
)
def test_both_notations_of_answers(text: str, minor: int) -> None:
    assert minor_of(text) == minor


@pytest.mark.parametrize("text", ["", "-1", "1.234,56", "1e3", "NaN", " 1", "1.", ".5", "٣", "1_000", "1" * 11])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        minor_of(text)
