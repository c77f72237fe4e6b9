"""PayTR's notification, from raw bytes to a genuine `Notice`.

https://dev.paytr.com/iframe-api/iframe-api-2-adim. Only `merchant_oid`, `status` and `total_amount` are signed;
everything else may be missing, and is believed only as far as it can do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, cast
from urllib.parse import parse_qsl

from services.billing.payments import signatures
from services.billing.payments.port import BadNotification, Collected, Notice
from services.billing.payments.signatures import Credentials

MAX_BODY = 16 * 1024
MAX_FIELDS = 60
FORM = "application/x-www-form-urlencoded"
SIGNED = ("merchant_oid", "status", "total_amount", "hash")

_OID = re.compile(r"[A-Za-z0-9]{1,64}")
_DIGITS = re.compile(r"[0-9]{1,15}")
_CODE = re.compile(r"[0-9A-Za-z]{1,20}")


def read(credentials: Credentials, headers: Mapping[str, str], body: bytes) -> Notice:
    """The notification in `body`. Raises BadNotification for what is malformed or not signed by PayTR."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise BadNotification("not a form")
    if len(body) > MAX_BODY:
        raise BadNotification("too large")
    fields = _fields(body)
    oid, status, total, hash_ = (_exactly_one(fields, name) for name in SIGNED)
    if status not in ("success", "failed"):
        raise BadNotification("status")
    if not _DIGITS.fullmatch(total):
        raise BadNotification("total_amount")
    if not _OID.fullmatch(oid):
        raise BadNotification("merchant_oid")
    # Never another formula: a genuine hash for order SUB2026 also fits a link's callback_id=SUB, merchant_oid=2026.
    if not signatures.same(signatures.notification(credentials, oid, status, total), hash_):
        raise BadNotification("hash")
    code = fields.get("failed_reason_code", [""])[0]
    return Notice(
        order_number=oid,
        status=cast('Literal["success", "failed"]', status),
        collected=_collected(int(total), fields),
        reason_code=code if _CODE.fullmatch(code) else "",
    )


def _fields(body: bytes) -> dict[str, list[str]]:
    """Every field with all its values. Texts that are not UTF-8 are no reason to refuse: only ASCII is signed."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise BadNotification("not readable as a form") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _exactly_one(fields: Mapping[str, list[str]], name: str) -> str:
    values = fields.get(name, [])
    if len(values) != 1:
        raise BadNotification(f"{name} stands {len(values)} times")
    return values[0]


def _collected(total: int, fields: Mapping[str, list[str]]) -> Collected:
    """The unsigned fields. What is there and cannot be read, or says two things, is unclear, not absent."""
    unclear: list[str] = []

    def value(name: str, pattern: str) -> str | None:
        said = set(fields.get(name, [""]))
        if said == {""}:
            return None
        if len(said) > 1 or not re.fullmatch(pattern, next(iter(said))):
            unclear.append(name)
            return None
        return said.pop()

    payment = value("payment_amount", r"[0-9]{1,15}")
    currency = value("currency", r"[A-Z]{2,3}")
    test = value("test_mode", r"[01]")
    merchant = value("merchant_id", r"[0-9]{1,20}")
    return Collected(
        total_minor=total,
        payment_minor=int(payment) if payment is not None else None,
        currency=iso_currency(currency),
        test_mode=test == "1" if test is not None else None,
        merchant_id=merchant,
        unclear=tuple(unclear),
    )


def iso_currency(name: str | None) -> str | None:
    """PayTR's `TL` is our TRY."""
    return "TRY" if name == "TL" else name
