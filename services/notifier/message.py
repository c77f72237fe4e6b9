"""A rendered mail as a message: headers and parts as they go over the wire (RFC 5322, RFC 2045)."""

from __future__ import annotations

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any

from services.notifier import chosen_words
from services.notifier.rendering import Rendered

Attachment = tuple[str, bytes]
"""A file's name and its content; ours are PDF."""
LONGEST_NAME = 80


def compose(
    mail: Any, rendered: Rendered, sender: str, now: datetime, attachment: Attachment | None = None
) -> EmailMessage:
    """The message. Its Message-ID is the mail's own, also on another try, so that servers can drop a second copy.

    Raises ValueError where the recipient's address is none, or not in ASCII: identity keeps no others.
    """
    from_name, from_address = parseaddr(sender)
    made = EmailMessage(policy=SMTP)
    made["From"] = Address(from_name, addr_spec=from_address)
    made["To"] = Address(_display(mail.recipient_name), addr_spec=mail.recipient)
    made["Subject"] = rendered.subject
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{mail.id}@{from_address.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies, please
    # Quoted-printable: lines stay under 998 bytes (RFC 5322, section 2.1.1), and any server passes it on as it is.
    made.set_content(rendered.text, cte="quoted-printable")
    made.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    if attachment is not None:
        name, content = attachment
        made.add_attachment(content, maintype="application", subtype="pdf", filename=chosen_words.one_line(name))
    # Last: what is added before is taken for the first part's own.
    made["Content-Language"] = mail.language
    return made


def _display(name: str) -> str:
    # A name that looks like an address could make a mail program show that address instead of the true one.
    shown = chosen_words.one_line(name)[:LONGEST_NAME]
    return "" if "@" in shown else shown
