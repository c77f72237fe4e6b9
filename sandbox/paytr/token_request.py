"""The rules of a get-token form, as PayTR's field table gives them (dev.paytr.com, iframe-api-1-adim)."""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Mapping

OID_REFUSED = "merchant_oid alfanumerik olmalidir, ozel karakter iceremez"
TOKEN_MISSING = "paytr_token gonderilmedi veya gecersiz"  # noqa: S105  a sentence, not a secret
TOKEN_WRONG = "paytr_token gecersiz"  # noqa: S105  a sentence, not a secret
OID_USED = "Bu merchant_oid daha once kullanilmis"
EFT_NOT_ALLOWED = "Magaza icin havale/eft yetkisi tanimli degil"
CURRENCIES = {"": "TL", "TL": "TL", "TRY": "TL", "EUR": "EUR", "USD": "USD", "GBP": "GBP", "RUB": "RUB"}

_OID = re.compile(r"[A-Za-z0-9]{1,64}")
_PRICE = re.compile(r"[0-9]{1,10}\.[0-9]{2}")
_LOCAL = [ipaddress.ip_network(net) for net in
          ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")]  # fmt: skip

Basket = list[tuple[str, int, int]]


def oid_is_allowed(oid: str) -> bool:
    """Tell whether an order number is 1 to 64 ASCII letters and digits."""
    return bool(_OID.fullmatch(oid))


def read_basket(text: str) -> Basket | None:
    """Return (name, unit price in kuruş, quantity) of each line; None where it is no basket of at least one line."""
    try:
        lines = json.loads(base64.b64decode(text, validate=True).decode())
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(lines, list) or not 1 <= len(lines) <= 200:
        return None
    basket: Basket = []
    for line in lines:
        if not isinstance(line, list) or len(line) != 3:
            return None
        name, price, quantity = line
        if not (isinstance(name, str) and name and isinstance(price, str) and _PRICE.fullmatch(price)):
            return None
        if isinstance(quantity, bool) or not isinstance(quantity, int) or not 1 <= quantity <= 100_000:
            return None
        basket.append((name, int(price.replace(".", "")), quantity))
    return basket


def _text(limit: int) -> Callable[[str], bool]:
    return lambda value: bool(value.strip()) and len(value) <= limit


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value in values


def _amount(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 12 and int(value) > 0


def _email(value: str) -> bool:
    # Letters beyond ASCII are reported as refused by the real one.
    return len(value) <= 100 and value.isascii() and bool(re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value))


def _url(value: str) -> bool:
    return len(value) <= 400 and bool(re.fullmatch(r"https?://[^\s/?#]+\S*", value))


def _minutes(value: str) -> bool:
    return value == "" or (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) > 0)


def _ipv4(value: str, *, refuse_local: bool) -> bool:
    # IPv6, lists of addresses and names: reported as refused (a header passed on unread is the usual cause).
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return not (refuse_local and any(address in net for net in _LOCAL))


_RULES: dict[str, Callable[[str], bool]] = {
    "email": _email,
    "payment_amount": _amount,
    "user_basket": lambda value: read_basket(value) is not None,
    "no_installment": _one_of("0", "1"),
    "max_installment": _one_of("0", *(str(n) for n in range(2, 13))),
    "currency": lambda value: value in CURRENCIES,
    "test_mode": _one_of("", "0", "1"),
    "user_name": _text(60),
    "user_address": _text(400),
    "user_phone": _text(20),
    "merchant_ok_url": _url,
    "merchant_fail_url": _url,
    "timeout_limit": _minutes,
    "debug_on": _one_of("", "0", "1"),
    "lang": _one_of("", "tr", "en"),
    "iframe_v2": _one_of("", "0", "1"),
    "iframe_v2_dark": _one_of("", "0", "1"),
}


def refusal(form: Mapping[str, str], *, merchant_id: str, refuse_local_ip: bool) -> str | None:
    """Return PayTR's Turkish reason for refusing the fields of a get-token form, or None where all are right.

    The signature and the reuse of an order number are the caller's to check.
    """
    if form.get("merchant_id", "") != merchant_id:
        return "Zorunlu alan degeri gecersiz: merchant_id"
    if form.get("payment_type", "") == "eft":
        return EFT_NOT_ALLOWED
    if not _ipv4(form.get("user_ip", ""), refuse_local=refuse_local_ip):
        return "Zorunlu alan degeri gecersiz: user_ip"
    oid = form.get("merchant_oid", "")
    if not oid:
        return "Zorunlu alan degeri gecersiz: merchant_oid"
    if not oid_is_allowed(oid):
        return OID_REFUSED
    for field, rule in _RULES.items():
        if not rule(form.get(field, "")):
            return f"Zorunlu alan degeri gecersiz: {field}"
    return None if form.get("paytr_token") else TOKEN_MISSING
