"""PayTR's signatures, written here a second time on purpose: the billing service must not check itself.

Requests: base64(HMAC-SHA256(key, F1 … Fn salt)), salt last. Notifications: the salt sits second.
Source: dev.paytr.com, iframe-api-1-adim, iframe-api-2-adim, iade-api, durum-sorgu.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

GET_TOKEN = (
    "merchant_id", "user_ip", "merchant_oid", "email", "payment_amount", "user_basket",
    "no_installment", "max_installment", "currency", "test_mode",
)  # fmt: skip
EFT_GET_TOKEN = (
    "merchant_id",
    "user_ip",
    "merchant_oid",
    "email",
    "payment_amount",
    "payment_type",
    "test_mode",
)
REFUND = ("merchant_id", "merchant_oid", "return_amount")
STATUS_QUERY = ("merchant_id", "merchant_oid")


def _sign(key: str, message: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


def request_token(form: Mapping[str, str], fields: tuple[str, ...], *, key: str, salt: str) -> str:
    """Return the 44-character token of a request; a missing field counts as empty text."""
    return _sign(key, "".join(form.get(field, "") for field in fields) + salt)


def request_is_signed(form: Mapping[str, str], fields: tuple[str, ...], *, key: str, salt: str) -> bool:
    """Compare the posted `paytr_token` with ours in constant time, on bytes (any text is a clean no)."""
    expected = request_token(form, fields, key=key, salt=salt)
    return hmac.compare_digest(expected.encode(), form.get("paytr_token", "").encode("utf-8", "surrogatepass"))


def notification_hash(merchant_oid: str, status: str, total_amount: str, *, key: str, salt: str) -> str:
    """Return the hash of a notification (salt second)."""
    return _sign(key, merchant_oid + salt + status + total_amount)
