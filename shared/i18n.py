"""Words, dates and money in Turkish and English, by Babel's rules. English is the source; Turkish is a catalogue.

A package that speaks to people keeps `locales/tr.po`, with the English sentence as its id. A sentence without its
Turkish makes a test fail.
"""

from __future__ import annotations

import gettext
import io
import re
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_time, format_timedelta, get_datetime_format
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from shared.money import Currency, Money

LANGUAGES = ("tr", "en")
_WEIGHT = re.compile(r"(q=[01](\.[0-9]{0,3})?)?")
DEFAULT_TIMEZONE = "Europe/Istanbul"
SIGNS = {Currency.TRY: "₺", Currency.USD: "$"}


@cache
def translations(directory: Path, language: str) -> gettext.NullTranslations:
    """The catalogue of `directory` for a language, compiled in memory; English needs none."""
    source = directory / f"{language}.po"
    if language == "en" or not source.exists():
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with source.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def money(amount: Money, language: str) -> str:
    """`₺2.970,00` in Turkish, `₺2,970.00` in English: our own sign, since Babel writes `TRY` outside Turkey."""
    sign = "-" if amount.minor < 0 else ""
    return sign + SIGNS[amount.currency] + format_decimal(abs(amount.decimal), "#,##0.00", locale=language)


def size(count: int, language: str) -> str:
    """Bytes as `1,5 GB` / `1.5 GB`: plans speak of powers of 1024, and of GB, as buyers do."""
    for unit, power in (("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)):
        if count >= 1 << power:
            return f"{format_decimal(count / (1 << power), '0.#', locale=language)} {unit}"
    return f"{count} B"


def date(moment: datetime, language: str, timezone: str = DEFAULT_TIMEZONE) -> str:
    """`22 Kasım 2026` / `November 22, 2026`, in the company's time zone."""
    return format_date(moment.astimezone(ZoneInfo(timezone)), "long", locale=language)


def moment(moment: datetime, language: str, timezone: str = DEFAULT_TIMEZONE) -> str:
    """Date and time, in the company's time zone."""
    return format_datetime(moment, "medium", tzinfo=ZoneInfo(timezone), locale=language)


def minute(moment: datetime, language: str, timezone: str = DEFAULT_TIMEZONE) -> str:
    """Date and time to the minute, for what is promised and not logged."""
    local = moment.astimezone(ZoneInfo(timezone))
    both = str(get_datetime_format("medium", locale=language))
    return both.format(format_time(local, "short", locale=language), format_date(local, "medium", locale=language))


def ago(moment: datetime, now: datetime, language: str) -> str:
    """`3 dakika önce` / `3 minutes ago`."""
    return format_timedelta(moment - now, add_direction=True, locale=language)


def span(length: timedelta, language: str) -> str:
    """`3 gün` / `3 days`."""
    return format_timedelta(length, threshold=1, locale=language)


def days(count: int, language: str) -> str:
    """`7 gün` / `7 days`; the threshold keeps a week seven days."""
    return format_timedelta(timedelta(days=count), granularity="day", threshold=10**9, locale=language)


def negotiate(accept_language: str | None) -> str:
    """The first language of an Accept-Language header (RFC 9110, section 12.5.4) that we speak; Turkish otherwise."""
    ranked: list[tuple[float, int, str]] = []
    for position, part in enumerate((accept_language or "")[:200].split(",")[:10]):
        tag, _, weight = (piece.strip().lower() for piece in part.partition(";"))
        if not _WEIGHT.fullmatch(weight):
            continue
        quality = float(weight.removeprefix("q=") or 1)
        if quality > 0:  # zero means "not this one"
            ranked.append((-quality, position, tag.split("-")[0]))
    return next((tag for _, _, tag in sorted(ranked) if tag in LANGUAGES), "tr")
