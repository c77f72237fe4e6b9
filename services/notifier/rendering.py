"""A mail's text and HTML from one source in `mails/<kind>.<language>.txt`.

A source has `name: value` lines (subject, preheader, tone, heading), a blank line, then paragraphs; a paragraph
`[[ words | link ]]` is the button. Each part is rendered twice: escaped for HTML, as it is for text, so that a
company called `<b>` stays words and never becomes markup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, parseaddr
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared import i18n
from shared.money import Money

HERE = Path(__file__).parent
BUTTON = re.compile(r"^\[\[ (?P<words>.+?) \| (?P<link>.+?) \]\]$")
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
FOOT = {
    "tr": "Bu iletiyi {site} üzerindeki hesabınız nedeniyle aldınız.",
    "en": "You received this because of your account at {site}.",
}


@dataclass(frozen=True)
class Source:
    """A mail before its facts are filled in."""

    subject: str
    preheader: str
    tone: str
    heading: str
    paragraphs: tuple[str, ...]


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
    paragraphs = tuple(part.strip() for part in body.split("\n\n") if part.strip())
    return Source(paragraphs=paragraphs, **fields)


def render(kind: str, language: str, timezone: str, name: str, facts: dict[str, Any]) -> Rendered:
    """Fills a mail's source with facts, in words of the reader's language."""
    written = source(kind, language)
    values = {"name": name, **facts}
    plain, escaped = (_environment(escape, language, timezone) for escape in (False, True))

    def text_of(part: str) -> str:
        return plain.from_string(part).render(values)

    subject = CONTROL.sub(" ", text_of(written.subject)).strip()[:200]
    html = escaped.get_template("mail.html").render(
        values,
        subject=subject,
        language=language,
        tone=written.tone,
        preheader=text_of(written.preheader),
        heading=text_of(written.heading),
        blocks=[_block(part, text_of) for part in written.paragraphs],
        foot=FOOT[language].format(site="YouAreCoder"),
    )
    lines = [_text_block(part, text_of) for part in written.paragraphs]
    text = "\n\n".join([text_of(written.heading), *lines, "--\n" + FOOT[language].format(site="YouAreCoder")]) + "\n"
    return Rendered(subject, text, html)


def message(
    mail: Any, rendered: Rendered, sender: str, now: datetime, attachment: tuple[str, bytes] | None
) -> EmailMessage:
    """The message as it goes over the wire (RFC 5322). Its Message-ID is the mail's own, also on another try."""
    name, address = parseaddr(sender)
    made = EmailMessage(policy=SMTP)
    made["From"] = formataddr((name, address))
    made["To"] = formataddr((CONTROL.sub(" ", mail.recipient_name), mail.recipient))
    made["Subject"] = rendered.subject
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{mail.id}@{address.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made["Content-Language"] = mail.language
    made.set_content(rendered.text)
    made.add_alternative(rendered.html, subtype="html")
    if attachment is not None:
        made.add_attachment(attachment[1], maintype="application", subtype="pdf", filename=attachment[0])
    return made


def _block(part: str, text_of: Any) -> dict[str, str]:
    if match := BUTTON.match(part):
        return {"words": text_of(match["words"]), "link": text_of(match["link"])}
    return {"paragraph": text_of(part)}


def _text_block(part: str, text_of: Any) -> str:
    if match := BUTTON.match(part):
        return f"{text_of(match['words'])}:\n{text_of(match['link'])}"
    return str(text_of(part))


@cache
def _environment(escape: bool, language: str, timezone: str) -> Environment:
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=escape, undefined=StrictUndefined)
    environment.filters.update(
        money=lambda value: i18n.money(Money.model_validate(value), language),
        date=lambda value: i18n.date(datetime.fromisoformat(value), language, timezone),
        moment=lambda value: i18n.moment(datetime.fromisoformat(value), language, timezone),
        days=lambda value: i18n.span(timedelta(days=value), language),
        plan=lambda code: str(code).capitalize(),
    )
    return environment


def of(mail: Any) -> Rendered:
    """A queued mail's words."""
    facts = {name: value for name, value in mail.facts.items() if name != "attachment"}
    return render(mail.kind, mail.language, mail.timezone, mail.recipient_name, facts)
