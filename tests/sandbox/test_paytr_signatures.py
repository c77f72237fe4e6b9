"""The sandbox's own formulas against the vectors."""

import pytest

from sandbox.paytr import signatures
from tests.sandbox.paytr_forms import VECTORS

_V = VECTORS["vectors"]
_REQUESTS = [
    (signatures.GET_TOKEN, _V["iframe_get_token"]), (signatures.EFT_GET_TOKEN, _V["eft_get_token"]),
    (signatures.REFUND, _V["refund"]), (signatures.STATUS_QUERY, _V["status_query"]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "vector"), [
    pytest.param(fields, vector, id=vector["id"]) for fields, vectors in _REQUESTS for vector in vectors])  # fmt: skip
def test_request_tokens(fields, vector):
    who = VECTORS["credentials"][vector["credentials"]]
    form = vector.get("form") or vector["signed_fields"]
    made = signatures.request_token(form, fields, key=who["merchant_key"], salt=who["merchant_salt"])
    assert made == vector["paytr_token"]
    assert signatures.request_is_signed(
        form | {"paytr_token": made}, fields, key=who["merchant_key"], salt=who["merchant_salt"]
    )
    for wrong in ("", "şifre✓", made[:-1], made.lower()):
        assert not signatures.request_is_signed(
            form | {"paytr_token": wrong}, fields, key=who["merchant_key"], salt=who["merchant_salt"]
        )


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in _V["callback"]])
def test_notification_hashes(vector):
    who, form = VECTORS["credentials"][vector["credentials"]], vector["form"]
    made = signatures.notification_hash(
        form["merchant_oid"],
        form["status"],
        form["total_amount"],
        key=who["merchant_key"],
        salt=who["merchant_salt"],
    )
    assert made == vector["hash_computed_from_this_form"]
    assert (made == form["hash"]) == (vector["expect"] != "invalid_hash")
