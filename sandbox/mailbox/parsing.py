"""Reading a mail that anybody may have written: whatever is in it, something readable comes out."""

import email
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage


@dataclass(frozen=True)
class Attachment:
    """One part that is not the mail's text; `content_id` without its angle brackets."""

    filename: str
    content_type: str
    content_id: str
    content: bytes


@dataclass(frozen=True)
class Mail:
    """A mail taken apart; `text` and `html` are None where it has no such part."""

    subject: str
    sender: str
    date: str
    headers: list[tuple[str, str]]
    text: str | None
    html: str | None
    attachments: list[Attachment]


def clean(text: str) -> str:
    """Replace what cannot be written as UTF-8 (the mail parser leaves such letters in undecodable places)."""
    return text.encode("utf-8", "replace").decode()


def _header(message: EmailMessage, name: str) -> str:
    return next((value for key, value in _headers(message) if key.lower() == name), "")


def _headers(message: EmailMessage) -> list[tuple[str, str]]:
    found = []
    for name, raw in message.raw_items():
        try:
            value = str(message.policy.header_fetch_parse(name, raw))
        except Exception:  # the parser trips over some malformed headers in its own ways
            value = str(raw)
        found.append((clean(name), " ".join(clean(value).split())))
    return found


def _words(part: EmailMessage) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        return clean(content.decode(part.get_content_charset() or "utf-8", "replace"))
    except LookupError:
        return content.decode("utf-8", "replace")


def parse(raw: bytes) -> Mail:
    """Take a mail apart; never raises, a mail that cannot be read is shown as its raw text."""
    try:
        return _parse(raw)
    except Exception:  # hostile input to a parser that is not ours: show what came
        return Mail("(unreadable mail)", "", "", [], raw.decode("utf-8", "replace"), None, [])


def _parse(raw: bytes) -> Mail:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = []
    for part in message.walk():
        if part.is_multipart():
            continue
        kind, named = part.get_content_type(), part.get_filename()
        inline = part.get_content_disposition() != "attachment" and not named
        if inline and kind == "text/plain" and text is None:
            text = _words(part)
        elif inline and kind == "text/html" and html is None:
            html = _words(part)
        else:
            content = part.get_payload(decode=True)
            attachments.append(Attachment(
                clean(named or f"part-{len(attachments) + 1}"), clean(kind),
                clean(str(part.get("content-id", ""))).strip("<> \r\n"),
                content if isinstance(content, bytes) else b"",
            ))  # fmt: skip
    headers = _headers(message)
    return Mail(_header(message, "subject"), _header(message, "from"), _header(message, "date"),
                headers, text, html, attachments)  # fmt: skip
