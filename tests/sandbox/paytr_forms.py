"""Signed forms as a merchant sends them, from the vectors' example; the formula is spelled out here once more."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "paytr_vectors.json").read_text("utf-8"))
EXAMPLE: dict[str, str] = VECTORS["vectors"]["iframe_get_token"][0]["form"]
KEY, SALT = "exampleKEY000001", "exampleSALT00001"


def signature(message: str) -> str:
    return base64.b64encode(hmac.new(KEY.encode(), message.encode(), hashlib.sha256).digest()).decode()


def get_token_form(oid: str, **changes: str) -> dict[str, str]:
    form = EXAMPLE | {"merchant_oid": oid} | changes
    order = ("merchant_id", "user_ip", "merchant_oid", "email", "payment_amount", "user_basket", "no_installment",
             "max_installment", "currency", "test_mode")  # fmt: skip
    return form | {"paytr_token": signature("".join(form.get(name, "") for name in order) + SALT)}


def refund_form(oid: str, amount: str, reference: str = "RF1") -> dict[str, str]:
    return {"merchant_id": "100001", "merchant_oid": oid, "return_amount": amount, "reference_no": reference,
            "paytr_token": signature(f"100001{oid}{amount}{SALT}")}  # fmt: skip


def status_form(oid: str) -> dict[str, str]:
    return {"merchant_id": "100001", "merchant_oid": oid, "paytr_token": signature(f"100001{oid}{SALT}")}
