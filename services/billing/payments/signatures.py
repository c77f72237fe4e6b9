"""PayTR's signatures: base64 of HMAC-SHA256 over values put together without a separator.

Requests end with the salt (https://dev.paytr.com/iframe-api/iframe-api-1-adim); notifications have it second
(https://dev.paytr.com/iframe-api/iframe-api-2-adim). Keys and texts are UTF-8.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """A store's number and its two secrets."""

    merchant_id: str
    key: str = field(repr=False)
    salt: str = field(repr=False)


def _sign(credentials: Credentials, *parts: str) -> str:
    digest = hmac.new(credentials.key.encode(), "".join(parts).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


FORM_FIELDS = (
    "merchant_id",
    "user_ip",
    "merchant_oid",
    "email",
    "payment_amount",
    "user_basket",
    "no_installment",
    "max_installment",
    "currency",
    "test_mode",
)
"""What get-token's signature covers, in its order."""


def form_token(credentials: Credentials, form: dict[str, str]) -> str:
    """`paytr_token` of get-token, over the very texts that are sent."""
    return _sign(credentials, *(form[name] for name in FORM_FIELDS), credentials.salt)


def status_query(credentials: Credentials, merchant_oid: str) -> str:
    """`paytr_token` of the status query (https://dev.paytr.com/durum-sorgu)."""
    return _sign(credentials, credentials.merchant_id, merchant_oid, credentials.salt)


def refund(credentials: Credentials, merchant_oid: str, return_amount: str) -> str:
    """`paytr_token` of a refund (https://dev.paytr.com/iade-api); `return_amount` is decimal text, `11.90`."""
    return _sign(credentials, credentials.merchant_id, merchant_oid, return_amount, credentials.salt)


def notification(credentials: Credentials, merchant_oid: str, status: str, total_amount: str) -> str:
    """`hash` of a notification: the salt stands second."""
    return _sign(credentials, merchant_oid, credentials.salt, status, total_amount)


def same(ours: str, theirs: str) -> bool:
    """Compares in constant time, on bytes: `compare_digest` raises on text beyond ASCII."""
    return hmac.compare_digest(ours.encode(), theirs.encode())
