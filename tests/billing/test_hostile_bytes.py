"""Whatever bytes come as a notification: a clean refusal, never another error, never a yes."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.payments import notices, signatures
from services.billing.payments.port import BadNotification
from tests.billing.house import FORM, MERCHANT, notice

FIELDS = st.sampled_from(["merchant_oid", "status", "total_amount", "hash", "currency", "test_mode", "x"])


@given(body=st.binary(max_size=2_000))
def test_noise(body: bytes) -> None:
    with pytest.raises(BadNotification):
        notices.read(MERCHANT, FORM, body)


@given(pairs=st.lists(st.tuples(FIELDS, st.text(max_size=100)), max_size=12))
def test_forms_nobody_signed(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(BadNotification):
        notices.read(MERCHANT, FORM, urlencode(pairs, errors="replace").encode())


@given(
    total=st.integers(0, 10**15 - 1),
    status=st.sampled_from(["success", "failed"]),
    extra=st.dictionaries(
        st.sampled_from(["currency", "payment_amount", "test_mode", "merchant_id", "failed_reason_code", "utoken"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    ),
)
def test_genuine_ones_are_read_whatever_stands_in_unsigned_fields(
    total: int, status: str, extra: dict[str, str]
) -> None:
    read = notices.read(MERCHANT, FORM, urlencode(notice("d1", status, total) | extra).encode())
    assert (read.order_number, read.status, read.collected.total_minor) == ("d1", status, total)


@given(a=st.text(), b=st.text())
def test_comparing_never_raises(a: str, b: str) -> None:
    printable_a, printable_b = (text.encode("utf-8", "replace").decode() for text in (a, b))
    assert signatures.same(printable_a, printable_b) == (printable_a == printable_b)
