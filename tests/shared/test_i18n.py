"""Words, dates and money as people of both languages write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import i18n
from shared.money import MOST, Currency, Money

LATE = datetime(2026, 11, 22, 22, 30, tzinfo=UTC)  # the 23rd in Istanbul


@pytest.mark.parametrize(
    ("minor", "currency", "turkish", "english"),
    [
        (297_000, Currency.TRY, "₺2.970,00", "₺2,970.00"),
        (5, Currency.USD, "$0,05", "$0.05"),
        (-123_456_789, Currency.TRY, "-₺1.234.567,89", "-₺1,234,567.89"),
        (0, Currency.TRY, "₺0,00", "₺0.00"),
        (MOST, Currency.TRY, "₺10.000.000.000,00", "₺10,000,000,000.00"),
    ],
)
def test_money(minor: int, currency: Currency, turkish: str, english: str) -> None:
    amount = Money(minor=minor, currency=currency)
    assert (i18n.money(amount, "tr"), i18n.money(amount, "en")) == (turkish, english)


@given(st.integers(-MOST, MOST))
def test_money_shows_every_kurus(minor: int) -> None:
    shown = i18n.money(Money(minor=minor, currency=Currency.TRY), "tr")
    assert int(shown.translate(str.maketrans("", "", "₺.,"))) == minor


def test_dates_are_the_companys() -> None:
    assert i18n.date(LATE, "tr") == "23 Kasım 2026"
    assert i18n.date(LATE, "en") == "November 23, 2026"
    assert i18n.date(LATE, "en", "America/New_York") == "November 22, 2026"
    assert "01:30" in i18n.moment(LATE, "tr")
    assert "1:30" in i18n.moment(LATE, "en")
    assert i18n.minute(LATE, "tr").endswith(" 01:30")
    assert i18n.minute(LATE, "en").replace("\u202f", " ").endswith(", 1:30 AM")


@pytest.mark.parametrize(
    ("count", "turkish", "english"),
    [(1, "1 gün", "1 day"), (7, "7 gün", "7 days"), (14, "14 gün", "14 days"), (365, "365 gün", "365 days")],
)
def test_days_stay_days(count: int, turkish: str, english: str) -> None:
    assert (i18n.days(count, "tr"), i18n.days(count, "en")) == (turkish, english)


def test_ago_and_span() -> None:
    assert i18n.ago(LATE - timedelta(minutes=3), LATE, "en") == "3 minutes ago"
    assert i18n.ago(LATE - timedelta(minutes=3), LATE, "tr") == "3 dakika önce"
    assert i18n.ago(LATE + timedelta(hours=2), LATE, "en") == "in 2 hours"
    assert i18n.span(timedelta(days=3), "tr") == "3 gün"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "tr"), ("", "tr"), ("en", "en"), ("en-GB,en;q=0.9,tr;q=0.8", "en"), ("tr;q=0.5, en;q=0.4", "tr"),
        ("de-DE,de;q=0.9,en;q=0.3", "en"), ("EN-us", "en"), ("tr ; q=0.1 , en ; q=0.9", "en"), ("*", "tr"),
        # Refused, another language that begins alike, and what is no weight at all.
        ("en;q=0", "tr"), ("enm", "tr"), ("tr;q=nan,en", "en"), ("en;q=inf", "tr"), ("en;q=0.9.9", "tr"),
        ("," * 5_000 + "en", "tr"),
    ],
)  # fmt: skip
def test_language_of_a_browser(header: str | None, language: str) -> None:
    assert i18n.negotiate(header) == language


@given(st.text(max_size=300) | st.from_regex(r"([a-z*]{0,3}(-[A-Z]{2})?[;,= q.0-9einf-]{0,12}){0,20}", fullmatch=True))
def test_no_header_makes_it_raise(header: str) -> None:
    assert i18n.negotiate(header) in i18n.LANGUAGES


def test_catalogue_is_read_and_what_it_lacks_stays_english(tmp_path: Path) -> None:
    catalogue = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "Yes"\nmsgstr "Evet, işte"\n'
    (tmp_path / "tr.po").write_text(catalogue, encoding="utf-8")
    turkish = i18n.translations(tmp_path, "tr").gettext
    assert (turkish("Yes"), turkish("No")) == ("Evet, işte", "No")
    assert i18n.translations(tmp_path, "en").gettext("Yes") == "Yes"
