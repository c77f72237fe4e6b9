"""A mail's subject, text and HTML from one source in `mails/<kind>.<language>.txt`.

A source has `name: value` lines (subject, preheader, tone, heading), a blank line, then blocks apart by blank lines:

    A paragraph; it is left out where nothing of it remains.

    = Label | value             a line of a small table
    = Another label | value

    [[ words | link ]]          the button

A source is split into its parts before facts are filled in, so that no fact can become a header, a block or a
button. Facts are filled in as plain text; the HTML page escapes that text, so that a company called `<b>` stays words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import get_timezone_gmt
from babel.units import format_unit
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from services.notifier import chosen_words
from shared import i18n
from shared.i18n import LANGUAGES
from shared.money import Money

HERE = Path(__file__).parent
BUTTON = re.compile(r"^\[\[ (?P<words>.+?) \| (?P<link>.+?) \]\]$")
ROW = re.compile(r"^= (?P<label>.+?) \| (?P<value>.+)$")
TONES = ("good", "warning", "bad", "neutral")
FOOT = {
    "tr": "{% if company %}Bu ileti, YouAreCoder’daki {{ company }} hesabıyla ilgili olarak gönderildi."
    "{% else %}Bu iletiyi YouAreCoder otomatik olarak gönderdi.{% endif %}",
    "en": "{% if company %}YouAreCoder sent this about the {{ company }} account."
    "{% else %}YouAreCoder sent this automatically.{% endif %}",
}
LONGEST_SUBJECT = 200


@dataclass(frozen=True)
class Source:
    """A mail before its facts are filled in."""

    subject: str
    preheader: str
    tone: str
    heading: str
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Rendered:
    """A mail's words, ready to be put into a message."""

    subject: str
    text: str
    html: str


@cache
def source(kind: str, language: str) -> Source:
    """The source of a mail. Raises FileNotFoundError: a kind without both languages is a mistake a test finds."""
    head, _, body = (HERE / "mails" / f"{kind}.{language}.txt").read_text("utf-8").partition("\n\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    return Source(blocks=tuple(part.strip() for part in body.split("\n\n") if part.strip()), **fields)


def of(mail: Any) -> Rendered:
    """A queued mail's words."""
    facts = {name: value for name, value in mail.facts.items() if name != "attachment"}
    return render(mail.kind, mail.language, mail.timezone, mail.recipient_name, facts)


def render(kind: str, language: str, timezone: str, name: str, facts: dict[str, Any]) -> Rendered:
    """Fills a mail's source with facts, in words of the reader's language (Turkish where it is none of ours) and zone.

    Facts hold JSON only; beside the kind's own ones `site` (the platform's address) and `company` (its name, or "").
    Raises jinja2.UndefinedError, TypeError or ValueError where a fact is missing or not what it should be.
    """
    language = language if language in LANGUAGES else "tr"
    timezone = timezone if _is_zone(timezone) else i18n.DEFAULT_TIMEZONE
    written = source(kind, language)
    values = {key: chosen_words.harmless(key, value) for key, value in {**facts, "name": name}.items()}

    def fill(part: str) -> str:
        return " ".join(template(part, language, timezone).render(values).split())

    subject, heading, foot = (fill(part) for part in (written.subject, written.heading, FOOT[language]))
    blocks = [block for part in written.blocks if (block := _block(part, fill))]
    html = _page().render(
        subject=subject,
        language=language,
        tone=written.tone,
        preheader=fill(written.preheader),
        heading=heading,
        blocks=blocks,
        foot=foot,
        site=values["site"],
        host=urlsplit(values["site"]).netloc,
    )
    parts = [heading, *map(_as_text, blocks), f"-- \n{foot}\n{values['site']}"]
    return Rendered(chosen_words.in_subject(subject, LONGEST_SUBJECT), "\n\n".join(parts) + "\n", html)


Block = dict[str, Any]


def _block(part: str, fill: Callable[[str], str]) -> Block | None:
    if button := BUTTON.match(part):
        return {"words": fill(button["words"]), "link": _web_address(fill(button["link"]))}
    rows = [ROW.match(line) for line in part.splitlines()]
    if all(rows):
        return {"rows": [(fill(row["label"]), fill(row["value"])) for row in rows if row]}
    words = fill(part)
    return {"paragraph": words} if words else None


def _as_text(block: Block) -> str:
    if "link" in block:
        return f"{block['words']}:\n{block['link']}"
    if "rows" in block:
        return "\n".join(f"{label}: {value}" for label, value in block["rows"])
    return str(block["paragraph"])


def _web_address(link: str) -> str:
    if not link.startswith(("https://", "http://")):
        raise ValueError("a button must lead to a web address")
    return link


@lru_cache(1_000)
def _is_zone(timezone: str) -> bool:
    try:
        ZoneInfo(timezone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True


@cache
def _page() -> Template:
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("mail.html")


@lru_cache(1_000)
def template(part: str, language: str, timezone: str) -> Template:
    """A part of a source. Not autoescaped: the page does that, and text and headers must not be."""
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters.update(
        money=lambda value: i18n.money(Money.model_validate(value), language),
        date=lambda value: i18n.date(datetime.fromisoformat(value), language, timezone),
        moment=lambda value: _moment(datetime.fromisoformat(value), language, timezone),
        size=lambda value: i18n.size(value, language),
        days=lambda value: i18n.days(value, language),
        seconds=lambda value: format_unit(value, "duration-second", format="0.#", locale=language),
        plan=lambda code: str(code).capitalize(),
    )
    return environment.from_string(part)


def _moment(moment: datetime, language: str, timezone: str) -> str:
    """`22 Kasım 2026 12:30 (GMT+03:00)`: an end is exact only with its zone."""
    local = moment.astimezone(ZoneInfo(timezone))
    zone = get_timezone_gmt(local, "long", locale=language)
    return f"{i18n.date(moment, language, timezone)} {local:%H:%M} ({zone})"
