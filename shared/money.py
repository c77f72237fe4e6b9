"""Money: a whole number of minor units and its ISO 4217 currency. Never a float, never rounded in silence."""

from __future__ import annotations

from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

MOST = 10**12
"""Minor units; more is a mistake."""
_EXACTLY = Context(prec=40, traps=[Inexact, InvalidOperation])


class Currency(StrEnum):
    """The currencies we price in; each has two decimals (ISO 4217)."""

    TRY = "TRY"
    USD = "USD"


class Money(BaseModel):
    """An amount in minor units (kuruş, cents)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minor: Annotated[int, Field(strict=True, ge=-MOST, le=MOST, description="minor units: kuruş or cents")]
    currency: Currency

    @classmethod
    def of(cls, amount: str | Decimal, currency: Currency) -> Self:
        """From decimal text such as `2970.00`. Raises ValueError where it has more than two decimals."""
        try:
            value = Decimal(amount)
            if not abs(value) * 100 <= MOST:  # before anything is scaled: `1e999999` is a short text
                raise ValueError("not an amount we count with")
            exact = value.quantize(Decimal("0.01"), context=_EXACTLY)
        except DecimalException:
            raise ValueError("not a decimal number with at most two decimals") from None
        return cls(minor=int(exact.scaleb(2)), currency=currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, exactly, with two decimals."""
        return Decimal(self.minor).scaleb(-2)

    def __add__(self, other: Money) -> Money:
        return Money(minor=self.minor + self._same(other), currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(minor=self.minor - self._same(other), currency=self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def _same(self, other: Money) -> int:
        if other.currency is not self.currency:
            raise ValueError(f"{other.currency} cannot be counted with {self.currency}")
        return other.minor
