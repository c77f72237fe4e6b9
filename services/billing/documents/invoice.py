"""The invoice as PDF, made from its immutable row: the same row gives the same bytes, at any time.

The font is a subset of DejaVu Sans (see DejaVu-LICENSE.txt): Latin with Turkish, Greek, Cyrillic, currency signs.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from babel import Locale
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF
from fpdf.enums import XPos, YPos

from services.billing.invoicing import SELLER_TIMEZONE, amounts
from shared import i18n

if TYPE_CHECKING:
    from services.billing.models import Invoice

HERE = Path(__file__).parent
FAMILY = "DejaVu"
FONTS = {"": HERE / "DejaVuSans-subset.ttf", "B": HERE / "DejaVuSans-Bold-subset.ttf"}

INK = (24, 28, 36)
SOFT = (98, 107, 122)
ACCENT = (30, 86, 160)
LINE = (217, 222, 230)
WARNING = (168, 56, 28)

LEFT = 20.0
WIDTH = 170.0
COLUMN = 80.0
MOST_LINES = 12
"""Of an address: a page is not to be pushed away by one."""


def render(invoice: Invoice) -> bytes:
    """The invoice's PDF, in the company's language; dates are the seller's."""
    document = _Document(invoice)
    document.add_page()
    document.heading()
    document.parties()
    document.lines()
    document.sums()
    document.closing()
    return bytes(document.output())


