"""Money is exact, or it is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.money import MOST, Currency, Money

TRY, USD = Currency.TRY, Currency.USD
minors = st.integers(min_value=-MOST // 2, max_value=MOST // 2)


@given(minors)
def test_through_decimal_text_and_back(minor: int) -> None:
    money = Money(minor=minor, currency=TRY)
    assert Money.of(str(money.decimal), TRY) == Money.of(money.decimal, TRY) == money
    assert money.decimal * 100 == minor


@given(minors, minors)
def test_sums_are_exact(a: int, b: int) -> None:
    one, other = Money(minor=a, currency=TRY), Money(minor=b, currency=TRY)
    assert (one + other).minor == a + b
    assert (one - other).minor == a - b
    assert (one < other) == (a < b)
    assert one + other - other == one


@given(st.text(max_size=30) | st.decimals().map(str))
def test_text_is_read_exactly_or_refused(text: str) -> None:
    try:
        money = Money.of(text, TRY)
    except ValueError:
        return
    assert money.decimal == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        "0.001", "2970.005", "1.0000000000000000000000000000000000001", "12345678.123456789012345678901234567",
        "NaN", "sNaN", "Infinity", "-Infinity", "1e999999999", "-1e400", "1e-999999999", "", "12,50", "₺5", "0x10",
        "10000000000.01",
    ],
)  # fmt: skip
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (that it is a ValueError is the promise)
        Money.of(text, TRY)


@pytest.mark.parametrize(("text", "minor"), [("2970.00", 297_000), ("0.1", 10), ("-0.01", -1), ("1e3", 100_000)])
def test_amounts_as_people_write_them(text: str, minor: int) -> None:
    assert Money.of(text, USD).minor == minor


def test_currencies_do_not_mix() -> None:
    lira, dollar = Money(minor=100, currency=TRY), Money(minor=100, currency=USD)
    assert lira != dollar
    for mixed in (lambda: lira + dollar, lambda: lira - dollar, lambda: lira < dollar):
        with pytest.raises(ValueError, match="cannot be counted"):
            mixed()


@pytest.mark.parametrize("minor", [1.0, 1.5, "100", True, Decimal(1), MOST + 1, -MOST - 1])
def test_only_whole_numbers_in_range(minor: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"minor": minor, "currency": "TRY"})
