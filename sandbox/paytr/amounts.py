"""PayTR's two notations of money: kuruş as an integer, and lira as decimal text."""

import re

_DECIMAL = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")
_SIGNS = {"TL": "₺", "USD": "$", "EUR": "€", "GBP": "£", "RUB": "₽"}


def from_decimal_text(text: str) -> int | None:
    """Return kuruş of `34.56`; None where it is no decimal text with a dot and at most two digits after it."""
    if not text.isascii() or not _DECIMAL.fullmatch(text):
        return None
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int(part.ljust(2, "0") or 0)


def to_decimal_text(kurus: int) -> str:
    """Return `34.56` of 3456."""
    return f"{kurus // 100}.{kurus % 100:02d}"


def to_comma_text(kurus: int) -> str:
    """Return `10,8` of 1080: the other way PayTR's own page writes an amount in a status answer."""
    whole, part = divmod(kurus, 100)
    return f"{whole},{f'{part:02d}'.rstrip('0')}" if part else str(whole)


def for_people(kurus: int, currency: str, language: str) -> str:
    """Return an amount as a buyer reads it: `₺2.970,00` in Turkish, `₺2,970.00` in English."""
    text = f"{kurus / 100:,.2f}" if kurus < 10**13 else to_decimal_text(kurus)
    if language == "tr":
        text = text.translate(str.maketrans(",.", ".,"))
    return f"{_SIGNS.get(currency, currency + ' ')}{text}"
