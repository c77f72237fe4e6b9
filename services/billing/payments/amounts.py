"""PayTR's two notations of money: kuruş as an integer, and decimal text. Decimal arithmetic only."""

from __future__ import annotations

import re
from decimal import Decimal

_DECIMAL = re.compile(r"[0-9]{1,10}(?:[.,][0-9]{1,2})?")


def minor_of(text: str) -> int:
    """Kuruş of `34.56`, `34,56`, `10,8` or `100` (PayTR's answers use dot and comma, one digit or two).

    Raises ValueError for anything else, three decimals and thousands marks included: nothing is rounded.
    """
    if not text.isascii() or not _DECIMAL.fullmatch(text):
        raise ValueError(f"not an amount: {text[:30]!r}")
    return int(Decimal(text.replace(",", ".")).scaleb(2))


def decimal_text(minor: int) -> str:
    """`34.56` of 3456. Raises ValueError below zero."""
    if minor < 0:
        raise ValueError("an amount is not negative")
    return f"{minor // 100}.{minor % 100:02d}"