class _Document(FPDF):
    """One invoice on A4; a second page only where names and addresses are enormous."""

    def __init__(self, invoice: Invoice) -> None:
        super().__init__(format="A4")
        self.invoice = invoice
        self._words = i18n.translations(HERE / "locales", invoice.language)
        for style, path in FONTS.items():
            self.add_font(FAMILY, style, path)
        self.set_margins(LEFT, 20, LEFT)
        self.set_auto_page_break(True, margin=25)
        self.set_title(f"{self._('Invoice')} {invoice.number}")
        self.set_author(printable(invoice.seller_name))
        self.set_lang(invoice.language)
        self.set_creation_date(invoice.issued_at.astimezone(UTC))

    def _(self, sentence: str) -> str:
        return self._words.gettext(sentence)

    def _date(self, name: str) -> str:
        return i18n.date(getattr(self.invoice, name), self.invoice.language, str(SELLER_TIMEZONE))

    def _pen(self, size: float, *, bold: bool = False, colour: tuple[int, int, int] = INK) -> None:
        self.set_font(FAMILY, "B" if bold else "", size)
        self.set_text_color(*colour)

    def footer(self) -> None:
        """Number and page, on every page."""
        self.set_y(-18)
        self._pen(8, colour=SOFT)
        place = self._("Page {page} of {pages}").format(page=self.page_no(), pages="{nb}")
        self.cell(WIDTH, 5, f"{self.invoice.number}  ·  {place}")

    def heading(self) -> None:
        """Who, what, which number and when."""
        self._pen(17, bold=True, colour=ACCENT)
        self.cell(110, 9, printable(self.invoice.seller_name)[:48])
        self._pen(17, bold=True)
        self.cell(60, 9, self._("Invoice"), align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(3)
        facts = (("Number", self.invoice.number), ("Date", self._date("issued_at")))
        for label, value in facts:
            self._pen(9, colour=SOFT)
            self.cell(110, 5.5, "")
            self.cell(20, 5.5, self._(label))
            self._pen(9, bold=label == "Number")
            self.cell(40, 5.5, value, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self._rule(5)

    def parties(self) -> None:
        """Seller and buyer, side by side."""
        row, top = self.invoice, self.get_y()
        seller = (row.seller_name, row.seller_address, row.seller_tax_office, row.seller_tax_id, "TR")
        buyer = (row.buyer_name, row.buyer_address, row.buyer_tax_office, row.buyer_tax_id, row.buyer_country)
        bottom = 0.0
        for x, label, party in ((LEFT, "From", seller), (LEFT + WIDTH - COLUMN, "To", buyer)):
            self.set_xy(x, top)
            self._pen(8, bold=True, colour=SOFT)
            self._line(x, self._(label).upper() if row.language == "en" else turkish_upper(self._(label)))
            self._party(x, *party)
            bottom = max(bottom, self.get_y())
        self.set_xy(LEFT, bottom)
        self._rule(6)

    def _party(self, x: float, name: str, address: str, office: str, tax_id: str, country: str) -> None:
        self._pen(10.5, bold=True)
        self._line(x, printable(name)[:200], 5.5)
        self._pen(9)
        for text in printable_lines(address):
            self._line(x, text)
        self._line(x, self._country(country))
        self._pen(9, colour=SOFT)
        for label, value in (("Tax office", office), ("Tax number", tax_id)):
            if value.strip():
                self._line(x, f"{self._(label)}: {printable(value)[:100]}")

    def _country(self, code: str) -> str:
        """`Türkiye` of TR; what is no code stands as it was given."""
        named = Locale.parse(self.invoice.language).territories.get(code.strip().upper(), code)
        return printable(named)[:60]

    def _line(self, x: float, text: str, height: float = 4.8) -> None:
        self.set_x(x)
        self.multi_cell(COLUMN, height, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def lines(self) -> None:
        """What was sold."""
        widths = (78.0, 60.0, 32.0)
        self._pen(8, bold=True, colour=SOFT)
        for width, label, align in zip(widths, ("Description", "Period", "Amount"), "LLR", strict=True):
            self.cell(width, 6, self._(label), align=align)
        self.ln(7)
        self._pen(10)
        net, _, _ = amounts(self.invoice)
        what = self._("YouAreCoder {plan}, one month").format(plan=printable(self.invoice.plan_name))
        period = f"{self._date('period_start')} – {self._date('period_end')}"
        self.cell(widths[0], 7, what)
        self._pen(8.5, colour=SOFT)
        self.cell(widths[1], 7, period)
        self._pen(10)
        self.cell(widths[2], 7, i18n.money(net, self.invoice.language), align="R")
        self.ln(8)
        self._rule(5)

    def sums(self) -> None:
        """Net, tax, total."""
        net, tax, total = amounts(self.invoice)
        percent = f"{self.invoice.tax_percent:f}"
        percent = percent.rstrip("0").rstrip(".") if "." in percent else percent
        if self.invoice.language == "tr":
            percent = percent.replace(".", ",")
        rows = (
            (self._("Net"), net, False),
            (self._("VAT {percent}%").format(percent=percent), tax, False),
            (self._("Total"), total, True),
        )
        for label, amount, strong in rows:
            self._pen(12 if strong else 9.5, bold=strong, colour=INK if strong else SOFT)
            self.cell(100, 8 if strong else 6, "")
            self.cell(35, 8 if strong else 6, label)
            self._pen(12 if strong else 9.5, bold=strong)
            text = i18n.money(amount, self.invoice.language)
            self.cell(35, 8 if strong else 6, text, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def closing(self) -> None:
        """That it is paid, and by which order; a test payment says so."""
        self.ln(10)
        self._pen(9, colour=SOFT)
        paid = self._("Paid by card on {date}. Nothing is left to pay.").format(date=self._date("issued_at"))
        order = f"{self._('Order')}: {self.invoice.order_number}"
        for text in (paid, order):
            self.multi_cell(WIDTH, 5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        if self.invoice.test_mode:
            self.ln(3)
            self._pen(10, bold=True, colour=WARNING)
            self.multi_cell(WIDTH, 6, self._("Test payment: no money was collected and this is no invoice."))

    def _rule(self, space: float) -> None:
        self.ln(space)
        self.set_draw_color(*LINE)
        self.line(LEFT, self.get_y(), LEFT + WIDTH, self.get_y())
        self.ln(space)


@cache
def _known_letters() -> frozenset[int]:
    with TTFont(FONTS[""]) as regular, TTFont(FONTS["B"]) as bold:
        return frozenset(regular.getBestCmap()) & frozenset(bold.getBestCmap())


def printable(text: str) -> str:
    """One line of what the font can show: control characters are blanks, other scripts a question mark."""
    composed = unicodedata.normalize("NFC", text)
    known = _known_letters()
    shown = "".join(letter if ord(letter) in known else " " if letter.isspace() else "?" for letter in composed)
    return " ".join(shown.split())


def printable_lines(text: str) -> list[str]:
    """An address in its own lines, bounded."""
    lines = [printable(line) for line in text.splitlines()]
    return [line for line in lines if line][:MOST_LINES]


def turkish_upper(text: str) -> str:
    """Upper case by Turkish rules: i → İ, ı → I."""
    return text.replace("i", "İ").replace("ı", "I").upper()
