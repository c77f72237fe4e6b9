"""get-token refuses what PayTR refuses, in PayTR's words."""

import json

import pytest

from tests.sandbox.paytr_forms import EXAMPLE, VECTORS, get_token_form

URL = "/odeme/api/get-token"


def ask(paytr, form, **more):
    answer = paytr.post(URL, data=form, **more)
    assert answer.status_code == 200
    return json.loads(answer.text)


def test_a_good_form_gets_a_random_token(paytr):
    first, second = ask(paytr, EXAMPLE), ask(paytr, get_token_form("SUB2"))
    assert first["status"] == second["status"] == "success"
    assert first["token"] != second["token"]
    assert len(first["token"]) >= 32


def test_multipart_is_taken_too_and_json_is_not(paytr):
    assert ask(paytr, None, files={name: (None, value) for name, value in EXAMPLE.items()})["status"] == "success"
    assert paytr.post(URL, json=get_token_form("SUB3")).json()["status"] == "failed"


def test_every_valid_basket_encoding_is_taken(paytr):
    for vector in VECTORS["vectors"]["iframe_get_token"]:
        if vector["credentials"] == "A":
            assert ask(paytr, get_token_form("B" + str(len(vector["id"])) + vector["id"][3:5].replace("-", "x"),
                       user_basket=vector["form"]["user_basket"]))["status"] == "success"  # fmt: skip


def test_a_wrong_signature_is_refused_without_a_word_more(paytr):
    form = EXAMPLE | {"payment_amount": "1"}
    assert ask(paytr, form) == {"status": "failed", "reason": "paytr_token gecersiz"}
    assert ask(paytr, {k: v for k, v in EXAMPLE.items() if k != "paytr_token"})["reason"] == (
        "paytr_token gonderilmedi veya gecersiz"
    )


@pytest.mark.parametrize("oid", ["0197b1c2-1111-7000-8000-000000000000", "a" * 65, "şipariş", "A_1", "A 1", "A1\n"])
def test_order_numbers_are_letters_and_digits(paytr, oid):
    assert ask(paytr, get_token_form(oid))["reason"] == ("merchant_oid alfanumerik olmalidir, ozel karakter iceremez")


def test_an_order_number_is_good_once(paytr):
    assert ask(paytr, EXAMPLE)["status"] == "success"
    assert ask(paytr, EXAMPLE)["status"] == "failed"
    assert len(paytr.get("/sandbox/orders").json()) == 1


@pytest.mark.parametrize(("field", "value"), [
    ("merchant_id", "999"), ("user_ip", ""), ("user_ip", "1.2.3.4, 5.6.7.8"), ("user_ip", "2001:db8::1"),
    ("merchant_oid", ""), ("email", ""), ("email", "nobody"), ("email", "ş@example.com"), ("payment_amount", "499.90"),
    ("payment_amount", "0"), ("payment_amount", "-5"), ("payment_amount", "٣"), ("user_basket", "[]"),
    ("user_basket", "W10="), ("user_basket", "bm90IGpzb24="), ("user_basket", ""), ("no_installment", ""),
    ("max_installment", "1"), ("max_installment", "13"), ("currency", "TRL"), ("test_mode", "2"), ("user_name", ""),
    ("user_name", "x" * 61), ("user_address", " "), ("user_phone", "0" * 21), ("merchant_ok_url", "/relative"),
    ("merchant_fail_url", "javascript:alert(1)"), ("timeout_limit", "soon"), ("lang", "de"),
])  # fmt: skip
def test_the_field_at_fault_is_named(paytr, field, value):
    assert ask(paytr, get_token_form("SUB9", **{field: value}))["reason"] == f"Zorunlu alan degeri gecersiz: {field}"


def test_hostile_bodies_are_refused_and_never_an_error(paytr):
    for content in (
        b"\xff\xfe",
        b"a=%ff",
        b"&" * 500,
        b"x=" + b"a" * 200_000,
        b"user_basket=" + b"W1tb" * 20_000,
    ):
        answer = paytr.post(URL, content=content, headers={"content-type": "application/x-www-form-urlencoded"})
        assert json.loads(answer.text)["status"] == "failed"
    broken = paytr.post(URL, content=b"--x", headers={"content-type": "multipart/form-data; boundary=y"})
    assert json.loads(broken.text)["status"] == "failed"
